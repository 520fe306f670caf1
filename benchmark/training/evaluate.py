"""Test a stack of runs: every seed × task × episode in one batch, each episode with its own offline
context.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.algorithm import inferred
from comrl.algorithms.learner import State
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs.family import Array, TaskFamily, TaskSet
from comrl.envs.rollout import Episodes, Policy, rollout
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream, derive_seed

TIMED = 20  # calls


@torch.no_grad()
def embed(state: State, context: Context, params: Tensor, *, net: str = "encoder") -> Tensor:
    """The mean embedding, as at test time, without dropout.

    context: [S, M, K, ·], params: [S, M, P] -> [S, M, Z].
    """
    return inferred(state.algorithm.encoder, state.nets[net], context, params).mean


def drawn_contexts(
    sampler: Sampler, tasks: Sequence[int], stream: Stream, size: int
) -> tuple[Context, Tensor]:
    """A context of each task for every seed, and the tasks' parameters: [S, M, K, ·], [S, M, P]."""
    task = torch.tensor(tasks, device=stream.device).expand(len(stream.generators), -1)  # [S, M]
    return sampler.context(task, stream.uniform(len(tasks), size)), sampler.params[task]


def policy(state: State, z: Tensor) -> Policy:
    """The deterministic policy of every seed with its own embeddings, for a batch of S * N episodes.

    z: [S, N, Z].
    """

    @torch.no_grad()
    def act(obs: Array) -> Array:
        seen = state.space.seen(obs).astype(np.float32)
        rows = torch.from_numpy(seen).to(z.device).unflatten(0, z.shape[:2])  # [S, N, O]
        return state.algorithm.control.act(state.nets, rows, z).flatten(0, 1).cpu().numpy().astype(np.float64)

    return act


def evaluate(
    state: State, seeds: Sequence[int], sampler: Sampler, family: TaskFamily, task_set: TaskSet, context: str
) -> pd.DataFrame:
    """Returns of deterministic episodes on the test tasks: columns seed, context, task, episode, then the
    scores.
    """
    table, played = play(state, seeds, sampler, family, task_set, context)
    for score in family.scores:
        table[score.name] = played.score(score.of_reward)
    return table


def play(
    state: State, seeds: Sequence[int], sampler: Sampler, family: TaskFamily, task_set: TaskSet, context: str
) -> tuple[pd.DataFrame, Episodes]:
    """The episodes of a test, and a row of seed, context, task and episode for each.

    The contexts depend on the seed and on where they come from, not on the step: every test of a run sees
    the same.
    """
    tasks, episodes = task_set.test, state.training.eval_episodes
    stream = Stream([derive_seed(seed, "test", context) for seed in seeds], sampler.packed.device)
    z = torch.stack(
        [
            embed(state, *drawn_contexts(sampler, tasks, stream, state.training.test_context))
            for _ in range(episodes)
        ],
        2,
    ).flatten(1, 2)  # [S, M * E, Z]
    index = pd.MultiIndex.from_product(
        (seeds, [context], tasks, range(episodes)), names=("seed", "context", "task", "episode")
    )
    table = index.to_frame(index=False)

    starts = np.array(
        [derive_seed(seed, "start", task, n) for seed in seeds for task in tasks for n in range(episodes)]
    )
    played = rollout(family, task_set.params[table["task"]], policy(state, z), starts)
    refuse_diverged(played, family, table, starts)
    return table, played


def costs_of_a_test(state: State, sampler: Sampler, task: int) -> dict[str, float]:
    """The median milliseconds to infer a task from a test context, and for an action, all seeds at once."""
    stream = Stream([0 for _ in state.noise.generators], sampler.packed.device)
    context, params = drawn_contexts(sampler, [task], stream, state.training.test_context)
    z = embed(state, context, params)  # [S, 1, Z]
    obs = np.zeros((len(z), state.space.obs))
    act = policy(state, z)
    timed = {"infer_ms": lambda: embed(state, context, params), "act_ms": lambda: act(obs)}
    return {name: 1e3 * _median_seconds(work, z.device) for name, work in timed.items()}


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The median of some calls after a first one, each until the device is done."""
    times = []
    for _ in range(TIMED + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def refuse_diverged(
    played: Episodes, family: TaskFamily, table: pd.DataFrame, starts: NDArray[np.int64]
) -> None:
    """BadInput where physics diverged in an episode: its return means nothing."""
    lost = ~np.isfinite(played.reward)  # [N, H]
    if lost.any():
        row, step = np.argwhere(lost)[0]
        raise BadInput(
            f"the physics of {family.name} diverged in test task {table['task'][row]} at step {step} (seed "
            f"{table['seed'][row]}, start {starts[row]}); lower actor_lr or take other --seeds"
        )
