"""Behaviour-regularised SAC: the policy pays for its KL divergence from the data's (BRAC, Wu et al., 2019).

The divergence is a critic's dual estimate, as in FOCAL, or the primal one, from a policy fitted to the data.
Its weight, the strength, adapts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from comrl.algorithms.algorithm import Losses, Nets, Space, Training
from comrl.algorithms.control_sac import Sac
from comrl.algorithms.policy import Sampled, clamp_through, split_head
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import NonNegative, Number, Positive, Rate, setting

Head = tuple[Tensor, Tensor]
"""Mean and log standard deviation before the squashing."""
FITTED_LOG_STD = (-5.0, 2.0)
DOUBTFUL = 0.1  # share of the training with the strength at its largest
ALMOST = 0.999  # actions are pulled this near to the edge before they are unsquashed


class Divergence(NamedTuple):
    """The policy's divergence from the data's in every row, and what trains the estimate."""

    price: Tensor  # [S, N, 1]  reaches the policy alone
    losses: Losses


def log_softplus(score: Tensor) -> Tensor:
    """The logarithm of softplus, far below zero the score itself, where softplus underflows."""
    low = -30.0  # the two differ by e^low / 2 there, less than float64 can tell
    return torch.where(score > low, functional.softplus(score.clamp(min=low)).log(), score)


def kl_dual(policy: Tensor, data: Tensor) -> Tensor:
    """What every row adds to a lower bound of KL(policy || data), from a critic's scores of both's actions.

    It is tight where softplus(score) is the ratio of their densities.  [S, N, 1], [S, N, 1] -> [S, N, 1].
    """
    return log_softplus(policy) + 1 - functional.softplus(data)


def steepness(net: nn.Module, state: Tensor, action: Tensor) -> Tensor:
    """The length of the score's gradient by the action.  [S, N, O + Z], [S, N, A] -> [S, N, 1]."""
    action = action.detach().requires_grad_()
    score = net(torch.cat([state, action], -1))
    (slope,) = torch.autograd.grad(score.sum(), action, create_graph=True)  # it is itself descended
    return slope.norm(dim=-1, keepdim=True)


def divergence_loss(divergence: Tensor, size: Tensor, penalty: float) -> Tensor:
    """Raise the bound by a critic whose size, be it steepness or score, stays below 1.  [S, N, 1] -> [S]."""
    return (penalty * (size - 1).clamp(min=0).square() - divergence).mean((1, 2))


def gaussian_kl(policy: Head, data: Head) -> Tensor:
    """KL(policy || data) of two tanh-Gaussians, in nats, exactly: the squashing cancels.

    [S, N, A] each -> [S, N, 1].
    """
    (mean, log_std), (data_mean, data_log_std) = policy, data
    variances = (2 * (log_std - data_log_std)).exp()
    apart = ((mean - data_mean) / data_log_std.exp()).square()
    return (data_log_std - log_std + 0.5 * (variances + apart - 1)).sum(-1, keepdim=True)


def imitation_loss(head: Head, action: Tensor) -> Tensor:
    """Minus the log density of the data's actions under a tanh-Gaussian, but for the squashing's constant.

    [S, N, A] -> [S].
    """
    mean, log_std = head
    raw = action.clamp(-ALMOST, ALMOST).atanh()
    return (0.5 * ((raw - mean) / log_std.exp()).square() + log_std).sum(-1).mean(-1)


def strength_loss(log_strength: Tensor, divergence: Tensor, target: float, largest: float) -> Tensor:
    """Strengthen where the divergence exceeds the target, up to the largest; weaken where it falls short.

    [S, 1, 1], [S, N, 1] -> [S].
    """
    excess = (divergence.detach() - target).mean((1, 2), keepdim=True)  # [S, 1, 1]
    full = log_strength.detach().exp() >= largest
    return -(log_strength * torch.where(full, excess.clamp(max=0), excess)).mean((1, 2))


