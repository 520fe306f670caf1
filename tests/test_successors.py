"""UNICORN, CSRO and CORRO: their equations against literal loops, and what each loss leaves alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import successor_oracles as oracles
from support.runs import CPU, begin, random_sampler
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from comrl.algorithms import csro, unicorn
from comrl.algorithms.algorithm import find_algorithm
from comrl.algorithms.corro import TransitionPool, attention_pool, with_other_rewards
from comrl.algorithms.csro import club, estimator_loss, gaussian
from comrl.algorithms.encoders import MeanPool
from comrl.algorithms.learner import losses, start, update
from comrl.algorithms.standardise import standardised
from comrl.algorithms.task_losses import info_nce, over_constant
from comrl.algorithms.unicorn import (
    LOG_VARIANCE,
    classification_loss,
    held_between,
    reconstruction_loss,
)
from comrl.benchmark.protocol import configured, resolve
from comrl.datasets.transitions import space_of
from comrl.envs.family import find_family
from comrl.ground.noise import Stream

pytestmark = pytest.mark.usefixtures("float64")
seeds = st.integers(0, 2**32)


def draws(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: Tensor, expected: float) -> None:
    assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(seeds)
def test_classification_loss(seed: int) -> None:
    logits, task = draws(seed, 2, 5, 7), torch.arange(10).view(2, 5) % 7
    found = classification_loss(logits, task)
    for s in range(2):
        close(found[s], oracles.classification_loss(logits[s].tolist(), task[s].tolist()))
    close(classification_loss(torch.zeros(1, 3, 9), torch.tensor([[0, 4, 8]]))[0], math.log(9))


@given(seeds)
def test_reconstruction_loss(seed: int) -> None:
    said, true = 5 * draws(seed, 2, 4, 6), draws(seed + 1, 2, 4, 3)
    found = reconstruction_loss(said, true)
    for s in range(2):
        mean, raw = said[s].chunk(2, -1)
        expected = oracles.reconstruction_loss(mean.tolist(), raw.tolist(), true[s].tolist(), *LOG_VARIANCE)
        close(found[s], expected)


def test_a_held_value_keeps_its_bounds_and_its_gradient() -> None:
    x = torch.tensor([-40.0, -9.0, 0.0, 3.0, 40.0], requires_grad=True)
    held = held_between(x, -10.0, 0.5)
    assert bool(((held >= -10.0) & (held <= 0.5 + 1e-4)).all())
    (slope,) = torch.autograd.grad(held.sum(), x)
    assert bool((slope > 0).all()) and float(held[2].detach()) == pytest.approx(0.0, abs=0.5)


def test_standardised_over_tasks_and_transitions_of_each_member() -> None:
    x = 3 + 5 * draws(0, 2, 4, 6, 2)
    found = standardised(x)
    torch.testing.assert_close(found.flatten(1, 2).mean(1), torch.zeros(2, 2), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.flatten(1, 2).std(1), torch.ones(2, 2))
    assert not bool(standardised(torch.zeros(1, 2, 3, 1)).any())  # sparse rewards may all be zero
    torch.testing.assert_close(standardised(x[1:])[0], found[1])


@given(seeds)
def test_club_is_the_mean_over_all_pairs(seed: int) -> None:
    each, mean, variance = (
        draws(seed, 2, 3, 5, 4),
        draws(seed + 1, 2, 3, 5, 4),
        draws(seed + 2, 2, 3, 5, 4).exp(),
    )
    found, told = club(each, mean, variance), estimator_loss(each, mean, variance)
    for s in range(2):
        tasks = [tuple(x[s, m].tolist() for x in (each, mean, variance)) for m in range(3)]
        close(found[s], sum(oracles.club(*task) for task in tasks) / 3)
        close(told[s], sum(oracles.estimator_loss(*task) for task in tasks) / 3)


def test_club_is_zero_where_behaviour_says_nothing() -> None:
    each, same = draws(3, 1, 2, 6, 4), torch.zeros(1, 2, 6, 4)
    close(club(each, same, same + 1.0)[0], 0.0)
    assert float(club(each, each, same + 1.0)[0]) > 0.5  # and large where it says all


def test_the_estimator_is_as_broad_as_the_codes() -> None:
    mean, variance = gaussian(50 * draws(0, 3, 8))
    assert float(mean.abs().max()) <= 1.0
    assert float(variance.min()) > 0.31 and float(variance.max()) < 1.32


@given(seeds)
def test_attention_pool(seed: int) -> None:
    each, score = draws(seed, 2, 3, 5, 4), draws(seed + 1, 2, 3, 5)
    found = attention_pool(each, score)
    for s in range(2):
        for m in range(3):
            expected = oracles.attention_pool(each[s, m].tolist(), score[s, m].tolist())
            assert found[s, m].tolist() == pytest.approx(expected, rel=1e-9)


@given(seeds)
def test_transition_contrast(seed: int) -> None:
    query, keys = draws(seed, 4, 3), draws(seed + 1, 4, 6, 3)
    found = info_nce(query, keys, torch.zeros(4, dtype=torch.long), temperature=0.3)
    for n in range(4):
        first, *others = keys[n].tolist()
        close(found[n], oracles.transition_contrast(query[n].tolist(), first, others, 0.3))


def test_made_up_transitions_differ_in_their_rewards_alone() -> None:
    state = begin(find_algorithm("corro"))
    query = state.next_batch(random_sampler()).query
    made = with_other_rewards(query, 3, 0.5, Stream([1, 2]))
    for ours, theirs in zip(made._replace(reward=query.reward).fields, query.fields, strict=True):
        if ours is not query.reward:
            assert torch.equal(ours, theirs[:, :, :, None].expand_as(ours))
    noise = made.reward - query.reward[:, :, :, None]
    usual = query.reward.flatten(1).std(-1)
    ratio = noise.flatten(1).std(-1) / usual
    assert bool(((ratio > 0.3) & (ratio < 0.7)).all())


def test_corros_pool_learns_from_the_critic_and_its_embedding_from_the_contrast() -> None:
    state = begin(find_algorithm("corro"))
    found = losses(state, state.next_batch(random_sampler())).losses
    net = state.nets["encoder"]

    def learns(loss: Tensor, part: torch.nn.Module) -> bool:
        slopes = torch.autograd.grad(
            loss.sum(), list(part.parameters()), retain_graph=True, allow_unused=True
        )
        return any(slope is not None for slope in slopes)

    assert learns(found["task"], net.embed) and not learns(found["task"], net.score)
    assert learns(found["critic"], net.score) and not learns(found["critic"], net.embed)


def test_corros_embeddings_have_unit_length() -> None:
    part, context = TransitionPool(), begin(find_algorithm("corro")).next_batch(random_sampler()).query
    each = part.each(begin(find_algorithm("corro")).nets["encoder"], context)
    torch.testing.assert_close(each.norm(dim=-1), torch.ones(each.shape[:3]))


# --- what is known besides a constant


@given(seeds, st.floats(0.1, 1.0))
def test_no_constant_has_less_than_csros_constant_loss(seed: int, size: float) -> None:
    """Of all means and variances that the estimator can say, the best has just this loss."""
    each = size * draws(seed, 2, 3, 5, 4).tanh()
    mean, variance = (x.expand_as(each) for x in moments_of(each))
    best = csro.constant_loss(each)
    torch.testing.assert_close(estimator_loss(each, mean, variance.clamp(*csro.VARIANCE)), best)
    others = (x.expand_as(each) for x in gaussian(3 * draws(seed + 1, 8)))
    assert bool((estimator_loss(each, *others) >= best).all())


@given(seeds, st.floats(0.1, 1.2))
def test_no_constant_has_less_than_unicorns_constant_loss(seed: int, size: float) -> None:
    true = size * draws(seed, 2, 9, 3)
    true = true - true.mean(1, keepdim=True)  # as what is decoded
    best = unicorn.constant_loss(true)
    for raw in torch.linspace(-12, 3, 31):
        said = torch.cat([torch.zeros_like(true), torch.full_like(true, float(raw))], -1)
        assert bool((reconstruction_loss(said, true) >= best - 1e-9).all())
    log_variance = moments_of(true)[1].log().clamp(max=LOG_VARIANCE[1])
    attained = true.square() * (-log_variance).exp() + log_variance
    torch.testing.assert_close(attained.mean((1, 2)), best)


def moments_of(x: Tensor) -> tuple[Tensor, Tensor]:
    over = tuple(range(1, x.dim() - 1))
    return x.mean(over, keepdim=True), x.var(over, keepdim=True, correction=0)


def test_over_constant() -> None:
    loss = torch.tensor([1.0, 1.0 - math.log(4), 90.0], requires_grad=True)
    assert over_constant(loss, 1.0).tolist() == pytest.approx([1.0, 0.25, 10.0])


def test_a_query_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its belief and for CSRO's bound."""
    state, seen = begin(find_algorithm("csro")), []
    batch, each = state.next_batch(random_sampler()), MeanPool.each
    monkeypatch.setattr(
        MeanPool, "each", lambda part, net, context: seen.append(context) or each(part, net, context)
    )
    losses(state, batch)
    assert [context is batch.query for context in seen] == [True, False]


BARS = {"unicorn-sup": 1.1, "unicorn-ss": 1.5, "csro": 1.5, "corro": 2.0, "corro-cvae": 2.0}


@pytest.mark.parametrize("env", ["sparse-point-robot", "sparse-cheetah-vel"])
def test_an_update_costs_little_more_than_focals(env: str, subtests: pytest.Subtests) -> None:
    """In operations at `lite`, while the encoder learns."""
    focal = operations("focal", env)
    for name, bar in BARS.items():
        with subtests.test(name):
            assert operations(name, env) < bar * focal


def operations(name: str, env: str) -> int:
    family = find_family(env)
    algorithm = configured(find_algorithm(name), "lite", env)
    space = space_of(family, family.task_set().train)
    state = start(algorithm, resolve("lite", env).training, space, (0,), CPU)
    batch = state.next_batch(random_sampler(space, family.tasks))
    with FlopCounterMode(display=False) as counter:
        update(state, batch)
    return counter.get_total_flops()
