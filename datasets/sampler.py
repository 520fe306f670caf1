"""Meta-batches of static shapes, drawn from data that lie in memory as one packed tensor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.datasets.splits import SplitData
from comrl.datasets.transitions import Context, MetaBatch, Rows, Space
from comrl.ground.noise import Stream


class Sampler:
    """Draws transitions of chosen tasks, with replacement, from one packed tensor on the device."""

    def __init__(
        self, split: SplitData, params: NDArray[np.float64], space: Space, device: torch.device
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
        self.space, self.capacity, self.obs = space, packed.shape[1], data.obs.shape[-1]
        self.packed = torch.from_numpy(packed).flatten(0, 1).to(device)  # [T * N, F]
        self.count = torch.from_numpy(np.asarray(split.count)).to(device)  # [T]
        self.params = torch.from_numpy(np.asarray(params, dtype=np.float32)).to(device)  # [T, P]

    @property
    def widths(self) -> tuple[int, ...]:
        """One width a packed field: obs, action, dense reward, next obs, alive, context reward.

        Observations lie here whole; what of them is seen, the space says.
        """
        return self.obs, self.space.action, 1, self.obs, 1, 1

    def fields(self, task: Tensor, uniform: Tensor) -> tuple[Tensor, ...]:
        """The packed fields of uniformly drawn rows of each task.

        task: [S, M], uniform: [S, M, K] -> [S, M, K, ·].
        """
        row = (uniform * self.count[task][..., None]).long() + task[..., None] * self.capacity  # [S, M, K]
        picked = self.packed.index_select(0, row.flatten()).view(*row.shape, -1)
        return picked.split(self.widths, -1)

    def visible(self, fields: tuple[Tensor, ...]) -> Context:
        """What an encoder sees of them."""
        obs, action, _, next_obs, _, reward = fields
        shown = self.space.seen(next_obs) if self.space.next_obs_in_context else None
        return Context(self.space.seen(obs), action, reward, shown)

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
        flat = (field.flatten(1, 2) for field in rows)  # [S, M * B, ·]
        obs, action, reward, next_obs, alive, sparse = flat
        obs, next_obs = self.space.seen(obs), self.space.seen(next_obs)
        return MetaBatch(
            self.visible(query),
            self.visible(key),
            Rows(obs, action, reward, next_obs, alive, sparse),
            self.params[task],
            task,
        )


class Replay(Sampler):
    """What agents collect as they learn, one agent a task and all of them in step."""

    def __init__(self, agents: int, capacity: int, space: Space, device: torch.device) -> None:
        self.space, self.capacity, self.obs, self.size = space, capacity, space.obs, 0
        self.packed = torch.zeros(agents * capacity, sum(self.widths), device=device)
        self.count = torch.zeros(agents, dtype=torch.long, device=device)
        self.params = torch.zeros(agents, space.params, device=device)

    @property
    def rows(self) -> Tensor:
        """Each agent's rows so far: [S, size, F]."""
        return self.packed.unflatten(0, (-1, self.capacity))[:, : self.size]

    def add(self, rows: Tensor) -> None:
        """Keep the same number of new rows of every agent, rewards as they are.  [S, n, F]."""
        self.size += rows.shape[1]
        self.rows[:, -rows.shape[1] :] = rows
        self.count += rows.shape[1]
