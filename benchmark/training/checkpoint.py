"""Checkpoints of unfinished runs: one file, its hash first, written whole, read back only when it is
intact.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, TypedDict

import torch

from comrl.algorithms.learner import State
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.reading import content_of

FORMAT = 1
DIGEST = 64  # hexadecimal digits of a sha256
CurveRow = dict[str, float]
"""A seed's row of curves.csv by column."""


class Checkpoint(TypedDict):
    """A training under way, as tensors and plain values."""

    state: dict[str, Any]
    """The learner's snapshot."""
    curves: list[CurveRow]
    seconds: list[float]
    """Of each stage."""
    device: str
    """The kind of device whose generators draw the noise."""
    births: list[dict[str, Any]]
    """What it was begun with, and what it went on with each time that something was another."""


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Keep a training under way."""
    memory = io.BytesIO()
    torch.save({"format": FORMAT, **checkpoint}, memory)
    with memory.getbuffer() as content, write_whole(path) as part, part.open("wb") as file:
        file.write(hashlib.sha256(content).hexdigest().encode())
        file.write(content)


def load(path: Path, device: torch.device) -> Checkpoint | None:
    """What was kept, or None where nothing was.

    BadInput where the file is truncated or altered, of another format, or goes on with noise that this device
    cannot draw.
    """
    image = content_of(path)
    if image is None:
        return None
    digest, content = image[:DIGEST], memoryview(image)[DIGEST:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise BadInput(f"{path} is truncated or altered; delete it and give the same command again")
    checkpoint = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    if not isinstance(checkpoint, dict) or checkpoint.pop("format", None) != FORMAT:
        raise BadInput(of_another_version(path))
    kind = checkpoint["device"]
    if kind != device.type:
        raise BadInput(
            f"{path} is of a training on {kind}, whose noise {device.type} cannot go on with; give --device "
            f"{kind}, or delete the file to begin anew"
        )
    if kind != "cpu":
        checkpoint = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    known: Checkpoint = checkpoint
    return known


def restore(state: State, checkpoint: Checkpoint, path: Path) -> None:
    """Let a state go on from what was kept; BadInput where that does not fit it."""
    try:
        state.restore(checkpoint["state"])
    except (KeyError, RuntimeError, TypeError, ValueError):
        raise BadInput(of_another_version(path)) from None


def of_another_version(path: Path) -> str:
    """What is said of a checkpoint that this program does not go on with."""
    return f"{path} is of another version; delete it and run again"
