"""A small data set of any declared family, rolled out with random policies; as a script it writes one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from comrl.datasets.birth import Birth
from comrl.datasets.store import missing_tasks, write_manifest, write_task
from comrl.datasets.taskfile import QUALITIES, Checkpoints, Quality
from comrl.envs import TaskFamily, TaskSet, find_family
from comrl.envs.rollout import Episodes, rollout
from comrl.ground.files import locked

BIRTH = Birth("smoke", "random", 0, {"episodes": 3, "hidden": [8, 8]}, {"numpy": np.__version__})
TASKS = 5


def small_task_set(family: TaskFamily) -> TaskSet:
    """A few tasks of the family: of a family with two, both."""
    params = family.sample_params()
    params = params[:: max(1, len(params) // TASKS)][:TASKS]
    return TaskSet(family.name, 0, params, tuple(range(len(params) - 1)), (len(params) - 1,))


def episodes(family: TaskFamily, params: np.ndarray, seed: int, count: int = 3) -> Episodes:
    """Episodes of uniformly random actions; the first ends early, by a fall."""
    draw = np.random.default_rng(seed)
    rows = np.repeat(params[None], count, 0)
    seeds = np.arange(count, dtype=np.int64) + seed
    rolled = rollout(family, rows, lambda obs: draw.uniform(-1, 1, (len(obs), family.action_dim)), seeds)
    rolled.valid[0, 4 + seed % 3 :] = False
    rolled.terminated[0, 3 + seed % 3] = True
    return rolled


def qualities(family: TaskFamily, task_set: TaskSet, task: int) -> dict[str, Quality]:
    """Every quality of a task; counts of episodes differ between tasks."""
    return {
        name: Quality(100 * i, episodes(family, task_set.params[task], 7 * task + i, 3 + task % 2))
        for i, name in enumerate(QUALITIES)
    }


def checkpoints(task: int) -> Checkpoints:
    """A made-up learning curve."""
    returns = np.linspace(-9.5, -4.0, 3, dtype=np.float64) + task
    return Checkpoints(np.arange(3) * 100, returns, np.sqrt(returns**2))


def put_task(folder: Path, family: TaskFamily, task_set: TaskSet, task: int, birth: Birth = BIRTH) -> Path:
    """Write a task."""
    rolled = qualities(family, task_set, task)
    return write_task(folder, family, task_set, task, rolled, checkpoints(task), birth)


def put_data_set(data: Path, family: TaskFamily, birth: Birth = BIRTH) -> Path:
    """Write what is missing of a data set and return its folder."""
    folder, task_set = data / family.name, small_task_set(family)
    with locked(folder):
        for task in missing_tasks(folder, family, task_set, birth):
            put_task(folder, family, task_set, task, birth)
        write_manifest(folder, family, task_set, birth, {"seconds": 1.5})
    return folder


if __name__ == "__main__":
    put_data_set(Path(sys.argv[1]), find_family(sys.argv[2]))
