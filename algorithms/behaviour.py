"""Behaviour policies: online SAC of all tasks at once, where the stack is the tasks (Haarnoja et al.,
2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from comrl.algorithms.policy import sample, split_head
from comrl.algorithms.stack import Ensemble, StackedMLP, adam, minimise, polyak
from comrl.envs.family import Array, TaskFamily
from comrl.envs.rollout import Policy
from comrl.ground.noise import Stream, derive_seed

LOG_STD = (-5.0, 2.0)  # the usual clamp of online SAC


class SacSettings(BaseModel):
    """The numbers of one SAC agent, whichever trainer runs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    warmup_steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    lr: float = Field(gt=0)
    lr_schedule: Literal["constant", "linear"]
    gamma: float = Field(ge=0, lt=1)
    tau: float = Field(gt=0, le=1)
    updates_per_step: int = Field(ge=1)
    worlds: int = Field(1, ge=1)
    """Copies of its task in which each agent acts at once: a step is one step of each."""
    first_value: Literal["zero", "warmup"] = "zero"
    """Where critics start: at zero, or at the value of earning the warm-up's mean reward for ever."""
    checkpoint_every: int = Field(ge=1)
    initial_temperature: float = Field(gt=0)
    target_entropy: float
    seed: int = Field(ge=0)
    block: int = Field(ge=1)
    """Tasks trained in one stack: small enough for the cache, and the unit in which an interrupted job
    goes on.
    """

    def lr_at(self, step: int) -> float:
        """The learning rate after so many environment steps; linear ends at zero with the last."""
        left = max(0.0, 1 - step / self.steps)
        return self.lr * (left if self.lr_schedule == "linear" else 1.0)

    @property
    def hidden(self) -> tuple[int, ...]:
        """The hidden widths of actor and critics."""
        return (self.width,) * self.depth


class Draws(NamedTuple):
    """The noise of one episode of every agent, each agent's from its own generator."""

    action: Tensor  # [S, H, W, A]
    row: Tensor  # [S, H * U, B]  uniform
    here: Tensor  # [S, H * U, B, A]
    there: Tensor  # [S, H * U, B, A]


