"""Random Gaussian beliefs in double precision."""

from __future__ import annotations

from hypothesis import strategies as st
from torch import Tensor

from comrl.algorithms.belief import Belief
from support.compare import draws

SEEDS = st.integers(0, 2**32)
SCALES = st.sampled_from([1e-3, 1.0, 100.0])


def belief(seed: int, *shape: int, scale: float = 1.0) -> Belief:
    return Belief(draws(seed, *shape, scale=scale), (draws(seed + 1, *shape).abs() + 0.01) * scale)


def pairs(of: Belief, member: int) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of each task of a member."""
    mean, variance = of.gaussian()
    return list(zip(mean[member], variance[member], strict=True))
