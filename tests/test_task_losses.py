"""A task loss with a network of its own: it learns, teaches the encoder and reports metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from support.runs import begin, random_sampler, reached
from torch import Tensor, nn

from comrl.algorithms.algorithm import Evidence, Losses, Space, find_algorithm
from comrl.algorithms.learner import KEY_ENCODER, losses, update
from comrl.algorithms.stack import StackedMLP
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream
from comrl.ground.settings import Positive, setting


@dataclass(frozen=True)
class RewardFromEmbedding:
    """A decoder that tells a context's rewards from each transition's embedding."""

    lr: Positive = setting(1e-2, "Adam's rate of the decoder")
    network: str = setting("decoder", "the network's name")
    momentum: ClassVar[None] = None
    compares: ClassVar[bool] = False

    def build(self, space: Space, latent: int, stream: Stream) -> dict[str, nn.Module]:
        return {self.network: StackedMLP(latent, (8,), 1, stream)}

    def rates(self) -> dict[str, float]:
        return {self.network: self.lr}

    def losses(self, seen: Evidence) -> Losses:
        context = seen.batch.query
        each, net = seen.each(context).flatten(1, 2), seen.nets[self.network]  # [S, M * K, Z]
        true = context.reward.flatten(1, 2)

        def error(said: Tensor) -> Tensor:
            return (said - true).square().mean((1, 2))

        return {
            "task": error(net(each, frozen=True)),
            self.network: error(net(each.detach())),
            "rows": torch.full((len(true),), float(seen.batch.rows.obs.shape[1])),
        }


FOCAL = find_algorithm("focal")
METRICS = (
    "accuracy", "mean_q", "mean_strength", "mean_divergence", "strength_at_largest", "log_prob",
)  # fmt: skip
OWN = replace(FOCAL, task_loss=RewardFromEmbedding())


def test_its_network_learns_apart_from_the_encoder() -> None:
    state = begin(OWN)
    batch = state.next_batch(random_sampler())
    terms = losses(state, batch)
    assert {"task", "decoder", "critic", "value", "policy"} == terms.losses.keys()
    assert reached(state, terms.losses["task"]) == {"encoder"}
    assert reached(state, terms.losses["decoder"]) == {"decoder"}
    assert terms.metrics["rows"].tolist() == [batch.rows.obs.shape[1]] * 2
    assert not any(value.requires_grad for value in terms.metrics.values())


def test_it_learns_as_long_as_the_encoder() -> None:
    state, sampler = begin(OWN, steps=6, encoder_steps=3), random_sampler()
    errors = []
    while not state.done:
        there = [p.detach().clone() for p in state.nets["decoder"].parameters()]
        found = update(state, state.next_batch(sampler))
        moved = not all(map(torch.equal, there, state.nets["decoder"].parameters()))
        assert moved == (state.step <= 3) == ("decoder" in found.losses)
        errors += [found.losses["decoder"].mean()] if moved else []
    assert len(errors) == 3


@pytest.mark.usefixtures("float64")
def test_a_stack_is_each_seed_alone() -> None:
    def decoder(seeds: tuple[int, ...]) -> list[Tensor]:
        state, sampler = begin(OWN, seeds=seeds, steps=4, encoder_steps=4), random_sampler()
        while not state.done:
            update(state, state.next_batch(sampler))
        return [p.detach() for p in state.nets["decoder"].parameters()]

    together = decoder((5, 1))
    for member, seed in enumerate((5, 1)):
        for ours, theirs in zip(together, decoder((seed,)), strict=True):
            torch.testing.assert_close(ours[member], theirs[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["critic", "encoder", KEY_ENCODER])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"both have a network '{name}'"):
        begin(replace(FOCAL, task_loss=RewardFromEmbedding(network=name)))


def test_metrics_are_reported() -> None:
    state = begin(find_algorithm("focalpp"), strength=2.0, divergence="primal")
    found = update(state, state.next_batch(random_sampler()))
    assert {*METRICS} == found.metrics.keys()
    torch.testing.assert_close(found.metrics["mean_strength"], torch.full((2,), 2.0))
    assert bool(((found.metrics["accuracy"] >= 0) & (found.metrics["accuracy"] <= 1)).all())
