"""Walkers whose bodies differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import Array
from comrl.envs.physics import Body
from comrl.envs.randomised import randomised

HEIGHT = (0.8, 2.0)  # metres of the torso, and its largest lean in radians, while it stands
LEAN = 1.0


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

FAMILIES = (
    randomised(WALKER, name="walker-2d-params", label="Walker-2D-Params", train_tasks=20, test_tasks=5),
)
