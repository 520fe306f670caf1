"""Random numbers in double precision, and our tensors beside literal loops' numbers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from comrl.algorithms.stack import StackedMLP

SCALES = st.sampled_from([0.01, 1.0, 30.0, 3000.0])  # the last makes logits that overflow a naive exp


def draws(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def close(ours: torch.Tensor, theirs: object, tolerance: float = 1e-9) -> None:
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=tolerance, atol=tolerance)


def mlp_by_neuron(net: StackedMLP, member: int, x: list[float]) -> list[float]:
    """A ReLU network of one member, neuron by neuron."""
    for depth, layer in enumerate(net.layers):
        weight, bias = layer.weight[member].tolist(), layer.bias[member, 0].tolist()
        x = [bias[o] + sum(x[i] * weight[i][o] for i in range(len(x))) for o in range(len(bias))]
        if depth < len(net.layers) - 1:
            x = [max(0.0, value) for value in x]
    return x


def of_member(stacked: torch.Tensor, member: int, members: int) -> torch.Tensor:
    """A member's slice of a parameter; twins hold 2S, the second network after all the first."""
    return stacked[member::members]
