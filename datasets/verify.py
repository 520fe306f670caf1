"""Look a data set over, file by file: checksums, schema, episode lengths, action bounds, and every reward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from comrl.datasets.store import FIELDS, Dataset, StoredQuality, dense_reward, task_file
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
    params = dataset.task_set.params[task]
    return row | {
        "episodes": sum(quality.lengths.size for quality in qualities.values()),
        "transitions": sum(quality.transitions.reward.size for quality in qualities.values()),
        "problems": [
            f"{path}: the {text} ({name} data); {dataset.remedy}"
            for name, quality in qualities.items()
            for text in _problems(dataset.family, quality, params)
        ],
    }


def _problems(family: TaskFamily, quality: StoredQuality, params: Array) -> Iterator[str]:
    """What is wrong with the rows of one quality; params: [P]."""
    rows, lengths = quality.transitions, quality.lengths
    widths = {"obs": (family.obs_dim,), "action": (family.action_dim,), "next_obs": (family.obs_dim,)}
    count = rows.reward.size
    for field, values in rows._asdict().items():
        shape, dtype = (count, *widths.get(field, ())), "bool" if field == "terminated" else "float32"
        if values.shape != shape or values.dtype != dtype:
            yield f"{FIELDS[field]} are {values.dtype} {values.shape} where {dtype} {shape} belong"
            return
        if not np.isfinite(values).all():
            yield f"{FIELDS[field]} are not all finite"
    if lengths.sum() != count or lengths.min() < 1 or lengths.max() > family.horizon:
        yield f"episode lengths, {lengths.min()} to {lengths.max()}, sum to {lengths.sum()} of {count} rows"
    if np.abs(rows.action).max() > 1.0:
        yield f"actions reach {np.abs(rows.action).max():.3f}, outside of [-1, 1]"
    wrong = np.count_nonzero(dense_reward(family, rows, params) != rows.reward)
    if wrong:
        yield f"rewards are not those of {family.name} in {wrong} of {count} rows"
