"""The cards of a data set, each defined once: its task set, wherever that is written, and its manifest."""

from __future__ import annotations

from typing import Self

import numpy as np

from comrl.datasets.birth import Birth
from comrl.envs.family import Array, TaskSet
from comrl.ground.cards import Card, Tree


class TaskSetCard(Card):
    """A task set as manifests, runs and portraits write it."""

    seed: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    params: tuple[tuple[float, ...], ...]
    """The true parameters of every task."""

    @classmethod
    def of(cls, tasks: TaskSet) -> Self:
        """The card of a task set."""
        return cls(seed=tasks.seed, train=tasks.train, test=tasks.test, params=tasks.params.tolist())

    def task_set(self, family: str) -> TaskSet:
        """The task set of a card."""
        return TaskSet(family, self.seed, self.array, self.train, self.test)

    @property
    def array(self) -> Array:
        """The true parameters: [T, P]."""
        return np.array(self.params, dtype=np.float64)

    def split(self) -> Tree:
        """What every task file says of the set: all but the parameters, of which it has its own task's."""
        return self.model_dump(mode="json", exclude={"params"})


class Manifest(Card):
    """The data set's card, manifest.json."""

    format: int
    family: str
    task_set: TaskSetCard
    birth: Birth
    files: dict[str, str]
    """The hash of every task file by name."""
    sha256: str
    """The hash of `files`: the identity of the data set."""

    def to_json(self) -> Tree:
        """As plain JSON values."""
        return {**self.model_dump(mode="json"), "birth": self.birth.to_json()}
