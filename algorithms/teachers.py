"""MBML's first stage: for each training task a BCQ agent, and models that say what the task would have made
of other tasks' transitions (Li et al., 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Algorithm, Losses, Nets, Space, Training
from comrl.algorithms.control_bcq import Bcq, decoded
from comrl.algorithms.control_distilled import LESSON, Lesson
from comrl.algorithms.encoders import Zeros
from comrl.algorithms.stack import Ensemble, picked
from comrl.datasets.transitions import Context, MetaBatch, Rows
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream
from comrl.ground.settings import Count, Pair, Positive, setting


def model_loss(said: Tensor, true: Tensor) -> Tensor:
    """Squared error, a sum over an ensemble's models.  [E, S, N, ·], [S, N, ·] -> [S]."""
    return (said - true).square().sum(0).mean((1, 2))


@dataclass(frozen=True)
class Teacher:
    """BCQ, and an ensemble that predicts a task's context reward and, where dynamics differ, the movement."""

    bcq: Bcq = field(default_factory=Bcq)
    ensemble: Pair = setting(20, "models whose members must agree", paper="20 (MBML's code)")

    @property
    def tau(self) -> float:
        """BCQ's."""
        return self.bcq.tau

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """BCQ's networks, and models from state and action to reward (, the change of observation)."""
        pair, told = space.obs + space.action, 1 + space.obs * space.next_obs_in_context
        model = Ensemble(pair, (self.bcq.width,), told, stream, self.ensemble)
        return self.bcq.build(space, latent, stream) | {"model": model}

    def rates(self) -> dict[str, float]:
        """BCQ's, and the critic's rate for the models."""
        return self.bcq.rates() | {"model": self.bcq.critic_lr}

    def noise_width(self, space: Space) -> int:
        """As BCQ's."""
        return self.bcq.noise_width(space)

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """BCQ's losses and the models'."""
        said = nets["model"](torch.cat([rows.obs, rows.action], -1))  # [E, S, N, ·]
        true = torch.cat([rows.context_reward, rows.next_obs - rows.obs], -1)[..., : said.shape[-1]]
        own = {"model": model_loss(said, true)}
        return self.bcq.losses(nets, rows, z, noise, training) | own

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """As BCQ acts."""
        return self.bcq.act(nets, obs, z)


