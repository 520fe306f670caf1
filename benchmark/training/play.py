"""Use what was trained: infer a task from a context and act, with one seed's policy or all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from comrl.algorithms.algorithm import inferred
from comrl.algorithms.learner import State
from comrl.benchmark.reporting.ledger import read_card
from comrl.benchmark.training.weights import Weights, member_of, read_weights, trained_state
from comrl.datasets.transitions import Context, Transitions
from comrl.envs.family import sparsify
from comrl.ground.errors import BadInput


@dataclass(frozen=True)
class TrainedPolicy:
    """The policies of a run's seeds; arrays lead with a seed axis S, but those of one chosen seed do not."""

    state: State
    weights: Weights
    radius: float | None
    """Goal radius by which the context's rewards are sparsified; None leaves them dense."""
    one: bool = False

    @torch.no_grad()
    def infer(self, context: Transitions, params: ArrayLike | None = None) -> NDArray[np.float32]:
        """The embedding of one task from K of its transitions, whose rewards are dense.

        params: the task's true parameters [P], which the oracle alone takes.  [K, ·] -> [S, Z].
        """
        seen, stack = self.state.space.seen, len(self.state.noise.generators)
        reward = np.asarray(sparsify(np.asarray(context.reward, dtype=np.float64), self.radius))[..., None]
        shown = seen(context.next_obs) if self.state.space.next_obs_in_context else None
        fields = (seen(context.obs), context.action, reward, shown)
        stacked = Context(*(None if field is None else self._tensor(field, stack) for field in fields))  # type: ignore[arg-type]
        net, known = self.state.nets["encoder"], self._params(params, stack)
        belief = inferred(self.state.algorithm.encoder, net, stacked, known)
        return self._out(belief.mean[:, 0])

    @torch.no_grad()
    def act(self, obs: ArrayLike, z: ArrayLike) -> NDArray[np.float32]:
        """The deterministic actions, in [-1, 1], for observations as the environment gives them.

        [O] or [N, O], [S, Z] -> [S, A] or [S, N, A].
        """
        rows, stack = np.atleast_2d(np.asarray(obs, dtype=np.float32)), len(self.state.noise.generators)
        device = self.state.noise.device
        seen = torch.from_numpy(self.state.space.seen(rows)).to(device).expand(stack, -1, -1)  # [S, N, O]
        known = torch.as_tensor(np.asarray(z, dtype=np.float32), device=device).view(
            stack, 1, -1
        )  # [S, 1, Z]
        action = self.state.algorithm.control.act(self.state.nets, seen, known.expand(-1, len(rows), -1))
        return self._out(action if np.ndim(obs) == 2 else action[:, 0])

    def _params(self, params: ArrayLike | None, stack: int) -> Tensor:
        """True parameters, standardised as in training.  [P] -> [S, 1, P].

        BadInput where they are needed and not given; zeros where nothing looks at them.
        """
        mean, std = self.weights.params_mean, self.weights.params_std
        needed = getattr(self.state.algorithm.encoder, "knows_task", False)
        if needed and (params is None or np.asarray(params).shape != mean.shape):
            raise BadInput(
                f"{self.state.algorithm.label} knows its task by true parameters and learns nothing from a "
                f"context; give params, {len(mean)} numbers"
            )
        known = torch.as_tensor(np.asarray(params)).to(mean) if needed else mean
        return ((known - mean) / std).float().expand(stack, 1, -1)

    def _tensor(self, rows: ArrayLike, stack: int) -> Tensor:
        """[K, ·] -> [S, 1, K, ·]."""
        values = torch.as_tensor(np.asarray(rows, dtype=np.float32), device=self.state.noise.device)
        return values.expand(stack, 1, *values.shape)

    def _out(self, values: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = values.cpu().numpy()
        return array[0] if self.one else array


def load_policy(run: str | Path, seed: int | None = None, device: str = "cpu") -> TrainedPolicy:
    """The policies of a run's folder, of all seeds or of one; BadInput where there are none to be had."""
    folder, where = Path(run), torch.device(device)
    card = read_card(folder)
    weights, seeds = read_weights(folder, card, where), card.spec.seeds
    if seed is not None:
        if seed not in seeds:
            raise BadInput(f"{folder.name} has no seed {seed}; it has {', '.join(map(str, seeds))}")
        weights = member_of(weights, seeds.index(seed), len(seeds))
        card = card.model_copy(update={"spec": card.spec.model_copy(update={"seeds": (seed,)})})
    state = trained_state(card, weights, where)
    return TrainedPolicy(state, weights, card.train_split_radius, one=seed is not None)
