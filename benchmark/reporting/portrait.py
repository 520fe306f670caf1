"""What a data set looks like, kept beside the results so that a report needs no data: `results/datasets/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comrl.benchmark.reporting.ledger import portrait_name, write_portrait
from comrl.datasets.splits import SplitData, load_split, splits_of
from comrl.datasets.store import QUALITIES, Dataset, StoredTask
from comrl.envs.family import sparsify
from comrl.envs.rollout import best_possible
from comrl.ground.files import locked

STATES = 200  # states kept a task and split
EXAMPLES = 5  # tasks of the relabelling picture


def keep_portrait(dataset: Dataset, results: Path) -> None:
    """Write the data set's portrait unless it is there, after whoever else is writing one."""
    with locked(results / "datasets", wait=True):
        _keep(dataset, results)


def _keep(dataset: Dataset, results: Path) -> None:
    family, tasks = dataset.family, dataset.task_set
    cost = json.loads((dataset.folder / "cost.json").read_text())
    info: dict[str, Any] = {
        "env": family.name,
        "env_label": family.label,
        "sha256": dataset.sha256,
        "preset": dataset.birth.preset,
        "trainer": dataset.birth.trainer,
        "settings": dataset.birth.settings,
        "task_set": {
            "seed": tasks.seed,
            "train": tasks.train,
            "test": tasks.test,
            "params": tasks.params.tolist(),
        },
        "scores": [[score.name, score.label] for score in family.scores],
        "generation_seconds": cost["seconds"],
    }
    if (results / "datasets" / portrait_name(info)).exists():
        return
    best = best_possible(family, tasks.params) or {}
    arrays: dict[str, NDArray] = {f"best_{name}": values for name, values in best.items()}
    if family.heading is not None:
        arrays["heading"] = np.array(family.heading(tasks.params))
    stored = [dataset.read_task(task) for task in dataset.tasks]
    arrays["checkpoint_steps"] = stored[0].checkpoints.steps
    arrays["checkpoint_returns"] = np.stack([task.checkpoints.deterministic for task in stored])  # [T, C]
    info["episodes"] = len(stored[0].qualities["expert"].lengths)
    info |= {"transitions": {}, "fewest_transitions": {}, "radius": {}, "nonsparse_rate": {}}
    info["nonsparse_rate_at"] = {}
    for split in splits_of(family):
        data = load_split(dataset, split)
        real = np.arange(data.context_reward.shape[1]) < data.count[:, None]  # [T, N]
        info["transitions"][split.name] = int(data.count.max())
        info["fewest_transitions"][split.name] = int(data.count.min())
        if data.radius is not None:
            info["radius"][split.name] = data.radius
            info["nonsparse_rate"][split.name] = float((data.context_reward[real] != 0).mean())
        if not split.relabel:
            for radius in family.other_radii:
                rate = float((sparsify(data.transitions.reward[real].astype(np.float64), radius) != 0).mean())
                info["nonsparse_rate_at"].setdefault(split.name, []).append([radius, rate])
        if split.relabel and family.heading is not None:  # else no two numbers of an observation make a map
            arrays |= _pool(dataset, data)
    for name, qualities in [(quality, (quality,)) for quality in QUALITIES] + [("mixed", QUALITIES)]:
        arrays |= _behaviour(dataset, stored, name, qualities)
    write_portrait(results, info, arrays)


def _behaviour(
    dataset: Dataset, stored: list[StoredTask], name: str, qualities: tuple[str, ...]
) -> dict[str, NDArray]:
    """Every episode's returns, and some states of every task on a map, of these qualities together."""
    parts = [[task.qualities[quality] for quality in qualities] for task in stored]
    arrays: dict[str, NDArray] = {}
    for score in dataset.family.scores:
        arrays[f"return_{name}_{score.name}"] = np.stack(
            [
                np.concatenate(
                    [
                        _returns(score.of_reward(p.transitions.reward.astype(np.float64)), p.lengths)
                        for p in task
                    ]
                )
                for task in parts
            ]
        )  # [T, E]
    if dataset.family.heading is None:
        return arrays
    draw = np.random.default_rng(0)
    states = [np.concatenate([part.transitions.next_obs[:, :2] for part in task]) for task in parts]
    arrays[f"states_{name}"] = np.stack(
        [draw.choice(rows, STATES, replace=len(rows) < STATES) for rows in states]
    )
    return arrays


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
