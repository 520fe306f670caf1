"""Simulated bodies as a plain loop, one mujoco.MjData a world: the authors' observations, rewards, falls.

Nothing is shared with the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

Vector = Sequence[float]
ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
BODIES = {
    "sparse-cheetah-dir": ("half_cheetah.xml", 0.01, 5),
    "sparse-cheetah-vel": ("half_cheetah.xml", 0.01, 5),
    "sparse-ant-dir": ("ant.xml", 0.01, 5),
    "walker-2d-params": ("walker2d.xml", 0.004, 4),
    "cheetah-dir": ("half_cheetah.xml", 0.01, 5),
    "cheetah-vel": ("half_cheetah.xml", 0.01, 5),
    "ant-dir": ("ant.xml", 0.01, 5),
    "hopper-params": ("hopper.xml", 0.004, 4),
}
RANDOM = ("walker-2d-params", "hopper-params")
RANDOM_FIELDS = (("body_mass", 1.5), ("body_inertia", 1.5), ("geom_friction", 1.5), ("dof_damping", 1.3))


class World:
    """One task of a body: the model is read anew, and the fields of a random body are written into it."""

    def __init__(self, family: str, task: Vector) -> None:
        asset, step, self.frames = BODIES[family]
        self.family, self.task, self.dt = family, task, step * self.frames
        self.model = mujoco.MjModel.from_xml_path(str(ASSETS / asset))
        self.model.opt.timestep = step
        if family in RANDOM:
            at = 0
            for name, base in RANDOM_FIELDS:
                field = getattr(self.model, name)
                field *= np.float32(base ** np.array(task[at : at + field.size])).reshape(field.shape)
                at += field.size
            assert at == len(task)
        self.data = mujoco.MjData(self.model)

    def reset(self, seed: int) -> list[float]:
        mujoco.mj_resetData(self.model, self.data)
        draw = np.random.default_rng(seed)
        if self.family in RANDOM:
            self.data.qpos += draw.uniform(-0.005, 0.005, self.model.nq)
            self.data.qvel += draw.uniform(-0.005, 0.005, self.model.nv)
        else:
            self.data.qpos += draw.uniform(-0.1, 0.1, self.model.nq)
            self.data.qvel += 0.1 * draw.standard_normal(self.model.nv)
        return self.observe()

    def observe(self) -> list[float]:
        qpos, qvel = self.data.qpos.tolist(), self.data.qvel.tolist()
        if self.family in ("sparse-ant-dir", "ant-dir"):
            return qpos[2:] + qvel + qpos[:2]
        if self.family in RANDOM:
            return qpos[1:] + [min(max(v, -10.0), 10.0) for v in qvel] + qpos[:1]
        return qpos[1:] + qvel + qpos[:1]

    def step(self, action: Vector) -> tuple[list[float], float, bool]:
        """Observation, dense reward, fall."""
        x, y = float(self.data.qpos[0]), float(self.data.qpos[1])
        control = [min(max(float(a), -1.0), 1.0) for a in action]
        self.data.ctrl[:] = control
        for _ in range(self.frames):
            mujoco.mj_step(self.model, self.data)
        vx, vy = (float(self.data.qpos[0]) - x) / self.dt, (float(self.data.qpos[1]) - y) / self.dt
        effort = sum(a * a for a in control)
        height, lean = float(self.data.qpos[1]), float(self.data.qpos[2])
        if self.family in ("sparse-cheetah-dir", "cheetah-dir"):
            return self.observe(), self.task[0] * vx - 0.05 * effort, False
        if self.family in ("sparse-cheetah-vel", "cheetah-vel"):
            return self.observe(), -abs(vx - self.task[0]) - 0.05 * effort, False
        if self.family in ("sparse-ant-dir", "ant-dir"):
            towards = (*self.task, 0.0)  # forwards and backwards are along x
            reward = vx * towards[0] + vy * towards[1] - 0.5 * effort + 1.0
            return self.observe(), reward, not 0.2 <= float(self.data.qpos[2]) <= 1.0
        fallen = not (0.8 < height < 2.0 and abs(lean) < 1.0)
        if self.family == "hopper-params":
            fallen = not (height > 0.7 and abs(lean) < 0.2)
        return self.observe(), vx + 1.0 - 1e-3 * effort, fallen
