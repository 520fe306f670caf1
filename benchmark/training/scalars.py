"""Curves for TensorBoard: the numbers of curves.csv as scalars, one of its runs a seed, as they come."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comrl.benchmark.training.checkpoint import CurveRow
from comrl.ground.errors import BadInput


def summary_writer() -> Any:
    """The class that writes event files; BadInput where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadInput(
            f"TensorBoard is not here ({error}); install it: pip install 'comrl-bench[tensorboard]'"
        ) from None
    return SummaryWriter


class Scalars:
    """The scalars of one training in a folder, which begins anew: the rows of before are told again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, Any] = {}
        shutil.rmtree(folder, ignore_errors=True)

    def __call__(self, rows: Sequence[CurveRow]) -> None:
        """Write rows of curves.csv: seed, step and numbers by name."""
        for row in rows:
            seed, step = int(row["seed"]), int(row["step"])
            if seed not in self._writers:
                self._writers[seed] = summary_writer()(str(self._folder / f"seed-{seed}"))
            for name, value in row.items():
                if name not in ("seed", "step"):
                    self._writers[seed].add_scalar(name, value, step)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Let go of the files."""
        for writer in self._writers.values():
            writer.close()
