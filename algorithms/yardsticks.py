"""Yardsticks: the same control with the true task parameters in place of z, and with nothing in its place."""

from dataclasses import replace

from comrl.algorithms.encoders import TrueParams, Zeros
from comrl.algorithms.focal import FOCAL

ALGORITHMS = (
    replace(FOCAL, name="oracle", label="oracle", encoder=TrueParams(), task_loss=None, role="upper"),
    replace(FOCAL, name="blind", label="blind", encoder=Zeros(), task_loss=None, role="lower"),
)
