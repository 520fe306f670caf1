"""What flows through the house: transitions, the context an encoder reads, and the meta-batch an
update consumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from comrl.envs.family import TaskFamily

if TYPE_CHECKING:  # data are read, listed and verified without the seconds that torch takes
    from torch import Tensor

Observations = TypeVar("Observations", "Tensor", NDArray[np.float32], NDArray[np.float64])


class Space(NamedTuple):
    """What is seen of a family: widths, and whether the context shows the next observation."""

    obs: int
    """The first so many numbers of an observation are seen: where the body is stays hidden."""
    action: int
    params: int
    next_obs_in_context: bool
    tasks: tuple[int, ...] = ()
    """The training tasks' numbers."""

    @property
    def context_widths(self) -> tuple[int, ...]:
        """The widths of the context's fields, in the order s, a, r (, s')."""
        return self.obs, self.action, 1, *([self.obs] if self.next_obs_in_context else [])

    def seen(self, obs: Observations) -> Observations:
        """What is seen of observations as the environment gives them.  [..., O'] -> [..., O]."""
        return obs[..., : self.obs]


def space_of(family: TaskFamily, tasks: tuple[int, ...] = (), *, sees_position: bool = False) -> Space:
    """What is seen of a family and its training tasks; of an observation all but the root's position."""
    widths = family.seen_dim(sees_position), family.action_dim, len(family.param_names)
    return Space(*widths, family.dynamics_differ, tasks)


class Transitions(NamedTuple):
    """Rows of a data set as arrays in memory, reward dense; leading axes are free."""

    obs: NDArray[np.float32]  # [..., O]
    action: NDArray[np.float32]  # [..., A]
    reward: NDArray[np.float32]  # [...]
    next_obs: NDArray[np.float32]  # [..., O]
    terminated: NDArray[np.bool_]  # [...]


class Context(NamedTuple):
    """What the encoder sees of a task, one tensor a field, in the paper's order s, a, r (, s')."""

    obs: Tensor  # [S, M, K, O]
    action: Tensor  # [S, M, K, A]
    reward: Tensor  # [S, M, K, 1]  sparsified
    next_obs: Tensor | None = None  # [S, M, K, O]  where the dynamics differ between tasks

    @property
    def fields(self) -> tuple[Tensor, ...]:
        """The fields there are."""
        return tuple(field for field in self if field is not None)

    def map(self, change: Callable[[Tensor], Tensor]) -> Context:
        """The same change of every field."""
        return Context(*map(change, self.fields))

    def first(self, count: int) -> Context:
        """The first transitions of each task.  [S, M, K, ·] -> [S, M, count, ·]."""
        return self.map(lambda field: field[:, :, :count])


class Rows(NamedTuple):
    """Control transitions of all tasks, one after another: N = M * B rows a stack member."""

    obs: Tensor  # [S, N, O]
    action: Tensor  # [S, N, A]
    reward: Tensor  # [S, N, 1]  dense
    next_obs: Tensor  # [S, N, O]
    alive: Tensor  # [S, N, 1]  0 where the world ended, 1 elsewhere: the horizon does not end it
    context_reward: Tensor  # [S, N, 1]  sparsified: what an encoder would see of the reward
    gained: Mapping[str, Any] | None = None
    """What the stages before make of the rows, by name: tensors [S, N, ·], or tuples of them."""


class MetaBatch(NamedTuple):
    """M distinct tasks of each stack member: two context draws and one control draw of each task."""

    query: Context
    key: Context
    rows: Rows
    params: Tensor  # [S, M, P]  true task parameters, standardised; only the oracle looks
    task: Tensor  # [S, M]
    gained: Mapping[str, Any] | None = None
    """What the stages before make of the contexts, by name."""
