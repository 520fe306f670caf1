"""SAC per task, rollouts of its checkpoints, files: `bench generate-data`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from comrl.algorithms.behaviour import Behaviour, Collector
from comrl.benchmark.generation.workers import do_all
from comrl.benchmark.protocol import Protocol, data_preset, resolve
from comrl.datasets.birth import Birth
from comrl.datasets.cost import COST, seconds_spent
from comrl.datasets.manifest import MANIFEST
from comrl.datasets.store import missing_tasks, write_manifest, write_task
from comrl.datasets.taskfile import Checkpoints, Quality, Visits
from comrl.datasets.visits import BEHAVIOURS, hosts_of
from comrl.envs.family import TaskFamily, TaskSet, find_family
from comrl.envs.rollout import Episodes, Policy, rollout
from comrl.ground.errors import BadInput
from comrl.ground.files import locked, require_space, write_whole
from comrl.ground.noise import derive_seed
from comrl.ground.reading import is_there
from comrl.ground.settings import used
from comrl.ground.showing import bar
from comrl.ground.workforce import LOCAL, Workforce

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "stable-baselines3", "h5py")

Trainer = Callable[
    [TaskFamily, TaskSet, Sequence[int], Behaviour, torch.device], Iterator[tuple[int, Policy, Policy]]
]
"""Trains the agents of some tasks; yields step, stochastic and mean policy of all, untrained first.

The policies take the observations of one agent after another, the agents of one task side by side.
"""


class Checkpoint(NamedTuple):
    """The rollouts of all agents of some tasks at one moment of their training."""

    step: int
    episodes: Episodes  # [S * E, H, ...]
    returns: np.ndarray  # [S]  of the stochastic policy
    deterministic: np.ndarray  # [S]
    visits: Visits | None  # [S * V * E]  as many of every agent, some in its own task to fill up


class Clock:
    """Seconds spent on a data set, those of interrupted commands' finished blocks included.

    threads: of this machine; None where others did the work.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.path, self.threads = folder / COST, threads
        self.before = seconds_spent(folder) or 0.0
        self.began = time.perf_counter()

    def cost(self) -> dict[str, Any]:
        """What the data set has cost so far."""
        seconds = self.before + time.perf_counter() - self.began
        return {"seconds": seconds, "threads": self.threads}

    def keep(self) -> None:
        """Write it down."""
        with write_whole(self.path) as part:
            part.write_text(json.dumps(self.cost()))


def stacked(
    family: TaskFamily, task_set: TaskSet, tasks: Sequence[int], behaviour: Behaviour, device: torch.device
) -> Iterator[tuple[int, Policy, Policy]]:
    """The default trainer: the tasks' agents as one stack."""
    return Collector(family, task_set.params, tasks, behaviour, device).train()


def sb3(
    family: TaskFamily, task_set: TaskSet, tasks: Sequence[int], behaviour: Behaviour, device: torch.device
) -> Iterator[tuple[int, Policy, Policy]]:
    """The reference trainer: stable-baselines3, one task at a time on the CPU."""
    from comrl.benchmark.generation.behaviour_sb3 import train_agents

    (task,) = tasks
    return train_agents(family, task_set, task, behaviour)


TRAINERS: dict[str, Trainer] = {"stacked": stacked, "sb3": sb3}


def packages() -> dict[str, str]:
    """The installed version of every package that can change a number."""
    return {name: version(name) for name in PACKAGES}


def generate(
    env: str,
    data: Path,
    *,
    preset: str,
    overrides: dict[str, Any],
    trainer: str,
    device: torch.device,
    workforce: Workforce = LOCAL,
) -> dict[str, Any]:
    """Make what is missing of a data set, and a row that sums it up; what is there is left as it is."""
    family, protocol = find_family(env), resolve(preset, env, overrides)
    task_set, folder = family.task_set(), data / env
    if trainer not in TRAINERS:
        raise BadInput(f"unknown trainer {trainer!r}; choose one of {', '.join(TRAINERS)}")
    if protocol.data.visits and not family.dynamics_differ:
        raise BadInput(
            f"data.visits = {protocol.data.visits} changes nothing: tasks of {env} differ in rewards alone; "
            "leave it out"
        )
    _refuse_behaviour(protocol.behaviour, trainer)
    settings: dict[str, JsonValue] = {"behaviour": used(protocol.behaviour), "data": used(protocol.data)}
    model = family.model_sha256() if family.model_sha256 else None
    birth = Birth(data_preset(preset, env), trainer, protocol.behaviour.seed, settings, packages(), model)
    require_space(data, disk_bytes(family, protocol))
    start = time.perf_counter()
    missing: tuple[int, ...] = ()
    if not complete(folder, family, task_set, birth):  # what is complete may be read-only
        with locked(folder):
            missing = missing_tasks(folder, family, task_set, birth)
            clock = Clock(folder, None if workforce.away else torch.get_num_threads())
            _fill(folder, family, protocol, birth, missing, trainer, device, clock, workforce)
            write_manifest(folder, family, task_set, birth, clock.cost())
    return {
        "env": env,
        "tasks": family.tasks,
        "made now": len(missing),
        "trainer": trainer,
        "preset": preset,
        "seconds": round(time.perf_counter() - start, 1),
        "folder": str(folder),
    }


