"""The declared families as tests go over them: those that stand for others always, the others when slow."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable

import pytest

from comrl.algorithms.algorithm import algorithms
from comrl.envs import TaskFamily, families

Class = Callable[[TaskFamily], Hashable]


def world(family: TaskFamily) -> Hashable:
    """What stepping a family computes: its simulation and its reward."""
    return family.model_sha256 and family.model_sha256(), family.reward


def kind(family: TaskFamily) -> Hashable:
    """What data, training and tests treat differently, whatever the body."""
    return (family.model_sha256 is None, family.held_out, family.radius is None, family.dynamics_differ)


def first_of_each(of: Class, ordered: Iterable[TaskFamily]) -> tuple[TaskFamily, ...]:
    """The first family of every class."""
    found: dict[Hashable, TaskFamily] = {}
    for family in ordered:
        found.setdefault(of(family), family)
    return tuple(found.values())


DISTINCT = first_of_each(world, families())
"""The first family of each world."""
KINDS = first_of_each(
    kind, sorted(families(), key=lambda family: (family.tasks * family.horizon, family.obs_dim))
)
"""The cheapest family of each kind, the cheapest kind first."""


def each(stand_ins: Iterable[TaskFamily], chosen: Iterable[TaskFamily] = families()) -> pytest.MarkDecorator:
    """Go over families as `family`; those that others stand for are slow."""
    fast = {family.name for family in stand_ins}
    params = [
        pytest.param(family, marks=() if family.name in fast else pytest.mark.slow) for family in chosen
    ]
    return pytest.mark.parametrize("family", params, ids=lambda family: family.name)


def pairs(everywhere: Container[str]) -> pytest.MarkDecorator:
    """Every family with every algorithm, as `env` and `algo`: all run on the cheapest family, those of
    `everywhere` on a family of each kind, and the rest when slow.
    """
    fast = {(family.name, algo.name) for family in KINDS for algo in algorithms() if algo.name in everywhere}
    fast |= {(KINDS[0].name, algo.name) for algo in algorithms()}
    every = [(family.name, algo.name) for family in families() for algo in algorithms()]
    return pytest.mark.parametrize(
        ("env", "algo"),
        [pytest.param(*pair, marks=() if pair in fast else pytest.mark.slow) for pair in every],
    )
