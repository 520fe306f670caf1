"""Numbers in units of a batch's own deviation, so that one weight means the same in every family."""

from __future__ import annotations

from torch import Tensor


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each member's numbers over all else.  [S, ..., D] -> [S, 1, ..., D] each."""
    over = tuple(range(1, x.dim() - 1))
    return x.mean(over, keepdim=True), x.std(over, keepdim=True).clamp_min(1e-6)


def standardised(x: Tensor) -> Tensor:
    """With mean 0 and deviation 1 over a batch, number by number.  [S, ..., D] -> [S, ..., D]."""
    mean, std = moments(x)
    return (x - mean) / std
