"""FOCAL whose embedding must also foretell rewards: a task loss that owns a network and brings its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import nn

from comrl.algorithms.algorithm import Evidence, Losses, Space
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.stack import StackedMLP
from comrl.algorithms.task_losses import DistanceMetric
from comrl.ground.noise import Stream
from comrl.ground.settings import Rate, Width, setting


@dataclass(frozen=True)
class RewardDecoder:
    """FOCAL's distance metric, and the squared error of rewards foretold from the embedding."""

    metric: DistanceMetric = field(default_factory=DistanceMetric)
    width: Width = setting(64, "units of the decoder's hidden layer")
    lr: Rate = setting(1e-3, "Adam's rate of the decoder")
    compares: ClassVar[bool] = False
    momentum: ClassVar[float | None] = None

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The decoder."""
        return {"decoder": StackedMLP(space.obs + space.action + latent, (self.width,), 1, stream)}

    def rates(self) -> dict[str, float]:
        """The decoder's."""
        return {"decoder": self.lr}

    def losses(self, seen: Evidence) -> Losses:
        """The error of the second context's rewards trains encoder and decoder, each by its own name: [S]."""
        key = seen.batch.key  # [S, M, K, ·]
        z = seen.query.mean[:, :, None].expand(-1, -1, key.obs.shape[2], -1)
        told = torch.cat([key.obs, key.action, z], -1).flatten(1, 2)
        reward, decoder = key.reward.flatten(1, 2), seen.nets["decoder"]
        task = (decoder(told, frozen=True) - reward).square().mean((1, 2))
        own = (decoder(told.detach()) - reward).square().mean((1, 2))
        return {"task": self.metric.losses(seen)["task"] + task, "decoder": own, "reward_error": own.detach()}


ALGORITHMS = (
    replace(
        FOCAL,
        name="outside-decoder",
        label="Outside decoder",
        task_loss=RewardDecoder(),
        presets={"smoke": {"RewardDecoder": {"width": 8}}},
    ),
)
