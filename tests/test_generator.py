"""CORRO's generator: its loss against a literal loop, whom it learns from, and what it makes up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import successor_oracles as oracles
from support.compare import close, draws
from support.runs import CPU, SPACE, TOY, begin, random_sampler, toy_goals
from torch import Tensor

from comrl.algorithms.accelerate import Engine
from comrl.algorithms.algorithm import Space, find_algorithm
from comrl.algorithms.belief import Belief
from comrl.algorithms.generator import OUTCOMES, OutcomeGenerator, generator_loss
from comrl.algorithms.learner import State, knowing, losses
from comrl.algorithms.standardise import standardised
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import SplitData
from comrl.datasets.transitions import Context, Transitions
from comrl.ground.noise import Stream

CORRO = find_algorithm("corro-cvae")


@given(st.integers(0, 2**32), st.integers(1, 4))
@pytest.mark.usefixtures("float64")
def test_generator_loss(seed: int, numbers: int) -> None:
    said, true = draws(seed, 2, 5, numbers), draws(seed + 1, 2, 5, numbers)
    mean, log_std = draws(seed + 2, 2, 5, 3), draws(seed + 3, 2, 5, 3)
    found = generator_loss(said, true, Belief(mean, (2 * log_std).exp()), 0.3)
    members = (tuple(x[s].tolist() for x in (said, true, mean, log_std)) for s in range(2))
    close(found, [oracles.generator_loss(*member, 0.3) for member in members])


def fitted(sampler: Sampler, space: Space = SPACE, **changes: float) -> State:
    """CORRO at its first step, with a generator at its last."""
    state = begin(CORRO, space, **{"generator_steps": 20} | changes)
    first = state.stages[0]
    Engine(first, sampler).advance(first.training.steps)
    return state


@pytest.mark.parametrize("next_obs", [True, False])
def test_a_generator_learns_from_training_tasks_alone(next_obs: bool) -> None:
    """It has the runs' own tasks and no others: what lies in a test task's file cannot reach it."""
    space = SPACE._replace(next_obs_in_context=next_obs)
    usual, spoilt = random_sampler(), random_sampler()
    spoilt.packed.unflatten(0, (6, -1))[5] = torch.nan  # SPACE.tasks are 0 to 4
    ours, theirs = fitted(usual, space), fitted(spoilt, space)
    assert ours.stages[0].tasks.tolist() == list(space.tasks)
    for one, other in zip(*(x.stages[0].nets["generator"].parameters() for x in (ours, theirs)), strict=True):
        assert bool(one.isfinite().all()) and torch.equal(one, other)
    spoilt.packed.unflatten(0, (6, -1))[2] = torch.nan
    (weight, *_) = fitted(spoilt, space).stages[0].nets["generator"].parameters()
    assert not bool(weight.isfinite().any())  # where a training task's is spoilt all is


def outcomes(state: State, sampler: Sampler) -> tuple[Context, Context]:
    """A query, and what the generator makes up for it."""
    ((stage, model),) = state.before
    batch = state.next_batch(sampler)
    batch = stage.extend(model.nets, batch, knowing(model, batch.task), Stream([5, 6]))
    return batch.query, (batch.gained or {})[OUTCOMES]


@pytest.mark.parametrize("next_obs", [True, False])
def test_made_up_outcomes_are_decoded_for_each_first_transition(next_obs: bool) -> None:
    state = fitted(random_sampler(), SPACE._replace(next_obs_in_context=next_obs), queries=3, negatives=4)
    query, made = outcomes(state, random_sampler())
    decoder, latent = state.stages[0].nets["generator"].decoder, Stream([5, 6]).normal(4, 3, 4, 5)
    told = [query.reward] if query.next_obs is None else [query.reward, query.next_obs - query.obs]
    for s, m, r, n in np.ndindex(*made.reward.shape[:4]):
        assert torch.equal(made.obs[s, m, r, n], query.obs[s, m, r])
        assert torch.equal(made.action[s, m, r, n], query.action[s, m, r])
        asked = torch.cat([query.obs[s, m, r], query.action[s, m, r], latent[s, m, r, n]])
        said = decoder(asked.expand(2, 1, -1))[s, 0]
        there = torch.cat([made.reward, *([] if made.next_obs is None else [made.next_obs - made.obs])], -1)
        usual = torch.cat(told, -1)[s].flatten(0, 1)  # [M * K, D]
        torch.testing.assert_close(there[s, m, r, n], usual.mean(0) + usual.std(0) * said)
    assert not made.reward.requires_grad


def anywhere(rows: int = 300) -> Sampler:
    """Random observations and actions, the same of every toy task, with each task's reward."""
    draw, goals = np.random.default_rng(0), toy_goals()
    obs, action = draw.uniform(-1, 1, (2, 1, rows, 2)).repeat(len(goals), 1)  # [T, N, 2]
    next_obs = obs + 0.4 * action
    fields = (obs, action, TOY.reward(obs, action, next_obs, goals[:, None]), next_obs)
    data = Transitions(*(x.astype(np.float32) for x in fields), np.zeros(fields[2].shape, dtype=bool))
    split = SplitData(data, np.full(len(goals), rows), data.reward, None)
    return Sampler(split, goals, Space(2, 2, 2, False), CPU)


def test_made_up_rewards_are_those_of_the_training_tasks() -> None:
    """Where all tasks meet the same (s, a): their mean and deviation follow the true ones of all tasks."""
    space, sizes = Space(2, 2, 2, False, tuple(range(8))), {"meta_batch": 8, "context_batch": 32}
    given = {"control_batch": 32, "generator_steps": 600, "lr": 3e-3, "width": 64}
    state = fitted(anywhere(), space, queries=32, negatives=100, **sizes, **given)
    query, made = outcomes(state, anywhere())
    obs, action = (x[:, :, :, None].double().numpy() for x in (query.obs, query.action))
    true = torch.from_numpy(TOY.reward(obs, action, obs + 0.4 * action, toy_goals()))  # [S, M, K, 8]
    usual, found = (torch.stack([x.mean(-1), x.std(-1)]).flatten(1) for x in (true, made.reward[..., 0]))
    apart = (found - usual).square().mean(1).sqrt()  # of the mean, of the deviation
    assert bool((apart < 0.4 * usual[1].mean()).all())
    assert float((found - usual).mean(1).abs().max()) < 0.1
    assert float(torch.corrcoef(torch.stack([found[0], usual[0]]))[0, 1]) > 0.4


def test_without_contexts_nothing_is_made_up() -> None:
    state = begin(CORRO, steps=4, encoder_steps=1)
    ((stage, model),) = state.before
    state.step = 2
    batch = state.next_batch(random_sampler())
    assert stage.extend(model.nets, batch, knowing(model, batch.task), state.noise) is batch


def test_a_contrast_of_outcomes_needs_their_stage() -> None:
    state = begin(replace(CORRO, before=()))
    with pytest.raises(ValueError, match="stage that makes them up"):
        losses(state, state.next_batch(random_sampler()))


def test_a_generator_has_no_policy() -> None:
    nothing = torch.zeros(1, 1, 1)
    with pytest.raises(ValueError, match="does not act"):
        OutcomeGenerator().algorithm.control.act({}, nothing, nothing)


def test_standardised_is_each_members_own() -> None:
    x: Tensor = 3 + 5 * draws(0, 2, 24, 3)
    torch.testing.assert_close(standardised(x)[1:], standardised(x[1:]))
    torch.testing.assert_close(standardised(x), standardised(x.unflatten(1, (4, 6))).flatten(1, 2))
