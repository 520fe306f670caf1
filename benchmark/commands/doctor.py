"""What this machine has, and whether a preset can be run on it: bench doctor."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

Arguments = argparse.Namespace


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take it."""
    text = "say what this machine has, what a preset needs of it, and about how long that takes here"
    sub = add("doctor", doctor, text, "preset data results machine")
    sub.add_argument("--env", nargs="+", metavar="ENV", help="which environments (default: all)")


def doctor(arguments: Arguments) -> int:
    """Print what there is and what is needed; 2 where something is missing."""
    from comrl.benchmark.commands.checkup import RECKONING, needs, problems, surroundings
    from comrl.benchmark.commands.cli import show
    from comrl.benchmark.commands.speed import bmm_rate
    from comrl.envs.family import families, find_family
    from comrl.ground.machine import Machine, prepare

    device = prepare(Machine(arguments.device, arguments.threads, arguments.precision))
    rate = bmm_rate(device)
    chosen = [find_family(name) for name in arguments.env] if arguments.env else list(families())
    found = surroundings(arguments.data, arguments.results, device, rate)
    show([{"what": what, "is": text} for what, text in found], "This machine")
    wanted = needs(chosen, arguments.preset, arguments.results, device, rate)
    show([need.row() for need in wanted], f"Needed by preset {arguments.preset}")
    print(f"\n{RECKONING}")
    wrong = problems(arguments.data, arguments.results, wanted)
    for problem in wrong:
        print(f"bench: {problem}", file=sys.stderr)
    return 2 if wrong else 0