def _refuse_behaviour(behaviour: Behaviour, trainer: str) -> None:
    """BadInput where agents would not learn, lose their last steps, or not be trained as the settings say."""
    if behaviour.steps % behaviour.checkpoint_every:
        raise BadInput(
            "behaviour.steps must be a multiple of behaviour.checkpoint_every, or the last is lost"
        )
    if not behaviour.updates:
        raise BadInput(
            f"behaviour.steps {behaviour.steps} leave agents nothing to learn after "
            f"{behaviour.warmup_steps} random ones; raise steps, or lower behaviour.warmup_steps, with --set"
        )
    if trainer == "sb3" and behaviour.first_value != "zero":
        raise BadInput(
            f"--trainer sb3 starts critics at zero and behaviour.first_value is {behaviour.first_value}; "
            "say --set first_value=zero"
        )


def complete(folder: Path, family: TaskFamily, task_set: TaskSet, birth: Birth) -> bool:
    """Whether the data set lacks nothing; BadInput where what is there is other data's."""
    return is_there(folder / MANIFEST) and not missing_tasks(folder, family, task_set, birth)


class Block(NamedTuple):
    """Tasks whose agents are trained as one stack, and all that a process needs to know for it."""

    env: str
    folder: Path
    tasks: Sequence[int]
    missing: frozenset[int]
    protocol: Protocol
    birth: Birth
    trainer: str
    device: torch.device


def blocks_of(family: TaskFamily, size: int, missing: Sequence[int]) -> list[range]:
    """The blocks that lack a task: each is trained whole, so that its tasks come out as in an
    undisturbed run.
    """
    blocks = (range(start, min(start + size, family.tasks)) for start in range(0, family.tasks, size))
    return [block for block in blocks if set(block) & set(missing)]


def _fill(
    folder: Path,
    family: TaskFamily,
    protocol: Protocol,
    birth: Birth,
    missing: Sequence[int],
    trainer: str,
    device: torch.device,
    clock: Clock,
    workforce: Workforce,
) -> None:
    """Train every block that lacks a task; on a CPU each in a process of one thread, as many as there
    are threads, or as a cluster has room for.
    """
    blocks = blocks_of(family, 1 if trainer == "sb3" else protocol.behaviour.block, missing)
    workers = torch.get_num_threads() if device.type == "cpu" else 1
    workers = len(blocks) if workforce.away else workers
    orders = [
        Block(family.name, folder.absolute(), block, frozenset(missing), protocol, birth, trainer, device)
        for block in blocks
    ]
    total = sum(len(block) for block in blocks) * protocol.behaviour.steps
    with bar(total, 0, f"SAC, {family.label}", tenths=True) as shown:
        do_all(make_block, orders, workers, shown, clock.keep, workforce)


def make_block(order: Block, progress: Callable[[int], object]) -> None:
    """Train one block, roll out its checkpoints, and write its missing tasks.

    BadInput where this node's packages are not those of the birth; and, once all other tasks are written,
    where the physics of a task diverged.
    """
    _refuse_other_packages(order.birth)
    family = find_family(order.env)
    task_set, tasks, trainer = family.task_set(), order.tasks, TRAINERS[order.trainer]
    seen: list[Checkpoint] = []
    for step, sample, mean in trainer(family, task_set, tasks, order.protocol.behaviour, order.device):
        progress(len(tasks) * (step - (seen[-1].step if seen else 0)))
        seen.append(_roll(family, task_set, tasks, step, sample, mean, order.protocol))
    steps = np.array([checkpoint.step for checkpoint in seen])
    returns = np.stack([checkpoint.returns for checkpoint in seen])  # [C, S]
    deterministic = np.stack([checkpoint.deterministic for checkpoint in seen])  # [C, S]
    finite = np.isfinite(returns + deterministic)
    lost, agents = [], order.protocol.behaviour.agents
    for index, task in enumerate(tasks):
        own = slice(index * agents, (index + 1) * agents)
        if not finite[:, own].all(0).any():
            diverged = steps[finite[:, own].argmin(0)].max()
            lost.append(f"task {task} diverged by step {diverged}")
            continue
        member = own.start + int(np.where(finite[:, own].all(0), returns[-1, own], -np.inf).argmax())
        curve = Checkpoints(steps, returns[:, member], deterministic[:, member])
        if task in order.missing:
            chosen = _qualities(seen, task, member, returns.shape[1], curve)
            if order.protocol.data.visits and (unmet := _unmet(chosen, task, task_set)):
                lost.append(f"task {unmet[0]} diverged at every visit of task {task}'s agent")
                continue
            write_task(order.folder, family, task_set, task, chosen, curve, order.birth)
    if lost:
        raise BadInput(
            f"the physics of {family.name} {', '.join(lost)} (seed {order.birth.seed}); all other tasks are "
            "whole; lower behaviour.lr or choose another behaviour.seed, with --set and in another folder"
        )


