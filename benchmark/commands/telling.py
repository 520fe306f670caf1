"""How a command tells of its work: --quiet and --tensorboard, which the processes that it starts inherit."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from comrl.ground.showing import QUIET, TENSORBOARD

Arguments = argparse.Namespace
Command = Callable[[Arguments], int]


def add_quiet(sub: argparse.ArgumentParser) -> None:
    """Let a command take --quiet."""
    text = "show no progress: only the result, and what went wrong ($COMRL_QUIET)"
    sub.add_argument("--quiet", action="store_true", help=text)


def add_tensorboard(sub: argparse.ArgumentParser) -> None:
    """Let a command take --tensorboard."""
    text = "write the curves' numbers for TensorBoard too, below RESULTS/tensorboard ($COMRL_TENSORBOARD)"
    sub.add_argument("--tensorboard", action="store_true", help=text)


def telling(command: Command) -> Command:
    """The command, with these options heeded while it runs; BadInput where TensorBoard is not there."""

    def told(arguments: Arguments) -> int:
        asked = {QUIET: "quiet", TENSORBOARD: "tensorboard"}
        with _environment([name for name, option in asked.items() if getattr(arguments, option, False)]):
            if os.environ.get(TENSORBOARD) and hasattr(arguments, "tensorboard"):
                from comrl.benchmark.training.scalars import summary_writer

                summary_writer()
            return command(arguments)

    return told


@contextmanager
def _environment(names: list[str]) -> Iterator[None]:
    """Set variables for a while."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
