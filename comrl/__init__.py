"""COMRL-Bench: context-based offline meta-reinforcement learning under one identical protocol.

The repository's folders envs, datasets, algorithms and benchmark are subpackages of this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comrl.benchmark.training.play import TrainedPolicy


def load(run: str | Path, seed: int | None = None, device: str = "cpu") -> TrainedPolicy:
    """Return the trained policies of a run's folder, of all its seeds or of one."""
    from comrl.benchmark.training.play import load_policy

    return load_policy(run, seed, device)
