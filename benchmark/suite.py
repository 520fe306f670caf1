"""What belongs to the results behind the report, read from suite.toml: who is trained where, how often."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

SEEDS = 5
"""Of what the suite does not list."""
Key = tuple[str, str, str]
"""Environment, split and algorithm."""


class Group(BaseModel):
    """Environments × splits × algorithms, with how many seeds and which tests beside the offline one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    environments: tuple[str, ...]
    splits: tuple[str, ...]
    algorithms: tuple[str, ...]
    seeds: int
    tests: tuple[str, ...] = ()


@cache
def groups() -> tuple[Group, ...]:
    """The suite, in the order in which it is made."""
    return tuple(Group(**table) for table in _suite()["groups"])


@cache
def _suite() -> dict[str, Any]:
    return tomllib.loads(files("comrl.benchmark").joinpath("suite.toml").read_text("utf-8"))


def seeds_of(group: Group, preset: str) -> int:
    """A group's seeds at a preset."""
    return min(group.seeds, _suite()["most_seeds"].get(preset, group.seeds))


def seeds_for(env: str, split: str, algo: str, preset: str) -> int:
    """How many seeds the suite trains of an algorithm on a split."""
    for group in groups():
        if env in group.environments and split in group.splits and algo in group.algorithms:
            return seeds_of(group, preset)
    return SEEDS


def protocol_flags(protocol: str) -> str:
    """The options of a protocol, which is a preset and what was changed of it, with a space before."""
    preset, *changed = protocol.split(",")
    return f" --preset {preset}" + "".join(f" --set {change}" for change in changed)


def run_command(
    envs: Iterable[str], split: str, algos: Iterable[str], seeds: int, flags: str, context: str = ""
) -> str:
    """The command that trains algorithms on a split of some environments; what is there it skips."""
    words = ["bench run --env", *envs, "--split", split, "--algo", *algos]
    words += ["--seeds", *map(str, range(seeds))]
    words += ["--context", context] if context else []
    return " ".join(words) + flags


def training_commands(wanted: Mapping[Key, int], flags: str) -> list[str]:
    """Commands that train so many seeds; environments that lack the same algorithms share one."""
    algos: dict[tuple[str, str, int], list[str]] = {}
    for (env, split, algo), seeds in wanted.items():
        algos.setdefault((env, split, seeds), []).append(algo)
    envs: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
    for (env, split, seeds), names in algos.items():
        envs.setdefault((split, seeds, tuple(names)), []).append(env)
    return [run_command(places, split, names, seeds, flags) for (split, seeds, names), places in envs.items()]