def _refuse_other_packages(birth: Birth) -> None:
    """BadInput where data would say that they were made with other packages than they are."""
    here = packages()
    others = [f"{name} {here[name]}" for name, there in birth.packages.items() if here[name] != there]
    if others:
        raise BadInput(
            f"{platform.node()} has {', '.join(others)}, unlike the machine that gave the command; "
            "give every node the same packages"
        )


def _roll(
    family: TaskFamily,
    task_set: TaskSet,
    block: Sequence[int],
    step: int,
    sample: Policy,
    mean: Policy,
    protocol: Protocol,
) -> Checkpoint:
    """Stochastic episodes and one deterministic episode of every agent of the block."""
    each = np.repeat(list(block), protocol.behaviour.agents)  # the task of each agent: [S]
    params, count = task_set.params[each], protocol.data.episodes
    seed_of = partial(derive_seed, protocol.behaviour.seed, "episodes")
    seeds = np.array([seed_of(task, step, episode) for task in each for episode in range(count)])
    episodes = rollout(family, np.repeat(params, count, 0), sample, seeds)
    greedy = rollout(family, params, mean, np.array([seed_of(task, step) for task in each]))
    returns = episodes.reward.sum(-1).reshape(-1, count).mean(-1)
    visits = _visit(family, task_set, each, step, sample, protocol) if protocol.data.visits else None
    return Checkpoint(step, episodes, returns, greedy.reward.sum(-1), visits)


def _visit(
    family: TaskFamily,
    task_set: TaskSet,
    each: NDArray[np.int64],
    step: int,
    sample: Policy,
    protocol: Protocol,
) -> Visits | None:
    """Stochastic episodes of every agent in the test tasks that it visits.  each: [S]  the agents' tasks."""
    found, count = hosts_of(range(family.tasks), task_set), protocol.data.visits
    most = max(map(len, found))
    if not most:
        return None
    filled = [found[task] + [task] * (most - len(found[task])) for task in each.tolist()]
    hosts: NDArray[np.int64] = np.repeat(np.array(filled).ravel(), count)  # [S * V * E]
    guests, number = np.repeat(each, most * count), np.tile(np.arange(count), len(each) * most)
    seed_of = partial(derive_seed, protocol.behaviour.seed, "visits", step)
    seeds = np.array([seed_of(*map(int, row)) for row in zip(guests, hosts, number, strict=True)])
    return Visits(hosts, rollout(family, task_set.params[hosts], sample, seeds))


def _qualities(
    seen: list[Checkpoint], task: int, member: int, members: int, curve: Checkpoints
) -> dict[str, Quality]:
    """Untrained, last, and in between the checkpoint whose return is nearest half-way, of one agent."""
    half_way = (curve.returns[0] + curve.returns[-1]) / 2
    between = slice(1, -1) if len(seen) > 2 else slice(0, None)
    medium = int(np.abs(curve.returns[between] - half_way).argmin()) + (between.start or 0)
    chosen = {"expert": seen[-1], "medium": seen[medium], "random": seen[0]}
    return {
        name: Quality(at.step, _own(at.episodes, member, members), _trips(at.visits, member, members, task))
        for name, at in chosen.items()
    }


def _own(episodes: Episodes, member: int, members: int) -> Episodes:
    """One agent's share of all agents' episodes."""
    return Episodes(*(field.reshape(members, -1, *field.shape[1:])[member] for field in episodes))


def _trips(visits: Visits | None, member: int, members: int, home: int) -> Visits | None:
    """One agent's visits, without those that stayed at home or in which the physics diverged."""
    if visits is None:
        return None
    hosts, episodes = visits.hosts.reshape(members, -1)[member], _own(visits.episodes, member, members)
    away = (hosts != home) & np.isfinite(episodes.reward).all(-1)
    return Visits(hosts[away], Episodes(*(field[away] for field in episodes))) if away.any() else None


def _unmet(chosen: dict[str, Quality], task: int, task_set: TaskSet) -> list[int]:
    """The test tasks that a task's agent visits, of which some quality has no visit."""
    met = [[] if one.visits is None else one.visits.hosts.tolist() for one in chosen.values()]
    return [host for host in hosts_of([task], task_set)[0] if not all(host in own for own in met)]


def disk_bytes(family: TaskFamily, protocol: Protocol) -> int:
    """Roughly what the data set takes on the disk, qualities and all."""
    row = 4 * (2 * family.obs_dim + family.action_dim + 2)
    visits = protocol.data.visits * BEHAVIOURS * len(family.task_set().test)
    return 3 * (family.tasks * protocol.data.episodes + visits) * family.horizon * row + 2**20
