"""Trials of a test on self-collected contexts: what they lived through and what an encoder makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.algorithm import inferred
from comrl.algorithms.belief import Belief
from comrl.algorithms.learner import State
from comrl.benchmark.training.evaluate import drawn_contexts, embed
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs.family import Array, TaskSet, sparsify
from comrl.envs.rollout import Episodes, joined
from comrl.ground.noise import Stream


@dataclass(eq=False)
class Trials:
    """The trials of every seed side by side: of each test task as many as it has episodes in a test.

    A trial is a world of one task, in which a policy plays some episodes to explore and then the last one.
    """

    state: State
    sampler: Sampler
    tasks: TaskSet
    radius: float | None
    """Goal radius by which the context's rewards are sparsified; None leaves them dense."""
    stream: Stream
    exploring: int
    """Episodes before the last."""
    lived: list[Episodes] = field(default_factory=list)
    """Every episode that is over: S * M * E rows each."""
    begun: list[Episodes] = field(default_factory=list)
    """The steps so far of the one that is being played."""
    acted: list[Tensor] = field(default_factory=list)
    """Every embedding that the policy has acted with: [S, M * E, Z] each."""

    @property
    def tested(self) -> list[int]:
        """The task of each of a seed's trials: [M * E]."""
        return np.repeat(self.tasks.test, self.state.training.eval_episodes).tolist()

    @property
    def opening(self) -> int:
        """How many episodes begin in the first half of the exploration."""
        return (self.exploring + 1) // 2

    @property
    def opens(self) -> bool:
        """Whether the present episode is one of them."""
        return len(self.lived) < self.opening

    @property
    def last(self) -> bool:
        """Whether the present episode is the last, after all exploration."""
        return len(self.lived) == self.exploring

    def over(self, played: Episodes) -> None:
        """Go on to the next episode."""
        self.lived.append(played)
        self.begun.clear()

    def seen_returns(self) -> Array:
        """Each episode's return as the encoder sees its rewards, [N, episodes]; N = S * M * E."""
        return np.stack([one.score(partial(sparsify, radius=self.radius)) for one in self.lived], 1)

    @cached_property
    def of_training_tasks(self) -> Tensor:
        """An embedding of every training task from its data: [S, T, Z]."""
        size = self.state.training.test_context
        return embed(self.state, *drawn_contexts(self.sampler, self.tasks.train, self.stream, size))

    @torch.no_grad()
    def belief(self, kept: NDArray[np.bool_] | None = None) -> Belief:
        """What the encoder makes of a context from the episodes so far, or those kept.

        kept: [N, episodes] -> [S, M * E, Z].
        """
        encoder, net = self.state.algorithm.encoder, self.state.nets["encoder"]
        task = torch.tensor(self.tested, device=self.stream.device)
        params = self.sampler.params[task].expand(len(self.stream.generators), -1, -1)
        return inferred(encoder, net, own_context(self, kept), params)


@torch.no_grad()
def from_prior(trials: Trials) -> Tensor:
    """Embeddings before anything is known: a Gaussian encoder's standard normal, else those of random
    training tasks; the true ones of an encoder that learns nothing.  -> [S, M * E, Z].
    """
    state, sampler, stream = trials.state, trials.sampler, trials.stream
    many, encoder, net = len(trials.tested), state.algorithm.encoder, state.nets["encoder"]
    if not list(net.parameters()):
        context, params = drawn_contexts(sampler, trials.tested, stream, 1)
        return embed(state, context, params)
    train = torch.tensor(trials.tasks.train, device=stream.device)
    task = train[(stream.uniform(many) * len(train)).long()]  # [S, M * E]
    context = sampler.context(task, stream.uniform(many, state.training.test_context))
    belief: Belief = inferred(encoder, net, context, sampler.params[task])
    return belief.mean if belief.variance is None else stream.normal(*belief.mean.shape[1:])


def own_context(trials: Trials, kept: NDArray[np.bool_] | None = None) -> Context:
    """A context drawn from what each trial has collected, rewards sparsified as offline.

    kept: which of its episodes, [N, episodes]; None: all, the present one's steps too -> [S, M * E, K, ·].
    """
    state, stream = trials.state, trials.stream
    stack, size, seen = len(stream.generators), state.training.test_context, state.space.seen
    collected = [*trials.lived, joined(trials.begun)] if trials.begun else trials.lived
    fields = {
        name: np.concatenate([getattr(episode, name) for episode in collected], 1)
        for name in Episodes._fields
    }  # [N, H', ·]
    valid = fields["valid"]
    if kept is not None:
        valid = valid & kept.repeat([episode.valid.shape[1] for episode in collected], axis=1)
    order = np.argsort(~valid, axis=1, kind="stable")  # what was lived through first
    count = torch.from_numpy(valid.sum(1)).to(stream.device).unflatten(0, (stack, -1))  # [S, M * E]
    place = (stream.uniform(count.shape[1], size) * count[..., None]).long().flatten(0, 1).cpu().numpy()
    row = np.take_along_axis(order, place, 1)  # [N, K]

    def drawn(values: Array) -> Tensor:
        picked = np.take_along_axis(values, row[..., None], 1).astype(np.float32)
        return torch.from_numpy(picked).to(stream.device).unflatten(0, (stack, -1))

    reward = sparsify(fields["reward"], trials.radius)[..., None]
    shown = drawn(seen(fields["next_obs"])) if state.space.next_obs_in_context else None
    return Context(drawn(seen(fields["obs"])), drawn(fields["action"]), drawn(reward), shown)
