"""The second test mode, `--context online`: a policy collects its own context, from the prior first, then
from what it believes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from comrl.algorithms.algorithm import inferred
from comrl.algorithms.belief import Belief
from comrl.algorithms.learner import State
from comrl.benchmark.reporting.ledger import EPISODES, FROM_PRIOR
from comrl.benchmark.training.evaluate import drawn_contexts, embed, policy, refuse_diverged
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs.family import Array, TaskFamily, TaskSet, sparsify
from comrl.envs.rollout import Episodes, rollout
from comrl.ground.noise import Stream, derive_seed


def evaluate_online(
    state: State,
    seeds: Sequence[int],
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    radius: float | None,
) -> pd.DataFrame:
    """Returns of every episode of trials on the test tasks: columns seed, task, trial, episode, then scores.

    A trial is a world of one task in which a deterministic policy plays several episodes.
    """
    trials = state.training.eval_episodes
    index = pd.MultiIndex.from_product((seeds, task_set.test, range(trials)), names=("seed", "task", "trial"))
    table = index.to_frame(index=False)
    params = task_set.params[table["task"]]
    stream = Stream([derive_seed(seed, "online") for seed in seeds], sampler.packed.device)
    collected: list[Episodes] = []
    tables = []
    for episode in range(EPISODES):
        if episode < FROM_PRIOR:
            z = from_prior(state, sampler, task_set, trials, stream)
        else:
            known = sampler.params[torch.tensor(table["task"].to_numpy())].unflatten(0, (len(seeds), -1))
            context = own_context(state, collected, radius, stream)
            z = embed(state, context, known.to(stream.device))  # [S, M * E, Z]
        starts = np.array([derive_seed(*row, episode) for row in table.itertuples(index=False, name=None)])
        played = rollout(family, params, policy(state, z), starts)
        now = table.assign(episode=episode)
        refuse_diverged(played, family, now, starts)
        for score in family.scores:
            now[score.name] = played.score(score.of_reward)
        collected.append(played)
        tables.append(now)
    return pd.concat(tables, ignore_index=True)


@torch.no_grad()
def from_prior(state: State, sampler: Sampler, tasks: TaskSet, trials: int, stream: Stream) -> Tensor:
    """Embeddings before anything is known: a Gaussian encoder's standard normal, else those of random
    training tasks; the true ones of an encoder that learns nothing.  -> [S, M * E, Z].
    """
    many, encoder, net = len(tasks.test) * trials, state.algorithm.encoder, state.nets["encoder"]
    if not list(net.parameters()):
        context, params = drawn_contexts(sampler, np.repeat(tasks.test, trials).tolist(), stream, 1)
        return embed(state, context, params)
    train = torch.tensor(tasks.train, device=stream.device)
    task = train[(stream.uniform(many) * len(train)).long()]  # [S, M * E]
    context = sampler.context(task, stream.uniform(many, state.training.test_context))
    belief: Belief = inferred(encoder, net, context, sampler.params[task])
    return belief.mean if belief.variance is None else stream.normal(*belief.mean.shape[1:])


def own_context(state: State, collected: Sequence[Episodes], radius: float | None, stream: Stream) -> Context:
    """A context drawn from what each trial has collected, rewards sparsified as offline: [S, M * E, K, ·]."""
    stack, size, seen = len(stream.generators), state.training.test_context, state.space.seen
    fields = {
        name: np.concatenate([getattr(episode, name) for episode in collected], 1)
        for name in Episodes._fields
    }  # [N, H', ·]
    order = np.argsort(~fields["valid"], axis=1, kind="stable")  # what was lived through first
    count = torch.from_numpy(fields["valid"].sum(1)).to(stream.device).unflatten(0, (stack, -1))  # [S, M * E]
    place = (stream.uniform(count.shape[1], size) * count[..., None]).long().flatten(0, 1).cpu().numpy()
    row = np.take_along_axis(order, place, 1)  # [N, K]

    def drawn(values: Array) -> Tensor:
        picked = np.take_along_axis(values, row[..., None], 1).astype(np.float32)
        return torch.from_numpy(picked).to(stream.device).unflatten(0, (stack, -1))

    reward = sparsify(fields["reward"], radius)[..., None]
    shown = drawn(seen(fields["next_obs"])) if state.space.next_obs_in_context else None
    return Context(drawn(seen(fields["obs"])), drawn(fields["action"]), drawn(reward), shown)
