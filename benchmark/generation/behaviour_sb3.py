"""The independent reference trainer: one stable-baselines3 SAC agent per task."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from threading import Barrier, BrokenBarrierError
from typing import TYPE_CHECKING, Any

import numpy as np

from comrl.envs.family import Array, TaskFamily, TaskSet, find_family
from comrl.envs.rollout import Policy
from comrl.ground.errors import BadInput

if TYPE_CHECKING:
    from stable_baselines3 import SAC
    from stable_baselines3.sac.policies import Actor

    from comrl.algorithms.behaviour import Behaviour

START_LIMIT = 300.0  # seconds that the timed processes wait for one another to be ready


def train_agents(
    family: TaskFamily, task_set: TaskSet, task: int, behaviour: Behaviour
) -> Iterator[tuple[int, Policy, Policy]]:
    """All agents of one task, one after another from checkpoint to checkpoint."""
    seeds = [behaviour.seed, *behaviour.seeds(task)[1:]]
    each = [train_task(family, task_set, task, behaviour, seed) for seed in seeds]
    for marks in zip(*each, strict=True):
        steps, samples, means = zip(*marks, strict=True)
        yield steps[0], side_by_side(samples), side_by_side(means)


def side_by_side(policies: Sequence[Policy]) -> Policy:
    """As many observations for each policy, one policy after another: [S * E, O] -> [S * E, A]."""

    def act(obs: Array) -> Array:
        shares = np.split(obs, len(policies))
        return np.concatenate([policy(share) for policy, share in zip(policies, shares, strict=True)])

    return act


def train_task(
    family: TaskFamily, task_set: TaskSet, task: int, behaviour: Behaviour, seed: int
) -> Iterator[tuple[int, Policy, Policy]]:
    """One task's agent in training: step, stochastic and mean policy, untrained and at every checkpoint."""
    own = GlobalNoise()
    with own.installed():
        agent = make_agent(family, task_set, task, behaviour, seed)
    for step in range(0, behaviour.steps + 1, behaviour.checkpoint_every):
        if step:
            with own.installed():
                learn(agent, behaviour.checkpoint_every * behaviour.worlds)
        actor = deepcopy(agent.actor)  # training goes on while the caller still holds these policies
        noise = np.random.default_rng((seed, task, step))
        yield step, seeing(family, sampling(actor, noise)), seeing(family, mean_of(actor))


def sb3_steps_per_second(
    family: TaskFamily, task_set: TaskSet, behaviour: Behaviour, steps: int, processes: int = 2
) -> float:
    """Agent-steps a second of independent agents, one a process with one thread, while all of them learn."""
    if find_family(family.name) is not family:
        raise BadInput(f"{family.name!r} is not the declared family of that name; declare it to time it")
    tasks = [task_set.train[n % len(task_set.train)] for n in range(processes)]
    context = multiprocessing.get_context(
        "spawn"
    )  # a forked child would inherit torch's thread pool half-made
    with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
        ready = manager.Barrier(processes)
        jobs = [pool.submit(timed_learning, family.name, task_set, n, behaviour, steps, ready) for n in tasks]
        return processes * steps / max(job.result() for job in jobs)


def make_agent(family: TaskFamily, task_set: TaskSet, task: int, behaviour: Behaviour, seed: int) -> SAC:
    """An untrained agent with the stacked trainer's settings; values bootstrap at the horizon."""
    from stable_baselines3 import SAC
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv

    from comrl.envs.gym import SingleTask, within_horizon

    many = behaviour.worlds
    agent = SAC(
        "MlpPolicy",
        DummyVecEnv([lambda: within_horizon(SingleTask(family, task, task_set.params[task]))] * many),
        learning_rate=behaviour.control.lr,
        buffer_size=max(behaviour.steps * many, behaviour.batch),
        learning_starts=behaviour.warmup_steps * many,
        batch_size=behaviour.batch,
        tau=behaviour.control.tau,
        gamma=behaviour.gamma,
        train_freq=1,
        gradient_steps=behaviour.updates_per_step,
        ent_coef=f"auto_{behaviour.control.initial_temperature}",
        target_entropy=behaviour.control.target_entropy,
        policy_kwargs={"net_arch": [behaviour.control.width] * behaviour.control.depth},
        seed=int(np.random.SeedSequence((seed, task)).generate_state(1)[0]),
        device="cpu",
    )
    agent.set_logger(Logger(None, []))  # its own would leave a temporary folder behind at every call of learn
    # not SB3's own progress: it starts anew with every call of learn
    agent.lr_schedule = lambda _: behaviour.lr_at(agent.num_timesteps // many)
    return agent


def learn(agent: SAC, steps: int) -> None:
    """Go on training for so many environment steps, with the episode and the buffer as they are."""
    agent.learn(steps, reset_num_timesteps=False)


def seeing(family: TaskFamily, policy: Policy) -> Policy:
    """The policy without the root's position in its observations, which it does not see."""
    return lambda obs: policy(obs[:, : family.body_dim])


def sampling(actor: Actor, noise: np.random.Generator) -> Policy:
    """The stochastic policy, drawing from its own generator: [N, O] -> [N, A]."""

    def act(obs: Array) -> Array:
        mean, log_std = gaussian(actor, obs)
        return np.tanh(mean + np.exp(log_std) * noise.standard_normal(mean.shape))

    return act


def mean_of(actor: Actor) -> Policy:
    """The squashed mean: [N, O] -> [N, A]."""
    return lambda obs: np.tanh(gaussian(actor, obs)[0])


def gaussian(actor: Actor, obs: Array) -> tuple[Array, Array]:
    """Mean and log standard deviation before the squashing: [N, O] -> [N, A], [N, A]."""
    import torch

    with torch.no_grad():
        mean, log_std, _ = actor.get_action_dist_params(torch.as_tensor(obs, dtype=torch.float32))
    return mean.double().numpy(), log_std.double().numpy()


class GlobalNoise:
    """The global generators that stable-baselines3 seeds and draws from, apart from the caller's."""

    def __init__(self) -> None:
        self.state = read_global_noise()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put this agent's state in place, and give the caller's back."""
        callers = read_global_noise()
        write_global_noise(self.state)
        try:
            yield
        finally:
            self.state = read_global_noise()
            write_global_noise(callers)


def read_global_noise() -> tuple[Any, Any, Any]:
    """The states of Python's, numpy's and torch's generators."""
    import torch

    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def write_global_noise(state: tuple[Any, Any, Any]) -> None:
    """Put those states in place."""
    import torch

    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


def timed_learning(
    family: str, task_set: TaskSet, task: int, behaviour: Behaviour, steps: int, ready: Barrier
) -> float:
    """In its own process: seconds that `steps` steps with their updates take, once all are warm."""
    import torch

    torch.set_num_threads(1)
    agent = make_agent(find_family(family), task_set, task, behaviour, seed=0)
    many = behaviour.worlds  # SB3 counts each world's step
    warm = behaviour.warmup_steps + 10  # past the random steps and torch's first, slow updates
    learn(agent, warm * many)
    try:
        ready.wait(START_LIMIT)
    except BrokenBarrierError as broken:
        raise BadInput(f"a timed process was not ready within {START_LIMIT:.0f} s; run it again") from broken
    start = time.perf_counter()
    learn(agent, steps * many)
    return time.perf_counter() - start
