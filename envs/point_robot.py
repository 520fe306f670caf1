"""Point robots: a point walks the plane from the origin, towards a goal it does not see or against an
unknown wind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import DENSE, Array, Score, TaskFamily, sparsify

STEP = 0.1  # the largest move per axis and step
RADIUS = -0.2  # [focalpp Table 5]
RELABEL_RADIUS = -0.5  # [focalpp Table 5]
WIND_GOAL = np.array([1.0, 0.0])
WIND = 0.05  # winds are uniform on [-WIND, WIND]^2 [focalpp App. D.1]


class PointSimulator:
    """N points that each move by their action, scaled to the step, plus their drift."""

    def __init__(self, drift: Array) -> None:
        self.drift = drift  # [N, 2]
        self.position = np.zeros_like(drift)  # [N, 2]

    def reset(self, seeds: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Array:
        """Every point starts at the origin, whatever its seed."""
        again = np.ones(len(self.drift), dtype=bool) if which is None else which
        self.position = np.where(again[:, None], 0.0, self.position)
        return self.position

    def step(self, action: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Move; a point never falls."""
        self.position = self.position + STEP * np.clip(action, -1.0, 1.0) + self.drift
        return self.position, np.zeros(len(self.drift), dtype=bool)


def goal_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Minus the distance of the new position from the task's goal."""
    return -np.linalg.norm(next_obs - params, axis=-1)


def wind_reward(obs: Array, action: Array, next_obs: Array, params: Array) -> Array:
    """Minus the distance of the new position from the one goal; the wind acts through the dynamics alone."""
    return -np.linalg.norm(next_obs - WIND_GOAL + 0.0 * params, axis=-1)  # params only lend their shape


def semicircle_goals(tasks: int) -> Array:
    """Goals at equal angles on the upper unit semicircle, both ends included: [T, 2]."""
    angle = np.linspace(0.0, np.pi, tasks)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def uniform_winds() -> Array:
    """50 winds, all x then all y from the legacy generator with seed 1337, as in the authors' code:
    [50, 2].
    """
    draw = np.random.RandomState(1337)
    return np.stack([draw.uniform(-WIND, WIND, 50), draw.uniform(-WIND, WIND, 50)], -1)


def towards(target: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Step greedily per axis to a target: exactly optimal, as the reachable set is a box."""
    return lambda obs, params: np.clip((target(params) - obs) / STEP, -1.0, 1.0)


SPARSE_GOALS = TaskFamily(
    name="sparse-point-robot",
    label="Sparse-Point-Robot",
    obs_dim=2,
    action_dim=2,
    horizon=20,
    param_names=("goal_x", "goal_y"),
    train_tasks=80,
    test_tasks=20,
    sample_params=lambda: semicircle_goals(100),
    simulator=lambda params: PointSimulator(np.zeros_like(params)),
    reward=goal_reward,
    scores=(
        Score(
            "inside",
            "r + 1 inside the radius",
            lambda reward: np.where(reward > RADIUS, reward + 1.0, 0.0),
        ),
        Score("eq35", "sparse return, eq. 35", lambda reward: sparsify(reward, RADIUS)),
        DENSE,
    ),
    radius=RADIUS,
    relabel_radius=RELABEL_RADIUS,
    optimal_action=towards(lambda params: params),
    heading=lambda params: params,
)

FAMILIES = (
    SPARSE_GOALS,
    TaskFamily(
        name="point-robot-wind",
        label="Point-Robot-Wind",
        obs_dim=2,
        action_dim=2,
        horizon=20,
        param_names=("wind_x", "wind_y"),
        train_tasks=40,
        test_tasks=10,
        sample_params=uniform_winds,
        simulator=PointSimulator,
        reward=wind_reward,
        scores=(DENSE,),
        dynamics_differ=True,
        optimal_action=towards(lambda params: WIND_GOAL - params),
        heading=lambda params: np.broadcast_to(WIND_GOAL, params.shape),
    ),
    replace(
        SPARSE_GOALS,
        name="point-robot",
        label="Point-Robot",
        train_tasks=30,
        test_tasks=10,
        sample_params=lambda: semicircle_goals(40),
        scores=(DENSE,),
        radius=None,
        relabel_radius=None,
    ),
)
