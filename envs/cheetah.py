"""Half-cheetahs: run forwards or backwards, or at a speed that the task asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from comrl.envs.camera import filmed
from comrl.envs.family import DENSE, Array, TaskFamily
from comrl.envs.physics import Body, Physics, model_sha256

CHEETAH = Body(
    asset="half_cheetah.xml",
    timestep=0.01,
    frame_skip=5,
    root=1,
    reset_qpos=0.1,
    reset_qvel=lambda draw, nv: 0.1 * draw.standard_normal(nv),
)
TOP_SPEED = 3.0  # [focalpp App. D.1]; m/s


def speed(obs: Array, next_obs: Array) -> Array:
    """Metres a second along the track.  [..., O], [..., O] -> [...]."""
    return (next_obs[..., -1] - obs[..., -1]) / CHEETAH.dt


def effort(action: Array) -> Array:
    """What an action costs.  [..., A] -> [...]."""
    return 0.05 * np.square(action).sum(-1)


def direction_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Speed in the task's direction, less the effort."""
    return params[..., 0] * speed(obs, next_obs) - effort(action)


def speed_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Minus the distance from the task's speed, less the effort."""
    return -np.abs(speed(obs, next_obs) - params[..., 0]) - effort(action)


def uniform_speeds(tasks: int) -> Array:
    """The first speeds from the legacy generator with seed 1337, as in the authors' code: [T, 1]."""
    return np.random.RandomState(1337).uniform(0.0, TOP_SPEED, (tasks, 1))


SPARSE_VELOCITY = TaskFamily(
    name="sparse-cheetah-vel",
    label="Sparse-Cheetah-Vel",
    obs_dim=18,  # 8 positions, 9 velocities, the root's position
    action_dim=6,
    horizon=200,
    param_names=("speed",),
    train_tasks=80,
    test_tasks=20,
    sample_params=lambda: uniform_speeds(100),
    simulator=lambda params: Physics(CHEETAH, len(params)),
    reward=speed_reward,
    scores=(DENSE,),
    position_dim=1,
    radius=-0.1,  # [focalpp Table 5]
    film=filmed(CHEETAH),
    model_sha256=lambda: model_sha256(CHEETAH),
)

SPARSE_DIRECTION = replace(
    SPARSE_VELOCITY,
    name="sparse-cheetah-dir",
    label="Sparse-Cheetah-Fwd-Back",
    param_names=("direction",),
    train_tasks=2,
    test_tasks=2,
    held_out=False,
    sample_params=lambda: np.array([[-1.0], [1.0]]),
    reward=direction_reward,
    radius=6.0,  # [focalpp Table 5]
    other_radii=(0.5,),  # the authors' code
)

FAMILIES = (
    SPARSE_VELOCITY,
    SPARSE_DIRECTION,
    replace(
        SPARSE_VELOCITY,
        name="cheetah-vel",
        label="Cheetah-Vel",
        train_tasks=20,
        test_tasks=20,
        sample_params=lambda: uniform_speeds(40),
        radius=None,
    ),
    replace(SPARSE_DIRECTION, name="cheetah-dir", label="Cheetah-Dir", radius=None, other_radii=()),
)
