"""Ants: run forwards or backwards without turning over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comrl.envs.camera import filmed
from comrl.envs.family import DENSE, Array, TaskFamily
from comrl.envs.physics import Body, Physics, model_sha256

HEIGHT = (0.2, 1.0)  # metres of the torso while it stands


def fell(obs: Array) -> NDArray[np.bool_]:
    """Whether the torso, the first number observed, is too low or too high."""
    return ~((obs[:, 0] >= HEIGHT[0]) & (obs[:, 0] <= HEIGHT[1]))


ANT = Body(
    asset="ant.xml",
    timestep=0.01,
    frame_skip=5,
    root=2,
    reset_qpos=0.1,
    reset_qvel=lambda draw, nv: 0.1 * draw.standard_normal(nv),
    fell=fell,
)


def direction_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Speed in the task's direction and one for standing, less the effort.

    The authors' contact cost is zero in their physics, which never computes contact forces; so it is here.
    """
    speed = (next_obs[..., -2] - obs[..., -2]) / ANT.dt
    return params[..., 0] * speed - 0.5 * np.square(action).sum(-1) + 1.0


FAMILIES = (
    TaskFamily(
        name="sparse-ant-dir",
        label="Sparse-Ant-Fwd-Back",
        obs_dim=29,  # 13 positions, 14 velocities, the root's position
        action_dim=8,
        horizon=200,
        param_names=("direction",),
        train_tasks=2,
        test_tasks=2,
        held_out=False,
        sample_params=lambda: np.array([[-1.0], [1.0]]),
        simulator=lambda params: Physics(ANT, len(params)),
        reward=direction_reward,
        scores=(DENSE,),
        position_dim=2,
        radius=3.0,  # [focalpp Table 5]
        film=filmed(ANT),
        model_sha256=lambda: model_sha256(ANT),
    ),
)