@dataclass(frozen=True)
class Brac:
    """SAC with an estimate of divergence and a strength; without either where the strength is 0."""

    sac: Sac = field(default_factory=Sac)
    strength: NonNegative = setting(
        0.0, "weight of a nat of divergence at the start", paper="0 points, 500 bodies"
    )
    strength_max: NonNegative = setting(2000.0, "largest weight of a nat of divergence")
    strength_lr: Rate = setting(0.01, "Adam's rate of the log strength")
    strength_eps: Positive = setting(
        1e-8, "Adam's epsilon of it: where it is large, steps are in proportion to the excess", before=1e-8
    )
    target_divergence: Number = setting(0.05, "nats at which the strength rests", paper="0.05 (Table 6)")
    divergence: Literal["dual", "primal"] = setting(
        "dual", "estimated by a critic, or exactly from a policy fitted to the data", paper="dual"
    )
    divergence_lr: Rate = setting(1e-4, "Adam's rate of critic or fitted policy", paper="1e-4 (Table 6)")
    clamp: Literal["through", "hard"] = setting(
        "through", "whether gradient passes a clamped log deviation; the authors' code: hard"
    )
    penalise: Literal["gradient", "value"] = setting(
        "gradient",
        "what of the critic is kept below 1, at mixtures of both actions; the authors' code: value",
    )
    penalty: NonNegative = setting(5.0, "weight of what the critic exceeds 1 by, squared")
    value_penalty: bool = setting(False, "whether the value pays for the divergence as the policy does")

    def idle(self) -> set[str]:
        """All of the regularisation where it is off, and what belongs to the other estimate."""
        if not self.strength:
            return {one.name for one in fields(self)} - {"sac", "strength"}
        return {"penalise", "penalty"} if self.divergence == "primal" else set()

    @property
    def tau(self) -> float:
        """SAC's."""
        return self.sac.tau

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """SAC's networks, the divergence critic or the fitted policy, and the log strength [S, 1, 1]."""
        nets = self.sac.build(space, latent, stream)
        if self.strength:
            state, action = space.obs + latent, space.action
            log_strength = torch.full((len(stream.generators), 1, 1), math.log(self.strength))
            widths = (state + action, 1) if self.divergence == "dual" else (state, 2 * action)
            nets["divergence"] = StackedMLP(widths[0], self.sac.hidden, widths[1], stream)
            nets["strength"] = nn.ParameterList([log_strength])
        return nets

    def rates(self) -> dict[str, float]:
        """SAC's, and the two of the regularisation."""
        own = {"divergence": self.divergence_lr, "strength": self.strength_lr}
        return self.sac.rates() | (own if self.strength else {})

    def epsilons(self) -> dict[str, float]:
        """Adam's epsilon where it is another than usual."""
        return {"strength": self.strength_eps} if self.strength else {}

    def noise_width(self, space: Space) -> int:
        """One number for each of the action's; the dual has one more, that mixes it with the data's."""
        dual = self.strength > 0 and self.divergence == "dual"
        return self.sac.noise_width(space) + dual

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """SAC's losses, the policy's with strength · divergence, and those of divergence and strength."""
        if not self.strength:
            return self.sac.losses(nets, rows, z, noise, training)
        state = {name: torch.cat([rows.obs, z[name]], -1) for name in ("policy", "divergence")}
        # departs: at the widest a hard clamp leaves no gradient to narrow by; 2 of 12 toy seeds stood there
        # for good, with 30 times the strength of the others; none does with this clamp
        clamp = clamp_through if self.clamp == "through" else torch.clamp
        drawn = self.sac.draw(nets, state["policy"], noise[..., : rows.action.shape[-1]], clamp)
        estimate = self._dual if self.divergence == "dual" else self._primal
        divergence = estimate(nets["divergence"], rows, state, drawn, noise)

        strength = nets["strength"][0].detach().exp().clamp(max=self.strength_max)  # [S, 1, 1]
        price = strength * divergence.price  # [S, N, 1]
        toll = price.detach() if self.value_penalty else 0.0
        losses = self.sac.losses_of(nets, rows, z, drawn, training, toll)
        return (
            losses
            | divergence.losses
            | {
                "policy": losses["policy"] + price.mean((1, 2)),
                "mean_strength": strength.flatten(),
                "strength_at_largest": (strength >= self.strength_max).to(strength.dtype).flatten(),
                "mean_divergence": divergence.price.detach().mean((1, 2)),
                "strength": strength_loss(
                    nets["strength"][0], divergence.price, self.target_divergence, self.strength_max
                ),
            }
        )

    def doubts(self, means: Mapping[str, float]) -> list[str]:
        """What makes a training doubtful, said from its metrics' means over all steps."""
        share = means.get("strength_at_largest", 0.0)
        if share <= DOUBTFUL:
            return []
        return [
            f"the strength stood at its largest for {share:.0%} of the training, and the divergence at "
            f"{means['mean_divergence']:.2f} nats with a target of {self.target_divergence:g}; raise "
            "control.strength_max to hold the policy nearer to the data"
        ]

    def _dual(
        self, critic: StackedMLP, rows: Rows, state: Mapping[str, Tensor], drawn: Sampled, noise: Tensor
    ) -> Divergence:
        """The critic's bound, at one draw of the policy and the data's action in every row."""
        apart, share = drawn.action.detach(), torch.special.ndtr(noise[..., -1:])  # uniform on (0, 1)
        actions = torch.cat([rows.action, apart], 1)  # [S, 2N, A]
        scores = critic(torch.cat([state["divergence"].repeat(1, 2, 1), actions], -1))
        data, policy = scores.chunk(2, 1)  # [S, N, 1] each
        size = self._size(critic, state["divergence"], torch.lerp(rows.action, apart, share))
        chosen = critic(torch.cat([state["policy"], drawn.action], -1), frozen=True)
        loss = divergence_loss(kl_dual(policy, data), size, self.penalty)
        return Divergence(kl_dual(chosen, data.detach()), {"divergence": loss})

    def _primal(
        self, fitted: StackedMLP, rows: Rows, state: Mapping[str, Tensor], drawn: Sampled, noise: Tensor
    ) -> Divergence:
        """The exact divergence from a policy that is fitted to the data's actions."""
        head = split_head(fitted(state["divergence"]), *FITTED_LOG_STD, clamp_through)
        still = (head[0].detach(), head[1].detach())
        price = gaussian_kl((drawn.mean, drawn.log_std), still)
        return Divergence(price, {"divergence": imitation_loss(head, rows.action)})

    def _size(self, critic: nn.Module, state: Tensor, action: Tensor) -> Tensor:
        """What is penalised, at mixed actions.  [S, N, O + Z], [S, N, A] -> [S, N, 1]."""
        if self.penalise == "gradient":
            return steepness(critic, state, action)
        return critic(torch.cat([state, action], -1)).abs()

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The tanh of the policy's mean.  [S, N, O], [S, N, Z] -> [S, N, A]."""
        return self.sac.act(nets, obs, z)
