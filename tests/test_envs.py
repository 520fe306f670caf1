"""What every declared family promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.families import DISTINCT, each
from support.policies import linear_policy, noisy_policy, seeds

from comrl.envs import families, find_family
from comrl.envs.family import Array, TaskFamily, sparsify
from comrl.envs.rollout import rollout
from comrl.ground import discovery
from comrl.ground.errors import BadInput

SHORT = [replace(family, horizon=min(family.horizon, 60)) for family in families()]
every_family = each(DISTINCT, SHORT)  # long enough for a body to fall, and no longer


# --- the contract


@every_family
def test_shapes_and_kinds(family: TaskFamily) -> None:
    params = family.sample_params()
    assert params.shape == (family.tasks, len(family.param_names))
    assert params.dtype == np.float64
    episodes = rollout(family, params, noisy_policy(family, 0), seeds(family.tasks))
    rows, horizon = family.tasks, family.horizon
    assert episodes.obs.shape == episodes.next_obs.shape == (rows, horizon, family.obs_dim)
    assert episodes.action.shape == (rows, horizon, family.action_dim)
    assert episodes.reward.shape == episodes.terminated.shape == episodes.valid.shape == (rows, horizon)
    assert episodes.obs.dtype == episodes.reward.dtype == np.float64
    assert episodes.terminated.dtype == episodes.valid.dtype == bool
    assert all(np.isfinite(field).all() for field in episodes)
    assert len({score.name for score in family.scores}) == len(family.scores) > 0


@every_family
def test_params_are_the_same_at_every_call_and_belong_to_the_caller(family: TaskFamily) -> None:
    first = family.sample_params()
    kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(family.sample_params(), kept)


@every_family
def test_reward_is_pure_and_broadcasts(family: TaskFamily) -> None:
    params = family.sample_params()[:3]  # [3, P], or both tasks
    many = len(params)
    steps = rollout(family, params, noisy_policy(family, 1), seeds(many))
    obs, action, next_obs = (
        field.reshape(-1, field.shape[-1]) for field in (steps.obs, steps.action, steps.next_obs)
    )  # each [N, ·]
    kept = [field.copy() for field in (obs, action, next_obs, params)]
    every_task = family.reward(obs[None], action[None], next_obs[None], params[:, None])
    again = family.reward(obs[None], action[None], next_obs[None], params[:, None])
    np.testing.assert_array_equal(every_task, again)
    for field, before in zip((obs, action, next_obs, params), kept, strict=True):
        np.testing.assert_array_equal(field, before)
    every_task = np.broadcast_to(every_task, (many, len(obs)))  # a reward without params may lack their axis
    for task in range(many):
        for row in range(0, len(obs), 7):
            alone = family.reward(obs[row], action[row], next_obs[row], params[task])
            np.testing.assert_array_equal(every_task[task, row], alone)


@every_family
def test_reward_is_the_one_that_stepping_gave(family: TaskFamily) -> None:
    params = family.sample_params()
    steps = rollout(family, params, noisy_policy(family, 2), seeds(family.tasks))
    again = family.reward(steps.obs, steps.action, steps.next_obs, params[:, None])
    np.testing.assert_array_equal(np.where(steps.valid, again, 0.0), steps.reward)


@every_family
def test_the_same_seeds_give_the_same_episodes(family: TaskFamily) -> None:
    params = family.sample_params()
    first = rollout(family, params, noisy_policy(family, 3), seeds(family.tasks))
    second = rollout(family, params, noisy_policy(family, 3), seeds(family.tasks))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@every_family
def test_an_episode_does_not_depend_on_its_company(family: TaskFamily) -> None:
    params, policy = family.sample_params(), linear_policy(family, 4)
    together = rollout(family, params, policy, seeds(family.tasks))
    for row in (0, family.tasks // 2, family.tasks - 1):
        alone = rollout(family, params[row : row + 1], policy, seeds(family.tasks)[row : row + 1])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[row], b[0])


@every_family
def test_consecutive_steps_meet(family: TaskFamily) -> None:
    steps = rollout(family, family.sample_params(), noisy_policy(family, 5), seeds(family.tasks))
    met = steps.valid[:, 1:]  # [N, H - 1]
    np.testing.assert_array_equal(steps.obs[:, 1:][met], steps.next_obs[:, :-1][met])


@every_family
def test_the_horizon_truncates_and_never_terminates(family: TaskFamily) -> None:
    params, cut = family.sample_params(), family.horizon - 3
    whole = rollout(family, params, linear_policy(family, 6), seeds(family.tasks))
    short = rollout(replace(family, horizon=cut), params, linear_policy(family, 6), seeds(family.tasks))
    assert short.terminated.shape == (family.tasks, cut)
    np.testing.assert_array_equal(short.terminated, whole.terminated[:, :cut])
    np.testing.assert_array_equal(short.next_obs, whole.next_obs[:, :cut])


@every_family
def test_actions_are_clipped_to_the_box(family: TaskFamily) -> None:
    params, draw = family.sample_params(), linear_policy(family, 7)
    inside = rollout(family, params, lambda obs: np.sign(draw(obs)), seeds(family.tasks))
    beyond = rollout(family, params, lambda obs: 5.0 * np.sign(draw(obs)), seeds(family.tasks))
    for a, b in zip(inside, beyond, strict=True):
        np.testing.assert_array_equal(a, b)


def test_after_a_fall_the_rest_of_the_episode_is_empty() -> None:
    class Falling:
        def __init__(self, params: Array) -> None:
            self.limit, self.clock = params[:, 0], 0

        def reset(self, seeds: np.ndarray) -> Array:
            self.clock = 0
            return np.ones((len(self.limit), 2))

        def step(self, action: Array) -> tuple[Array, np.ndarray]:
            self.clock += 1
            return np.ones((len(self.limit), 2)), self.clock >= self.limit

    family = replace(find_family("sparse-point-robot"), simulator=Falling, horizon=5)
    fall = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0], [9.0, 0.0]])
    steps = rollout(family, fall, lambda obs: obs, seeds(4))
    np.testing.assert_array_equal(steps.valid.sum(1), [1, 3, 5, 5])
    np.testing.assert_array_equal(steps.terminated.sum(1), [1, 1, 1, 0])
    assert all(steps.terminated[row, at] for row, at in ((0, 0), (1, 2), (2, 4)))
    for field in (steps.obs, steps.action, steps.reward, steps.next_obs):
        assert not field[~steps.valid].any()
        assert field[steps.valid].all()
    alive = np.array([1.0, 3.0, 5.0, 5.0])
    np.testing.assert_array_equal(steps.score(lambda reward: np.ones_like(reward)), alive)


# --- the split


@every_family
@given(seed=st.integers(0, 2**31))
def test_the_split_covers_the_tasks_without_overlap(family: TaskFamily, seed: int) -> None:
    tasks = family.task_set(seed)
    assert len(tasks.train) == family.train_tasks
    assert len(tasks.test) == family.test_tasks
    again = family.task_set(seed)
    assert (tasks.train, tasks.test) == (again.train, again.test)
    np.testing.assert_array_equal(tasks.params, again.params)
    if not family.held_out:
        assert tasks.train == tasks.test == tuple(range(family.tasks))
        return
    assert sorted(tasks.train + tasks.test) == list(range(family.tasks))
    assert tasks.train == tuple(sorted(tasks.train))
    assert tasks.test == tuple(sorted(tasks.test))
    neighbours = np.array_split(np.argsort(tasks.params[:, 0], kind="stable"), family.test_tasks)
    assert all(len(set(run.tolist()) & set(tasks.test)) == 1 for run in neighbours)


@every_family
def test_seeds_give_different_splits(family: TaskFamily) -> None:
    assert (len({family.task_set(seed).test for seed in range(8)}) > 1) == family.held_out


@pytest.mark.parametrize(
    ("name", "test"),
    [
        (
            "sparse-point-robot",
            (0, 7, 12, 16, 21, 25, 31, 37, 40, 46, 50, 59, 64, 69, 74, 78, 83, 87, 91, 95),
        ),
        ("point-robot-wind", (4, 6, 10, 12, 14, 20, 23, 25, 34, 37)),
        (
            "sparse-cheetah-vel",
            (2, 10, 16, 20, 21, 34, 36, 38, 41, 44, 46, 51, 53, 54, 59, 86, 88, 92, 93, 99),
        ),
        ("walker-2d-params", (10, 11, 13, 14, 22)),
        ("point-robot", (0, 7, 11, 15, 19, 22, 26, 29, 33, 36)),
        (
            "ant-dir",
            (0, 1, 5, 7, 9, 10, 12, 14, 15, 19, 21, 22, 24, 25, 26, 27, 29, 30, 34, 36),
        ),
        (
            "cheetah-vel",
            (2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 19, 21, 23, 25, 29, 32, 33, 37, 38, 39),
        ),
        (
            "hopper-params",
            (0, 1, 2, 3, 5, 7, 9, 12, 13, 16, 17, 20, 21, 22, 29, 31, 33, 34, 35, 36),
        ),
    ],
)
def test_the_default_split_stays_what_stored_results_say(name: str, test: tuple[int, ...]) -> None:
    assert find_family(name).task_set(0).test == test


# --- equation 35


BY_HAND = [
    (0.0, -0.2, 1.0), (-0.1, -0.2, 0.5), (-0.2, -0.2, 0.0), (-0.5, -0.2, 0.0), (-0.25, -0.5, 0.5),
    (4.5, 3.0, 0.5), (9.0, 3.0, 2.0), (2.9, 3.0, 0.0), (-1.5, None, -1.5),
]  # fmt: skip


def test_sparse_reward_by_hand() -> None:
    for reward, radius, sparse in BY_HAND:
        np.testing.assert_allclose(sparsify(np.array([reward]), radius), [sparse], atol=1e-15)


rewards = st.floats(-10.0, 10.0)
radii = st.floats(0.01, 6.0).flatmap(lambda size: st.sampled_from([size, -size]))


@given(first=rewards, second=rewards, radius=radii)
def test_sparse_reward_is_continuous_rising_and_never_negative(
    first: float, second: float, radius: float
) -> None:
    low, high = sparsify(np.array(sorted((first, second))), radius)
    assert 0.0 <= low <= high
    assert high - low <= abs(first - second) / abs(radius) + 1e-9  # Lipschitz, so no jump at the radius


# --- finding what is declared


def test_an_unknown_family_names_the_nearest_one() -> None:
    with pytest.raises(BadInput, match=r"unknown environment 'sparse-point-robt'.*'sparse-point-robot'"):
        find_family("sparse-point-robt")
    with pytest.raises(BadInput, match=r"choose one of .*point-robot-wind"):
        find_family("zzz")


def test_a_name_declared_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from comrl.envs import cheetah

    monkeypatch.setattr(cheetah, "FAMILIES", (find_family("point-robot-wind"),))
    with pytest.raises(
        BadInput, match=r"comrl\.envs\.\w+: FAMILIES declares 'point-robot-wind', which is there already"
    ):
        discovery.declared("comrl.envs", "FAMILIES")
