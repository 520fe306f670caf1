"""MuJoCo, imported so that bodies can be simulated whatever the user's surroundings say of graphics."""

from __future__ import annotations

import importlib
import os
from typing import Any

from comrl.ground.surroundings import environment

CHOICE = "MUJOCO_GL"
"""The environment variable that chooses with what MuJoCo draws; it is read as MuJoCo is imported."""


def imported() -> tuple[Any, str]:
    """MuJoCo, and why it cannot draw with what the user chose: nothing where it can."""
    try:
        return importlib.import_module("mujoco"), ""
    except Exception as error:  # every back end fails in a way of its own
        if not os.environ.get(CHOICE):
            raise
        why = f"{CHOICE}={os.environ[CHOICE]}: {error}"
    with environment(CHOICE, "disable"):
        return importlib.import_module("mujoco"), why


mujoco, no_drawing = imported()
Batch = importlib.import_module("mujoco.batch").Batch
