"""Roll out any batch of tasks × episodes in one go; the horizon lives here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import Array, TaskFamily

Policy = Callable[[Array], Array]
"""Actions in [-1, 1] for a batch of observations: [N, O] -> [N, A]."""


class Episodes(NamedTuple):
    """N episodes, padded to the horizon; steps after a fall are not `valid` and hold zeros."""

    obs: Array  # [N, H, O]
    action: Array  # [N, H, A]
    reward: Array  # [N, H]
    next_obs: Array  # [N, H, O]
    terminated: NDArray[np.bool_]  # [N, H]
    valid: NDArray[np.bool_]  # [N, H]

    def score(self, of_reward: Callable[[Array], Array]) -> Array:
        """Each episode's sum of a function of the reward over its valid steps: [N]."""
        return np.where(self.valid, of_reward(self.reward), 0.0).sum(-1)


def rollout(
    family: TaskFamily,
    params: Array,
    policy: Policy,
    seeds: NDArray[np.int64],
    steps: list[Episodes] | None = None,
) -> Episodes:
    """One episode of each row's task; the horizon truncates and never terminates.

    params: [N, P], seeds: [N], steps: a list that each step is added to, for a policy that looks back.
    """
    steps = [] if steps is None else steps
    worlds = family.simulator(params)
    obs, alive = worlds.reset(seeds), np.ones(len(params), dtype=bool)
    for _ in range(family.horizon):
        action = np.clip(policy(obs), -1.0, 1.0)  # [N, A]
        next_obs, fell = worlds.step(action)
        reward = family.reward(obs, action, next_obs, params)
        steps.append(Episodes(obs, action, reward, next_obs, fell & alive, alive))
        obs, alive = next_obs, alive & ~fell
    return joined(steps)


def joined(steps: Sequence[Episodes]) -> Episodes:
    """Episodes from their steps, with zeros after a fall.  fields [N, ·] a step -> [N, steps, ·]."""
    episodes = Episodes(*(np.stack(field, 1) for field in zip(*steps, strict=True)))
    gone = ~episodes.valid
    for field in (episodes.obs, episodes.action, episodes.reward, episodes.next_obs):
        field[gone] = 0.0
    return episodes


def best_possible(family: TaskFamily, params: Array) -> dict[str, Array] | None:
    """The exact optimum of every task by score name, or None where it is not known.

    params: [T, P] -> {name: [T]}.
    """
    optimal = family.optimal_action
    if optimal is None:
        return None
    episodes = rollout(
        family, params, lambda obs: optimal(obs, params), np.zeros(len(params), dtype=np.int64)
    )
    return {score.name: episodes.score(score.of_reward) for score in family.scores}
