"""Yardsticks: the same control with the true task parameters in place of z, and with nothing in its place."""

from dataclasses import replace

from algorithms.encoders import TrueParams, Zeros
from algorithms.focal import FOCAL

ALGORITHMS = (
    replace(FOCAL, name="oracle", label="oracle", encoder=TrueParams(), task_loss=None, role="upper"),
    replace(FOCAL, name="blind", label="blind", encoder=Zeros(), task_loss=None, role="lower"),
)
