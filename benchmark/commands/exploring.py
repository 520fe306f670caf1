"""The options of exploration on contexts of one's own: --explore and --explore-steps."""

from __future__ import annotations

import argparse
from typing import Any

from comrl.ground.errors import BadInput


def add_options(sub: argparse.ArgumentParser) -> None:
    """Let a command take them."""
    text = "online: how a test task is explored, one test a rule: prior (default), random, best"
    sub.add_argument("--explore", nargs="+", metavar="RULE", help=text)
    text = "online: steps of exploration before a trial's last episode (default: 4 episodes)"
    sub.add_argument("--explore-steps", type=int, metavar="N", help=text)


def asked_for(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, by the names of a run's spec; BadInput where no test would look at it."""
    given = {"explore": arguments.explore, "explore_steps": arguments.explore_steps}
    asked = {name: value for name, value in given.items() if value is not None}
    for name in asked:
        if arguments.context != "online":
            option = name.replace("_", "-")
            raise BadInput(
                f"--{option} is for contexts of one's own; give --context online too, or leave it out"
            )
    return asked
