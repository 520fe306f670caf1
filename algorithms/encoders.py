"""Task encoders: mean-pooled MLP, product of Gaussians, and the yardsticks', who know all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Space
from comrl.algorithms.belief import Belief, product_of_gaussians
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, Positive, Rate, Whole, Width, setting


def no_embedding(part: object, net: nn.Module, context: Context) -> Tensor:
    """What an encoder that does not read its context makes of a transition: [S, M, K, 0]."""
    return context.obs[..., :0]


@dataclass(frozen=True)
class MeanPool:
    """The mean of every transition's embedding by an MLP with tanh output. [focalpp eq. 11]"""

    latent: Width = setting(5, "width Z of the embedding", paper="5 points, 20 bodies (Table 6)")
    width: Width = setting(256, "units of a hidden layer", paper="256 (Table 6)")
    depth: Depth = setting(3, "hidden layers", paper="3 (Table 6)")
    lr: Rate = setting(1e-3, "Adam's rate at the start", paper="1e-3 points, 3e-3 bodies (Table 6)")
    steps: Whole = setting(100_000, "gradient steps after which the encoder stands still", paper="all")

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""
        return self.latent

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """An MLP from the concatenated fields to the latent width."""
        return StackedMLP(sum(space.context_widths), (self.width,) * self.depth, self.latent, stream)

    def encode(
        self, net: nn.Module, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The mean embedding.  [S, M, K, ·] -> [S, M, Z]."""
        return self.pool(net, self.each(net, context))

    def each(self, net: nn.Module, context: Context) -> Tensor:
        """One embedding a transition.  [S, M, K, ·] -> [S, M, K, Z]."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        return net(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).tanh()

    def pool(self, net: nn.Module, each: Tensor) -> Belief:
        """Their mean.  [S, M, K, Z] -> [S, M, Z]."""
        return Belief(each.mean(2))


@dataclass(frozen=True)
class GaussianProduct:
    """Each transition through an MLP to a Gaussian factor; the belief is their product. [pearl posterior]"""

    latent: Width = setting(5, "width Z of the embedding", paper="5 points, 20 bodies (Table 6)")
    width: Width = setting(256, "units of a hidden layer", paper="256 (Table 6)")
    depth: Depth = setting(3, "hidden layers", paper="3 (Table 6)")
    lr: Rate = setting(1e-3, "Adam's rate at the start", paper="1e-3 points, 3e-3 bodies (Table 6)")
    steps: Whole = setting(100_000, "gradient steps after which the encoder stands still", paper="all")
    smallest_variance: Positive = setting(1e-7, "least variance of a transition's factor")

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""
        return self.latent

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """An MLP from the concatenated fields to a mean and a variance's logit in every dimension."""
        return StackedMLP(sum(space.context_widths), (self.width,) * self.depth, 2 * self.latent, stream)

    def encode(
        self, net: nn.Module, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The product of all transitions' factors.  [S, M, K, ·] -> [S, M, Z]."""
        mean, logit = self._factors(net, context)
        return product_of_gaussians(mean, functional.softplus(logit).clamp_min(self.smallest_variance))

    def each(self, net: nn.Module, context: Context) -> Tensor:
        """The mean of every transition's factor.  [S, M, K, ·] -> [S, M, K, Z]."""
        return self._factors(net, context)[0]

    def _factors(self, net: nn.Module, context: Context) -> tuple[Tensor, Tensor]:
        """Mean and variance's logit of every transition's factor.  [S, M, K, ·] -> [S, M, K, Z] each."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        mean, logit = net(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).chunk(2, -1)
        return mean, logit


@dataclass(frozen=True)
class TrueParams:
    """The task's true parameters in place of an embedding: control with perfect inference."""

    knows_task: ClassVar[bool] = True
    lr: ClassVar[float] = 0.0
    steps: ClassVar[int] = 0

    def latent_width(self, space: Space) -> int:
        """One number a parameter."""
        return space.params

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """Nothing to learn."""
        return nn.Identity()

    def encode(
        self, net: nn.Module, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The parameters as they are: [S, M, P]."""
        if params is None:
            raise ValueError("the oracle takes the true parameters")
        return Belief(params)

    each = no_embedding


@dataclass(frozen=True)
class Zeros:
    """No embedding at all: how well control does when nothing is inferred."""

    lr: ClassVar[float] = 0.0
    steps: ClassVar[int] = 0

    def latent_width(self, space: Space) -> int:
        """One number, always zero."""
        return 1

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """Nothing to learn."""
        return nn.Identity()

    def encode(
        self, net: nn.Module, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """Zeros: [S, M, 1]."""
        return Belief(context.obs.new_zeros(*context.obs.shape[:2], 1))

    each = no_embedding
