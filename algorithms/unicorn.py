"""UNICORN: the task is read from its embedding, by a classifier or a decoder (Li et al., NeurIPS 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Evidence, Losses, Space
from comrl.algorithms.focal import FOCAL
from comrl.algorithms.stack import StackedMLP
from comrl.algorithms.standardise import standardised
from comrl.algorithms.task_losses import DistanceMetric, over_constant
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, Rate, Width, setting

LOG_VARIANCE = (-10.0, 0.5)


def classification_loss(logits: Tensor, task: Tensor) -> Tensor:
    """Name the training task that an embedding is of. [unicorn sup]  [S, M, T], [S, M] -> [S]."""
    return -logits.log_softmax(-1).gather(-1, task[..., None]).mean((1, 2))


def reconstruction_loss(said: Tensor, true: Tensor) -> Tensor:
    """Squared errors in units of a variance that is said too, and its logarithm. [unicorn reconstruction]

    said: [S, N, 2 D] mean and log variance, true: [S, N, D] -> [S].
    """
    mean, raw = said.chunk(2, -1)
    log_variance = held_between(raw, *LOG_VARIANCE)
    return ((mean - true).square() * (-log_variance).exp() + log_variance).mean((1, 2))


def constant_loss(true: Tensor) -> Tensor:
    """The least reconstruction loss of one mean and one variance for all rows.  [S, N, D] -> [S]."""
    variance = true.var(1, correction=0)  # [S, D]
    log_variance = variance.log().clamp(*LOG_VARIANCE)
    return (variance * (-log_variance).exp() + log_variance).mean(-1)


def held_between(x: Tensor, low: float, high: float) -> Tensor:
    """Values bent softly into an interval, so that gradient passes everywhere.  [...] -> [...]."""
    x = high - functional.softplus(high - x)
    return low + functional.softplus(x - low)


@dataclass(frozen=True)
class TaskClassifier:
    """The training task is read from the embedding: UNICORN-SUP. [unicorn sup]"""

    width: Width = setting(64, "units of a hidden layer of the classifier", paper="64 (successors' code)")
    depth: Depth = setting(2, "hidden layers of the classifier", paper="2 (successors' code)")
    lr: Rate = setting(3e-4, "Adam's rate of the classifier", paper="3e-4 (successors' code)")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = True

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The classifier: one logit a training task."""
        hidden = (self.width,) * self.depth
        return {"classifier": StackedMLP(latent, hidden, len(space.tasks), stream)}

    def rates(self) -> dict[str, float]:
        """The classifier's."""
        return {"classifier": self.lr}

    def losses(self, seen: Evidence) -> Losses:
        """The cross-entropy of both draws, for encoder and classifier, and how good that is."""
        z = torch.cat([seen.query.mean, seen.key.mean], 1)  # [S, 2M, Z]
        net, task = seen.nets["classifier"], seen.place.repeat(1, 2)  # [S, 2M]
        logits = net(z.detach())  # [S, 2M, T]
        loss = classification_loss(logits, task)
        return {
            "task": classification_loss(net(z, frozen=True), task),
            "classifier": loss,
            "over_constant": over_constant(loss, math.log(logits.shape[-1])),  # all tasks equally likely
            "accuracy": (logits.detach().argmax(-1) == task).to(z.dtype).mean(-1),
        }


@dataclass(frozen=True)
class Reconstruction:
    """A task's transitions are decoded from its embedding, and embeddings kept apart: UNICORN-SS.

    [unicorn reconstruction]  departs: decoded is the second draw, not the transitions that the embedding is
    made of, in deviations of the batch; one decoder has both outputs, and movements only where tasks differ
    in them.
    """

    metric: DistanceMetric = field(
        default_factory=lambda: DistanceMetric(weight=0.15, root=True, mean_over_dims=True)
    )
    width: Width = setting(
        64, "units of a hidden layer of the decoder", paper="64, 128 for parameters (code)"
    )
    depth: Depth = setting(2, "hidden layers of the decoder", paper="2 (code)")
    lr: Rate = setting(3e-4, "Adam's rate of the decoder", paper="3e-4 (code)")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = True

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """The decoder of rewards, and of movements where the context shows them."""
        inputs, hidden = latent + space.obs + space.action, (self.width,) * self.depth
        outputs = 1 + space.obs if space.next_obs_in_context else 1
        return {"decoder": StackedMLP(inputs, hidden, 2 * outputs, stream)}

    def rates(self) -> dict[str, float]:
        """The decoder's."""
        return {"decoder": self.lr}

    def losses(self, seen: Evidence) -> Losses:
        """FOCAL's metric and the decoder's error for the encoder, that for the decoder, its worth."""
        context, net = seen.batch.key, seen.nets["decoder"]
        true = answers(context)
        z = seen.query.mean[:, :, None].expand(-1, -1, context.obs.shape[2], -1)  # [S, M, K, Z]
        metric = self.metric.losses(seen)["task"]
        loss = decoding_loss(net(question(z.detach(), context)), true)
        return {
            "task": metric + decoding_loss(net(question(z, context), frozen=True), true),
            "decoder": loss,
            "over_constant": over_constant(loss, torch.stack([constant_loss(part) for part in true]).sum(0)),
        }


def question(z: Tensor, context: Context) -> Tensor:
    """What a decoder is asked: embedding, observation, action.  [S, M, K, ·] -> [S, M * K, ·]."""
    return torch.cat([z, context.obs, context.action], -1).flatten(1, 2)


def answers(context: Context) -> tuple[Tensor, ...]:
    """What it should say: rewards and, where seen, movements.  [S, M, K, ·] -> [S, M * K, ·] each."""
    moved = () if context.next_obs is None else (context.next_obs - context.obs,)
    return tuple(standardised(part).flatten(1, 2) for part in (context.reward, *moved))


def decoding_loss(said: Tensor, true: Sequence[Tensor]) -> Tensor:
    """The errors of all answers, added.  [S, M * K, 2 D] -> [S]."""
    heads = said.split([2 * part.shape[-1] for part in true], -1)
    pairs = zip(heads, true, strict=True)
    return torch.stack([reconstruction_loss(head, part) for head, part in pairs]).sum(0)


ALGORITHMS = (
    replace(FOCAL, name="unicorn-sup", label="UNICORN-SUP", task_loss=TaskClassifier()),
    replace(FOCAL, name="unicorn-ss", label="UNICORN-SS", task_loss=Reconstruction()),
)
