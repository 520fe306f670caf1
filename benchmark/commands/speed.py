"""How fast this machine is and how much of that the updates use, all in one run: `bench speed`."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import torch
from gymnasium.vector import SyncVectorEnv
from torch.utils.flop_counter import FlopCounterMode

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.behaviour import Behaviour, Collector
from comrl.algorithms.learner import start, update
from comrl.benchmark.generation.behaviour_sb3 import sb3_steps_per_second
from comrl.benchmark.protocol import DEFAULT_PRESET, configured, resolve
from comrl.benchmark.training.evaluate import evaluate
from comrl.benchmark.training.explore import Exploration, rules
from comrl.benchmark.training.online import evaluate_online
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import SplitData
from comrl.datasets.transitions import Transitions, space_of
from comrl.envs.family import TaskFamily, families, find_family
from comrl.ground.files import write_whole
from comrl.ground.machine import Machine, prepare
from comrl.ground.showing import each

SEEDS = (0, 1, 2)
REPEATS = 7
PATIENCE = 5.0  # seconds a call is measured for, at least once
BMM_SHAPES = ((3, 4096, 256, 256), (6, 4096, 256, 256), (3, 8192, 256, 256))
STEPS = 50
SB3_STEPS = 300
SHAPES = (DEFAULT_PRESET, "paper")


def measure(device: torch.device) -> list[dict[str, object]]:
    """The bmm rate, every algorithm's update at two presets, stages of a model a task, stepping, evaluation,
    rules of exploration, stacked SAC against SB3; one row each.
    """
    plain, simulated = plainest(), largest_body()
    rate = bmm_rate(device)
    rows: list[dict[str, object]] = [{"what": "fp32 bmm", "GFLOP/s": rate, "fraction of bmm": 1.0}]
    jobs = [(algorithm, preset, plain) for preset in SHAPES for algorithm in algorithms()]
    jobs.append((yardstick(), DEFAULT_PRESET, simulated))
    for algorithm, preset, family in each(jobs, "updates", "algorithm"):
        rows.append(update_row(algorithm, preset, family, device, rate))
    rows += stage_rows(plain, device)
    rows += stepping_rows(simulated) + evaluation_rows(simulated, device)
    rows += exploration_rows(plain, device) + trainer_rows(device)
    return rows


def keep(rows: list[dict[str, object]], device: torch.device, out: Path | None) -> pd.DataFrame:
    """The rows as a table, and as JSON with what they were measured on where asked."""
    if out:
        body = {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": str(device),
            "rows": rows,
        }
        with write_whole(out) as part:
            part.write_text(json.dumps(body, indent=1) + "\n")
    return pd.DataFrame(rows).round(3)


def yardstick() -> Algorithm:
    """The algorithm whose cost is control's alone: the upper yardstick infers nothing."""
    return next(algorithm for algorithm in algorithms() if algorithm.role == "upper")


def plainest() -> TaskFamily:
    """The family whose observations are narrowest: the updates' own cost, whatever they learn."""
    return min(families(), key=lambda family: family.obs_dim)


def largest_body() -> TaskFamily:
    """Of the families with simulated bodies the one with most tasks."""
    return max((family for family in families() if family.model_sha256), key=lambda family: family.tasks)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The median time of a call, after one that does not count; fewer repeats where a call takes seconds."""
    times: list[float] = []
    while len(times) <= REPEATS and (len(times) < 2 or sum(times) < PATIENCE):
        times.append(once(work, device))
    return statistics.median(times[1:])


def once(work: Callable[[], object], device: torch.device) -> float:
    """The time of a call."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def bmm_rate(device: torch.device) -> float:
    """The best rate of batched fp32 matrix products at shapes like those of the updates, in GFLOP/s."""
    rates = []
    for batch, rows, inner, columns in BMM_SHAPES:
        left, right = (
            torch.randn(batch, rows, inner, device=device),
            torch.randn(batch, inner, columns, device=device),
        )
        out = torch.empty(batch, rows, columns, device=device)
        work = lambda left=left, right=right, out=out: torch.bmm(left, right, out=out)  # noqa: E731
        rates.append(2e-9 * batch * rows * inner * columns / seconds(work, device))
    return max(rates)