@dataclass(frozen=True)
class BcqTeachers:
    """One `Teacher` for each training task; they teach by example, and relabel other tasks' transitions."""

    name: ClassVar[str] = "teacher"
    per_task: ClassVar[bool] = True
    control: Teacher = field(default_factory=Teacher)
    steps: Count = setting(125_000, "gradient steps of the teachers, before the algorithm's own begin")
    reward_agreement: Positive = setting(
        0.1, "largest deviation of the models' rewards that counts as agreement, in deviations of the batch's"
    )
    next_obs_agreement: Positive = setting(
        0.2, "the same for the movement to a next observation, mean over its numbers"
    )

    @property
    def algorithm(self) -> Algorithm:
        """The teacher alone with its task: nothing to infer, nothing to tell apart."""
        return Algorithm("teacher", "teacher", Zeros(), task_loss=None, control=self.control)

    def fits(self, algorithm: Algorithm) -> None:
        """A student decodes from its teachers' latents, and so from as many."""
        ours = self.control.bcq.proposals.latents_per_action
        theirs = getattr(getattr(algorithm.control, "proposals", None), "latents_per_action", ours)
        if ours != theirs:
            raise BadInput(
                f"control.proposals.latents_per_action is {theirs} and the teachers' {ours}; set "
                f"teacher.control.bcq.proposals.latents_per_action to the same"
            )

    def hand_over(self, trained: Nets, nets: Nets) -> None:
        """Nothing: the student begins afresh."""

    def extend(self, trained: Nets, batch: MetaBatch, member: Tensor, noise: Stream) -> MetaBatch:
        """The batch with a lesson for its rows, and other tasks' relabelled transitions for its keys."""
        contexts = batch.key.obs.shape[2] > 0
        key = self.relabelled(trained, batch, member, noise) if contexts else batch.key
        lesson = self.lesson(trained, batch.rows, member, noise)
        return batch._replace(key=key, rows=batch.rows._replace(gained={LESSON: lesson}))

    @torch.no_grad()
    def lesson(self, nets: Nets, rows: Rows, teacher: Tensor, noise: Stream) -> Lesson:
        """What each row's teacher decodes from a latent, how it corrects that, and what the row is worth."""
        propose, (stack, tasks), count = self.control.bcq.proposals, teacher.shape, rows.action.shape[1]
        width = propose.latent_width(rows.action.shape[-1])
        latent = propose.bounded(noise.normal(count, width))  # [S, M * B, L]

        def own(x: Tensor) -> Tensor:
            return x.reshape(stack * tasks, count // tasks, -1)  # [S * M, B, ·]

        obs = own(rows.obs)
        state = torch.cat([obs, torch.zeros_like(obs[..., :1])], -1)  # with the embedding of `Zeros`
        pick = chooser(nets, teacher)
        action = decoded(pick(nets["vae"].decoder), state, own(latent))
        shift = pick(nets["perturbation"])(torch.cat([state, action], -1)).tanh()
        value = pick(nets["critic"])(torch.cat([state, own(rows.action)], -1))[0]  # the critic BCQ acts by
        return Lesson(latent, *(x.reshape(stack, count, -1) for x in (action, shift, value)))

    @torch.no_grad()
    def relabelled(self, nets: Nets, batch: MetaBatch, teacher: Tensor, noise: Stream) -> Context:
        """For each task, transitions of the task before it as they would have been in this one.
        [mbml relabelling]

        They are drawn among those on which the models agree; where they agree on none, the task's own second
        draw stands in.
        """
        stack, tasks = teacher.shape
        others = Context(*(field.roll(1, 1) for field in batch.key.fields))
        pair = torch.cat([others.obs, others.action], -1).flatten(0, 1)  # [S * M, K, O + A]
        said = chooser(nets, teacher)(nets["model"])(pair)  # [E, S * M, K, ·]
        mean, std = (x.unflatten(0, (stack, tasks)) for x in (said.mean(0), said.std(0)))
        agreed = std[..., 0] < self.reward_agreement * deviation(batch.key.reward)  # [S, M, K]
        shown = others._replace(reward=mean[..., :1])
        if others.next_obs is not None:
            usual = deviation(others.next_obs - others.obs)
            agreed &= std[..., 1:].mean(-1) < self.next_obs_agreement * usual
            shown = shown._replace(next_obs=others.obs + mean[..., 1:])
        return drawn_among(shown, agreed, batch.key, noise)


def deviation(x: Tensor) -> Tensor:
    """The standard deviation over all tasks and transitions of a batch, mean over numbers.

    [S, M, K, ·] -> [S, 1, 1].
    """
    return x.flatten(1, 2).std(1).mean(-1)[:, None, None]


def chooser(nets: Nets, teacher: Tensor) -> Callable[[nn.Module], Callable[[Tensor], Tensor]]:
    """What takes a network of the teachers to that of the chosen ones, a stack of S * M.  teacher: [S, M]."""
    stack = nets["perturbation"].layers[0].weight.shape[0]
    return lambda net: picked(net, teacher.flatten(), stack)


def drawn_among(context: Context, chosen: Tensor, instead: Context, noise: Stream) -> Context:
    """As many transitions as there are, drawn again among the chosen ones; another context where none is.

    chosen: [S, M, K].
    """
    order = chosen.int().argsort(dim=-1, descending=True, stable=True)  # the chosen ones first
    many = chosen.sum(-1, keepdim=True)  # [S, M, 1]
    place = (noise.uniform(*chosen.shape[1:]) * many).long()  # [S, M, K]
    row = order.gather(-1, place)[..., None]  # [S, M, K, 1]
    some = (many > 0)[..., None]  # [S, M, 1, 1]
    pairs = zip(context.fields, instead.fields, strict=True)
    return Context(
        *(
            torch.where(some, ours.gather(2, row.expand(-1, -1, -1, ours.shape[-1])), theirs)
            for ours, theirs in pairs
        )
    )
