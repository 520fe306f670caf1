"""The second test mode, `--context online`: a policy collects its own context, as a rule says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from comrl.algorithms.learner import State
from comrl.benchmark.training.evaluate import policy, refuse_diverged
from comrl.benchmark.training.explore import PRIOR_FIRST, Exploration, Rule
from comrl.benchmark.training.trials import Trials
from comrl.datasets.sampler import Sampler
from comrl.envs.family import Array, TaskFamily, TaskSet
from comrl.envs.rollout import Policy, rollout
from comrl.ground.noise import Stream, derive_seed


def evaluate_online(
    state: State,
    seeds: Sequence[int],
    sampler: Sampler,
    family: TaskFamily,
    task_set: TaskSet,
    radius: float | None,
    exploration: Exploration | None = None,
) -> pd.DataFrame:
    """Returns of every episode of trials on the test tasks: columns seed, task, trial, episode, then scores.

    A trial is a world of one task in which a deterministic policy plays several episodes; without another
    exploration the first ones from the prior.  Starts depend on seed, task, trial and episode alone.
    """
    exploration = exploration or Exploration(PRIOR_FIRST)
    repeats = range(state.training.eval_episodes)
    index = pd.MultiIndex.from_product((seeds, task_set.test, repeats), names=("seed", "task", "trial"))
    table = index.to_frame(index=False)
    params = task_set.params[table["task"]]
    stream = Stream([derive_seed(seed, "online") for seed in seeds], sampler.packed.device)
    trials = Trials(state, sampler, task_set, radius, stream, exploration.episodes)
    tables = []
    for episode in range(exploration.episodes + 1):
        starts = np.array([derive_seed(*row, episode) for row in table.itertuples(index=False, name=None)])
        act = acting(trials, exploration.rule, exploration.uniform_steps(episode, family.horizon))
        played = rollout(family, params, act, starts, trials.begun)
        now = table.assign(episode=episode)
        refuse_diverged(played, family, now, starts)
        for score in family.scores:
            now[score.name] = played.score(score.of_reward)
        trials.over(played)
        tables.append(now)
    return pd.concat(tables, ignore_index=True)


def acting(trials: Trials, rule: Rule, uniform: int) -> Policy:
    """Uniform actions for so many steps of the present episode, then the policy with the rule's embedding.

    The embedding is made when the policy begins, from all that was lived through until then.
    """
    chosen: list[Policy] = []
    if uniform:
        shape = (len(trials.tested), uniform, trials.state.space.action)
        drawn = 2 * trials.stream.uniform(*shape).flatten(0, 1).double().cpu().numpy() - 1  # [N, uniform, A]

    def act(obs: Array) -> Array:
        step = len(trials.begun)
        if step < uniform:
            action: Array = drawn[:, step]
            return action
        if not chosen:
            trials.acted.append(rule.embedding(trials))
            chosen.append(policy(trials.state, trials.acted[-1]))
        return chosen[0](obs)

    return act
