"""Whose contexts policies are tested on: --context, --explore and --explore-steps."""

from __future__ import annotations

import argparse
from typing import Any

from comrl.ground.errors import BadInput


def add_options(sub: argparse.ArgumentParser) -> None:
    """Let a command take them."""
    text = "test on contexts of their own too, and by which rules these are explored: prior, random, best"
    sub.add_argument("--explore", nargs="+", metavar="RULE", help=text)
    text = "online: steps of exploration before a trial's last episode (default: 4 episodes)"
    sub.add_argument("--explore-steps", type=int, metavar="N", help=text)


def contexts_of(arguments: argparse.Namespace) -> list[str]:
    """Whose contexts tests are made on: those of --context, and a policy's own where rules explore."""
    return list(dict.fromkeys([arguments.context, *(["online"] if arguments.explore else [])]))


def contexts_of_tests(arguments: argparse.Namespace) -> list[str]:
    """The same of `bench test`; BadInput where another option is for offline contexts alone."""
    contexts = contexts_of(arguments)
    for option, given in (("--split", arguments.split), ("--tasks train", arguments.tasks == "train")):
        if given and contexts[-1] != "offline":
            raise BadInput(f"{option} is for offline contexts; leave it out with --context {contexts[-1]}")
    return contexts


def asked_for(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, by the names of a run's spec; BadInput where no test would look at it."""
    given = {"explore": arguments.explore, "explore_steps": arguments.explore_steps}
    asked = {name: value for name, value in given.items() if value is not None}
    if asked and "online" not in contexts_of(arguments):
        raise BadInput(
            "--explore-steps is for contexts of one's own; give --context online too, or leave it out"
        )
    return asked
