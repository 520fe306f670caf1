"""Soft actor-critic as it learns online: twin critics with targets and a learned temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Losses, Nets, Space, Training
from comrl.algorithms.control_sac import critic_loss
from comrl.algorithms.policy import Sampled, sample, split_head
from comrl.algorithms.stack import Ensemble, StackedMLP
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, Number, Positive, Rate, Width, setting

LOG_STD = (-5.0, 2.0)  # the usual clamp of online SAC


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Raise the temperature while the policy's entropy is under its target.  [S, 1, 1], [S, N, 1] -> [S]."""
    return -(log_temperature * (log_prob.detach() + target_entropy)).mean((1, 2))


@dataclass(frozen=True)
class OnlineSac:
    """The agents behind the data: SAC without a state value (Haarnoja et al., 2018b)."""

    width: Width = setting(256, "units of a hidden layer", paper="1024 (authors' code)")
    depth: Depth = setting(2, "hidden layers", paper="2 (authors' code)")
    lr: Rate = setting(3e-4, "Adam's rate of actor, critics and temperature", paper="1e-4 (authors' code)")
    tau: Rate = setting(0.005, "how far a target network moves at every step", paper="0.005 (authors' code)")
    initial_temperature: Positive = setting(
        0.1, "what a nat of entropy is worth at the start, in reward", paper="0.1 (authors' code)"
    )
    target_entropy: Number = setting(
        -2.0, "entropy at which the temperature holds the policy, in nats", paper="-A (authors' code)"
    )

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """Critics and their targets, the policy, and the logarithm of each member's temperature."""
        state, hidden = space.obs + latent, (self.width,) * self.depth
        critic = Ensemble(state + space.action, hidden, 1, stream)
        target = Ensemble(state + space.action, hidden, 1, stream)
        target.load_state_dict(critic.state_dict())
        log_temperature = torch.full((len(stream.generators), 1, 1), math.log(self.initial_temperature))
        return {
            "critic": critic,
            "critic_target": target,
            "policy": StackedMLP(state, hidden, 2 * space.action, stream),
            "temperature": nn.ParameterList([log_temperature]),
        }

    def rates(self) -> dict[str, float]:
        """One rate for all."""
        return dict.fromkeys(("critic", "policy", "temperature"), self.lr)

    def noise_width(self, space: Space) -> int:
        """One number for each of the action's, here and in the next state."""
        return 2 * space.action

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """SAC's three losses at one point of parameters."""
        log_temperature = nets["temperature"][0]  # [S, 1, 1]
        temperature, (here, there) = log_temperature.detach().exp(), noise.chunk(2, -1)
        state = {name: torch.cat([rows.obs, z[name]], -1) for name in ("critic", "policy")}
        with torch.no_grad():
            next_state = torch.cat([rows.next_obs, z["critic"]], -1)
            after = self.draw(nets, next_state, there)
            q_next = nets["critic_target"](torch.cat([next_state, after.action], -1)).amin(0)
            next_value = q_next - temperature * after.log_prob  # [S, N, 1]
        q = nets["critic"](torch.cat([state["critic"], rows.action], -1))  # [2, S, N, 1]
        drawn = self.draw(nets, state["policy"], here)
        q_min = nets["critic"](torch.cat([state["policy"], drawn.action], -1), frozen=True).amin(0)
        reward = rows.reward * training.reward_scale
        return {
            "critic": critic_loss(q, reward, rows.alive, next_value, training.discount),
            "policy": (temperature * drawn.log_prob - q_min).mean((1, 2)),
            "temperature": temperature_loss(log_temperature, drawn.log_prob, self.target_entropy),
        }

    def draw(self, nets: Nets, state: Tensor, noise: Tensor) -> Sampled:
        """The policy's reparametrised action.  [S, N, O + Z], [S, N, A] -> [S, N, A]."""
        return sample(nets["policy"](state), noise, low=LOG_STD[0], high=LOG_STD[1])

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The tanh of the policy's mean.  [S, N, O], [S, N, Z] -> [S, N, A]."""
        return split_head(nets["policy"](torch.cat([obs, z], -1)), *LOG_STD)[0].tanh()
