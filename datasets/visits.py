"""Visits: where tasks differ in their dynamics, agents play in the test tasks whose contexts they draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comrl.datasets.splits import Split, SplitData, as_split_data, concatenated
from comrl.datasets.store import Dataset, command
from comrl.datasets.transitions import Transitions
from comrl.envs.family import TaskSet
from comrl.ground.errors import BadInput

BEHAVIOURS = 11  # of a test task, where there are as many: its own, and others from the nearest on


class Pairs(NamedTuple):
    """Whose context is drawn by whose agent."""

    task: tuple[int, ...]  # [N]
    behaviour: tuple[int, ...]  # [N]


def behaviours_of(task: int, task_set: TaskSet) -> NDArray[np.int64]:
    """The tasks whose agents draw a task's contexts: itself, and others evenly by rank of distance, each
    once.
    """
    order = np.linalg.norm(task_set.params - task_set.params[task], axis=-1).argsort(kind="stable")
    others = order[order != task]
    ranks = np.linspace(0, len(others) - 1, min(BEHAVIOURS - 1, len(others))).round().astype(int)
    return np.concatenate([[task], others[ranks]])


def pairs_of(task_set: TaskSet) -> Pairs:
    """Every test task with each of its behaviours."""
    found = [(task, int(other)) for task in task_set.test for other in behaviours_of(task, task_set)]
    task, behaviour = zip(*found, strict=True)
    return Pairs(task, behaviour)


def hosts_of(behaviours: Sequence[int], task_set: TaskSet) -> list[list[int]]:
    """The test tasks that the agents of each given task visit; never their own."""
    visits = {*zip(*pairs_of(task_set), strict=True)}
    return [
        [host for host in task_set.test if host != guest and (host, guest) in visits] for guest in behaviours
    ]


def load_visits(dataset: Dataset, split: Split, radius: float | None) -> SplitData:
    """The rows that each pair's agent met in the test task, of the split's qualities: [N pairs, rows, ...].

    BadInput where the data hold no visits.
    """
    rows = [_met(dataset, split, *pair) for pair in zip(*pairs_of(dataset.task_set), strict=True)]
    return as_split_data(rows, radius)


def _met(dataset: Dataset, split: Split, host: int, guest: int) -> Transitions:
    """What a guest's agent met in a host task; in its own, the split's rows."""
    parts, stored = [], dataset.read_task(guest).qualities
    for name in split.qualities:
        quality = stored[name]
        if host == guest:
            parts.append(quality.transitions)
        elif quality.visits is None or host not in quality.visits.hosts:
            raise BadInput(
                f"{dataset.folder} holds no episodes of other tasks' agents, which contexts from elsewhere "
                f"need as tasks of {dataset.family.name} differ in their dynamics; make data that do: "
                f"{command(dataset.family.name, dataset.folder)} with --set data.visits=4, in another folder"
            )
        else:
            hosts, (rows, lengths) = quality.visits
            there = np.repeat(hosts == host, lengths)  # [N]
            parts.append(Transitions._make(field[there] for field in rows))
    return concatenated(parts)
