"""One trial of a test on self-collected contexts as a slow literal loop: one world, one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.learner import State
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs import TaskFamily, TaskSet
from comrl.envs.family import sparsify
from comrl.ground.noise import Stream, derive_seed

Step = tuple[NDArray[np.float64], NDArray[np.float64], float]  # observation, action, reward


@dataclass
class Trial:
    """Trial n of member s; it draws what all trials draw at once, and looks at its own."""

    state: State
    seeds: tuple[int, ...]
    sampler: Sampler
    family: TaskFamily
    tasks: TaskSet
    radius: float | None
    s: int
    n: int
    stream: Stream = field(init=False)
    lived: list[list[Step]] = field(default_factory=list)
    tried: list[Tensor] = field(default_factory=list)
    gained: list[float] = field(default_factory=list)
    known: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = Stream([derive_seed(seed, "online") for seed in self.seeds])

    @property
    def many(self) -> int:
        return len(self.tasks.test) * self.state.training.eval_episodes

    def own(self, draws: Tensor) -> Tensor:
        return draws[self.s, self.n]

    def encode(self, rows: list[Any]) -> Any:
        """The belief about rows (obs, action, context reward): mean [Z] and variance [Z] or None."""
        fields = [torch.tensor(np.array(column), dtype=torch.float32) for column in zip(*rows, strict=True)]
        stacked = [part.reshape(1, 1, len(rows), -1).expand(len(self.seeds), -1, -1, -1) for part in fields]
        net, encoder = self.state.nets["encoder"], self.state.algorithm.encoder
        with torch.no_grad():
            belief = encoder.encode(net, Context(*stacked))
        return belief.mean[self.s, 0], None if belief.variance is None else belief.variance[self.s, 0]

    def of_task(self, task: int, uniform: Tensor) -> Any:
        """The belief about stored rows of a task."""
        count, rows = (
            int(self.sampler.count[task]),
            self.sampler.packed.unflatten(0, (-1, self.sampler.capacity)),
        )
        chosen = [rows[task, int(u * count)].numpy() for u in uniform]
        return self.encode([(row[:2], row[2:4], row[-1]) for row in chosen])

    def of_lived(self, steps: list[Step]) -> Any:
        """The belief about steps of its own."""
        uniform = self.own(self.stream.uniform(self.many, self.state.training.test_context))
        chosen = [steps[int(u * len(steps))] for u in uniform]
        return self.encode(
            [(obs, action, sparsify(np.array(reward), self.radius)) for obs, action, reward in chosen]
        )

    def prior(self) -> Tensor:
        at = self.own(self.stream.uniform(self.many))
        task = self.tasks.train[int(at * len(self.tasks.train))]
        uniform = self.own(self.stream.uniform(self.many, self.state.training.test_context))
        mean, variance = self.of_task(task, uniform)
        return mean if variance is None else self.own(self.stream.normal(self.many, len(mean)))

    def candidates(self) -> list[Tensor]:
        """Five different training tasks' embeddings, or all where there are fewer."""
        if not self.known:
            uniform = self.stream.uniform(len(self.tasks.train), self.state.training.test_context)[self.s]
            self.known = [self.of_task(task, u)[0] for task, u in zip(self.tasks.train, uniform, strict=True)]
        order = self.own(self.stream.uniform(self.many, len(self.known))).argsort()
        return [self.known[int(i)] for i in order[:5]]

    def best(self, exploring: int) -> Tensor:
        """What IDAQ's rule acts with next."""
        episode, opening = len(self.lived), -(-exploring // 2)
        if episode < opening:
            return farthest(self.candidates(), self.tried)
        winner = self.gained.index(max(self.gained))
        if episode == exploring:
            return self.tried[winner]
        first = self.gained[:opening]
        kept = [first.index(max(first))]
        for late in range(opening, episode):
            if self.gained[late] > max(self.gained[:late]):
                kept.append(late)
        mean, variance = self.of_lived([step for i in kept for step in self.lived[i]])
        noise = (
            [] if variance is None else [self.own(self.stream.normal(self.many, len(mean))) for _ in range(5)]
        )
        return farthest([mean + variance.sqrt() * one for one in noise] or [mean], self.tried)

    def embedding(self, rule: str, exploring: int, now: list[Step]) -> Tensor:
        if rule == "best":
            return self.best(exploring)
        if rule == "prior" and 2 * len(self.lived) < exploring:
            return self.prior()
        return self.of_lived([step for episode in [*self.lived, now] for step in episode])[0]

    def play(self, rule: str, exploring: int) -> list[float]:
        """The dense return of every episode."""
        task = self.tasks.test[self.n // self.state.training.eval_episodes]
        where = (self.seeds[self.s], task, self.n % self.state.training.eval_episodes)
        params, horizon, left = (
            self.tasks.params[[task]],
            self.family.horizon,
            exploring * self.family.horizon / 2,
        )
        for episode in range(exploring + 1):
            world = self.family.simulator(params)
            obs = world.reset(np.array([derive_seed(*where, episode)]))
            random = min(horizon, max(0, round(left - episode * horizon))) if rule == "random" else 0
            drawn = self.own(self.stream.uniform(self.many, random, len(obs[0]))) if random else None
            z, steps = None, []
            for t in range(horizon):
                if drawn is not None and t < random:
                    action = 2 * drawn[t].double().numpy() - 1
                else:
                    z = self.embedding(rule, exploring, steps) if z is None else z
                    action = self.act(obs[0], z)
                next_obs, _ = world.step(action[None])
                steps.append(
                    (obs[0], action, float(self.family.reward(obs, action[None], next_obs, params)[0]))
                )
                obs = next_obs
            self.lived.append(steps)
            self.tried += [] if z is None else [z]
            self.gained.append(sum(float(sparsify(np.array(step[2]), self.radius)) for step in steps))
        return [sum(step[2] for step in steps) for steps in self.lived]

    def act(self, obs: NDArray[np.float64], z: Tensor) -> NDArray[np.float64]:
        seen = torch.tensor(obs, dtype=torch.float32).expand(len(self.seeds), 1, -1)
        with torch.no_grad():
            action = self.state.algorithm.control.act(self.state.nets, seen, z.expand(len(self.seeds), 1, -1))
        return np.clip(action[self.s, 0].double().numpy(), -1, 1)


def farthest(candidates: list[Tensor], tried: list[Tensor]) -> Tensor:
    """Of the candidates the one whose nearest tried one is farthest; the first where none was tried."""
    winner, most = candidates[0], -1.0
    for one in candidates if tried else []:
        nearest = min(float(((one - other) ** 2).mean()) for other in tried)
        if nearest > most:
            winner, most = one, nearest
    return winner
