"""MuJoCo as this package imports it: whatever a user chose to draw with, bodies can be simulated."""

from __future__ import annotations

import importlib
import os
from typing import Any

CHOICE = "MUJOCO_GL"
"""The environment variable that chooses with what MuJoCo draws; it is read as MuJoCo is imported."""


def imported() -> tuple[Any, str]:
    """MuJoCo, and why it cannot draw with what the user chose: nothing where it can."""
    try:
        return importlib.import_module("mujoco"), ""
    except Exception as error:  # every back end fails in a way of its own
        chosen = os.environ.get(CHOICE)
        if chosen is None:
            raise
        why = f"{CHOICE}={chosen}: {error}"
    os.environ[CHOICE] = "disable"
    try:
        return importlib.import_module("mujoco"), why
    finally:
        os.environ[CHOICE] = chosen


mujoco, no_drawing = imported()
Batch = importlib.import_module("mujoco.batch").Batch
