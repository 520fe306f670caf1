"""Task encoders: mean-pooled MLP, product of Gaussians, and the yardsticks', who know all or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Space, Training
from comrl.algorithms.belief import Belief, product_of_gaussians
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream


@dataclass(frozen=True)
class MeanPool:
    """Each transition through an MLP with tanh output; the context's embedding is their mean. [focalpp
    eq. 11]
    """

    def latent(self, space: Space, numbers: Training) -> int:
        """The preset's latent width."""
        return numbers.latent

    def build(self, space: Space, numbers: Training, stream: Stream) -> nn.Module:
        """An MLP from the concatenated fields to the latent width."""
        return StackedMLP(sum(space.context_widths), numbers.encoder_hidden, numbers.latent, stream)

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Belief:
        """The mean embedding.  [S, M, K, ·] -> [S, M, Z]."""
        return Belief(self.each(net, context).mean(2))

    def each(self, net: nn.Module, context: Context) -> Tensor:
        """One embedding a transition.  [S, M, K, ·] -> [S, M, K, Z]."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        return net(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).tanh()


@dataclass(frozen=True)
class GaussianProduct:
    """Each transition through an MLP to a Gaussian factor; the belief is their product. [pearl posterior]"""

    smallest_variance: float = 1e-7

    def latent(self, space: Space, numbers: Training) -> int:
        """The preset's latent width."""
        return numbers.latent

    def build(self, space: Space, numbers: Training, stream: Stream) -> nn.Module:
        """An MLP from the concatenated fields to a mean and a spread in every dimension."""
        return StackedMLP(sum(space.context_widths), numbers.encoder_hidden, 2 * numbers.latent, stream)

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Belief:
        """The product of all transitions' factors.  [S, M, K, ·] -> [S, M, Z]."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        mean, spread = net(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).chunk(2, -1)
        return product_of_gaussians(mean, functional.softplus(spread).clamp_min(self.smallest_variance))


@dataclass(frozen=True)
class TrueParams:
    """The task's true parameters in place of an embedding: how well control does when inference is
    perfect.
    """

    def latent(self, space: Space, numbers: Training) -> int:
        """One number a parameter."""
        return space.params

    def build(self, space: Space, numbers: Training, stream: Stream) -> nn.Module:
        """Nothing to learn."""
        return nn.Identity()

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Belief:
        """The parameters as they are: [S, M, P]."""
        return Belief(params)


@dataclass(frozen=True)
class Zeros:
    """No embedding at all: how well control does when nothing is inferred."""

    def latent(self, space: Space, numbers: Training) -> int:
        """One number, always zero."""
        return 1

    def build(self, space: Space, numbers: Training, stream: Stream) -> nn.Module:
        """Nothing to learn."""
        return nn.Identity()

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Belief:
        """Zeros: [S, M, 1]."""
        return Belief(params.new_zeros(*params.shape[:2], 1))
