"""bench pack: somebody's runs as one file, which others show beside theirs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Arguments = argparse.Namespace


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take it."""
    text = "write runs as one file, without weights, for `bench report --with` of others"
    sub = add("pack", pack, text, "results")
    text = "the file to write; its name is shown beside the runs"
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help=text)
    sub.add_argument("--algo", nargs="+", default=[], metavar="ALGO", help="only runs of these algorithms")
    sub.add_argument("--preset", help="which runs to take where there are several presets")


def pack(arguments: Arguments) -> int:
    """Write the pack and print what is in it."""
    from comrl.benchmark.commands.cli import show
    from comrl.benchmark.reporting.packs import write_pack

    runs = write_pack(arguments.results, arguments.out, arguments.preset, arguments.algo)
    about = [(run.env, run.split, run.algo, " ".join(map(str, run.spec.seeds))) for run in runs]
    show([dict(zip(("env", "split", "algo", "seeds"), row, strict=True)) for row in about])
    size = arguments.out.stat().st_size / 1e6
    print(f"\n{arguments.out}: {len(runs)} runs at {runs[0].protocol}, {size:.1f} MB")
    return 0


def add_with(sub: argparse.ArgumentParser) -> None:
    """Let the report take packs."""
    text = "show the runs of these packs beside ours, after the same checks"
    sub.add_argument("--with", dest="packs", nargs="+", type=Path, default=[], metavar="FILE", help=text)
