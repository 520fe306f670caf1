"""A task-conditioned policy that imitates the BCQ networks of every task's teacher (Li et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Losses, Nets, Space, Training
from comrl.algorithms.control_bcq import Proposals, decoded
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, Rate, Width, setting

LESSON = "lesson"


class Lesson(NamedTuple):
    """What the BCQ agent of each row's task makes of it, for a student to imitate."""

    latent: Tensor  # [S, N, L]  drawn anew; what the agent's action is decoded from
    action: Tensor  # [S, N, A]  the decoded action
    shift: Tensor  # [S, N, A]  the correction of that action, in (-1, 1)
    value: Tensor  # [S, N, 1]  of the row's own action


def imitation_error(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared error to what the teacher says. [mbml distillation]  [S, N, ·] ×2 -> [S]."""
    return (ours - theirs).square().mean((1, 2))


@dataclass(frozen=True)
class Distilled:
    """BCQ's critic, decoder and correction, each a regression on its teachers' own; acts as BCQ does."""

    proposals: Proposals = field(default_factory=Proposals)
    width: Width = setting(256, "units of a hidden layer", paper="256 (Table 6)")
    depth: Depth = setting(3, "hidden layers", paper="3 (Table 6)")
    actor_lr: Rate = setting(1e-3, "Adam's rate of what acts", paper="1e-3 points, 3e-3 bodies (Table 6)")
    critic_lr: Rate = setting(1e-3, "Adam's rate of what values", paper="1e-3 points, 3e-3 bodies (Table 6)")
    tau: ClassVar[float] = 1.0

    @property
    def hidden(self) -> tuple[int, ...]:
        """The hidden widths of every network."""
        return (self.width,) * self.depth

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """Critic, decoder and correction; nothing here has a target."""
        state, act, hidden = space.obs + latent, space.action, self.hidden
        return {
            "critic": StackedMLP(state + act, hidden, 1, stream),
            "decoder": StackedMLP(state + self.proposals.latent_width(act), hidden, act, stream),
            "perturbation": StackedMLP(state + act, hidden, act, stream),
        }

    def rates(self) -> dict[str, float]:
        """As BCQ's."""
        return {"critic": self.critic_lr, "decoder": self.actor_lr, "perturbation": self.actor_lr}

    def noise_width(self, space: Space) -> int:
        """None: what is random is the lesson's."""
        return 0

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """The three regressions on the lesson; ValueError without one."""
        lesson = (rows.gained or {}).get(LESSON)
        if lesson is None:
            raise ValueError("a distilled control takes an algorithm with a stage that gives lessons")
        state = {name: torch.cat([rows.obs, z[name]], -1) for name in z}
        value = nets["critic"](torch.cat([state["critic"], rows.action], -1))
        shift = nets["perturbation"](torch.cat([state["perturbation"], lesson.action], -1)).tanh()
        action = decoded(nets["decoder"], state["decoder"], lesson.latent)
        return {
            "critic": imitation_error(value, lesson.value),
            "decoder": imitation_error(action, lesson.action),
            "perturbation": imitation_error(shift, lesson.shift),
        }

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The best candidate by the critic.  [S, N, O], [S, N, Z] -> [S, N, A]."""
        state = torch.cat([obs, z], -1)
        return self.proposals.best(nets["decoder"], nets["perturbation"], nets["critic"], state)
