"""Yardsticks: the same control with the true task parameters in place of z, and with nothing in its place.

The ceiling is an oracle whose training holds the test tasks too: it shows what control can do there with no
task inferred and none held out.
"""

from dataclasses import replace

from comrl.algorithms.encoders import TrueParams, Zeros
from comrl.algorithms.focal import FOCAL

ORACLE = replace(FOCAL, name="oracle", label="oracle", encoder=TrueParams(), task_loss=None, role="upper")

ALGORITHMS = (
    ORACLE,
    replace(ORACLE, name="ceiling", label="ceiling", role="top", sees_test_tasks=True),
    replace(ORACLE, name="blind", label="blind", encoder=Zeros(), role="lower"),
)
