"""Behaviour-regularised SAC: its equations; SAC where it is switched off, near the data where it is on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support import oracles
from support.compare import SCALES, close, draws, mlp_by_neuron, of_member
from support.runs import CPU, SEEDS, SIZES, SPACE, begin, begun, random_sampler, random_split, reached

from comrl.algorithms.algorithm import Algorithm, algorithms, find_algorithm
from comrl.algorithms.control_brac import (
    ALMOST,
    Brac,
    divergence_loss,
    gaussian_kl,
    imitation_loss,
    kl_dual,
    log_softplus,
    steepness,
    strength_loss,
)
from comrl.algorithms.control_sac import Sac
from comrl.algorithms.learner import State, losses, update
from comrl.algorithms.policy import clamp_through
from comrl.algorithms.stack import StackedMLP
from comrl.datasets.sampler import Sampler
from comrl.ground.noise import Stream

ON: dict[str, dict[str, Any]] = {kind: {"strength": 1.0, "divergence": kind} for kind in ("dual", "primal")}
every_estimate = pytest.mark.parametrize("kind", ON)
OPTIONS: list[dict[str, Any]] = [{}, {"penalise": "value"}, {"value_penalty": True}, {"clamp": "hard"}]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")


def focal(**options: Any) -> Algorithm:
    return replace(find_algorithm("focal"), control=Brac(**options))


def ran(algorithm: Algorithm, seeds: tuple[int, ...], steps: int = 8, **changes: Any) -> State:
    state, sampler = begin(algorithm, seeds=seeds, **changes), random_sampler()
    for _ in range(steps):
        update(state, sampler.meta_batch(state.noise, torch.arange(5), SIZES))
    return state


def parameters(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, p) for name, net in state.nets.items() for p in net.parameters())


# --- equations, in float64


@given(st.integers(0, 2**32), SCALES.filter(lambda scale: scale < 3000), st.floats(0, 10), st.floats(-1, 1))
def test_divergence_and_strength(seed: int, scale: float, penalty: float, target: float) -> None:
    policy, data, size = (draws(seed + i, 3, 4, 1, scale=scale) for i in range(3))
    log_strength, largest = draws(seed + 3, 3, 1, 1), 1.2
    divergence = kl_dual(policy, data)
    loss = divergence_loss(divergence, size, penalty)
    strength = strength_loss(log_strength, divergence, target, largest)
    for s in range(3):
        rows = [x[s, :, 0].tolist() for x in (policy, data, size)]
        each = [oracles.kl_dual(p, d) for p, d in zip(*rows[:2], strict=True)]
        close(divergence[s, :, 0], each)
        close(loss[s], oracles.divergence_loss(*rows, penalty))
        close(strength[s], oracles.strength_loss(float(log_strength[s]), each, target, largest))


def test_the_dual_is_the_divergence_where_softplus_is_the_ratio_and_less_elsewhere() -> None:
    """Of two normals, by integration; no other scores come above."""
    p, b = stats.norm(0.3, 0.5), stats.norm(0.0, 0.8)
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    density, other = (torch.from_numpy(law.pdf(x.numpy())) for law in (p, b))
    best = torch.expm1(density / other).log()  # the score whose softplus is the ratio
    true = math.log(0.8 / 0.5) + (0.5**2 + 0.3**2) / (2 * 0.8**2) - 0.5
    zero = torch.zeros_like(x)
    for change in (0.0, 0.5, -0.5):
        score = best + change * x.cos()
        here = density * (kl_dual(score, zero) - 1 + math.log(2))  # without what the data add at score 0
        there = other * (kl_dual(zero, score) - math.log(math.log(2)))
        bound = float(torch.trapezoid(here + there, x))
        assert bound == pytest.approx(true, abs=1e-5) if not change else bound < true - 1e-3


def test_log_softplus_is_finite_and_leads_back_from_far_below() -> None:
    for kind in (torch.float32, torch.float64):
        score = torch.tensor([-1e4, -200.0, -30.0, -29.0, 0.0, 50.0, 1e4], dtype=kind, requires_grad=True)
        value = log_softplus(score)
        (slope,) = torch.autograd.grad(value.sum(), score)
        wanted = torch.tensor(
            [-1e4, -200.0, -30.0, -29.0, math.log(math.log(2)), math.log(50), math.log(1e4)]
        )
        torch.testing.assert_close(value.detach(), wanted.to(kind), rtol=1e-6, atol=0)
        steep = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5 / math.log(2), 1 / 50, 1e-4])
        torch.testing.assert_close(slope, steep.to(kind), rtol=1e-6, atol=0)


def test_steepness_is_the_gradients_length_and_can_be_descended() -> None:
    """Against differences of a network computed neuron by neuron; its own gradient by differences too."""
    net = StackedMLP(4, (7, 6), 1, Stream([1, 2])).double()
    state, action = draws(1, 2, 5, 2), draws(2, 2, 5, 2)
    size, step = steepness(net, state, action), 1e-6
    for s, n in product(range(2), range(5)):
        row, squares = [*state[s, n].tolist(), *action[s, n].tolist()], 0.0
        for a in (2, 3):
            up, down = ([x + sign * step * (i == a) for i, x in enumerate(row)] for sign in (1, -1))
            squares += ((mlp_by_neuron(net, s, up)[0] - mlp_by_neuron(net, s, down)[0]) / (2 * step)) ** 2
        close(size[s, n].detach(), [math.sqrt(squares)], 1e-6)
    weight = net.layers[1].weight
    (slope,) = torch.autograd.grad(size.sum(), weight)
    moved = []
    for sign in (1, -1):
        weight.data[1, 2, 3] += sign * step
        moved.append(float(steepness(net, state, action).sum().detach()))
        weight.data[1, 2, 3] -= sign * step
    assert float(slope[1, 2, 3]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5, abs=1e-8)


def test_gaussian_kl_is_that_of_the_squashed_policies() -> None:
    """By integration over actions, where the squashing stands in both densities."""
    mean, log_std, other, other_log_std = (draws(i, 1, 3, 1, scale=0.5) for i in range(4))
    found = gaussian_kl((mean, log_std), (other, other_log_std))
    raw = np.linspace(-9, 9, 20_001)
    action, slope = np.tanh(raw), 1 - np.tanh(raw) ** 2
    for n in range(3):
        ours, theirs = (
            stats.norm(float(m[0, n, 0]), math.exp(float(s[0, n, 0]))).logpdf(raw) - np.log(slope)
            for m, s in ((mean, log_std), (other, other_log_std))
        )
        assert float(found[0, n, 0]) == pytest.approx(
            np.trapezoid(np.exp(ours) * (ours - theirs), action), abs=1e-5
        )


@given(st.integers(0, 2**32))
def test_imitation_loss(seed: int) -> None:
    mean, log_std, action = draws(seed, 2, 5, 3), draws(seed + 1, 2, 5, 3), draws(seed + 2, 2, 5, 3).tanh()
    found = imitation_loss((mean, log_std), action)
    for s in range(2):
        close(found[s], oracles.imitation_loss(*(x[s].tolist() for x in (mean, log_std, action)), ALMOST))


def test_a_clamp_that_leads_back_lets_nothing_run_away() -> None:
    """Inside it is the identity; outside, gradient passes only towards the inside."""
    x = torch.tensor([-3.0, -3.0, 0.5, 0.5, 4.0, 4.0], requires_grad=True)
    pull = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])  # descent goes against it
    clamped = clamp_through(x, -1.0, 1.0)
    assert clamped.tolist() == [-1.0, -1.0, 0.5, 0.5, 1.0, 1.0]
    (slope,) = torch.autograd.grad((clamped * pull).sum(), x)
    assert slope.tolist() == [0.0, -1.0, 1.0, -1.0, 1.0, 0.0]


# --- the learner


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_strength_zero_is_sac_bit_for_bit(algorithm: Algorithm) -> None:
    joint = tuple(name for name in algorithm.encoder_learns_from if name in Sac().rates())
    base = replace(algorithm, encoder_learns_from=joint)
    ours, theirs = (ran(replace(base, control=control), SEEDS) for control in (Brac(), Sac()))
    assert ours.nets.keys() == theirs.nets.keys() and "divergence" not in ours.nets
    for (name, one), (_, other) in zip(parameters(ours), parameters(theirs), strict=True):
        assert torch.equal(one, other), name
    assert all(map(torch.equal, ours.noise.state(), theirs.noise.state()))


@every_estimate
@every_option
def test_a_loss_reaches_its_own_network_alone(
    options: dict[str, Any], kind: str, subtests: pytest.Subtests
) -> None:
    for joint in ((), ("critic",), ("value", "policy", "divergence")):
        with subtests.test(joint):
            state, batch = begun(replace(focal(**options), encoder_learns_from=joint), **ON[kind])
            found = losses(state, batch).losses
            assert found.keys() == {"task", *state.algorithm.control.rates()}
            for name, loss in found.items():
                assert loss.shape == (len(SEEDS),) and bool(loss.isfinite().all())
                own = "encoder" if name == "task" else name
                assert reached(state, loss) == {own} | ({"encoder"} if name in joint else set())


@pytest.mark.usefixtures("float64")
@every_estimate
@every_option
def test_a_stack_of_seeds_is_each_seed_alone(options: dict[str, Any], kind: str) -> None:
    together = ran(focal(**options), (5, 1, 9), **ON[kind])
    for member, seed in enumerate((5, 1, 9)):
        for (name, ours), (_, theirs) in zip(
            parameters(together), parameters(ran(focal(**options), (seed,), **ON[kind])), strict=True
        ):
            mine = of_member(ours, member, 3)
            torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9, msg=f"{name} of seed {seed}")


@pytest.mark.usefixtures("float64")
def test_the_policy_climbs_as_sac_less_strength_times_divergence() -> None:
    """At one point of parameters; the value pays too where it is told to, and nothing else changes."""
    state, batch = begun(focal(), **ON["dual"])
    before = state.noise.state()

    usual = state.algorithm.control

    def terms(**options: Any) -> dict[str, torch.Tensor]:
        state.noise.restore(before)
        state.algorithm = replace(state.algorithm, control=replace(usual, **options))
        return losses(state, batch).losses

    plain, paying = terms(penalty=0.0, clamp="hard"), terms(clamp="hard", value_penalty=True)
    strength = state.nets["strength"][0].detach().exp().flatten()
    drawn_alike = {name: plain[name] for name in ("task", "critic", "policy", "strength")}
    for name, loss in drawn_alike.items():
        torch.testing.assert_close(paying[name], loss)
    assert not torch.allclose(paying["value"], plain["value"])
    state.nets["strength"][0].data.fill_(-torch.inf)
    unpaid = terms(clamp="hard")["policy"]
    torch.testing.assert_close(plain["policy"] - unpaid, -strength * plain["divergence"])  # the loss is -D


@pytest.mark.parametrize(("target", "rises"), [(-50.0, True), (50.0, False)])
def test_strength_follows_the_divergence_up_to_its_largest(target: float, rises: bool) -> None:
    for largest, bounded in ((1000.0, False), (1.0, True)):
        changes = {"strength_max": largest, "target_divergence": target, "strength_lr": 0.1}
        state = ran(focal(), SEEDS, 5, strength=1.0, **changes)
        change = state.nets["strength"][0].detach().flatten()
        assert bool((change == 0).all()) if rises and bounded else bool(((change > 0) == rises).all())


HERE = (0.4, -0.3)  # where the behaviour acts


def one_sided_sampler() -> Sampler:
    """Actions near one point; the reward rises through it, so that critics promise more far away."""
    split = random_split(6, [200] * 6, SPACE.obs, SPACE.action)
    action, reward = split.transitions.action, split.transitions.reward
    action[:] = np.array(HERE) + 0.1 * action.clip(-2, 2)
    reward[:] = action.sum(-1)
    return Sampler(split, np.zeros((6, SPACE.params)), SPACE._replace(next_obs_in_context=True), CPU)


def distance(strength: float, kind: str = "dual", **options: Any) -> torch.Tensor:
    """From the behaviour's actions to those of a policy trained on them, mean over states: [S]."""
    rates = dict.fromkeys(("actor_lr", "critic_lr", "divergence_lr"), 5e-3)
    changes = dict(
        steps=300,
        discount=0.3,
        tau=0.1,
        width=32,
        strength=strength,
        strength_lr=0.05,
        divergence=kind,
        **rates,
    )
    algorithm = replace(find_algorithm("blind"), control=Brac(**options))
    state, sampler = begin(algorithm, seeds=(0, 1, 2), **changes), one_sided_sampler()
    while not state.done:
        update(state, sampler.meta_batch(state.noise, torch.arange(6), (4, 6, 32)))
    obs = sampler.meta_batch(state.noise, torch.arange(6), (4, 6, 32)).rows.obs
    z = torch.zeros(*obs.shape[:2], algorithm.encoder.latent_width(SPACE))
    return (algorithm.control.act(state.nets, obs, z) - torch.tensor(HERE)).norm(dim=-1).mean(1).detach()


@pytest.mark.parametrize(
    "options",
    [{}, {"kind": "primal"}]
    + [pytest.param(one, marks=pytest.mark.slow) for one in ({"penalise": "value"}, {"value_penalty": True})],
    ids=str,
)
def test_it_stays_near_the_data_where_a_critic_misleads(options: dict[str, Any]) -> None:
    assert float(distance(0.0).min()) > 1.0  # plain SAC ends in the corner, 1.4 away
    assert float(distance(1.0, **options).max()) < 0.5
