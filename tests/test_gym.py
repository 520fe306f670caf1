"""A single task as gymnasium and stable-baselines3 see it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from support.families import DISTINCT, each

from comrl.envs import families, find_family
from comrl.envs.family import TaskFamily, sparsify
from comrl.envs.gym import register_families, single_task
from comrl.envs.rollout import rollout
from comrl.ground.errors import BadInput

ROOT = Path(__file__).parent.parent
every_family = each(DISTINCT)
pytestmark = pytest.mark.filterwarnings("ignore:.*A Box observation space m.*:UserWarning")


def test_ids_follow_the_names() -> None:
    assert {family.gym_id() for family in families()} <= set(gymnasium.registry)
    assert {"comrl/SparsePointRobot-v0", "comrl/PointRobotWind-v0"} <= set(gymnasium.registry)


def test_registering_again_changes_nothing() -> None:
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # gymnasium warns where an id is overwritten
        register_families()
    assert dict(gymnasium.registry) == before


def test_the_id_alone_suffices_where_it_names_the_module() -> None:
    program = (
        "import gymnasium; env = gymnasium.make('comrl.envs.gym:comrl/SparsePointRobot-v0', task=3);"
        "print(env.unwrapped.task, env.spec.max_episode_steps)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "20"]


@every_family
def test_gymnasium_finds_nothing_to_object_to(family: TaskFamily) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*A Box observation space m.*")  # a plane has no edge
        bodies = family.film is not None  # their pictures take graphics: see test_film
        check_env(gymnasium.make(family.gym_id(), task=1).unwrapped, skip_render_check=bodies)


@every_family
def test_an_episode_is_the_rollouts_step_for_step(family: TaskFamily, subtests: pytest.Subtests) -> None:
    """Bit for bit, whether the place is shown or not."""
    for task, sees_position in ((0, False), (family.tasks - 1, True)):
        with subtests.test(sees_position=sees_position):
            seen = family.obs_dim if sees_position else family.body_dim
            params = family.sample_params()[task : task + 1]
            actions = np.random.default_rng(0).uniform(-1.5, 1.5, (family.horizon, family.action_dim))
            actions = actions.astype(np.float32)
            turn = iter(actions.astype(np.float64))
            expected = rollout(
                family, params, lambda obs, turn=turn: next(turn)[None], np.array([17], dtype=np.int64)
            )
            env = gymnasium.make(
                family.gym_id(), task=task, sees_position=sees_position, disable_env_checker=True
            )
            assert env.observation_space.shape == (seen,)
            obs, info = env.reset(seed=17)
            assert info == {"task": task}
            for step in range(int(expected.valid[0].sum())):
                np.testing.assert_array_equal(obs, expected.obs[0, step, :seen].astype(np.float32))
                obs, reward, terminated, truncated, info = env.step(actions[step])
                np.testing.assert_array_equal(obs, expected.next_obs[0, step, :seen].astype(np.float32))
                assert reward == expected.reward[0, step]
                assert terminated == expected.terminated[0, step]
                assert truncated == (step == family.horizon - 1)
                assert info["sparse_reward"] == sparsify(expected.reward, family.radius)[0, step]


@every_family
def test_a_seed_fixes_the_later_starts_too(family: TaskFamily) -> None:
    def starts(seed: int) -> list[np.ndarray]:
        env = gymnasium.make(family.gym_id(), task=0)
        return [env.reset(seed=seed)[0]] + [env.reset()[0] for _ in range(3)]

    np.testing.assert_array_equal(starts(5), starts(5))


@pytest.mark.parametrize("task", [-1, 100])
def test_a_task_that_is_not_there_is_refused(task: int) -> None:
    with pytest.raises(BadInput, match=rf"no task {task}; choose one from 0 to 99"):
        single_task("sparse-point-robot", task)


def sb3_agent(family: TaskFamily) -> Any:
    """A small agent that has made 50 steps on one task."""
    from stable_baselines3 import SAC

    env = gymnasium.make(family.gym_id(), task=1)
    agent = SAC("MlpPolicy", env, learning_starts=10, batch_size=16, policy_kwargs={"net_arch": [16]}, seed=0)
    return agent.learn(50)


@every_family
def test_stable_baselines_learns_on_it(family: TaskFamily) -> None:
    agent = sb3_agent(family)
    assert agent.num_timesteps == 50
    assert agent._n_updates == 40


def test_stable_baselines_bootstraps_at_the_horizon() -> None:
    buffer = sb3_agent(find_family("sparse-point-robot")).replay_buffer
    ends = np.flatnonzero(buffer.dones[:50])
    np.testing.assert_array_equal(ends, [19, 39])
    np.testing.assert_array_equal(np.flatnonzero(buffer.timeouts[:50]), ends)
