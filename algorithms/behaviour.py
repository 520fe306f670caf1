"""Behaviour policies: one online agent a task, all of them a stack that learns by the one update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, Training
from comrl.algorithms.control_online import OnlineSac
from comrl.algorithms.encoders import Zeros
from comrl.algorithms.learner import start, update
from comrl.datasets.sampler import Replay
from comrl.datasets.transitions import space_of
from comrl.envs.family import Array, TaskFamily
from comrl.envs.rollout import Policy
from comrl.ground.noise import Stream, derive_seed
from comrl.ground.settings import BelowOne, Count, Whole, required, setting


@dataclass(frozen=True)
class Behaviour:
    """How the agents behind the data are trained, whichever trainer does it."""

    steps: Count = required("steps of an agent in each of its worlds", paper="Table 5")
    warmup_steps: Count = required("steps of uniformly random actions before anything is learned")
    batch: Count = required("transitions a gradient step", paper="1024 (authors' code)")
    gamma: BelowOne = required("discount of the return", paper="0.99 (authors' code)")
    lr_schedule: Literal["constant", "linear"] = required("how the learning rate goes from its first value")
    updates_per_step: Count = required("gradient steps a step in the worlds", paper="1 (authors' code)")
    checkpoint_every: Count = required("steps between two checkpoints")
    seed: Whole = required("of agents and their rollouts", paper="0 (authors' code)")
    block: Count = required("tasks in one stack, the unit in which an interrupted job goes on")
    agents: Count = setting(
        1, "agents a task, of which the one with the best last return is kept", paper="1", before=1
    )
    worlds: Count = setting(1, "copies of its task in which each agent acts at once", before=1)
    first_value: Literal["zero", "warmup"] = setting(
        "zero", "where critics start: at zero, or at the warm-up's mean reward earned for ever", before="zero"
    )
    control: OnlineSac = field(default_factory=OnlineSac)

    @property
    def updates(self) -> int:
        """Gradient steps of an agent."""
        return max(0, self.steps - self.warmup_steps) * self.updates_per_step

    def seeds(self, task: int) -> list[int]:
        """The seeds of a task's agents."""
        others = [derive_seed(self.seed, "behaviour", task, agent) for agent in range(1, self.agents)]
        return [derive_seed(self.seed, "behaviour", task), *others]

    def lr_at(self, step: int) -> float:
        """The learning rate after so many steps; linear, from the warm-up's end to zero at the last."""
        made = max(0, step - self.warmup_steps) * self.updates_per_step
        left = max(0.0, 1 - made / self.updates) if self.updates else 0.0
        return self.control.lr * (left if self.lr_schedule == "linear" else 1.0)

    @property
    def training(self) -> Training:
        """The protocol of an update: one task, no context, rewards as they are."""
        return Training(
            steps=self.updates,
            eval_every=self.checkpoint_every,
            eval_episodes=1,
            meta_batch=1,
            context_batch=0,
            context_bank=0,
            control_batch=self.batch,
            test_context=0,
            lr_schedule=self.lr_schedule,
            discount=self.gamma,
            reward_scale=1.0,
            relabeled_pool=0,
        )


