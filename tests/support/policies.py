"""Policies that know nothing of their task, and the seeds of worlds."""

from __future__ import annotations

import numpy as np

from comrl.envs import TaskFamily
from comrl.envs.rollout import Policy


def linear_policy(family: TaskFamily, seed: int, scale: float = 3.0) -> Policy:
    """A feedback law drawn from a seed, summed in order: a matrix product's last bits depend on its rows."""
    draw = np.random.default_rng(seed)
    gain = scale * draw.standard_normal((family.body_dim, family.action_dim))
    bias = draw.uniform(-1.0, 1.0, family.action_dim)
    return lambda obs: np.clip(sum((obs[:, [i]] * gain[i] for i in range(len(gain))), bias), -1.0, 1.0)


def noisy_policy(family: TaskFamily, seed: int) -> Policy:
    """Uniformly random actions."""
    draw = np.random.default_rng(seed)
    return lambda obs: draw.uniform(-1.0, 1.0, (len(obs), family.action_dim))


def seeds(rows: int) -> np.ndarray:
    """One a world: [N]."""
    return np.arange(rows, dtype=np.int64)
