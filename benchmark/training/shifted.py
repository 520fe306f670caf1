"""The third test mode, `--context shifted`: a task's context is drawn by other tasks' agents.

Where tasks differ in their rewards alone this is exact and needs no rollout: another task's stored rows, with
the rewards that the test task gives them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.learner import State
from comrl.benchmark.training.evaluate import embed, policy, refuse_diverged
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs.family import TaskFamily, TaskSet, sparsify
from comrl.envs.rollout import rollout
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream, derive_seed

BEHAVIOURS = 11  # a test task: its own, and others from the nearest to the farthest


def evaluate_shifted(
    state: State,
    seeds: Sequence[int],
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    radius: float | None,
) -> pd.DataFrame:
    """Returns by whose behaviour drew the context: columns seed, task, behaviour, distance, then the scores.

    BadInput where tasks differ in their dynamics.
    """
    if family.dynamics_differ:
        raise BadInput(
            f"in {family.name} tasks differ in their dynamics, so what another task's agent would meet there "
            "is not in the data; test it with --context offline or online"
        )
    task = np.repeat(task_set.test, BEHAVIOURS).tolist()  # [N]
    behaviour = np.concatenate([behaviours_of(test, task_set) for test in task_set.test]).tolist()  # [N]
    stream = Stream([derive_seed(seed, "shifted") for seed in seeds], sampler.packed.device)
    context = shifted_contexts(state, sampler, family, task_set, (task, behaviour), radius, stream)
    known = sampler.params[torch.tensor(task, device=stream.device)].expand(len(seeds), -1, -1)
    z = embed(state, context, known)  # [S, N, Z]

    pairs = [(seed, *pair) for seed in seeds for pair in zip(task, behaviour, strict=True)]
    table = pd.DataFrame(pairs, columns=["seed", "task", "behaviour"])
    apart = task_set.params[table["task"]] - task_set.params[table["behaviour"]]
    table["distance"] = np.linalg.norm(apart, axis=-1)
    starts = np.array([derive_seed(*row, "shifted") for row in pairs])
    played = rollout(family, task_set.params[table["task"]], policy(state, z), starts)
    refuse_diverged(played, family, table, starts)
    for score in family.scores:
        table[score.name] = played.score(score.of_reward)
    return table


def behaviours_of(task: int, task_set: TaskSet) -> NDArray[np.int64]:
    """The tasks whose agents draw a task's contexts: itself, and others evenly by rank of distance."""
    order = np.linalg.norm(task_set.params - task_set.params[task], axis=-1).argsort(kind="stable")
    others = order[order != task]
    ranks = np.linspace(0, len(others) - 1, BEHAVIOURS - 1).round().astype(int)
    return np.concatenate([[task], others[ranks]])


def shifted_contexts(
    state: State,
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    pairs: tuple[Sequence[int], Sequence[int]],
    radius: float | None,
    stream: Stream,
) -> Context:
    """Rows of each pair's behaviour task with the rewards of its test task: [S, N, K, ·]."""
    task, behaviour = pairs
    many, size = len(task), state.training.test_context
    drawn_by = torch.tensor(behaviour, device=stream.device).expand(len(stream.generators), -1)  # [S, N]
    fields = sampler.fields(drawn_by, stream.uniform(many, size))
    return sampler.visible((*fields[:-1], context_reward(fields, family, task_set, task, radius)))


def context_reward(
    fields: tuple[Tensor, ...],
    family: TaskFamily,
    task_set: TaskSet,
    task: Sequence[int],
    radius: float | None,
) -> Tensor:
    """What a test task pays for other tasks' rows, as an encoder sees it: [S, N, K, 1]."""
    obs, action, _, next_obs = (field.cpu().double().numpy() for field in fields[:4])
    paid = family.reward(obs, action, next_obs, task_set.params[list(task)][None, :, None])  # [S, N, K]
    return torch.from_numpy(sparsify(paid, radius).astype(np.float32)[..., None]).to(fields[0].device)
