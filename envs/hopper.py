"""Hoppers whose bodies differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import Array
from comrl.envs.randomised import randomised
from comrl.envs.walker import WALKER

HEIGHT = 0.7  # metres of the torso, at least, and its largest lean in radians, while it stands
LEAN = 0.2


def fell(obs: Array) -> NDArray[np.bool_]:
    """Whether the torso is too low or leans too far."""
    return ~((obs[:, 0] > HEIGHT) & (np.abs(obs[:, 1]) < LEAN))


HOPPER = replace(WALKER, asset="hopper.xml", fell=fell)  # the field's model has the walker's time step too

FAMILIES = (randomised(HOPPER, name="hopper-params", label="Hopper-Params", train_tasks=20, test_tasks=20),)
