"""Ants: run in the task's direction without turning over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comrl.envs.camera import filmed
from comrl.envs.family import DENSE, Array, TaskFamily
from comrl.envs.physics import Body, Physics, model_sha256

HEIGHT = (0.2, 1.0)  # metres of the torso while it stands
TASK_SEED = 1337


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


def paid(speed: Array, action: Array) -> Array:
    """Speed in the task's direction and one for standing, less the effort.  [...], [..., A] -> [...].

    The authors' contact cost is zero in their physics, which never computes contact forces; so it is here.
    """
    return speed - 0.5 * np.square(action).sum(-1) + 1.0


def velocity(obs: Array, next_obs: Array) -> Array:
    """Metres a second along x and y.  [..., O], [..., O] -> [..., 2]."""
    return (next_obs[..., -2:] - obs[..., -2:]) / ANT.dt


def fwd_back_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """The task's sign is its direction along x."""
    return paid(params[..., 0] * velocity(obs, next_obs)[..., 0], action)


def direction_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """The task's unit vector is its direction."""
    moved = velocity(obs, next_obs)
    return paid(params[..., 0] * moved[..., 0] + params[..., 1] * moved[..., 1], action)


def uniform_directions() -> Array:
    """40 unit vectors, uniform on the circle with a stored seed: [40, 2].

    They are rounded to single precision: processors differ in the last digits of a double's sine.
    """
    angle = np.random.default_rng(TASK_SEED).uniform(0.0, 2 * np.pi, 40)
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32).astype(np.float64)


FWD_BACK = TaskFamily(
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
    reward=fwd_back_reward,
    scores=(DENSE,),
    position_dim=2,
    radius=3.0,  # [focalpp Table 5]
    film=filmed(ANT),
    model_sha256=lambda: model_sha256(ANT),
)

FAMILIES = (
    FWD_BACK,
    replace(
        FWD_BACK,
        name="ant-dir",
        label="Ant-Dir",
        param_names=("direction_x", "direction_y"),
        train_tasks=20,
        test_tasks=20,
        held_out=True,
        sample_params=uniform_directions,
        reward=direction_reward,
        radius=None,
    ),
)
