"""A point on a line that must find its goal; the family brings its own values for a preset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import Array, Score, TaskFamily


class Line:
    """N points on a line, [N, 1]."""

    def __init__(self, params: Array) -> None:
        self.where = np.zeros((len(params), 1))

    def reset(self, seeds: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Array:
        """Start near the origin; world n draws from its own seed."""
        starts = np.stack([np.random.default_rng(seed).normal(0.0, 0.02, 1) for seed in seeds])
        self.where = starts if which is None else np.where(which[:, None], starts, self.where)
        return self.where

    def step(self, action: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Move; a point never falls."""
        self.where = self.where + 0.2 * np.clip(action, -1.0, 1.0)
        return self.where, np.zeros(len(self.where), dtype=bool)


def reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Minus the distance of the new position from the goal."""
    return -np.abs(next_obs[..., 0] - params[..., 0])


FAMILIES = (
    TaskFamily(
        name="outside-line",
        label="Outside-Line",
        obs_dim=1,
        action_dim=1,
        horizon=12,
        param_names=("goal",),
        train_tasks=6,
        test_tasks=2,
        sample_params=lambda: np.linspace(-1.0, 1.0, 8)[:, None],
        simulator=Line,
        reward=reward,
        scores=(Score("dense", "dense return", lambda reward: reward),),
        radius=-0.3,
        relabel_radius=-0.5,
        presets={
            "smoke": {
                "behaviour": {"steps": 80, "block": 8},
                "training": {"discount": 0.5, "meta_batch": 3},
                "parts": {"MeanPool": {"latent": 2}, "OnlineSac": {"width": 8}},
            }
        },
    ),
)
