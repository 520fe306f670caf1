"""What a context says of its task: an embedding, or a Gaussian of independent dimensions around it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from comrl.ground.noise import Stream


class Belief(NamedTuple):
    """An embedding of each task, certain where there is no variance."""

    mean: Tensor  # [S, M, Z]
    variance: Tensor | None = None  # [S, M, Z]

    def sample(self, noise: Stream) -> Tensor:
        """A reparametrised draw; the embedding itself where it is certain, and then nothing is drawn."""
        if self.variance is None:
            return self.mean
        return self.mean + self.variance.sqrt() * noise.normal(*self.mean.shape[1:])

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean and variance; ValueError where the embedding is certain."""
        if self.variance is None:
            raise ValueError("this takes an encoder whose embeddings are Gaussians")
        return self.mean, self.variance


def one_of(bank: Belief, row: Tensor, noise: Stream) -> Belief:
    """One of the C beliefs in each given row of a bank, all equally likely.

    bank: [S, T, C, Z], row: [S, M] -> [S, M, Z].
    """
    stack, _, count, _ = bank.mean.shape
    column = (noise.uniform(row.shape[1]) * count).long()  # [S, M]
    member = torch.arange(stack, device=row.device)[:, None]  # [S, 1]
    variance = None if bank.variance is None else bank.variance[member, row, column]
    return Belief(bank.mean[member, row, column], variance)


def product_of_gaussians(mean: Tensor, variance: Tensor) -> Belief:
    """The normalised product of the factors' densities. [pearl posterior]  [S, M, K, Z] -> [S, M, Z]."""
    precision = variance.reciprocal()
    whole = precision.sum(2).reciprocal()  # [S, M, Z]
    return Belief(whole * (mean * precision).sum(2), whole)


def together(one: Belief, other: Belief) -> Belief:
    """The belief from two contexts of the same tasks at once."""
    mean, variance = (torch.stack(pair, 2) for pair in zip(one.gaussian(), other.gaussian(), strict=True))
    return product_of_gaussians(mean, variance)


def gaussian_divergence(one: Belief, other: Belief) -> Tensor:
    """KL(one || other), a sum over latent dimensions.  [S, M, Z], [S, M, Z] -> [S, M]."""
    (mean, variance), (other_mean, other_variance) = one.gaussian(), other.gaussian()
    ratio, apart = variance / other_variance, (mean - other_mean).square() / other_variance
    return 0.5 * (ratio + apart - 1 - ratio.log()).sum(-1)


def kl_to_prior(belief: Belief) -> Tensor:
    """KL(q(z | c) || N(0, 1)), a sum over latent dimensions and a mean over tasks. [pearl prior]

    [S, M, Z] -> [S]
    """
    standard = Belief(torch.zeros_like(belief.mean), torch.ones_like(belief.mean))
    return gaussian_divergence(belief, standard).mean(-1)
