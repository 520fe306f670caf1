"""Walkers whose bodies differ: masses, inertias, friction and damping are drawn for every task."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from comrl.envs.camera import filmed
from comrl.envs.family import DENSE, Array, TaskFamily
from comrl.envs.physics import Body, Physics, compiled, model_sha256

HEIGHT = (0.8, 2.0)  # metres of the torso, and its largest lean in radians, while it stands
LEAN = 1.0
SPREAD = 3.0  # exponents are uniform on [-SPREAD, SPREAD]
TASK_SEED = 1337
BASES = {"body_mass": 1.5, "body_inertia": 1.5, "geom_friction": 1.5, "dof_damping": 1.3}
"""A task multiplies every number of these model fields by its base to the power of an exponent of its own."""


def fell(obs: Array) -> NDArray[np.bool_]:
    """Whether the torso is too low, too high or leans too far."""
    height, lean = obs[:, 0], obs[:, 1]
    return ~((height > HEIGHT[0]) & (height < HEIGHT[1]) & (np.abs(lean) < LEAN))


WALKER = Body(
    asset="walker2d.xml",
    timestep=0.004,  # departs from gymnasium's 0.002, as the authors' model does
    frame_skip=4,
    root=1,
    reset_qpos=0.005,
    reset_qvel=lambda draw, nv: draw.uniform(-0.005, 0.005, nv),
    fell=fell,
    clip_qvel=10.0,
)


def shapes() -> dict[str, tuple[int, ...]]:
    """The model fields that tasks change, and their shapes."""
    model = compiled(WALKER)[0]
    return {name: getattr(model, name).shape for name in BASES}


def exponent_names() -> tuple[str, ...]:
    """One name an exponent: `body_mass thigh`, `geom_friction floor 0`, in the order of the parameters."""
    model, names = compiled(WALKER)[0], []
    kinds = {
        "body_mass": mujoco.mjtObj.mjOBJ_BODY,
        "body_inertia": mujoco.mjtObj.mjOBJ_BODY,
        "geom_friction": mujoco.mjtObj.mjOBJ_GEOM,
        "dof_damping": mujoco.mjtObj.mjOBJ_JOINT,
    }
    for field, (count, *inner) in shapes().items():
        for index in range(count):
            name = mujoco.mj_id2name(model, kinds[field], index)
            names += [f"{field} {name}"] if not inner else [f"{field} {name} {i}" for i in range(inner[0])]
    return tuple(names)


def sampled_exponents() -> Array:
    """25 tasks with a stored seed, where the authors' code draws anew in every run: [25, P]."""
    count = sum(int(np.prod(shape)) for shape in shapes().values())
    return np.random.default_rng(TASK_SEED).uniform(-SPREAD, SPREAD, (25, count))


def model_fields(params: Array) -> dict[str, Array]:
    """Every world's own values of the model fields.  [N, P] -> {field: [N, ...]}.

    Multipliers are rounded to single precision: processors differ in the last digits of a double's power.
    """
    model, fields, start = compiled(WALKER)[0], {}, 0
    for name, shape in shapes().items():
        stop = start + int(np.prod(shape))
        factor = (BASES[name] ** params[:, start:stop]).astype(np.float32).astype(np.float64)
        fields[name] = getattr(model, name) * factor.reshape(-1, *shape)
        start = stop
    return fields


def walking_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Speed and one for standing, less the effort; tasks act through the dynamics alone."""
    speed = (next_obs[..., -1] - obs[..., -1]) / WALKER.dt
    return (
        speed + 1.0 - 1e-3 * np.square(action).sum(-1) + 0.0 * params[..., 0]
    )  # params only lend their shape


FAMILIES = (
    TaskFamily(
        name="walker-2d-params",
        label="Walker-2D-Params",
        obs_dim=18,  # 8 positions, 9 velocities, the root's position
        action_dim=6,
        horizon=200,
        param_names=exponent_names(),
        train_tasks=20,
        test_tasks=5,
        sample_params=sampled_exponents,
        simulator=lambda params: Physics(WALKER, len(params), model_fields(params)),
        reward=walking_reward,
        scores=(DENSE,),
        position_dim=1,
        dynamics_differ=True,
        film=filmed(WALKER),
        model_sha256=lambda: model_sha256(WALKER),
    ),
)
