"""Checkpoints of unfinished runs: one file, its hash first, written whole, read back only when it is
intact.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, TypedDict

import torch

from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.reading import content_of

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


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Keep a training under way."""
    memory = io.BytesIO()
    torch.save(checkpoint, memory)
    content = memory.getvalue()
    with write_whole(path) as part:
        part.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)


def load(path: Path, device: torch.device) -> Checkpoint | None:
    """What was kept, or None where nothing was.

    BadInput where the file is truncated or altered, or goes on with noise that this device cannot draw.
    """
    image = content_of(path)
    if image is None:
        return None
    digest, content = image[:DIGEST], image[DIGEST:]
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise BadInput(f"{path} is truncated or altered; delete it and give the same command again")
    checkpoint: Checkpoint = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    kind = checkpoint.get("device", "cpu")  # older checkpoints do not say
    if kind != device.type:
        raise BadInput(
            f"{path} is of a training on {kind}, whose noise {device.type} cannot go on with; give --device "
            f"{kind}, or delete the file to begin anew"
        )
    if kind != "cpu":
        checkpoint = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    return checkpoint
