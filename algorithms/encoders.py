"""Task encoders: a mean-pooled MLP, and the yardsticks' encoders that know the task or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from algorithms.algorithm import Space, Training
from algorithms.stack import StackedMLP
from datasets.randomness import Stream
from datasets.transitions import Context


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

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Tensor:
        """The mean embedding.  [S, M, K, ·] -> [S, M, Z]."""
        return self.each(net, context).mean(2)

    def each(self, net: nn.Module, context: Context) -> Tensor:
        """One embedding a transition.  [S, M, K, ·] -> [S, M, K, Z]."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        return net(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).tanh()


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

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Tensor:
        """The parameters as they are: [S, M, P]."""
        return params


@dataclass(frozen=True)
class Zeros:
    """No embedding at all: how well control does when nothing is inferred."""

    def latent(self, space: Space, numbers: Training) -> int:
        """One number, always zero."""
        return 1

    def build(self, space: Space, numbers: Training, stream: Stream) -> nn.Module:
        """Nothing to learn."""
        return nn.Identity()

    def encode(self, net: nn.Module, context: Context, params: Tensor, dropout: Stream | None) -> Tensor:
        """Zeros: [S, M, 1]."""
        return params.new_zeros(*params.shape[:2], 1)
