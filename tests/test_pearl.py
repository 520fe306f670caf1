"""Probabilistic embeddings against literal loops, Batch PEARL, and the first losses of every algorithm."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import baseline_oracles as oracles
from support import golden_losses
from support.beliefs import SCALES, SEEDS, belief, pairs
from support.compare import close
from support.runs import SPACE, begin, random_sampler

from comrl.algorithms.batch_pearl import BATCH_PEARL
from comrl.algorithms.belief import Belief, gaussian_divergence, kl_to_prior, product_of_gaussians, together
from comrl.algorithms.encoders import GaussianProduct
from comrl.algorithms.learner import losses
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream


@given(SEEDS, SCALES, st.integers(1, 6))
def test_product_of_gaussians(seed: int, scale: float, count: int) -> None:
    factors = belief(seed, 2, 3, count, 4, scale=scale)
    mean, variance = product_of_gaussians(*factors.gaussian()).gaussian()
    for s in range(2):
        for m in range(3):
            expected = oracles.product_of_gaussians(factors.mean[s, m], factors.gaussian()[1][s, m])
            close(mean[s, m], expected[0])
            close(variance[s, m], expected[1])


@given(SEEDS, SCALES)
def test_divergence_of_gaussians_and_from_the_prior(seed: int, scale: float) -> None:
    one, other = belief(seed, 2, 3, 4, scale=scale), belief(seed + 7, 2, 3, 4)
    ours = gaussian_divergence(one, other)
    for s in range(2):
        close(
            ours[s],
            [oracles.gaussian_kl(*a, *b) for a, b in zip(pairs(one, s), pairs(other, s), strict=True)],
        )
        standard = ([0.0] * 4, [1.0] * 4)
        close(
            kl_to_prior(one)[s],
            sum(oracles.gaussian_kl(*a, *standard) for a in pairs(one, s)) / 3,
            1e-8,
        )


def test_two_contexts_together_are_one_of_all_their_transitions() -> None:
    one, other = belief(0, 2, 3, 5, 4), belief(9, 2, 3, 2, 4)
    both = Belief(*(torch.cat(pair, 2) for pair in zip(one.gaussian(), other.gaussian(), strict=True)))
    apart = together(product_of_gaussians(*one.gaussian()), product_of_gaussians(*other.gaussian()))
    torch.testing.assert_close(apart, product_of_gaussians(*both.gaussian()))


@pytest.mark.usefixtures("float64")
def test_a_longer_context_is_surer() -> None:
    part, net = GaussianProduct(), GaussianProduct().build(SPACE, Stream([1, 2]))
    query = random_sampler().meta_batch(Stream([1, 2]), torch.arange(5), (4, 6, 5)).query
    few = part.encode(net, query, torch.zeros(2, 4, 2), None)
    twice = Context(*(torch.cat([field, field], 2) for field in query.fields))
    more = part.encode(net, twice, torch.zeros(2, 4, 2), None)
    torch.testing.assert_close(more.mean, few.mean)
    torch.testing.assert_close(more.variance, few.gaussian()[1] / 2)


def test_draws_of_a_belief_have_its_mean_and_variance() -> None:
    """And where it is certain nothing is drawn, so that the stream stands where it stood."""
    unsure = Belief(torch.full((1, 20_000, 1), 3.0), torch.full((1, 20_000, 1), 4.0))
    drawn = unsure.sample(Stream([5]))
    assert float(drawn.mean()) == pytest.approx(3, abs=0.05) and float(drawn.var()) == pytest.approx(
        4, abs=0.2
    )
    stream, certain = Stream([5]), Belief(torch.ones(1, 2, 3))
    before = stream.state()[0].clone()
    assert certain.sample(stream) is certain.mean
    assert torch.equal(before, stream.state()[0])
    with pytest.raises(ValueError, match="embeddings are Gaussians"):
        kl_to_prior(certain)


def test_the_critic_trains_batch_pearls_encoder() -> None:
    """The gradient that the authors' order of steps loses."""
    state = begin(BATCH_PEARL, seeds=(1, 2), prior_weight=0.0)
    found = losses(state, state.next_batch(random_sampler())).losses
    weight = next(state.nets["encoder"].parameters())
    (gradient,) = torch.autograd.grad(found["critic"].sum(), [weight])
    assert bool((gradient.abs().sum((1, 2)) > 0).all())


# --- arithmetic that a refactoring must not change


@pytest.mark.usefixtures("float64")
def test_first_losses_are_what_they_were() -> None:
    """A change that means to alter them says so in the changelog and runs tests/golden_losses.py."""
    kept, now = json.loads(golden_losses.FILE.read_text()), golden_losses.golden()
    assert kept.keys() == now.keys()
    for name, losses_ in kept.items():
        assert losses_.keys() == now[name].keys(), name
        for loss, values in losses_.items():
            assert now[name][loss] == pytest.approx(values, rel=1e-6, abs=1e-9), f"{loss} of {name}"
