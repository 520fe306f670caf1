"""Meta-batches of static shapes, drawn from data that lie in memory as one packed tensor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.datasets.splits import SplitData
from comrl.datasets.transitions import Context, MetaBatch, Rows
from comrl.ground.noise import Stream


class Layout(NamedTuple):
    """The widths of a packed row: obs, action, dense reward, next obs, alive, context reward."""

    obs: int
    action: int
    next_obs_in_context: bool
    unseen: int = 0
    """The last so many numbers of an observation stay here: neither control nor encoder sees them."""

    @property
    def widths(self) -> tuple[int, ...]:
        """One width a field, in the packed order."""
        return self.obs, self.action, 1, self.obs, 1, 1


class Sampler:
    """Draws transitions of chosen tasks, with replacement, from one packed tensor [T * N, F] on the
    device.
    """

    def __init__(
        self, split: SplitData, params: NDArray[np.float64], layout: Layout, device: torch.device
    ) -> None:
        data = split.transitions
        columns = (
            data.obs,
            data.action,
            data.reward[..., None],
            data.next_obs,
            ~data.terminated[..., None],
            split.context_reward[..., None],
        )
        packed = np.concatenate(columns, -1, dtype=np.float32)  # [T, N, F]
        self.layout, self.capacity = layout, packed.shape[1]
        self.packed = torch.from_numpy(packed).flatten(0, 1).to(device)  # [T * N, F]
        self.count = torch.from_numpy(np.asarray(split.count)).to(device)  # [T]
        self.params = torch.from_numpy(np.asarray(params, dtype=np.float32)).to(device)  # [T, P]

    def fields(self, task: Tensor, uniform: Tensor) -> tuple[Tensor, ...]:
        """The packed fields of uniformly drawn rows of each task.

        task: [S, M], uniform: [S, M, K] -> [S, M, K, ·].
        """
        row = (uniform * self.count[task][..., None]).long() + task[..., None] * self.capacity  # [S, M, K]
        picked = self.packed.index_select(0, row.flatten()).view(*row.shape, -1)
        return picked.split(self.layout.widths, -1)

    def seen(self, obs: Tensor) -> Tensor:
        """What is seen of observations."""
        return obs[..., : self.layout.obs - self.layout.unseen]

    def visible(self, fields: tuple[Tensor, ...]) -> Context:
        """What an encoder sees of them."""
        obs, action, _, next_obs, _, reward = fields
        shown = self.seen(next_obs) if self.layout.next_obs_in_context else None
        return Context(self.seen(obs), action, reward, shown)

    def context(self, task: Tensor, uniform: Tensor) -> Context:
        """A context of each task.  task: [S, M], uniform: [S, M, K]."""
        return self.visible(self.fields(task, uniform))

    def meta_batch(self, stream: Stream, tasks: Tensor, sizes: tuple[int, int, int]) -> MetaBatch:
        """M distinct tasks a member, two contexts of K and B control rows of each.

        tasks: [T'], sizes: M, K, B.
        """
        order = stream.uniform(len(tasks)).argsort(-1)[:, : sizes[0]]
        return self.batch_of(tasks[order], stream, sizes[1:])

    def batch_of(self, task: Tensor, stream: Stream, sizes: tuple[int, int]) -> MetaBatch:
        """Two contexts of K and B control rows of each given task.  task: [S, M], sizes: K, B."""
        context, control = sizes
        fields = self.fields(task, stream.uniform(task.shape[1], 2 * context + control))
        query, key, rows = zip(
            *(field.split((context, context, control), 2) for field in fields), strict=True
        )
        obs, action, reward, next_obs, alive, seen = (field.flatten(1, 2) for field in rows)  # [S, M * B, ·]
        return MetaBatch(
            self.visible(query),
            self.visible(key),
            Rows(self.seen(obs), action, reward, self.seen(next_obs), alive, seen),
            self.params[task],
            task,
        )