class Collector:
    """Agents of many tasks of one family, collecting and learning in lockstep; agent s is exactly the agent
    it would be alone.  The agents of one task stand beside one another.
    """

    def __init__(
        self,
        family: TaskFamily,
        params: Array,
        tasks: Sequence[int],
        behaviour: Behaviour,
        device: torch.device,
    ) -> None:
        self.family, self.behaviour = family, behaviour
        self.params = np.repeat(params[list(tasks)], behaviour.agents * behaviour.worlds, 0)  # [S * W, P]
        self.worlds = family.simulator(self.params)
        self.seeds = [seed for task in tasks for seed in behaviour.seeds(task)]
        self.control, space = behaviour.control, space_of(family)
        algorithm = Algorithm("sac", "SAC", Zeros(), None, self.control)
        self.state = start(algorithm, behaviour.training, space, self.seeds, device)
        self.state.task = torch.arange(len(self.seeds), device=device)[:, None]  # [S, 1]
        self.replay = Replay(len(self.seeds), behaviour.steps * behaviour.worlds, space, device)
        self.step = 0

    def train(self) -> Iterator[tuple[int, Policy, Policy]]:
        """Train to the end; the step, stochastic and mean policies, untrained first, then at every
        checkpoint.

        The policies take the agents' observations one agent after another, as many of each: [S * E, O].
        """
        every = self.behaviour.checkpoint_every
        while True:
            if self.step % every == 0:
                seeds = [derive_seed(seed, "rollout", self.step) for seed in self.seeds]
                noise = Stream(seeds, self.state.noise.device)
                yield self.step, partial(self._act, noise), partial(self._act, None)
            if self.step >= self.behaviour.steps:
                return
            checkpoint = self.step - self.step % every + every
            self._episode(until=min(checkpoint, self.behaviour.steps))

    def _episode(self, until: int) -> None:
        """One horizon of every world, learning as it goes, cut at a checkpoint; a time limit ends no world.

        A world that falls starts anew and goes on to the common end.
        """
        behaviour, family = self.behaviour, self.family
        obs = self.worlds.reset(self._starts())
        for _ in range(min(family.horizon, until - self.step)):
            action = self._explore(obs)
            next_obs, fell = self.worlds.step(action)
            reward = family.reward(obs, action, next_obs, self.params)[:, None]
            shown = self.state.space.seen(next_obs)
            fields = (self.state.space.seen(obs), action, reward, shown, ~fell[:, None], reward)
            self.replay.add(self._stacked(np.concatenate(fields, -1)))
            self.step += 1
            obs = self.worlds.reset(self._starts(), fell) if fell.any() else next_obs
            if self.step == behaviour.warmup_steps and behaviour.first_value == "warmup":
                self._raise_critics()
            if self.step > behaviour.warmup_steps:
                for _ in range(behaviour.updates_per_step):
                    update(self.state, self.state.next_batch(self.replay))

    def _explore(self, obs: Array) -> Array:
        """Uniform actions while warming up, then the policy's.  [S * W, O] -> [S * W, A]."""
        if self.step >= self.behaviour.warmup_steps:
            return self._act(self.state.noise, obs)
        uniform = self.state.noise.uniform(self.behaviour.worlds, self.family.action_dim)
        return _flat(2 * uniform - 1)

    @torch.no_grad()
    def _act(self, noise: Stream | None, obs: Array) -> Array:
        """Every agent's actions in its own task; the mean's without noise.  [S * E, O] -> [S * E, A]."""
        seen = self._stacked(self.state.space.seen(obs))  # [S, E, O]
        z = seen.new_zeros(*seen.shape[:2], 1)
        if noise is None:
            return _flat(self.control.act(self.state.nets, seen, z))
        drawn = noise.normal(seen.shape[1], self.family.action_dim)
        return _flat(self.control.draw(self.state.nets, torch.cat([seen, z], -1), drawn).action)

    def _stacked(self, rows: Array) -> Tensor:
        """Rows of all agents' worlds on the device.  [S * W, ·] -> [S, W, ·]."""
        values = torch.from_numpy(rows.astype(np.float32)).to(self.state.noise.device)
        return values.unflatten(0, (len(self.seeds), -1))

    @torch.no_grad()
    def _raise_critics(self) -> None:
        """Add each agent's mean reward so far, earned for ever, to its critics' last bias."""
        reward = self.replay.rows.split(self.replay.widths, -1)[2]  # [S, n, 1]
        value = reward.mean(1, keepdim=True) / (1 - self.behaviour.gamma)  # [S, 1, 1]
        for name in ("critic", "critic_target"):
            self.state.nets[name].all.layers[-1].bias += value.repeat(2, 1, 1)

    def _starts(self) -> NDArray[np.int64]:
        """A seed a world for a start at this step: [S * W]."""
        copies = range(self.behaviour.worlds)
        return np.array([derive_seed(seed, self.step, copy) for seed in self.seeds for copy in copies])


def _flat(action: Tensor) -> Array:
    """Actions as simulators take them.  [S, W, A] -> [S * W, A]."""
    return action.flatten(0, 1).cpu().numpy().astype(np.float64)
