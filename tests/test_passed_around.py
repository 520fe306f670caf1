"""Objects that people pass between processes, and copy, are the same tasks in the same state."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from support.runs import TOY

from comrl.envs import families, find_family
from comrl.envs.family import TaskFamily
from comrl.envs.gym import SingleTask

every_family = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
pytestmark = pytest.mark.filterwarnings("ignore:.*A Box observation space m.*:UserWarning")
POINTS = find_family("sparse-point-robot")


def pickled(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))


def played(env: Any, steps: int, seed: int = 0) -> list[Any]:
    """What some steps of random actions tell, and the start of the next episode."""
    draw, told = np.random.default_rng(seed), []
    for _ in range(steps):
        action = draw.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        told += [np.asarray(value).tolist() for value in env.step(action)[:4]]
    return [*told, env.reset()[0].tolist(), env.action_space.sample().tolist()]


@every_family
@pytest.mark.parametrize("passed", [pickled, copy.deepcopy], ids=["pickled", "copied"])
def test_a_task_goes_on_where_it_stood(family: TaskFamily, passed: Any) -> None:
    """At its first step, in the middle of an episode, and before any."""
    env = gymnasium.make(family.gym_id(), task=1, disable_env_checker=True)
    assert passed(env).unwrapped.task == 1
    env.reset(seed=3)
    env.action_space.seed(5)
    for steps in (0, 7):
        for _ in range(steps):
            env.step(env.action_space.sample())
        other = passed(env)
        assert other.unwrapped is not env.unwrapped
        assert played(other, 4) == played(env, 4)


def test_a_copy_does_not_move_the_other() -> None:
    env = gymnasium.make(POINTS.gym_id(), task=3)
    env.reset(seed=0)
    copied = copy.deepcopy(env)
    copied.step(np.ones(2, dtype=np.float32))
    np.testing.assert_array_equal(env.unwrapped.obs, np.zeros((1, 2)))


def test_a_declared_family_is_itself_and_any_other_like_any_object() -> None:
    for family in families():
        assert pickled(family) is family and copy.deepcopy(family) is family
    mine = replace(POINTS, horizon=7)  # of a declared one's name, and another
    assert copy.deepcopy(mine).horizon == 7
    assert copy.deepcopy(SingleTask(TOY, 2, TOY.sample_params()[2])).family.name == "toy"


@pytest.mark.parametrize("how", ["make", "make_vec"])
def test_tasks_step_in_spawned_processes(how: str) -> None:
    """A process that starts anew has registered nothing: the id that names the module brings it along."""
    name = f"comrl.envs.gym:{POINTS.gym_id()}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "make":
            both = [partial(gymnasium.make, name, task=task) for task in (3, 4)]
            envs: Any = AsyncVectorEnv(both, context="spawn")
        else:
            envs = gymnasium.make_vec(
                name, num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, task=3
            )
    try:
        _, info = envs.reset(seed=[0, 1])
        assert info["task"].tolist() == ([3, 4] if how == "make" else [3, 3])
        _, reward, *_ = envs.step(np.zeros((2, 2), dtype=np.float32))
        np.testing.assert_allclose(reward, [-1.0, -1.0])  # as far from the goal as at the start
    finally:
        envs.close(terminate=True)
