"""Episodes kept for the report's film strips: what trained policies do in the two tasks farthest apart."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from comrl.algorithms.learner import State
from comrl.benchmark.training.evaluate import drawn_contexts, embed, policy
from comrl.benchmark.training.job import Job
from comrl.envs.rollout import Episodes, rollout
from comrl.ground.noise import Stream, derive_seed

FRAMES = 12


@torch.no_grad()
def film(state: State, job: Job) -> dict[str, NDArray]:
    """Observations of every seed's first test episode in the first and the last test task along the first
    parameter; nothing for families that cannot be drawn.
    """
    family, tasks, seeds = job.family, job.dataset.task_set, job.spec.seeds
    if family.film is None:
        return {}
    first = tasks.params[list(tasks.test), 0]
    shown = [int(np.argmin(first)), int(np.argmax(first))]  # places among the test tasks
    chosen = np.array(tasks.test)[shown]
    sampler = job.sampler(job.split)
    stream = Stream([derive_seed(seed, "test", job.split.name) for seed in seeds], sampler.packed.device)
    z = embed(state, *drawn_contexts(sampler, tasks.test, stream, state.training.test_context))[
        :, shown
    ]  # [S, 2, Z]
    starts = np.array([derive_seed(seed, "start", int(task), 0) for seed in seeds for task in chosen])
    params = np.tile(tasks.params[chosen], (len(seeds), 1))  # [S * 2, P]
    obs, steps = frames(rollout(family, params, policy(state, z), starts))
    return {
        "film_obs": obs.reshape(len(seeds), 2, FRAMES, -1),
        "film_steps": steps.reshape(len(seeds), 2, FRAMES),
        "film_tasks": np.tile(chosen, (len(seeds), 1)),
    }


def frames(episodes: Episodes) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """States at equal distances from the start to the fall or the horizon, and their steps.

    -> [N, F, O], [N, F].
    """
    length = episodes.valid.sum(-1)  # [N]
    row = np.arange(len(length))
    states = np.concatenate([episodes.obs, np.zeros_like(episodes.obs[:, :1])], 1)  # [N, H + 1, O]
    states[row, length] = episodes.next_obs[row, length - 1]
    last = length - ~np.isfinite(states[row, length]).all(-1)  # physics that diverged has no last picture
    steps = np.linspace(0, last, FRAMES, axis=-1).round().astype(np.int64)
    return states[row[:, None], steps].astype(np.float32), steps
