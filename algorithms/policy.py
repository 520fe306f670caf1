"""The tanh-Gaussian policy that meta-training and data generation share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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


class _LeadBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, high), (grad,) = ctx.saved_tensors, ctx.bounds, grads
        outwards = ((x > high) & (grad < 0)) | ((x < low) & (grad > 0))
        return grad.masked_fill(outwards, 0.0), None, None


def clamp_through(x: Tensor, low: float, high: float) -> Tensor:
    """The clamped value; gradient passes but where it would lead further out: what is outside can return.

    Passed everywhere, it drives what is best beyond a bound out without end, and the network with it.
    """
    clamped: Tensor = _LeadBack.apply(x, low, high)
    return clamped


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
