"""Task-conditioned soft actor-critic with a state-value critic, as in the paper's lineage (PEARL, FOCAL)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from comrl.algorithms.algorithm import Losses, Nets, Space, Training
from comrl.algorithms.policy import Clamp, Sampled, sample, split_head
from comrl.algorithms.stack import Ensemble, StackedMLP
from comrl.datasets.transitions import Rows
from comrl.ground.noise import Stream
from comrl.ground.settings import Depth, Logarithm, NonNegative, Rate, Width, setting


def critic_loss(q: Tensor, reward: Tensor, alive: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """Both critics' squared error to r + discount V_target(s').  q: [2, S, N, 1], others [S, N, 1] -> [S]."""
    target = reward + discount * alive * next_value
    return (q - target).square().sum(0).mean((1, 2))


def value_loss(value: Tensor, q_min: Tensor, log_prob: Tensor, temperature: float) -> Tensor:
    """The value's squared error to the policy's soft value, min Q - temperature log pi.  [S, N, 1] -> [S]."""
    return (value - (q_min - temperature * log_prob).detach()).square().mean((1, 2))


def policy_loss(drawn: Sampled, q_min: Tensor, temperature: float, shrink: float) -> Tensor:
    """Climb the soft value; means and log deviations are shrunk a little, as in the lineage.

    [S, N, 1] -> [S].

    The shrinkage is in units of the temperature, so that dividing reward scale and temperature by one
    number divides the whole objective by it.
    """
    climb = (temperature * drawn.log_prob - q_min).mean((1, 2))
    size = drawn.mean.square().mean((1, 2)) + drawn.log_std.square().mean((1, 2))
    return climb + temperature * shrink * size


@dataclass(frozen=True)
class Sac:
    """Twin critics, state value with a target, tanh-Gaussian policy, a fixed entropy temperature."""

    width: Width = setting(256, "units of a hidden layer", paper="256 (Table 6)")
    depth: Depth = setting(3, "hidden layers", paper="3 (Table 6)")
    actor_lr: Rate = setting(1e-3, "Adam's rate of what acts", paper="1e-3 points, 3e-3 bodies (Table 6)")
    critic_lr: Rate = setting(1e-3, "Adam's rate of what values", paper="1e-3 points, 3e-3 bodies (Table 6)")
    temperature: NonNegative = setting(1.0, "what a nat of entropy is worth, in scaled reward")
    tau: Rate = setting(0.005, "how far a target network moves at every step")
    log_std_low: Logarithm = setting(-20.0, "least log standard deviation of the policy before the tanh")
    log_std_high: Logarithm = setting(0.0, "largest log standard deviation of the policy before the tanh")
    shrink: NonNegative = setting(1e-3, "weight of the policy's squared outputs, in temperatures")

    @property
    def hidden(self) -> tuple[int, ...]:
        """The hidden widths of every network."""
        return (self.width,) * self.depth

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        """Critic, value, policy and the value's target."""
        state, hidden = space.obs + latent, self.hidden
        value = StackedMLP(state, hidden, 1, stream)
        target = StackedMLP(state, hidden, 1, stream)
        target.load_state_dict(value.state_dict())
        return {
            "critic": Ensemble(state + space.action, hidden, 1, stream),
            "value": value,
            "policy": StackedMLP(state, hidden, 2 * space.action, stream),
            "value_target": target,
        }

    def rates(self) -> dict[str, float]:
        """The critic's rate for both value functions, the actor's for the policy."""
        return {"critic": self.critic_lr, "value": self.critic_lr, "policy": self.actor_lr}

    def noise_width(self, space: Space) -> int:
        """One number for each of the action's."""
        return space.action

    def losses(
        self, nets: Nets, rows: Rows, z: Mapping[str, Tensor], noise: Tensor, training: Training
    ) -> Losses:
        """The three losses at one point of parameters, as Algorithm 1 computes them before any step."""
        drawn = self.draw(nets, torch.cat([rows.obs, z["policy"]], -1), noise)
        return self.losses_of(nets, rows, z, drawn, training)

    def draw(self, nets: Nets, state: Tensor, noise: Tensor, clamp: Clamp = torch.clamp) -> Sampled:
        """The policy's reparametrised action.  [S, N, O + Z], [S, N, A] -> [S, N, A]."""
        low, high = self.log_std_low, self.log_std_high
        return sample(nets["policy"](state), noise, low=low, high=high, clamp=clamp)

    def losses_of(
        self,
        nets: Nets,
        rows: Rows,
        z: Mapping[str, Tensor],
        drawn: Sampled,
        training: Training,
        toll: Tensor | float = 0.0,
    ) -> Losses:
        """The three losses of a drawn action, for which the value pays a toll [S, N, 1]."""
        state = {name: torch.cat([rows.obs, z[name]], -1) for name in ("critic", "value", "policy")}
        with torch.no_grad():
            next_value = nets["value_target"](torch.cat([rows.next_obs, z["critic"]], -1))
        q = nets["critic"](torch.cat([state["critic"], rows.action], -1))  # [2, S, N, 1]
        climbed = nets["critic"](torch.cat([state["policy"], drawn.action], -1), frozen=True)
        q_min = climbed.amin(0)  # [S, N, 1]
        reward = rows.reward * training.reward_scale
        return {
            "critic": critic_loss(q, reward, rows.alive, next_value, training.discount),
            "value": value_loss(
                nets["value"](state["value"]), q_min - toll, drawn.log_prob, self.temperature
            ),
            "policy": policy_loss(drawn, q_min, self.temperature, self.shrink),
            "mean_q": q.detach().mean((0, 2, 3)),
            "log_prob": drawn.log_prob.detach().mean((1, 2)),
        }

    def act(self, nets: Nets, obs: Tensor, z: Tensor) -> Tensor:
        """The tanh of the policy's mean.  [S, N, O], [S, N, Z] -> [S, N, A]."""
        head = nets["policy"](torch.cat([obs, z], -1))
        return split_head(head, self.log_std_low, self.log_std_high)[0].tanh()
