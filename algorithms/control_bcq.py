"""Batch-constrained Q-learning, conditioned on the task: only actions like the data's are ever considered
(Fujimoto et al., 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Losses, Nets, Space, Training
from comrl.algorithms.control_sac import critic_loss
from comrl.algorithms.stack import ConditionalVae, Ensemble, StackedMLP
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import BelowOne, Count, Depth, NonNegative, Positive, Rate, Width, setting

NEVER = 1e-6  # how near to 0 and 1 a share is taken for a quantile
Net = Callable[[Tensor], Tensor]


def decoded(decoder: Net, state: Tensor, latent: Tensor) -> Tensor:
    """The action that a latent stands for in a state.  [S, N, O + Z], [S, N, L] -> [S, N, A]."""
    return decoder(torch.cat([state, latent], -1)).tanh()


def corrected(perturbation: Net, state: Tensor, action: Tensor, bound: float) -> Tensor:
    """The action moved by a learned correction of at most the bound. [bcq perturbation]

    [S, N, O + Z], [S, N, A] -> [S, N, A]
    """
    shift = perturbation(torch.cat([state, action], -1)).tanh()
    return (action + bound * shift).clamp(-1, 1)


def vae_loss(decoded: Tensor, action: Tensor, mean: Tensor, log_std: Tensor, prior_weight: float) -> Tensor:
    """Squared error of the decoded action, and the posterior's divergence from a standard normal. [bcq vae]

    Both are means over rows and dimensions.  [S, N, A] ×2, [S, N, L] ×2 -> [S]
    """
    divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std)
    return (decoded - action).square().mean((1, 2)) + prior_weight * divergence.mean((1, 2))


def cautious_value(q: Tensor, caution: float) -> Tensor:
    """Between both critics, nearer to the smaller. [bcq target]  [2, S, N, 1] -> [S, N, 1]."""
    return caution * q.amin(0) + (1 - caution) * q.amax(0)


@cache
def even_latents(count: int, width: int) -> Tensor:
    """Standard normal numbers spread evenly, the mode first, the same for every policy: [count, width]."""
    share = torch.quasirandom.SobolEngine(width).draw(count + 1)[1:]  # the first point is the corner 0
    return torch.special.ndtri(share.double().clamp(NEVER, 1 - NEVER)).float()


@dataclass(frozen=True)
class Proposals:
    """How candidate actions are made from latents and chosen among, by an agent and by who imitates it."""

    candidates: Count = setting(10, "actions among which the best is taken", paper="10 (BCQ's code)")
    perturbation: NonNegative = setting(0.05, "largest correction of an action, whose range is [-1, 1]")
    latent_bound: Positive = setting(0.5, "size within which latents are decoded when actions are made")
    latents_per_action: Count = setting(2, "latent numbers for each of an action's", paper="2 (BCQ's code)")

    def latent_width(self, action: int) -> int:
        """The autoencoder's latent width L."""
        return self.latents_per_action * action

    def bounded(self, latent: Tensor) -> Tensor:
        """Latents as they are decoded when actions are made."""
        return latent.clamp(-self.latent_bound, self.latent_bound)

    def candidates_of(
        self, decoder: Net, perturbation: Net, critic: Net, state: Tensor, latents: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Candidate actions of every row and the critic's values of them.

        [S, N, O + Z], [S, N, C, L] -> [S, N, C, A], [..., S, N, C, 1].
        """
        rows, count = latents.shape[1:3]
        many = state.repeat_interleave(count, 1)  # [S, N * C, O + Z]
        action = decoded(decoder, many, latents.flatten(1, 2))
        action = corrected(perturbation, many, action, self.perturbation)
        value = critic(torch.cat([many, action], -1))  # [..., S, N * C, 1]
        return action.unflatten(1, (rows, count)), value.unflatten(-2, (rows, count))

    def best(self, decoder: StackedMLP, perturbation: Net, critic: Net, state: Tensor) -> Tensor:
        """The candidate of highest value. [bcq policy]  [S, N, O + Z] -> [S, N, A].

        departs: BCQ draws candidates anew at every step; here they are evenly spread ones, always the same,
        so that the policy is deterministic as every other's.
        """
        latents = even_latents(self.candidates, self.latent_width(decoder.outputs)).to(state)  # [C, L]
        latents = self.bounded(latents).expand(*state.shape[:2], -1, -1)
        action, value = self.candidates_of(decoder, perturbation, critic, state, latents)
        place = value.argmax(2, keepdim=True).expand(-1, -1, -1, action.shape[-1])  # [S, N, 1, A]
        return action.gather(2, place).squeeze(2)


@dataclass(frozen=True)
class Bcq:
    """An autoencoder that proposes actions like the data's, a small learned correction, and twin critics that
    choose.
    """

    proposals: Proposals = field(default_factory=Proposals)
    width: Width = setting(256, "units of a hidden layer", paper="256 (Table 6)")
    depth: Depth = setting(3, "hidden layers", paper="3 (Table 6)")
    actor_lr: Rate = setting(1e-3, "Adam's rate of what acts", paper="1e-3 points, 3e-3 bodies (Table 6)")
    critic_lr: Rate = setting(1e-3, "Adam's rate of what values", paper="1e-3 points, 3e-3 bodies (Table 6)")
    tau: Rate = setting(0.005, "how far a target network moves at every step")
    caution: BelowOne = setting(0.75, "share of the smaller of two critics in a target", paper="0.75 (BCQ)")
    prior_weight: NonNegative = setting(0.5, "weight of the autoencoder's divergence from the prior, a nat")

    @property
    def hidden(self) -> tuple[int, ...]:
        """The hidden widths of every network."""
        return (self.width,) * self.depth

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """Critics, autoencoder and correction, with targets of critics and correction."""
        state, act, hidden = space.obs + latent, space.action, self.hidden
        nets: dict[str, nn.Module] = {
            "critic": Ensemble(state + act, hidden, 1, stream),
            "vae": ConditionalVae(state, act, self.proposals.latent_width(act), hidden, stream),
            "perturbation": StackedMLP(state + act, hidden, act, stream),
            "critic_target": Ensemble(state + act, hidden, 1, stream),
            "perturbation_target": StackedMLP(state + act, hidden, act, stream),
        }
        for name in ("critic", "perturbation"):
            nets[f"{name}_target"].load_state_dict(nets[name].state_dict())
        return nets

    def rates(self) -> dict[str, float]:
        """The critic's rate for the critics, the actor's for what makes actions."""
        return {"critic": self.critic_lr, "vae": self.actor_lr, "perturbation": self.actor_lr}

    def noise_width(self, space: Space) -> int:
        """A latent for the autoencoder's draw, one for the correction, and one for each candidate."""
        return (self.proposals.candidates + 2) * self.proposals.latent_width(space.action)

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """The three losses at one point of parameters."""
        propose, vae = self.proposals, nets["vae"]
        width = propose.latent_width(rows.action.shape[-1])
        drawn, here, there = noise.split((width, width, propose.candidates * width), -1)
        state = {name: torch.cat([rows.obs, z[name]], -1) for name in z}

        mean, log_std = vae.read(state["vae"], rows.action)
        copied = decoded(vae.decoder, state["vae"], mean + log_std.exp() * drawn)

        with torch.no_grad():
            next_state = torch.cat([rows.next_obs, z["critic"]], -1)
            latents = propose.bounded(there.unflatten(-1, (propose.candidates, width)))  # [S, N, C, L]
            _, value = propose.candidates_of(
                vae.decoder, nets["perturbation_target"], nets["critic_target"], next_state, latents
            )
            next_value = cautious_value(value, self.caution).amax(2)  # [S, N, 1]
            proposed = decoded(vae.decoder, state["perturbation"], propose.bounded(here))
        q = nets["critic"](torch.cat([state["critic"], rows.action], -1))  # [2, S, N, 1]
        chosen = corrected(nets["perturbation"], state["perturbation"], proposed, propose.perturbation)
        climbed = nets["critic"](torch.cat([state["perturbation"], chosen], -1), frozen=True)[0]
        reward = rows.reward * training.reward_scale
        return {
            "critic": critic_loss(q, reward, rows.alive, next_value, training.discount),
            "vae": vae_loss(copied, rows.action, mean, log_std, self.prior_weight),
            "perturbation": -climbed.mean((1, 2)),
            "mean_q": q.detach().mean((0, 2, 3)),
        }

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The best candidate by the first critic.  [S, N, O], [S, N, Z] -> [S, N, A]."""
        state = torch.cat([obs, z], -1)
        critic = lambda x: nets["critic"](x)[0]  # noqa: E731
        return self.proposals.best(nets["vae"].decoder, nets["perturbation"], critic, state)
