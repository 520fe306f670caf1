"""CORRO: transitions are told from made-up ones; their pool learns from the critic (Yuan and Lu, 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Evidence, Losses, Space
from comrl.algorithms.belief import Belief
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.generator import OUTCOMES, OutcomeGenerator, repeated
from comrl.algorithms.stack import StackedLinear, StackedMLP
from comrl.algorithms.task_losses import info_nce, over_constant, without_networks, without_rates
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream
from comrl.ground.settings import Count, Depth, NonNegative, Positive, Rate, Whole, Width, setting


def attention_pool(each: Tensor, score: Tensor) -> Tensor:
    """The mean of embeddings under a softmax of their scores. [corro pooling]

    [S, M, K, Z], [S, M, K] -> [S, M, Z].
    """
    return (score.softmax(-1)[..., None] * each).sum(2)


class PoolNet(nn.Module):
    """A transition's embedding and its score in the pool."""

    def __init__(self, part: TransitionPool, space: Space, stream: Stream) -> None:
        super().__init__()
        hidden = (part.width,) * part.depth
        self.embed = StackedMLP(sum(space.context_widths), hidden, part.latent, stream)
        self.score = StackedLinear(part.latent, 1, stream)


@dataclass(frozen=True)
class TransitionPool:
    """Transitions on the unit sphere, pooled by a learned weight each. [corro pooling]

    The pool does not reach the embedding: that learns from the task loss alone, and the pool from control.
    """

    latent: Width = setting(5, "width Z of the embedding", paper="5, 32 for walkers (code)")
    width: Width = setting(64, "units of a hidden layer", paper="64, 128 for walkers (code)")
    depth: Depth = setting(2, "hidden layers", paper="2 (code)")
    lr: Rate = setting(3e-4, "Adam's rate at the start", paper="3e-4 (code)")
    steps: Whole = setting(100_000, "gradient steps after which the encoder stands still", paper="all")

    def latent_width(self, space: Space) -> int:
        """The width Z of the embedding."""
        return self.latent

    def build(self, space: Space, stream: Stream) -> nn.Module:
        """An MLP from the concatenated fields to the latent width, and the pool's score."""
        return PoolNet(self, space, stream)

    def encode(
        self, net: PoolNet, context: Context, params: Tensor | None = None, dropout: Stream | None = None
    ) -> Belief:
        """The weighted mean embedding, with gradient for the weights alone.  [S, M, K, ·] -> [S, M, Z]."""
        each = self.each(net, context).detach()  # what is contrasted does not follow the critic
        score = net.score(each.flatten(1, 2)).view(each.shape[:3])
        return Belief(attention_pool(each, score))

    def each(self, net: PoolNet, context: Context) -> Tensor:
        """One embedding of unit length a transition.  [S, M, K, ·] -> [S, M, K, Z]."""
        x = torch.cat(context.fields, -1)  # [S, M, K, C]
        return functional.normalize(net.embed(x.flatten(1, 2)), dim=-1).unflatten(1, x.shape[1:3])


@dataclass(frozen=True)
class TransitionContrast:
    """A transition is nearer to another of its task than to itself with other rewards. [corro contrast]"""

    temperature: Positive = setting(0.1, "temperature of the softmax over keys", paper="0.1 (code)")
    negatives: Count = setting(16, "made-up transitions against each", paper="16 (code)")
    queries: Count = setting(4, "transitions a task that are contrasted", paper="64 a batch (code)")
    reward_noise: NonNegative = setting(
        3.0, "deviation of a made-up reward around the true one, in deviations of the batch's", paper="0.5"
    )
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = False  # it embeds the transitions of both draws itself
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The contrast with the same transitions under other rewards."""
        query = seen.batch.query.first(self.queries)
        made = with_other_rewards(query, self.negatives, self.reward_noise, seen.noise)
        return contrast(seen, made, self.temperature)


@dataclass(frozen=True)
class OutcomeContrast:
    """A transition is nearer to another of its task than to itself with made-up outcomes. [corro contrast]"""

    temperature: Positive = setting(0.1, "temperature of the softmax over keys", paper="0.1 (code)")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = False
    build, rates = without_networks, without_rates

    def losses(self, seen: Evidence) -> Losses:
        """The contrast with what the stage before made up; ValueError without one."""
        made = (seen.batch.gained or {}).get(OUTCOMES)
        if made is None:
            raise ValueError("a contrast of outcomes takes an algorithm with a stage that makes them up")
        return contrast(seen, made, self.temperature)


def contrast(seen: Evidence, made: Context, temperature: float) -> Losses:
    """Tell another transition of the task from made-up ones: the loss, the share told right, its worth.
    [corro contrast]

    made: for each of the first R transitions of a query N that never were, [S, M, R, N, ·].
    """
    some, count = made.reward.shape[2:4]
    query, key = seen.batch.query.first(some), seen.batch.key.first(some)
    every = joined(query, key, made.map(lambda field: field.flatten(2, 3)))
    own, others, made_up = seen.each(every).split((some, some, some * count), 2)  # [S, M, ·, Z]
    keys = torch.cat([others[:, :, :, None], made_up.unflatten(2, (some, count))], 3)  # [S, M, R, 1 + N, Z]
    first = torch.zeros(own.shape[:3], dtype=torch.long, device=own.device)
    nearest = (keys.detach() @ own.detach()[..., None]).squeeze(-1).argmax(-1)  # [S, M, R]
    loss = info_nce(own, keys, first, temperature=temperature).mean((1, 2))
    return {
        "task": loss,
        "accuracy": (nearest == first).to(own.dtype).mean((1, 2)),
        "over_constant": over_constant(loss, math.log(1 + count)),
    }


def with_other_rewards(context: Context, count: int, deviation: float, noise: Stream) -> Context:
    """Each transition so many times, with noise on its reward alone. [corro reward randomisation]

    [S, M, R, ·] -> [S, M, R, N, ·].
    """
    many = context.map(lambda field: repeated(field, count))
    usual = context.reward.flatten(1).std(-1)[:, None, None, None, None]  # [S, 1, 1, 1, 1]
    drawn = noise.normal(*many.reward.shape[1:])
    return many._replace(reward=many.reward + deviation * usual * drawn)


def joined(*contexts: Context) -> Context:
    """Transitions of several contexts of the same tasks, one context after another."""
    return Context(*(torch.cat(fields, 2) for fields in zip(*(c.fields for c in contexts), strict=True)))


CORRO = replace(
    FOCAL,
    name="corro",
    label="CORRO",
    encoder=TransitionPool(),
    task_loss=TransitionContrast(),
    encoder_learns_from=("critic",),
)

ALGORITHMS = (
    CORRO,
    replace(
        CORRO,
        name="corro-cvae",
        label="CORRO (CVAE)",
        task_loss=OutcomeContrast(),
        before=(OutcomeGenerator(),),
    ),
)
