"""Families whose optimum is known: no policy beats it, and the point robots' numbers are the paper's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.families import DISTINCT, each
from support.policies import linear_policy, noisy_policy, seeds

from comrl.envs import families, find_family
from comrl.envs.family import TaskFamily
from comrl.envs.rollout import Policy, best_possible, rollout

with_optimum = each(DISTINCT, [family for family in families() if family.optimal_action])


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
        ("point-robot", "dense", -3.86),
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
    for name, tasks in (("sparse-point-robot", 100), ("point-robot", 40)):
        goals = find_family(name).sample_params()
        np.testing.assert_allclose(np.hypot(*goals.T), 1.0)
        np.testing.assert_allclose(np.diff(np.arctan2(goals[:, 1], goals[:, 0])), np.pi / (tasks - 1))
        np.testing.assert_allclose(goals[[0, -1]], [[1.0, 0.0], [-1.0, 0.0]], atol=1e-15)


def test_the_dense_point_robot_is_the_sparse_one_with_its_dense_return_alone() -> None:
    dense, sparse = find_family("point-robot"), find_family("sparse-point-robot")
    assert (dense.reward, dense.simulator, dense.optimal_action) == (
        sparse.reward,
        sparse.simulator,
        sparse.optimal_action,
    )
    assert (dense.radius, dense.relabel_radius, len(dense.scores)) == (None, None, 1)
    best = best_possible(dense, dense.sample_params())
    assert best is not None
    x, y = np.abs(dense.sample_params().T)
    step = 0.1 * np.arange(1, 21)[:, None]  # along each axis as far as the goal, then still
    by_hand = -np.hypot(np.maximum(x - step, 0), np.maximum(y - step, 0)).sum(0)
    np.testing.assert_allclose(best["dense"], by_hand, atol=1e-12)


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
