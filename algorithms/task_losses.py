"""What an encoder learns from besides control: to tell tasks apart, and to say no more than it must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Evidence, Losses, Space
from comrl.algorithms.belief import Belief, gaussian_divergence, kl_to_prior, together
from comrl.ground.noise import Stream
from comrl.ground.settings import BelowOne, Count, NonNegative, Positive, setting


def info_nce(query: Tensor, keys: Tensor, own: Tensor, *, temperature: float) -> Tensor:
    """Tell a query's own key from the other keys. [focalpp eq. 6]  [..., Z], [..., N, Z], [...] -> [...]."""
    logits = (keys @ query[..., None]).squeeze(-1) / temperature  # [..., N]
    return -logits.log_softmax(-1).gather(-1, own[..., None]).squeeze(-1)


def matrix_contrast(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Eq. 6 for all T tasks at once, the trace of a log-softmax matrix. [focalpp eq. 7, 8]

    Mean over tasks as in eq. 24; the M tasks are distinct.  [S, M, Z], [S, M, Z] -> [S]
    """
    logits = query @ key.transpose(1, 2) / temperature  # [S, M, M]
    return -logits.log_softmax(-1).diagonal(dim1=1, dim2=2).mean(-1)


def distance_metric(first: Tensor, second: Tensor, *, power: int, eps: float, push: float) -> Tensor:
    """Squared distance within a task, inverse power of the distance across tasks. [focal distance metric]

    Pairs are taken among both draws of M distinct tasks; the two kinds are averaged apart.
    [S, M, Z] ×2 -> [S]
    """
    z = torch.cat([first, second], 1)  # [S, 2M, Z]
    squared = (z[:, :, None] - z[:, None]).square().sum(-1)  # [S, 2M, 2M]
    many = first.shape[1]
    task = torch.arange(2 * many, device=z.device) % many
    across = (task[:, None] != task).to(z.dtype)  # [2M, 2M]
    pull = (first - second).square().sum(-1).mean(-1)  # [S]
    apart = push / (squared.clamp_min(1e-12) ** (power / 2) + eps)  # [S, 2M, 2M]
    return pull + (apart * across).sum((1, 2)) / across.sum()


def triplet(anchor: Belief, own: Belief, margin: float) -> Tensor:
    """Another task's transitions, relabelled as a task's own, belong to that task. [mbml triplet]

    The anchor of task m is made of task m - 1's transitions; the mean over these M pairs, whose order is
    random, stands for the mean over all pairs.  [S, M, Z], [S, M, Z] -> [S]
    """
    source = Belief(*(field.roll(1, 1) for field in own.gaussian()))
    gap = gaussian_divergence(anchor, own) - gaussian_divergence(anchor, source)  # [S, M]
    return (gap + margin).clamp_min(0).mean(-1)


def contrast_accuracy(query: Tensor, key: Tensor) -> Tensor:
    """The share of queries whose own key is the nearest by dot product.  [S, M, Z], [S, M, Z] -> [S]."""
    nearest = (query @ key.transpose(1, 2)).argmax(-1)  # [S, M]
    return (nearest == torch.arange(query.shape[1], device=query.device)).to(query.dtype).mean(-1)


def over_constant(loss: Tensor, constant: Tensor | float) -> Tensor:
    """exp(loss - the best constant's loss), a metric: 1 where a network knows no more than a constant does.

    Of a Gaussian error it is the share of variance that is left.  At most 10, so that one wild batch does not
    hide the others in a mean.  [S] -> [S].
    """
    return (loss.detach() - constant).exp().clamp_max(10.0)


def without_networks(part: object, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
    """The networks of a task loss that has none."""
    return {}


def without_rates(part: object) -> dict[str, float]:
    """Their learning rates."""
    return {}


@dataclass(frozen=True)
class DistanceMetric:
    """FOCAL's metric learning. [focal distance metric]

    departs: constants are FOCAL's paper's; the authors' code has weight 10, the root of the pull term
    and a mean over latent dimensions, all of which `weight`, `root` and `mean_over_dims` select.
    """

    power: Count = setting(2, "power of the distance in the push term", paper="2 (FOCAL)")
    eps: Positive = setting(0.1, "added to the distance's power, in its unit", paper="0.1 (FOCAL)")
    push: NonNegative = setting(1.0, "weight of the push term against the pull term")
    weight: NonNegative = setting(1.0, "weight of the loss", paper="1 (Table 6)")
    root: bool = setting(False, "the root of the pull term, as in the authors' code")
    mean_over_dims: bool = setting(False, "a mean over latent dimensions, as in the authors' code")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = True
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The metric loss of both draws' embeddings."""
        scale = seen.query.mean.shape[-1] ** -0.5 if self.mean_over_dims else 1.0
        first, second = seen.query.mean * scale, seen.key.mean * scale
        loss = distance_metric(first, second, power=self.power, eps=self.eps, push=self.push)
        if self.root:
            pull = (first - second).square().sum(-1)  # [S, M]
            loss = loss - pull.mean(-1) + (pull + 1e-3).sqrt().mean(-1)
        return {"task": self.weight * loss}


@dataclass(frozen=True)
class MomentumContrast:
    """FOCAL++'s matrix-form momentum contrast: keys come from a slow copy of the encoder. [focalpp eq. 8]"""

    temperature: Positive = setting(0.5, "temperature of the softmax over keys", paper="0.5 (Table 6)")
    momentum: BelowOne = setting(0.9, "share that the key encoder keeps a step", paper="0.9 (Table 6)")
    compares: ClassVar[bool] = True
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The contrast, and the share of queries whose nearest key is their own."""
        query, key = seen.query.mean, seen.key.mean
        return {
            "task": matrix_contrast(query, key, temperature=self.temperature),
            "accuracy": contrast_accuracy(query.detach(), key.detach()),
        }


@dataclass(frozen=True)
class KLToPrior:
    """PEARL's information bottleneck: what a belief says beyond the prior costs. [pearl prior]"""

    prior_weight: NonNegative = setting(0.1, "weight of the divergence from the prior, an encoder loss a nat")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = False
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The first draw's divergence from the prior, and what it is in nats."""
        nats = kl_to_prior(seen.query)
        return {"task": self.prior_weight * nats, "prior_nats": nats.detach()}


@dataclass(frozen=True)
class Triplet:
    """MBML's metric learning on relabelled transitions, with PEARL's bottleneck. [mbml triplet]"""

    margin: NonNegative = setting(2.0, "how much nearer a task's own belief must be, in nats")
    weight: NonNegative = setting(10.0, "weight of the triplet against the bottleneck; MBML's are 1 and 0.1")
    prior_weight: NonNegative = setting(0.1, "weight of the divergence from the prior, an encoder loss a nat")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = True
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The query is a task's own context, the key the relabelled one."""
        bottleneck = kl_to_prior(together(seen.query, seen.key))
        loss = triplet(seen.key, seen.query, self.margin)
        return {"task": self.prior_weight * (bottleneck + self.weight * loss), "triplet": loss.detach()}
