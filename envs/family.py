"""A task family owns its tasks as data and one pure reward function, which serves stepping,
relabelling and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from comrl.ground.discovery import by_name, declared

Array = NDArray[np.float64]


class Simulator(Protocol):
    """A batch of N worlds that step together; row n has the parameters of task n."""

    def reset(self, seeds: NDArray[np.int64], which: NDArray[np.bool_] | None = None) -> Array:
        """Start some worlds anew, or all, each from its own seed; everyone's observations.

        seeds, which: [N] -> [N, O].
        """

    def step(self, action: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Next observations and falls (never time limits); a world whose physics diverged is nan.

        action in [-1, 1]: [N, A] -> [N, O], [N].
        """


@dataclass(frozen=True)
class Score:
    """A way to score an episode: a function of each step's dense reward, summed over the episode."""

    name: str
    label: str
    of_reward: Callable[[Array], Array]


DENSE = Score("dense", "dense return", lambda reward: reward)


@dataclass(frozen=True)
class TaskFamily:
    """A distribution of tasks that share spaces and horizon and differ in `params`.

    Actions live in [-1, 1]; rewards are dense; `reward(obs, action, next_obs, params)` is pure and
    broadcasts over leading axes, all in float64: [..., O], [..., A], [..., O], [..., P] -> [...].
    """

    name: str
    label: str
    obs_dim: int
    action_dim: int
    horizon: int
    param_names: tuple[str, ...]
    train_tasks: int
    test_tasks: int
    sample_params: Callable[[], Array]
    """The family's tasks, the same at every call: [T, P]."""
    simulator: Callable[[Array], Simulator]
    reward: Callable[[Array, Array, Array, Array], Array]
    scores: tuple[Score, ...]
    """The first is the headline."""
    position_dim: int = 0
    """How many numbers, the last of an observation, say where in the world the body is: rewards use them;
    policies and encoders see them only where asked for.
    """
    held_out: bool = True
    """Test tasks are other than training tasks; where not, both are all there are, as in the paper."""
    radius: float | None = None
    """Goal radius of the context's sparse reward, in units of reward; None leaves the context's reward
    dense.
    """
    other_radii: tuple[float, ...] = ()
    """Other readings of it, whose non-sparse share the report shows beside the headline's."""
    relabel_radius: float | None = None
    """Goal radius of the relabeled split; None where the family has no such split."""
    dynamics_differ: bool = False
    """Tasks differ in their dynamics, so the context shows the next observation too."""
    optimal_action: Callable[[Array, Array], Array] | None = None
    """The exactly optimal action, where known: obs [N, O], params [N, P] -> [N, A]."""
    heading: Callable[[Array], Array] | None = None
    """The tasks' goals drawn on a map of the first two observations, where there are any: [T, P] ->
    [T, 2].
    """
    film: Callable[[Array], NDArray[np.uint8]] | None = None
    """Pictures of a body at given observations; OSError where there is nothing to draw with: [F, O] -> [F,
    height, width, 3].
    """
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    """Settings for a preset, laid over the preset file's: {preset: {section: {setting: value}}}."""
    model_sha256: Callable[[], str] | None = None
    """The hash of the physics model, where there is one: kept with the data."""

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return self.train_tasks + self.test_tasks * self.held_out

    @property
    def body_dim(self) -> int:
        """The width of an observation without the root's position."""
        return self.obs_dim - self.position_dim

    def seen_dim(self, sees_position: bool = False) -> int:
        """How many of an observation's numbers are seen: all but the root's position, or all."""
        return self.obs_dim if sees_position else self.body_dim

    def task_set(self, seed: int = 0) -> TaskSet:
        """The family's tasks and their split: one test task from each run of neighbours along the first
        parameter.

        A plain draw of 10 winds moves the best possible mean return by a standard deviation of 0.5, more
        than any difference between algorithms; a draw stratified along the parameter keeps the test tasks
        representative.
        """
        params, draw = self.sample_params(), np.random.default_rng(seed)
        if not self.held_out:
            everyone = tuple(range(len(params)))
            return TaskSet(self.name, seed, params, everyone, everyone)
        neighbours = np.array_split(np.argsort(params[:, 0], kind="stable"), self.test_tasks)
        test = sorted(int(draw.choice(run)) for run in neighbours)
        train = sorted(set(range(len(params))) - set(test))
        return TaskSet(self.name, seed, params, tuple(train), tuple(test))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled by its name, as its functions may have none; one that is not declared, like any object."""
        declared_here = {family.name: family for family in families()}.get(self.name) is self
        return (find_family, (self.name,)) if declared_here else super().__reduce_ex__(protocol)

    def gym_id(self) -> str:
        """The id under which gymnasium makes a single task: comrl/SparsePointRobot-v0."""
        return "comrl/" + "".join(word.capitalize() for word in self.name.split("-")) + "-v0"


@dataclass(frozen=True, eq=False)
class TaskSet:
    """The tasks of a family and their split into training and test tasks."""

    family: str
    seed: int
    params: Array
    train: tuple[int, ...]
    test: tuple[int, ...]


def sparsify(reward: Array, radius: float | None) -> Array:
    """Zero outside the goal radius, rescaled inside so that the reward stays continuous. [focalpp eq. 35]"""
    if radius is None:
        return reward
    return np.where(reward > radius, (reward - radius) / abs(radius), 0.0)


@cache
def families() -> tuple[TaskFamily, ...]:
    """Every declared family."""
    return declared("comrl.envs", "FAMILIES")


def find_family(name: str) -> TaskFamily:
    """The family of that name; BadInput with the nearest name where there is none."""
    return by_name(families(), name, "environment")
