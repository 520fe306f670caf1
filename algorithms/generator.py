"""CORRO's generator: a conditional autoencoder of what training tasks make of (s, a) (Yuan and Lu, 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Algorithm, Losses, Nets, Space, Training
from comrl.algorithms.belief import Belief, kl_to_prior
from comrl.algorithms.encoders import Zeros
from comrl.algorithms.stack import ConditionalVae
from comrl.algorithms.standardise import moments, standardised
from comrl.datasets.transitions import Context, MetaBatch, Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import Count, NonNegative, Positive, setting

OUTCOMES = "outcomes"


def generator_loss(said: Tensor, true: Tensor, latent: Belief, prior_weight: float) -> Tensor:
    """Squared errors of reward and of movement, and the latent's divergence from the prior. [corro generator]

    The first number of an outcome is its reward, the others, where there are any, its movement.
    [S, N, D] ×2, [S, N, L] -> [S].
    """
    reward, *moved = (said - true).square().mean(1).tensor_split([1], -1)  # [S, 1], [S, D - 1]
    error = reward.squeeze(-1)
    for part in (part for part in moved if part.shape[-1]):
        error = error + part.mean(-1)
    return error + prior_weight * kl_to_prior(latent)


def outcome(reward: Tensor, obs: Tensor, next_obs: Tensor | None) -> Tensor:
    """What a task made of a transition: its reward and, where that is seen, its movement.  [..., D]."""
    return reward if next_obs is None else torch.cat([reward, next_obs - obs], -1)


@dataclass(frozen=True)
class OutcomeModel:
    """A conditional autoencoder of outcomes, in deviations of the batch; it learns, and never acts."""

    latent: Count = setting(5, "latent numbers of an outcome", paper="5 points and cheetahs, 64 (code)")
    width: Count = setting(64, "units of a hidden layer", paper="64, 128 for other bodies (code)")
    depth: Count = setting(1, "hidden layers", paper="1 (code)")
    lr: Positive = setting(3e-4, "Adam's rate", paper="3e-4 (code)")
    prior_weight: NonNegative = setting(
        0.2, "weight of the latent's divergence from the prior, a nat", paper="0.2 (code)"
    )
    tau: ClassVar[float] = 1.0

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The autoencoder, given an observation and an action."""
        pair, told = space.obs + space.action, 1 + space.obs * space.next_obs_in_context
        return {"generator": ConditionalVae(pair, told, self.latent, (self.width,) * self.depth, stream)}

    def rates(self) -> dict[str, float]:
        """The autoencoder's."""
        return {"generator": self.lr}

    def noise_width(self, space: Space) -> int:
        """A draw of the latent."""
        return self.latent

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """The autoencoder's loss on rows of all training tasks together."""
        vae, pair = nets["generator"], torch.cat([rows.obs, rows.action], -1)
        told = outcome(rows.context_reward, rows.obs, rows.next_obs)[..., : vae.decoder.outputs]
        true = standardised(told)  # [S, N, D]
        mean, log_std = vae.read(pair, true)
        said = vae.decoder(torch.cat([pair, mean + log_std.exp() * noise], -1))
        latent = Belief(mean, (2 * log_std).exp())  # [S, N, L]
        return {"generator": generator_loss(said, true, latent, self.prior_weight)}

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """ValueError: there is no policy."""
        raise ValueError("a generator of outcomes does not act")


@dataclass(frozen=True)
class OutcomeGenerator:
    """One `OutcomeModel` a seed, fitted to all training tasks, makes outcomes up for a contrast."""

    name: ClassVar[str] = "generator"
    per_task: ClassVar[bool] = False
    model: OutcomeModel = field(default_factory=OutcomeModel)
    steps: Count = setting(
        100_000, "gradient steps of the generator, before the algorithm's own begin", paper="100 epochs"
    )
    queries: Count = setting(4, "transitions a task that outcomes are made up for", paper="64 a batch (code)")
    negatives: Count = setting(16, "made-up outcomes of each", paper="16 (code)")

    @property
    def algorithm(self) -> Algorithm:
        """The model alone: no task is inferred, so that outcomes are those of some training task."""
        return Algorithm("generator", "generator", Zeros(), task_loss=None, control=self.model)

    def fits(self, algorithm: Algorithm) -> None:
        """Everything: who has no use for made-up outcomes is not disturbed by them."""

    def hand_over(self, trained: Nets, nets: Nets) -> None:
        """Nothing: it goes on making outcomes up."""

    def extend(self, trained: Nets, batch: MetaBatch, member: Tensor, noise: Stream) -> MetaBatch:
        """The batch with made-up outcomes of each query's first transitions, where there are contexts."""
        if not batch.query.obs.shape[2]:
            return batch
        made = self.made_up(trained, batch.query, noise)
        return batch._replace(gained={**(batch.gained or {}), OUTCOMES: made})

    @torch.no_grad()
    def made_up(self, nets: Nets, context: Context, noise: Stream) -> Context:
        """The first transitions of each task as any training task might have answered them. [corro generator]

        [S, M, K, ·] -> [S, M, R, N, ·].
        """
        decoder = nets["generator"].decoder
        mean, std = moments(outcome(context.reward, context.obs, context.next_obs))  # [S, 1, 1, D]
        many = context.first(self.queries).map(lambda x: repeated(x, self.negatives))
        pair = torch.cat([many.obs, many.action], -1)  # [S, M, R, N, O + A]
        shape = pair.shape[1:4]
        latent = noise.normal(*shape, nets["generator"].latent)
        said = decoder(torch.cat([pair, latent], -1).flatten(1, 3)).unflatten(1, shape)  # [S, M, R, N, D]
        told = mean[:, :, :, None] + std[:, :, :, None] * said
        moved = None if many.next_obs is None else many.obs + told[..., 1:]
        return many._replace(reward=told[..., :1], next_obs=moved)


def repeated(x: Tensor, count: int) -> Tensor:
    """Each transition so many times, without a copy.  [S, M, R, D] -> [S, M, R, N, D]."""
    return x[:, :, :, None].expand(-1, -1, -1, count, -1)
