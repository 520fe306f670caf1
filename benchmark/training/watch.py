"""A run's policies at work in chosen tasks: every state of the first episode of a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from comrl.benchmark.training.evaluate import play
from comrl.benchmark.training.run import job_of, trained
from comrl.envs.family import Array, TaskFamily
from comrl.envs.rollout import Episodes
from comrl.ground.errors import BadInput


class Watched(NamedTuple):
    """One episode of one seed's policy."""

    family: TaskFamily
    task: int
    params: Array  # [P]
    seed: int
    obs: NDArray[np.float64]  # [F, O]  from the start to the fall or the horizon
    score: float
    """Its headline score."""


def watch(
    path: Path, data: Path, device: torch.device, tasks: Sequence[int], seed: int | None = None
) -> list[Watched]:
    """An episode of a run's seed (the first, where none is given) in each task, with an offline context.

    Episodes in test tasks are those by which the run was tested.  BadInput names an unknown task or seed.
    """
    state, job = trained(path, job_of(path, data, device, context="offline"))
    known, seeds = job.dataset.task_set, job.spec.seeds
    chosen = seeds[0] if seed is None else seed
    if chosen not in seeds:
        raise BadInput(f"{path.name} has no seed {chosen}; it has {', '.join(map(str, seeds))}")
    if unknown := sorted(set(tasks) - set(job.dataset.tasks)):
        raise BadInput(f"there is no task {unknown[0]}; tasks go from 0 to {len(known.params) - 1}")
    found = {}
    for group in (known.test, tuple(task for task in known.train if task not in known.test)):
        if not set(group) & set(tasks):
            continue
        shown, split = replace(known, test=group), job.split
        table, played = play(state, seeds, job.sampler(split), job.family, shown, split.name)
        first = table[(table["seed"] == chosen) & (table["episode"] == 0)]
        scores = played.score(job.family.scores[0].of_reward)
        for row, task in zip(first.index, first["task"], strict=True):
            own = (task, known.params[task], chosen, _states(played, row), float(scores[row]))
            found[task] = Watched(job.family, *own)
    return [found[task] for task in tasks]


def _states(played: Episodes, row: int) -> NDArray[np.float64]:
    """What was observed before each step of an episode, and after the last.  [N, H, O] -> [F, O]."""
    length = int(played.valid[row].sum())
    return np.concatenate([played.obs[row, :length], played.next_obs[row, length - 1 : length]])