class StackedSac:
    """SAC agents of many tasks of one family, trained in lockstep; agent s is exactly the agent it
    would be alone.
    """

    def __init__(
        self,
        family: TaskFamily,
        params: Array,
        tasks: Sequence[int],
        settings: SacSettings,
        device: torch.device,
    ) -> None:
        self.family, self.settings, self.device = family, settings, device
        self.params = np.repeat(params[list(tasks)], settings.worlds, 0)  # [S * W, P]
        self.worlds = family.simulator(self.params)
        self.seeds = [derive_seed(settings.seed, "behaviour", task) for task in tasks]
        init = Stream([derive_seed(seed, "init") for seed in self.seeds])
        obs, act, hidden = family.body_dim, family.action_dim, settings.hidden
        self.nets: dict[str, Any] = {
            "critic": Ensemble(obs + act, hidden, 1, init).to(device),
            "critic_target": Ensemble(obs + act, hidden, 1, init).to(device),
            "policy": StackedMLP(obs, hidden, 2 * act, init).to(device),
            "temperature": nn.ParameterList(
                [
                    torch.full(
                        (len(tasks), 1, 1),
                        np.log(settings.initial_temperature),
                        dtype=torch.float32,
                        device=device,
                    )
                ]
            ),
        }
        self.nets["critic_target"].load_state_dict(self.nets["critic"].state_dict())
        self.optimiser = adam(
            [(self.nets[name], {"lr": settings.lr}) for name in ("critic", "policy", "temperature")]
        )
        self.noise = Stream([derive_seed(seed, "noise") for seed in self.seeds], device)
        self.widths = (obs, act, 1, obs, 1)  # obs, action, reward, next obs, alive
        capacity = settings.steps * settings.worlds
        self.replay = torch.zeros(len(tasks), capacity, sum(self.widths), device=device)  # [S, steps * W, F]
        self.offset = torch.arange(len(tasks), device=device)[:, None] * capacity  # [S, 1]
        self.step = 0

    def train(self) -> Iterator[tuple[int, Policy, Policy]]:
        """Train to the end; the step, stochastic and mean policies, untrained first, then at every
        checkpoint.

        The policies take the tasks' observations one task after another, the same number of each: [S * E, O].
        """
        every = self.settings.checkpoint_every
        while True:
            if self.step % every == 0:
                noise = Stream([derive_seed(seed, "rollout", self.step) for seed in self.seeds], self.device)
                yield self.step, partial(self._policy, noise), partial(self._policy, None)
            if self.step >= self.settings.steps:
                return
            checkpoint = self.step - self.step % every + every
            self._episode(self._draws(), until=min(checkpoint, self.settings.steps))

    @torch.no_grad()
    def _policy(self, noise: Stream | None, obs: Array) -> Array:
        """Every agent's actions in its own task; the mean's without noise.  [S * E, O] -> [S * E, A]."""
        stacked = self._seen(obs)  # [S, E, O]
        drawn = noise.normal(stacked.shape[1], self.family.action_dim) if noise else None
        return self._act(stacked, drawn).flatten(0, 1).cpu().numpy().astype(np.float64)

    def _act(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Sampled actions, or with no noise the tanh of the mean.  [S, N, O], [S, N, A] -> [S, N, A]."""
        head = self.nets["policy"](obs)
        if noise is None:
            return split_head(head, *LOG_STD)[0].tanh()
        return sample(head, noise, low=LOG_STD[0], high=LOG_STD[1]).action

    def _draws(self) -> Draws:
        horizon, act, batch = self.family.horizon, self.family.action_dim, self.settings.batch
        updates = horizon * self.settings.updates_per_step
        return Draws(
            self.noise.normal(horizon, self.settings.worlds, act),
            self.noise.uniform(updates, batch),
            self.noise.normal(updates, batch, act),
            self.noise.normal(updates, batch, act),
        )

    def _episode(self, draws: Draws, until: int) -> None:
        """One horizon of every world, updating as it goes, cut at a checkpoint; a time limit ends no world.

        A world that falls starts anew and goes on to the common end.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr_at(self.step)
        many, ratio = self.settings.worlds, self.settings.updates_per_step
        obs = self.worlds.reset(self._starts())
        for now in range(min(self.family.horizon, until - self.step)):
            action = self._explore(obs, draws.action[:, now])
            next_obs, fell = self.worlds.step(action)
            reward = self.family.reward(obs, action, next_obs, self.params)
            rows = (action, reward[:, None], next_obs[:, : self.family.body_dim], ~fell[:, None])
            row = torch.cat([self._seen(obs), *map(self._tensor, rows)], -1)  # [S, W, F]
            self.replay[:, self.step * many : (self.step + 1) * many] = row
            self.step += 1
            obs = self.worlds.reset(self._starts(), fell) if fell.any() else next_obs
            if self.step == self.settings.warmup_steps and self.settings.first_value == "warmup":
                self._raise_critics()
            if self.step > self.settings.warmup_steps:
                for index in range(now * ratio, (now + 1) * ratio):
                    self._update(draws.row[:, index], draws.here[:, index], draws.there[:, index])

    def _raise_critics(self) -> None:
        """Add each agent's mean reward so far, earned for ever, to its critics' last bias."""
        reward = self.replay.split(self.widths, -1)[2][:, : self.step * self.settings.worlds]  # [S, n, 1]
        value = reward.mean(1, keepdim=True) / (1 - self.settings.gamma)  # [S, 1, 1]
        with torch.no_grad():
            for name in ("critic", "critic_target"):
                self.nets[name].all.layers[-1].bias += value.repeat(2, 1, 1)

    def _starts(self) -> NDArray[np.int64]:
        """A seed a world for a start at this step: [S * W]."""
        copies = range(self.settings.worlds)
        return np.array([derive_seed(seed, self.step, copy) for seed in self.seeds for copy in copies])

    @torch.no_grad()
    def _explore(self, obs: Array, noise: Tensor) -> NDArray[np.float64]:
        """Uniform actions while warming up, then the policy's.  [S * W, O], [S, W, A] -> [S * W, A]."""
        if self.step < self.settings.warmup_steps:
            action = torch.erf(noise * 0.5**0.5)  # a standard normal's distribution function makes it uniform
        else:
            action = self._act(self._seen(obs), noise)
        return action.flatten(0, 1).cpu().numpy().astype(np.float64)

    def _tensor(self, rows: NDArray[Any]) -> Tensor:
        """Rows of all agents' worlds on the device.  [S * W, ·] -> [S, W, ·]."""
        return torch.from_numpy(rows.astype(np.float32)).to(self.device).unflatten(0, (len(self.seeds), -1))

    def _seen(self, obs: Array) -> Tensor:
        """What the agents see of their worlds, without their place.  [S * W, O] -> [S, W, ·]."""
        return self._tensor(obs[:, : self.family.body_dim])

    def _update(self, uniform: Tensor, here: Tensor, there: Tensor) -> None:
        """One step of critics, policy and temperature.  uniform: [S, B], here, there: [S, B, A]."""
        rows = (uniform * (self.step * self.settings.worlds)).long() + self.offset  # [S, B]
        picked = self.replay.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
        minimise(self.losses(picked, here, there), self.optimiser)
        polyak(self.nets["critic_target"], self.nets["critic"], self.settings.tau)

    def losses(self, picked: Tensor, here: Tensor, there: Tensor) -> Tensor:
        """SAC's three losses, each of which reaches its own networks alone.  picked: [S, B, F] -> [S]."""
        obs, action, reward, next_obs, alive = picked.split(self.widths, -1)
        nets, low, high = self.nets, *LOG_STD
        log_alpha = nets["temperature"][0]
        alpha = log_alpha.detach().exp()
        with torch.no_grad():
            after = sample(nets["policy"](next_obs), there, low=low, high=high)
            q_next = nets["critic_target"](torch.cat([next_obs, after.action], -1)).amin(0)
            target = reward + self.settings.gamma * alive * (q_next - alpha * after.log_prob)  # [S, B, 1]
        q = nets["critic"](torch.cat([obs, action], -1))  # [2, S, B, 1]
        drawn = sample(nets["policy"](obs), here, low=low, high=high)
        q_min = nets["critic"](torch.cat([obs, drawn.action], -1), frozen=True).amin(0)  # [S, B, 1]
        critic = (q - target).square().sum(0).mean((1, 2))
        policy = (alpha * drawn.log_prob - q_min).mean((1, 2))
        temperature = -(log_alpha * (drawn.log_prob.detach() + self.settings.target_entropy)).mean((1, 2))
        return critic + policy + temperature