def update_row(
    algorithm: Algorithm, preset: str, family: TaskFamily, device: torch.device, rate: float
) -> dict[str, object]:
    """Counted GFLOP and the rate of one update of three seeds."""
    training = resolve(preset, family.name).training
    space = space_of(family, family.task_set().train)
    state = start(
        configured(algorithm, preset, family.name),
        training,
        space,
        SEEDS,
        device,
    )
    batch = state.next_batch(random_data(family, device))
    with FlopCounterMode(display=False) as counter:
        update(state, batch)
    gflop = counter.get_total_flops() / 1e9
    took = seconds(lambda: update(state, batch), device)
    return {
        "what": f"{algorithm.name} update, {preset}, {len(SEEDS)} seeds, {family.name}",
        "GFLOP": gflop,
        "steps/s": 1 / took,
        "GFLOP/s": gflop / took,
        "fraction of bmm": gflop / took / rate,
    }


def stage_rows(family: TaskFamily, device: torch.device) -> list[dict[str, object]]:
    """Updates a second of a stage of one model a training task, as one stack against one after another."""
    training, space = resolve(DEFAULT_PRESET, family.name).training, space_of(family, family.task_set().train)
    sampler, many, rows = random_data(family, device), len(space.tasks), []
    for known in (known for known in algorithms() if any(s.per_task for s in known.before)):
        algorithm = configured(known, DEFAULT_PRESET, family.name)

        def updates(tasks: tuple[int, ...], algorithm: Algorithm = algorithm) -> Callable[[], object]:
            first = start(algorithm, training, space._replace(tasks=tasks), SEEDS[:1], device).stages[0]
            return lambda: update(first, first.next_batch(sampler))

        together, alone = (
            seconds(updates(space.tasks), device),
            many * seconds(updates(space.tasks[:1]), device),
        )
        about = f"{many} models before {algorithm.name}, {family.name}"
        rows += [
            {"what": f"{about}, one stack", "steps/s": 1 / together, "over one by one": alone / together},
            {"what": f"{about}, one by one", "steps/s": 1 / alone, "over one by one": 1.0},
        ]
    return rows


def stepping_rows(family: TaskFamily) -> list[dict[str, object]]:
    """World-steps a second of all tasks at once, with start, observations and rewards: one threaded batch
    against gymnasium's vector of single tasks.
    """
    params, seeds = family.sample_params(), np.arange(family.tasks)
    worlds = family.simulator(params)
    single = partial(gymnasium.make, f"comrl.envs.gym:{family.gym_id()}", disable_env_checker=True)
    vector = SyncVectorEnv([partial(single, task=task) for task in range(family.tasks)])
    shape = (STEPS, family.tasks, family.action_dim)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def ours() -> None:
        obs = worlds.reset(seeds)
        for action in actions:
            next_obs, _ = worlds.step(action)
            family.reward(obs, action, next_obs, params)
            obs = next_obs

    def theirs() -> None:
        vector.reset(seed=[*range(family.tasks)])
        for action in actions:
            vector.step(action)

    many, cpu = STEPS * family.tasks, torch.device("cpu")
    mine, other = many / seconds(ours, cpu), many / seconds(theirs, cpu)
    about = f"{family.tasks} tasks of {family.name}"
    return [
        {"what": f"one batch of {about}", "steps/s": mine, "over one by one": mine / other},
        {"what": f"SyncVectorEnv of {about}", "steps/s": other, "over one by one": 1.0},
    ]


def evaluation_rows(family: TaskFamily, device: torch.device) -> list[dict[str, object]]:
    """Episodes a second of a test: every seed × task × episode in one batch, against one after another, of
    which one episode of each task stands for all.
    """
    protocol, task_set, sampler = (
        resolve(DEFAULT_PRESET, family.name),
        family.task_set(),
        random_data(family, device),
    )
    space = space_of(family, task_set.train)

    def test(seeds: tuple[int, ...], tasks: tuple[int, ...], episodes: int) -> Callable[[], object]:
        training = replace(protocol.training, eval_episodes=episodes)
        algorithm = configured(yardstick(), DEFAULT_PRESET, family.name)
        state = start(algorithm, training, space, seeds, device)
        return lambda: evaluate(state, seeds, sampler, family, replace(task_set, test=tasks), "random")

    singles = [test(SEEDS[:1], (task,), 1) for task in task_set.test]
    many = len(SEEDS) * len(task_set.test) * protocol.training.eval_episodes
    together = many / seconds(test(SEEDS, task_set.test, protocol.training.eval_episodes), device)
    alone = len(singles) / seconds(lambda: [single() for single in singles], device)
    return [
        {
            "what": f"test of {many} episodes, {family.name}",
            "episodes/s": together,
            "over one by one": together / alone,
        },
        {"what": f"test one by one, {family.name}", "episodes/s": alone, "over one by one": 1.0},
    ]


