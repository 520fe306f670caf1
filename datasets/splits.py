"""Splits: which stored qualities make up a task's data, and the relabeled set made of all tasks' rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from comrl.datasets.store import Dataset
from comrl.datasets.taskfile import QUALITIES, dense_reward
from comrl.datasets.transitions import Transitions
from comrl.envs.family import Array, TaskFamily, sparsify
from comrl.ground.discovery import by_name, declared, suggestion
from comrl.ground.errors import BadInput


@dataclass(frozen=True)
class Split:
    """A name for the qualities that a task's data are made of; `relabel` pools them over all tasks."""

    name: str
    label: str
    qualities: tuple[str, ...]
    relabel: bool = False
    """Every task gets one pool of all tasks' rows with its own rewards, and the family's relabel radius."""

    def __post_init__(self) -> None:
        """BadInput where it is made of what no task file holds."""
        if not self.qualities or not isinstance(self.qualities, tuple):
            raise BadInput(f"split {self.name!r} is made of {self.qualities!r}; give a tuple of qualities")
        for quality in self.qualities:
            if quality not in QUALITIES:
                near = suggestion(str(quality), QUALITIES)
                raise BadInput(f"split {self.name!r} is made of {quality!r}, which is no quality; {near}")

    def fits(self, family: TaskFamily) -> bool:
        """Whether the family has this split."""
        return not self.relabel or family.relabel_radius is not None

    def radius(self, family: TaskFamily) -> float | None:
        """The goal radius of the context's reward in this split."""
        return family.relabel_radius if self.relabel else family.radius


SPLITS = (
    Split("expert", "expert", ("expert",)),
    Split("medium", "medium", ("medium",)),
    Split("random", "random", ("random",)),
    Split("mixed", "mixed", QUALITIES),
    Split("relabeled", "relabeled", QUALITIES, relabel=True),  # [focalpp App. D.2]
)


@dataclass(frozen=True, eq=False)
class SplitData:
    """All tasks' transitions in memory, padded with zeros to the largest count."""

    transitions: Transitions  # [T, N, ...]
    count: NDArray[np.int64]  # [T]
    context_reward: NDArray[np.float32]  # [T, N]  sparsified
    radius: float | None


@cache
def splits() -> tuple[Split, ...]:
    """Every declared split."""
    return declared("comrl.datasets", "SPLITS")


def splits_of(family: TaskFamily) -> tuple[Split, ...]:
    """The splits that the family has."""
    return tuple(split for split in splits() if split.fits(family))


def splits_in(dataset: Dataset) -> tuple[Split, ...]:
    """The splits that can be made of a data set: some data hold fewer qualities."""
    held = set(dataset.qualities)
    return tuple(split for split in splits_of(dataset.family) if held.issuperset(split.qualities))


def refuse_lacking(dataset: Dataset, split: Split) -> None:
    """BadInput where the data cannot make the split."""
    known = [other.name for other in splits_in(dataset)]
    if split.name in known:
        return
    if not split.fits(dataset.family):
        raise BadInput(f"{dataset.family.name} has no {split.name} split; choose one of {', '.join(known)}")
    lacking = ", ".join(name for name in split.qualities if name not in dataset.qualities)
    choice = f"choose --split {' or '.join(known)}" if known else "add what is lacking"
    raise BadInput(
        f"{dataset.folder} holds no {lacking} data of every task, of which {split.name} is made; {choice}"
    )


def find_split(name: str, family: TaskFamily | None = None) -> Split:
    """The split of that name, of the family where one is given; BadInput with the nearest name."""
    if family is None:
        return by_name(splits(), name, "split")
    return by_name(splits_of(family), name, f"split of {family.name}")


def load_split(
    dataset: Dataset, split: Split, *, pool_per_task: int = 10_000, seed: int = 0, radius: float | None = None
) -> SplitData:
    """All tasks' data of a split; the seed draws the pool of a relabeled split and nothing else.

    A radius takes the place of the family's.
    """
    refuse_lacking(dataset, split)
    tasks = [_merge(dataset, task, split.qualities) for task in dataset.tasks]
    radius = split.radius(dataset.family) if radius is None else radius
    if not split.relabel:
        return as_split_data(tasks, radius)
    pool = draw_pool(tasks, pool_per_task, seed)
    rows = relabel(dataset.family, pool, dataset.task_set.params[:, None])  # [T, N, ...]
    return _with_context_reward(rows, np.full(len(tasks), pool.reward.size), radius)


def as_split_data(tasks: list[Transitions], radius: float | None) -> SplitData:
    """Rows of each task, in different numbers, as one."""
    return _with_context_reward(*_pad(tasks), radius)


def _with_context_reward(rows: Transitions, count: NDArray[np.int64], radius: float | None) -> SplitData:
    real = np.arange(rows.reward.shape[1]) < count[:, None]  # [T, N]
    context_reward = np.where(real, sparsify(rows.reward.astype(np.float64), radius), 0.0)
    return SplitData(rows, count, context_reward.astype(np.float32), radius)


def draw_pool(tasks: list[Transitions], size: int, seed: int) -> Transitions:
    """So many rows of all tasks, or all there are, without replacement.  T x [N_t, ...] -> [N, ...]."""
    rows = concatenated(tasks)
    total = rows.reward.size
    drawn = np.random.default_rng(seed).choice(total, size=min(size, total), replace=False)
    return Transitions._make(field[drawn] for field in rows)


def relabel(family: TaskFamily, rows: Transitions, params: Array) -> Transitions:
    """The same rows with the rewards of other tasks; axes broadcast.  [..., N, ...], params: [..., P]."""
    shape = np.broadcast_shapes(rows.reward.shape, params.shape[:-1])
    alike = (np.broadcast_to(field, shape + field.shape[rows.reward.ndim :]).copy() for field in rows)
    reward = np.broadcast_to(dense_reward(family, rows, params), shape).copy()
    return Transitions._make(alike)._replace(reward=reward)


def _merge(dataset: Dataset, task: int, qualities: tuple[str, ...]) -> Transitions:
    """A task's rows of several qualities, one after another."""
    stored = dataset.read_task(task).qualities
    return concatenated([stored[quality].transitions for quality in qualities])


def concatenated(parts: list[Transitions]) -> Transitions:
    """Rows one after another."""
    return Transitions._make(np.concatenate(field) for field in zip(*parts, strict=True))


def _pad(tasks: list[Transitions]) -> tuple[Transitions, NDArray[np.int64]]:
    """Rows of different counts stacked: T x [N_t, ...] -> [T, N, ...], [T]."""
    count = np.array([rows.reward.size for rows in tasks])
    fields = []
    for field in zip(*tasks, strict=True):
        padded = np.zeros((len(tasks), count.max(), *field[0].shape[1:]), dtype=field[0].dtype)
        for row, values in zip(padded, field, strict=True):
            row[: len(values)] = values
        fields.append(padded)
    return Transitions._make(fields), count
