"""What every declared family promises, and the two point robots' known numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comrl.envs import families, find_family
from comrl.envs.family import Array, TaskFamily, sparsify
from comrl.envs.rollout import Policy, best_possible, rollout
from comrl.ground import discovery
from comrl.ground.errors import BadInput

every_family = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
with_optimum = pytest.mark.parametrize(
    "family", [f for f in families() if f.optimal_action], ids=lambda family: family.name
)


def linear_policy(family: TaskFamily, seed: int, scale: float = 3.0) -> Policy:
    """A feedback law drawn from a seed, summed in order: a matrix product's last bits depend on its rows."""
    draw = np.random.default_rng(seed)
    gain = scale * draw.standard_normal((family.body_dim, family.action_dim))
    bias = draw.uniform(-1.0, 1.0, family.action_dim)
    return lambda obs: np.clip(sum((obs[:, [i]] * gain[i] for i in range(len(gain))), bias), -1.0, 1.0)


def noisy_policy(family: TaskFamily, seed: int) -> Policy:
    """Uniformly random actions."""
    draw = np.random.default_rng(seed)
    return lambda obs: draw.uniform(-1.0, 1.0, (len(obs), family.action_dim))


def seeds(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.int64)


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
    assert tasks == replace(family.task_set(seed), params=tasks.params)
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
    ],
)
def test_the_default_split_stays_what_stored_results_say(name: str, test: tuple[int, ...]) -> None:
    assert find_family(name).task_set(0).test == test


# --- the optimum


@with_optimum
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 30.0))
def test_no_feedback_law_beats_the_optimum(family: TaskFamily, seed: int, scale: float) -> None:
    check_below_optimum(family, linear_policy(family, seed, scale))


@with_optimum
@given(seed=st.integers(0, 2**32 - 1))
def test_no_random_walk_beats_the_optimum(family: TaskFamily, seed: int) -> None:
    check_below_optimum(family, noisy_policy(family, seed))


@with_optimum
@given(gain=st.floats(0.0, 1.5), noise=st.floats(0.0, 0.5), seed=st.integers(0, 2**32 - 1))
def test_no_greedy_policy_beats_the_optimum(family: TaskFamily, gain: float, noise: float, seed: int) -> None:
    params, draw = family.sample_params(), np.random.default_rng(seed)
    best = family.optimal_action
    assert best is not None
    check_below_optimum(
        family, lambda obs: gain * best(obs, params) + noise * draw.standard_normal(obs.shape)
    )


def check_below_optimum(family: TaskFamily, policy: Policy) -> None:
    params = family.sample_params()
    best = best_possible(family, params)
    assert best is not None
    episodes = rollout(family, params, policy, seeds(family.tasks))
    for score in family.scores:
        assert (episodes.score(score.of_reward) <= best[score.name] + 1e-9).all(), score.name


@pytest.mark.parametrize(
    ("name", "score", "mean"),
    [
        ("sparse-point-robot", "eq35", 12.47),
        ("sparse-point-robot", "inside", 13.36),
        ("sparse-point-robot", "dense", -3.85),
        ("point-robot-wind", "dense", -5.11),
    ],
)
def test_the_best_possible_return_is_the_known_one(name: str, score: str, mean: float) -> None:
    family = find_family(name)
    best = best_possible(family, family.sample_params())
    assert best is not None
    assert round(float(best[score].mean()), 2) == mean


def test_where_no_optimum_is_known_none_is_claimed() -> None:
    family = replace(find_family("point-robot-wind"), optimal_action=None)
    assert best_possible(family, family.sample_params()) is None


# --- the point robots as the paper has them


def test_goals_lie_at_equal_angles_on_the_half_circle() -> None:
    goals = find_family("sparse-point-robot").sample_params()
    np.testing.assert_allclose(np.hypot(*goals.T), 1.0)
    np.testing.assert_allclose(np.diff(np.arctan2(goals[:, 1], goals[:, 0])), np.pi / 99)
    np.testing.assert_allclose(goals[[0, -1]], [[1.0, 0.0], [-1.0, 0.0]], atol=1e-15)


def test_a_step_moves_a_tenth_and_the_wind_adds_to_it() -> None:
    wind = np.array([[0.03, -0.02]])
    steps = rollout(find_family("point-robot-wind"), wind, lambda obs: np.array([[1.0, -0.5]]), seeds(1))
    np.testing.assert_allclose(steps.next_obs[0, :2], [[0.13, -0.07], [0.26, -0.14]])
    np.testing.assert_allclose(steps.reward[0, 0], -np.hypot(0.87, 0.07))
    goal = np.array([[0.0, 1.0]])
    steps = rollout(find_family("sparse-point-robot"), goal, lambda obs: np.array([[0.0, 1.0]]), seeds(1))
    np.testing.assert_allclose(steps.next_obs[0, 4], [0.0, 0.5])
    np.testing.assert_allclose(steps.reward[0, 4], -0.5)
    assert not steps.terminated.any()


def test_winds_are_the_authors_and_below_the_robots_speed() -> None:
    winds = find_family("point-robot-wind").sample_params()
    assert np.abs(winds).max() <= 0.05
    draw = np.random.RandomState(1337)
    np.testing.assert_array_equal(winds[:, 0], [draw.uniform(-0.05, 0.05) for _ in range(50)])
    np.testing.assert_array_equal(winds[:, 1], [draw.uniform(-0.05, 0.05) for _ in range(50)])


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
    from comrl.envs import camera

    monkeypatch.setattr(camera, "FAMILIES", (find_family("point-robot-wind"),), raising=False)
    with pytest.raises(BadInput, match="'point-robot-wind' 2 times"):
        discovery.declared("comrl.envs", "FAMILIES")