def exploration_rows(family: TaskFamily, device: torch.device) -> list[dict[str, object]]:
    """Episodes a second of a test by each rule of exploration, beside the offline test's in turns with it."""
    protocol, tasks = resolve(DEFAULT_PRESET, family.name), family.task_set()
    known = next(one for one in algorithms() if one.role == "method" and not one.before)
    algorithm = configured(known, DEFAULT_PRESET, family.name)
    state = start(algorithm, protocol.training, space_of(family, tasks.train), SEEDS, device)
    sampler = random_data(family, device)
    many, rows = len(SEEDS) * len(tasks.test) * protocol.training.eval_episodes, []
    for way in map(Exploration, rules()):
        explore = partial(evaluate_online, state, SEEDS, sampler, family, tasks, family.radius, way)
        offline = partial(evaluate, state, SEEDS, sampler, family, tasks, "random")
        turns = [(once(explore, device), once(offline, device)) for _ in range(REPEATS + 1)]
        mine, theirs = (statistics.median(times[1:]) for times in zip(*turns, strict=True))
        rate, other = many * (way.episodes + 1) / mine, many / theirs
        row = {"what": f"test exploring by {way.name}, {known.name}, {family.name}", "episodes/s": rate}
        rows.append({**row, "over offline": rate / other})
    return rows


def random_data(family: TaskFamily, device: torch.device, rows: int = 1000) -> Sampler:
    """Data of the right shapes and no meaning."""
    draw, shape = np.random.default_rng(0), (family.tasks, rows)
    obs, next_obs = draw.standard_normal((2, *shape, family.obs_dim), dtype=np.float32)
    action = draw.standard_normal((*shape, family.action_dim), dtype=np.float32)
    reward = draw.standard_normal(shape, dtype=np.float32)
    transitions = Transitions(obs, action, reward, next_obs, np.zeros(shape, dtype=bool))
    data = SplitData(transitions, np.full(family.tasks, rows), reward, family.radius)
    return Sampler(data, family.sample_params(), space_of(family), device)


def trainer_rows(device: torch.device) -> list[dict[str, object]]:
    """Agent-steps a second, updates included, of both trainers with the same networks, batch and
    update ratio.
    """
    rows: list[dict[str, object]] = []
    for family in families():
        behaviour = resolve(DEFAULT_PRESET, family.name).behaviour
        ours = stacked_steps_per_second(family, behaviour, device)
        theirs = sb3_steps_per_second(family, family.task_set(), behaviour, SB3_STEPS)
        rows.append(
            {
                "what": f"stacked SAC, a block a thread, {family.name}",
                "steps/s": ours,
                "over SB3": ours / theirs,
            }
        )
        rows.append({"what": f"SB3 SAC, two processes, {family.name}", "steps/s": theirs, "over SB3": 1.0})
    return rows


def stacked_steps_per_second(family: TaskFamily, behaviour: Behaviour, device: torch.device) -> float:
    """Agent-steps a second once the agents learn, as data are generated: on a CPU a block a process
    and thread.
    """
    if device.type != "cpu":
        return block_rate(family.name, behaviour, device)
    workers = torch.get_num_threads()
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), prepare, (Machine(threads=1),)
    ) as pool:
        return sum(pool.map(block_rate, *zip(*[(family.name, behaviour, device)] * workers, strict=True)))


def block_rate(env: str, behaviour: Behaviour, device: torch.device) -> float:
    """Agent-steps a second of one block."""
    family = find_family(env)
    block = range(min(behaviour.block, family.tasks))
    short = replace(behaviour, steps=behaviour.warmup_steps + SB3_STEPS + 20, checkpoint_every=20)
    agents = Collector(family, family.task_set().params, block, short, device)
    reached = ((step, time.perf_counter()) for step, _, _ in agents.train())
    (first, began), *_, (last, ended) = [mark for mark in reached if mark[0] > behaviour.warmup_steps]
    return len(block) * behaviour.agents * (last - first) / (ended - began)
