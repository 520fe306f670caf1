"""What a data set looks like, kept beside the results so that a report needs no data: `results/datasets/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comrl.benchmark.reporting.cards import PortraitCard, portrait_name
from comrl.benchmark.reporting.ledger import write_portrait
from comrl.datasets.cards import TaskSetCard
from comrl.datasets.cost import seconds_spent
from comrl.datasets.splits import Split, SplitData, load_split, splits_in
from comrl.datasets.store import Dataset
from comrl.datasets.taskfile import QUALITIES, StoredQuality, StoredTask
from comrl.envs.family import sparsify
from comrl.envs.rollout import best_possible
from comrl.ground.files import locked
from comrl.ground.reading import is_there

STATES = 200  # states kept a task and split
EXAMPLES = 5  # tasks of the relabelling picture


class Facts(NamedTuple):
    """What is told of one split."""

    most: int
    fewest: int
    """Transitions of a task."""
    radius: float | None
    rate: float | None
    """Share of transitions with a context reward; None where contexts are dense."""
    rate_at: tuple[tuple[float, float], ...]
    """Radius and share under other readings of the radius."""


def keep_portrait(dataset: Dataset, results: Path) -> None:
    """Write the data set's portrait unless it is there, after whoever else is writing one."""
    with locked(results / "datasets", wait=True):
        _keep(dataset, results)


def _keep(dataset: Dataset, results: Path) -> None:
    family, tasks = dataset.family, dataset.task_set
    if is_there(results / "datasets" / portrait_name(family.name, dataset.sha256)):
        return
    best = best_possible(family, tasks.params) or {}
    arrays: dict[str, NDArray] = {f"best_{name}": values for name, values in best.items()}
    if family.heading is not None:
        arrays["heading"] = np.array(family.heading(tasks.params))
    stored = [dataset.read_task(task) for task in dataset.tasks]
    arrays["checkpoint_steps"], arrays["checkpoint_returns"] = _learning_curves(stored)
    told = {}
    for split in splits_in(dataset):
        data = load_split(dataset, split)
        told[split.name] = _facts(dataset, split, data)
        if split.relabel and family.heading is not None:  # else no two numbers of an observation make a map
            arrays |= _pool(dataset, data)
    parts: dict[str, tuple[str, ...]] = {quality: (quality,) for quality in dataset.qualities}
    if dataset.qualities == QUALITIES:
        parts["mixed"] = QUALITIES
    for name, qualities in parts.items():
        arrays |= _behaviour(dataset, stored, name, qualities)
    write_portrait(results, _card(dataset, _most_episodes(stored), told), arrays)


def _card(dataset: Dataset, episodes: int, told: Mapping[str, Facts]) -> PortraitCard:
    """The portrait's card."""
    family = dataset.family
    return PortraitCard(
        env=family.name,
        env_label=family.label,
        sha256=dataset.sha256,
        preset=dataset.birth.preset,
        trainer=dataset.birth.trainer,
        settings=dataset.birth.settings,
        task_set=TaskSetCard.of(dataset.task_set),
        scores=tuple((score.name, score.label) for score in family.scores),
        generation_seconds=seconds_spent(dataset.folder),
        episodes=episodes,
        transitions={name: facts.most for name, facts in told.items()},
        fewest_transitions={name: facts.fewest for name, facts in told.items()},
        radius={name: facts.radius for name, facts in told.items() if facts.radius is not None},
        nonsparse_rate={name: facts.rate for name, facts in told.items() if facts.rate is not None},
        nonsparse_rate_at={name: facts.rate_at for name, facts in told.items() if facts.rate_at},
    )


def _facts(dataset: Dataset, split: Split, data: SplitData) -> Facts:
    """Counts and shares of one split."""
    real = np.arange(data.context_reward.shape[1]) < data.count[:, None]  # [T, N]
    rate = None if data.radius is None else float((data.context_reward[real] != 0).mean())
    dense = data.transitions.reward[real].astype(np.float64)
    others = () if split.relabel else dataset.family.other_radii
    rate_at = tuple((radius, float((sparsify(dense, radius) != 0).mean())) for radius in others)
    return Facts(int(data.count.max()), int(data.count.min()), data.radius, rate, rate_at)


def _behaviour(
    dataset: Dataset, stored: list[StoredTask], name: str, qualities: tuple[str, ...]
) -> dict[str, NDArray]:
    """Every episode's returns, and some states of every task on a map, of these qualities together."""
    parts = [[task.qualities[quality] for quality in qualities] for task in stored]
    arrays: dict[str, NDArray] = {}
    for score in dataset.family.scores:
        returns = [[_returns(score.of_reward(_dense(part)), part.lengths) for part in task] for task in parts]
        arrays[f"return_{name}_{score.name}"] = _padded([np.concatenate(task) for task in returns])
    if dataset.family.heading is None:
        return arrays
    draw = np.random.default_rng(0)
    states = [np.concatenate([part.transitions.next_obs[:, :2] for part in task]) for task in parts]
    arrays[f"states_{name}"] = np.stack(
        [draw.choice(rows, STATES, replace=len(rows) < STATES) for rows in states]
    )
    return arrays


def _dense(part: StoredQuality) -> NDArray[np.float64]:
    return part.transitions.reward.astype(np.float64)


def _padded(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rows of different lengths, nan behind the shorter ones.  T x [E_t] -> [T, E]."""
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def _learning_curves(stored: list[StoredTask]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The steps at which some agent was tested, and each agent's returns, nan where it was not.

    -> [C], [T, C].
    """
    steps = np.unique(np.concatenate([task.checkpoints.steps for task in stored]))
    returns = np.full((len(stored), len(steps)), np.nan)
    for row, task in zip(returns, stored, strict=True):
        row[np.searchsorted(steps, task.checkpoints.steps)] = task.checkpoints.deterministic
    return steps, returns


def _most_episodes(stored: list[StoredTask]) -> int:
    return max(len(part.lengths) for task in stored for part in task.qualities.values())


def _returns(reward: NDArray[np.float64], lengths: NDArray[np.int32]) -> NDArray[np.float64]:
    """Sums over consecutive episodes.  [N], [E] -> [E]."""
    return np.add.reduceat(reward, np.concatenate([[0], np.cumsum(lengths)[:-1]]))


def _pool(dataset: Dataset, data: SplitData) -> dict[str, NDArray]:
    """The relabeled split's pool, who is rewarded where, and which rows reward nobody."""
    tasks = dataset.tasks
    examples = np.linspace(0, len(tasks) - 1, EXAMPLES).round().astype(int)
    shown = slice(0, 20 * STATES)
    return {
        "pool_states": data.transitions.next_obs[0, shown, :2],
        "pool_absolute": (data.context_reward[:, shown] == 0).all(0),
        "pool_reward": data.context_reward[examples, shown],
        "pool_tasks": examples,
    }
