"""CSRO: FOCAL whose embeddings say little of what the behaviour did (Gao et al., NeurIPS 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Evidence, Losses, Space
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.stack import StackedMLP
from comrl.algorithms.task_losses import DistanceMetric, over_constant
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, NonNegative, Rate, Width, setting

VARIANCE = (math.log1p(math.exp(-1)), math.log1p(math.e))  # the softplus of a tanh at its ends


def club(each: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """A bound from above of what embeddings say of (s, a). [csro CLUB]

    Own pairs against all pairs of one task's context, mean_k,j[((e_j - μ_k)² - (e_k - μ_k)²) / σ_k²]; with
    the context's mean and variance of e the K² pairs need not be built.  [S, M, K, Z] each -> [S].
    """
    middle = each.mean(2, keepdim=True)  # [S, M, 1, Z]
    around = each.var(2, keepdim=True, correction=0)
    all_pairs = (middle - mean).square() + around  # [S, M, K, Z]
    return ((all_pairs - (each - mean).square()) / variance).mean((1, 2, 3))


def estimator_loss(each: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Minus the log density of embeddings given (s, a), but for a constant. [csro estimator]

    [S, M, K, Z] each -> [S].
    """
    return 0.5 * ((each - mean).square() / variance + variance.log()).mean((1, 2, 3))


def constant_loss(each: Tensor) -> Tensor:
    """The least estimator loss of one mean and one variance for all transitions, as far as they can be said.

    [S, M, K, Z] -> [S].
    """
    variance = each.var((1, 2), correction=0)  # [S, Z]
    said = variance.clamp(*VARIANCE)
    return 0.5 * (variance / said + said.log()).mean(-1)


def gaussian(output: Tensor) -> tuple[Tensor, Tensor]:
    """The estimator's mean and variance, both of a tanh as in the authors' code: a broad estimate.

    [..., 2 Z] -> [..., Z], [..., Z].
    """
    mean, raw = output.tanh().chunk(2, -1)
    return mean, functional.softplus(raw)


@dataclass(frozen=True)
class LittleOfBehaviour:
    """FOCAL's metric, and a price on what embeddings say of observation and action. [csro CLUB]"""

    metric: DistanceMetric = field(
        default_factory=lambda: DistanceMetric(weight=10.0, root=True, mean_over_dims=True)
    )
    club_weight: NonNegative = setting(25.0, "weight of the bound", paper="10 to 50 (code)")
    width: Width = setting(200, "units of a hidden layer of the estimator", paper="200 (code)")
    depth: Depth = setting(3, "hidden layers of the estimator", paper="3 (code)")
    lr: Rate = setting(3e-4, "Adam's rate of the estimator", paper="3e-4 (code)")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = True

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The estimator of an embedding from observation and action."""
        hidden = (self.width,) * self.depth
        return {"estimator": StackedMLP(space.obs + space.action, hidden, 2 * latent, stream)}

    def rates(self) -> dict[str, float]:
        """The estimator's."""
        return {"estimator": self.lr}

    def losses(self, seen: Evidence) -> Losses:
        """The metric and the bound for the encoder, the density for the estimator, and what it is worth."""
        context = seen.batch.query
        each = seen.each(context)  # [S, M, K, Z]
        behaviour = torch.cat([context.obs, context.action], -1)  # [S, M, K, O + A]
        said = seen.nets["estimator"](behaviour.flatten(1, 2)).unflatten(1, behaviour.shape[1:3])
        mean, variance = gaussian(said)
        density = estimator_loss(each.detach(), mean, variance)
        bound = club(each, mean.detach(), variance.detach())  # the estimator does not learn from it
        return {
            "task": self.metric.losses(seen)["task"] + self.club_weight * bound,
            "estimator": density,
            "club": bound.detach(),
            "over_constant": over_constant(density, constant_loss(each.detach())),
        }


ALGORITHMS = (replace(FOCAL, name="csro", label="CSRO", task_loss=LittleOfBehaviour()),)
