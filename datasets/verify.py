"""Look a data set over, file by file: checksums, schema, episode lengths, action bounds, and every reward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from comrl.datasets.manifest import task_file
from comrl.datasets.store import Dataset
from comrl.datasets.taskfile import FIELDS, StoredEpisodes, StoredQuality, dense_reward
from comrl.envs.family import Array, TaskFamily
from comrl.ground.errors import BadInput


def verify(dataset: Dataset) -> list[dict[str, Any]]:
    """A row for every task file: what it holds and, one sentence each, what is wrong with it."""
    return [_verify_task(dataset, task) for task in dataset.tasks]


def _verify_task(dataset: Dataset, task: int) -> dict[str, Any]:
    path, held_out = task_file(dataset.folder, task), task in dataset.task_set.test
    row = {"file": path.name, "task": task, "set": "test" if held_out else "train"}
    try:
        qualities = dataset.read_task(task).qualities
    except BadInput as error:
        return row | {"episodes": 0, "transitions": 0, "problems": [str(error)]}
    return row | {
        "episodes": sum(quality.lengths.size for quality in qualities.values()),
        "transitions": sum(quality.transitions.reward.size for quality in qualities.values()),
        "problems": [
            f"{path}: the {text} ({name} data); {dataset.remedy}"
            for name, quality in qualities.items()
            for text in _problems_of(dataset, task, quality)
        ],
    }


def _problems_of(dataset: Dataset, task: int, quality: StoredQuality) -> Iterator[str]:
    """What is wrong with one quality, the visits to other tasks included."""
    params, own = dataset.task_set.params, StoredEpisodes(quality.transitions, quality.lengths)
    yield from _problems(dataset.family, own, params[[task]])
    if quality.visits is not None:
        hosts, episodes = quality.visits
        if not {*hosts.tolist()} <= {*dataset.task_set.test}:
            yield "tasks of the visits are not all test tasks"
        else:
            yield from (f"visits' {text}" for text in _problems(dataset.family, episodes, params[hosts]))


def _problems(family: TaskFamily, episodes: StoredEpisodes, params: Array) -> Iterator[str]:
    """What is wrong with the values of some episodes, whose form was checked as they were read.

    params: [E, P], or [1, P] of one task.
    """
    rows, lengths = episodes
    for field, values in rows._asdict().items():
        if not np.isfinite(values).all():
            yield f"{FIELDS[field]} are not all finite"
    if np.abs(rows.action).max() > 1.0:
        yield f"actions reach {np.abs(rows.action).max():.3f}, outside of [-1, 1]"
    each = params if len(params) == 1 else np.repeat(params, lengths, 0)  # [N, P] or [1, P]
    wrong = np.count_nonzero(dense_reward(family, rows, each) != rows.reward)
    if wrong:
        yield f"rewards are not those of {family.name} in {wrong} of {rows.reward.size} rows"
