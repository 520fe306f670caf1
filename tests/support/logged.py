"""Transitions as somebody logs them, of some tasks of a family."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from comrl.benchmark.commands.cli import main
from comrl.datasets import from_arrays
from comrl.datasets.store import Dataset
from comrl.envs import find_family
from support.data import episodes, small_task_set

FAMILY = find_family("sparse-point-robot")
TASKS = small_task_set(FAMILY)
TEST = [4]
Arrays = dict[str, np.ndarray]
Tasks = dict[int, dict[str, Arrays]]


def logged(task: int, seed: int) -> Arrays:
    """Episodes of one task as somebody logs them; the first ends by a fall."""
    rolled = episodes(FAMILY, TASKS.params[task], 7 * task + seed)
    valid = rolled.valid
    return {
        "observations": rolled.obs[valid],
        "actions": rolled.action[valid],
        "rewards": rolled.reward[valid],
        "next_observations": rolled.next_obs[valid],
        "terminations": rolled.terminated[valid],
        "episode_lengths": valid.sum(-1),
    }


def all_tasks(*names: str) -> Tasks:
    return {
        task: {name: logged(task, i) for i, name in enumerate(names)} for task in range(len(TASKS.params))
    }


def train_blind(data: Path, results: Path, *options: str) -> int:
    """Train the lower yardstick on these tasks' data, by the command line."""
    given = ["--algo", "blind", "--preset", "smoke", "--threads", "1"]
    places = ["--data", str(data), "--results", str(results)]
    return main(["run", "--env", FAMILY.name, *given, *places, *options])


def put(data: Path, tasks: Tasks) -> Dataset:
    return from_arrays(data, FAMILY.name, tasks, params=TASKS.params, test=TEST)
