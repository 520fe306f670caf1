"""Bodies that differ from task to task: masses, inertias, friction and damping are drawn for every task."""

from __future__ import annotations

import numpy as np

from comrl.envs.camera import filmed
from comrl.envs.engine import mujoco
from comrl.envs.family import DENSE, Array, TaskFamily
from comrl.envs.physics import Body, Physics, compiled, model_sha256

SPREAD = 3.0  # exponents are uniform on [-SPREAD, SPREAD]
TASK_SEED = 1337
BASES = {"body_mass": 1.5, "body_inertia": 1.5, "geom_friction": 1.5, "dof_damping": 1.3}
"""A task multiplies every number of these model fields by its base to the power of an exponent of its own."""
KINDS = {
    "body_mass": mujoco.mjtObj.mjOBJ_BODY,
    "body_inertia": mujoco.mjtObj.mjOBJ_BODY,
    "geom_friction": mujoco.mjtObj.mjOBJ_GEOM,
    "dof_damping": mujoco.mjtObj.mjOBJ_JOINT,
}
"""What a row of each field belongs to."""


def shapes(body: Body) -> dict[str, tuple[int, ...]]:
    """The model fields that tasks change, and their shapes."""
    model = compiled(body)[0]
    return {name: getattr(model, name).shape for name in BASES}


def exponent_names(body: Body) -> tuple[str, ...]:
    """One name an exponent: `body_mass thigh`, `geom_friction floor 0`, in the order of the parameters."""
    model, names = compiled(body)[0], []
    for field, (count, *inner) in shapes(body).items():
        for index in range(count):
            name = mujoco.mj_id2name(model, KINDS[field], index)
            names += [f"{field} {name}"] if not inner else [f"{field} {name} {i}" for i in range(inner[0])]
    return tuple(names)


def sampled_exponents(body: Body, tasks: int) -> Array:
    """The tasks, drawn with a stored seed where the authors' code draws anew in every run: [T, P]."""
    count = sum(int(np.prod(shape)) for shape in shapes(body).values())
    return np.random.default_rng(TASK_SEED).uniform(-SPREAD, SPREAD, (tasks, count))


def model_fields(body: Body, params: Array) -> dict[str, Array]:
    """Every world's own values of the model fields.  [N, P] -> {field: [N, ...]}.

    Multipliers are rounded to single precision: processors differ in the last digits of a double's power.
    """
    model, fields, start = compiled(body)[0], {}, 0
    for name, shape in shapes(body).items():
        stop = start + int(np.prod(shape))
        factor = (BASES[name] ** params[:, start:stop]).astype(np.float32).astype(np.float64)
        fields[name] = getattr(model, name) * factor.reshape(-1, *shape)
        start = stop
    return fields


def randomised(body: Body, *, name: str, label: str, train_tasks: int, test_tasks: int) -> TaskFamily:
    """A family of bodies that are paid for speed and for standing; tasks act through the dynamics alone."""
    model = compiled(body)[0]

    def reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
        speed = (next_obs[..., -1] - obs[..., -1]) / body.dt
        effort = 1e-3 * np.square(action).sum(-1)
        return speed + 1.0 - effort + 0.0 * params[..., 0]  # params only lend their shape

    return TaskFamily(
        name=name,
        label=label,
        obs_dim=model.nq + model.nv,  # positions without the root's, velocities, the root's position
        action_dim=model.nu,
        horizon=200,
        param_names=exponent_names(body),
        train_tasks=train_tasks,
        test_tasks=test_tasks,
        sample_params=lambda: sampled_exponents(body, train_tasks + test_tasks),
        simulator=lambda params: Physics(body, len(params), model_fields(body, params)),
        reward=reward,
        scores=(DENSE,),
        position_dim=body.root,
        dynamics_differ=True,
        film=filmed(body),
        model_sha256=lambda: model_sha256(body),
    )
