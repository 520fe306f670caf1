"""The third test mode, `--context shifted`: a task's context is drawn by other tasks' agents.

Where tasks differ in their rewards alone this is exact and needs no rollout: another task's stored rows, with
the rewards that the test task gives them.  Where they differ in their dynamics, the data hold the agents'
visits to the test tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from comrl.algorithms.learner import State
from comrl.benchmark.training.evaluate import embed, policy, refuse_diverged
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.datasets.visits import Pairs, pairs_of
from comrl.envs.family import TaskFamily, TaskSet, sparsify
from comrl.envs.rollout import rollout
from comrl.ground.noise import Stream, derive_seed

Contexts = Callable[[Pairs, int, Stream], Context]
"""So many rows for every pair: [S, N, K, ·]."""


def evaluate_shifted(
    state: State,
    seeds: Sequence[int],
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    contexts: Contexts,
) -> pd.DataFrame:
    """Returns by whose behaviour drew the context: columns seed, task, behaviour, distance, the scores."""
    drawn = pairs_of(task_set)
    stream = Stream([derive_seed(seed, "shifted") for seed in seeds], sampler.packed.device)
    context = contexts(drawn, state.training.test_context, stream)
    known = sampler.params[torch.tensor(drawn.task, device=stream.device)].expand(len(seeds), -1, -1)
    z = embed(state, context, known)  # [S, N, Z]

    rows = [(seed, *pair) for seed in seeds for pair in zip(*drawn, strict=True)]
    table = pd.DataFrame(rows, columns=["seed", "task", "behaviour"])
    apart = task_set.params[table["task"]] - task_set.params[table["behaviour"]]
    table["distance"] = np.linalg.norm(apart, axis=-1)
    starts = np.array([derive_seed(*row, "shifted") for row in rows])
    played = rollout(family, task_set.params[table["task"]], policy(state, z), starts)
    refuse_diverged(played, family, table, starts)
    for score in family.scores:
        table[score.name] = played.score(score.of_reward)
    return table


def visited(visits: Sampler, pairs: Pairs, size: int, stream: Stream) -> Context:
    """Rows that each pair's agent met in its test task; the sampler's tasks are the pairs."""
    each = torch.arange(len(pairs.task), device=stream.device).expand(len(stream.generators), -1)  # [S, N]
    return visits.context(each, stream.uniform(len(pairs.task), size))


def relabelled(
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    radius: float | None,
    pairs: Pairs,
    size: int,
    stream: Stream,
) -> Context:
    """Rows of each pair's behaviour task with the rewards of its test task."""
    drawn_by = torch.tensor(pairs.behaviour, device=stream.device)  # [N]
    uniform = stream.uniform(len(pairs.task), size)
    fields = sampler.fields(drawn_by.expand(len(stream.generators), -1), uniform)
    return sampler.visible((*fields[:-1], context_reward(fields, family, task_set, pairs.task, radius)))


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
