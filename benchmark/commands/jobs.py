"""Many machines: --engine, and bench jobs, which prints a command in pieces or as a Slurm array."""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from comrl.ground.errors import BadInput
from comrl.ground.workforce import Workforce, find_workforce

Arguments = argparse.Namespace
SPREAD = {"run": ("env", "split", "algo", "seeds"), "generate-data": ("env",)}
"""By command, the options over whose values it is spread."""
MODULE = "comrl.benchmark.commands.cli"
PLACES = ("data", "results")
ARRAY = 1000  # pieces: Slurm's own limit is 1001, unless a cluster has another
SCRIPT = """#!/bin/bash
{options}
set -eu
mapfile -t jobs <<'JOBS'
{lines}
JOBS
eval "exec ${{jobs[$SLURM_ARRAY_TASK_ID]}}"
"""


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take it."""
    text = "print a bench run or generate-data as independent commands, a line for each environment, split, "
    sub = add("jobs", jobs, f"{text}algorithm and seed", "")
    sub.add_argument("--slurm", action="store_true", help="as the script of a Slurm array, for sbatch")
    text = "an option of sbatch, as in --sbatch time=2:00:00 --sbatch gres=gpu:1"
    sub.add_argument("--sbatch", action="append", default=[], metavar="OPTION=VALUE", help=text)
    sub.add_argument("--at-once", type=int, metavar="N", help="of the array, at most so many at a time")
    text = "run or generate-data with its options: the last words"
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND ...", help=text)


def add_engine(sub: argparse.ArgumentParser) -> None:
    """Let a command take --engine."""
    text = "who does the work: local (default), processes here, or ray, the nodes of a Ray cluster"
    sub.add_argument("--engine", default="local", help=text)


def add_side_by_side(sub: argparse.ArgumentParser) -> None:
    """Let a command that trains take --jobs."""
    text = "runs side by side, each with its share of the threads (default: 1, or what --engine ray can take)"
    sub.add_argument("--jobs", type=int, metavar="N", help=text)


def workforce_of(arguments: Arguments, threads: int) -> Workforce:
    """What --engine names, where each piece takes so many threads; BadInput where it is not to be had."""
    gpus = int(arguments.device.startswith("cuda"))
    return find_workforce(arguments.engine, cpus=threads, gpus=gpus)


def jobs(arguments: Arguments) -> int:
    """Check the command, and print its pieces."""
    if not arguments.slurm and (arguments.sbatch or arguments.at_once):
        raise BadInput("--sbatch and --at-once are of a Slurm array; give --slurm too")
    if arguments.at_once is not None and arguments.at_once < 1:
        raise BadInput(f"--at-once {arguments.at_once} must be at least 1")
    lines = [shlex.join([sys.executable, "-m", MODULE, *words]) for words in pieces(arguments.words)]
    print(slurm(lines, arguments.sbatch, arguments.at_once) if arguments.slurm else "\n".join(lines))
    return 0


def pieces(words: Sequence[str]) -> Iterator[list[str]]:
    """The words of every piece of a command, its folders absolute; BadInput where it cannot be given."""
    if not words or words[0] not in SPREAD:
        raise BadInput(
            f"name what is to be spread: bench jobs --slurm {' or '.join(SPREAD)}, and its options"
        )
    from comrl.benchmark.commands.cli import parser

    given = parser().parse_args(words)
    names = SPREAD[words[0]]
    places = [name for name in PLACES if hasattr(given, name)]
    kept = _without(words[1:], [*names, *places, "jobs", "engine"])
    where = [word for name in places for word in (f"--{name}", str(getattr(given, name).resolve()))]
    for values in itertools.product(*(getattr(given, name) for name in names)):
        own = dict(zip(names, values, strict=True))
        _check(given, own)
        yield [words[0], *(word for name in names for word in (f"--{name}", str(own[name]))), *where, *kept]


def _without(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """The words but for these options and their values; an option may be given by its first letters."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            option = word.partition("=")[0]
            dropping = any(f"--{name}".startswith(option) for name in names)
        if not dropping:
            kept.append(word)
    return kept


def _check(given: Arguments, own: dict[str, str]) -> None:
    """BadInput where a name or a setting of a piece is unknown."""
    from comrl.algorithms.algorithm import find_algorithm
    from comrl.benchmark.protocol import configured, parse_overrides, resolve, split_overrides
    from comrl.datasets.splits import find_split
    from comrl.envs.family import find_family

    family = find_family(own["env"])
    if "algo" not in own:
        resolve(given.preset, family.name, parse_overrides(given.set, "behaviour", "data"))
        return
    find_split(own["split"], family)
    shared, parts = split_overrides(parse_overrides(given.set, "training"))
    resolve(given.preset, family.name, shared)
    configured(find_algorithm(own["algo"]), given.preset, family.name, parts, own["split"])


def slurm(lines: Sequence[str], options: Sequence[str], at_once: int | None) -> str:
    """The script of an array whose tasks run a line each; BadInput where it is too long for one."""
    if len(lines) > ARRAY:
        raise BadInput(
            f"these are {len(lines)} pieces and an array takes {ARRAY}; write one for each environment"
        )
    limit = f"%{at_once}" if at_once else ""
    chosen = {
        "job-name": "comrl",
        "array": f"0-{len(lines) - 1}{limit}",
        "cpus-per-task": "1",
        "mem": "4G",
        "output": "%x-%A_%a.log",
        "requeue": "",
    }
    for option in options:
        name, equals, value = option.removeprefix("--").partition("=")
        if not name or any(sign.isspace() for sign in option):
            raise BadInput(f"--sbatch {option!r}: write it as time=2:00:00, or as a name alone")
        chosen[name] = value if equals else ""
    told = [f"#SBATCH --{name}{'=' if value else ''}{value}" for name, value in chosen.items()]
    return SCRIPT.format(options="\n".join(told), lines="\n".join(lines))
