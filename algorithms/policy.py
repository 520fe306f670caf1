"""The tanh-Gaussian policy that meta-training and data generation share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Sampled(NamedTuple):
    """A reparametrised action and what losses need to know of it."""

    action: Tensor  # [S, N, A]
    log_prob: Tensor  # [S, N, 1]
    mean: Tensor  # [S, N, A]  before tanh
    log_std: Tensor  # [S, N, A]


Clamp = Callable[[Tensor, float, float], Tensor]


def clamp_through(x: Tensor, low: float, high: float) -> Tensor:
    """The clamped value with x's own gradient, so that what lies outside can be led back."""
    return x + (x.clamp(low, high) - x).detach()


def split_head(head: Tensor, low: float, high: float, clamp: Clamp = torch.clamp) -> tuple[Tensor, Tensor]:
    """Mean and clamped log standard deviation.  [S, N, 2A] -> [S, N, A], [S, N, A]."""
    mean, log_std = head.chunk(2, -1)
    return mean, clamp(log_std, low, high)


def sample(head: Tensor, noise: Tensor, *, low: float, high: float, clamp: Clamp = torch.clamp) -> Sampled:
    """Squash a Gaussian draw by tanh, with its log density.

    [S, N, 2A], [S, N, A] -> action, log_prob [S, N, 1].
    """
    mean, log_std = split_head(head, low, high, clamp)
    raw = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh²x) = 2 (log 2 - x - softplus(-2x)), which stays finite where tanh rounds to 1
    squash = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
    return Sampled(torch.tanh(raw), (gaussian - squash).sum(-1, keepdim=True), mean, log_std)
