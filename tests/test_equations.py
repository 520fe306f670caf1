"""Every equation of the paper that the code computes, against the literal loops of `oracles`, in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from support import oracles
from support.compare import SCALES, close, draws, mlp_by_neuron
from support.runs import evidence, shared

from comrl.algorithms.algorithm import Space
from comrl.algorithms.attention import mean_one, weighted_mean
from comrl.algorithms.belief import Belief
from comrl.algorithms.control_online import OnlineSac
from comrl.algorithms.control_sac import critic_loss, policy_loss, value_loss
from comrl.algorithms.encoders import MeanPool
from comrl.algorithms.policy import Sampled, sample
from comrl.algorithms.stack import StackedMLP, polyak
from comrl.algorithms.task_losses import (
    DistanceMetric,
    MomentumContrast,
    distance_metric,
    info_nce,
    matrix_contrast,
)
from comrl.benchmark.reporting import metrics
from comrl.benchmark.training import theorems
from comrl.benchmark.training.probe import absolutely_sparse, masked_variance, mixed_context
from comrl.datasets.transitions import Context, Rows
from comrl.envs import families, find_family
from comrl.envs.family import sparsify
from comrl.ground.noise import Stream

Z = 3


# --- contrast


@given(st.integers(0, 2**32), SCALES, st.integers(1, 6), st.floats(0.05, 5))
def test_info_nce(seed: int, scale: float, keys: int, temperature: float) -> None:
    query, key = draws(seed, 2, Z, scale=scale), draws(seed + 1, 2, keys, Z)
    own = torch.tensor([0, keys - 1])
    ours = info_nce(query, key, own, temperature=temperature)
    close(ours, [oracles.info_nce(query[n], key[n], int(own[n]), temperature) for n in range(2)])


@given(st.integers(0, 2**32), SCALES, st.integers(1, 5), st.floats(0.05, 5))
def test_matrix_contrast(seed: int, scale: float, tasks: int, temperature: float) -> None:
    query, key = draws(seed, 2, tasks, Z, scale=scale), draws(seed + 1, 2, tasks, Z)
    ours = matrix_contrast(query, key, temperature=temperature)
    close(ours, [oracles.contrast(query[s], key[s], temperature) for s in range(2)])
    close(ours, [oracles.contrast_by_trace(query[s], key[s], temperature) for s in range(2)])
    part = MomentumContrast(temperature=temperature)
    assert torch.equal(ours, part.losses(evidence(Belief(query), Belief(key)))["task"])


@given(st.integers(0, 2**32), st.integers(2, 5), st.sampled_from([1, 2, 3]), st.floats(1e-3, 1))
def test_distance_metric(seed: int, tasks: int, power: int, eps: float) -> None:
    first, second = draws(seed, 2, tasks, Z), draws(seed + 1, 2, tasks, Z)
    ours = distance_metric(first, second, power=power, eps=eps, push=1.0)
    loops = [oracles.distance_metric(first[s], second[s], power, eps) for s in range(2)]
    close(ours, loops)
    part, seen = DistanceMetric(power=power, eps=eps), evidence(Belief(first), Belief(second))
    close(replace(part, weight=2.5).losses(seen)["task"], 2.5 * np.array(loops))
    both = replace(part, push=3.0).losses(seen)["task"]
    pull = (first - second).square().sum(-1).mean(-1)
    close(both, (3 * (ours - pull) + pull).numpy())


def test_distance_metric_of_equal_embeddings_is_finite() -> None:
    same = torch.ones(1, 3, Z, dtype=torch.float64, requires_grad=True)
    loss = distance_metric(same, same, power=1, eps=0.1, push=1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), same)
    assert float(loss.detach()) == pytest.approx(10.0, rel=1e-4)  # 1 / eps
    assert bool(gradient.isfinite().all())


@given(st.integers(0, 2**32), st.integers(2, 5))
def test_the_authors_distance_metric_is_an_option(seed: int, tasks: int) -> None:
    first, second = draws(seed, 2, tasks, Z), draws(seed + 1, 2, tasks, Z)
    theirs = DistanceMetric(power=2, eps=0.1, weight=10.0, root=True, mean_over_dims=True)
    loops = [oracles.authors_distance_metric(first[s], second[s]) for s in range(2)]
    close(theirs.losses(evidence(Belief(first), Belief(second)))["task"], loops)


# --- pooling


def test_mean_pool_is_the_mean_over_the_context() -> None:
    part, space = MeanPool(), Space(2, 2, 2, True)
    net = part.build(space, Stream([3, 4])).double()
    context = Context(draws(0, 2, 3, 5, 2), draws(1, 2, 3, 5, 2), draws(2, 2, 3, 5, 1), draws(3, 2, 3, 5, 2))
    z = part.encode(net, context, torch.zeros(2, 3, 2), None).mean
    for s, m in product(range(2), range(3)):
        each = [
            mlp_by_neuron(net, s, [float(x) for field in context.fields for x in field[s, m, k]])
            for k in range(5)
        ]
        close(z[s, m].detach(), oracles.mean_embedding([[math.tanh(x) for x in row] for row in each]))


@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 30.0, 3000.0]), st.integers(1, 7))
def test_gated_mean(seed: int, scale: float, rows: int) -> None:
    score, embedding = draws(seed, 2, 2, rows, scale=scale), draws(seed + 1, 2, 2, rows, Z)
    weight = mean_one(score)
    assert bool((weight >= 0).all())
    close(weight.mean(-1), np.ones((2, 2)))
    if scale == 0.0:
        close(weight, np.ones((2, 2, rows)))
    ours = weighted_mean(weight, embedding)
    sparse = np.random.default_rng(seed).random(rows) < 0.5
    for s, m in product(range(2), range(2)):
        close(ours[s, m], oracles.gated_embedding(score[s, m].tolist(), embedding[s, m]))
        close(ours[s, m], oracles.weighted_embedding_in_parts(weight[s, m], embedding[s, m], sparse))


# --- theorems


@given(st.integers(0, 2**32), SCALES, st.integers(2, 4), st.integers(1, 4))
def test_supervised_loss(seed: int, scale: float, tasks: int, rows: int) -> None:
    weight, embedding = draws(seed, tasks, Z, scale=scale), draws(seed + 1, rows, Z)
    own = torch.from_numpy(np.random.default_rng(seed).integers(tasks, size=rows))
    close(
        theorems.supervised_loss(weight, embedding, own), oracles.supervised(weight, embedding, own.tolist())
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fitted_classifier_is_the_best(seed: int) -> None:
    """Below the mean classifier, and where an independent minimiser of the loops ends too."""
    tasks, rows = 3, 12
    own = torch.arange(tasks).repeat_interleave(rows)
    embedding = draws(seed, tasks, 1, 2).expand(tasks, rows, 2).reshape(-1, 2) + draws(
        seed + 9, tasks * rows, 2
    )
    means = embedding.view(tasks, rows, 2).mean(1)
    fitted = float(theorems.fitted_classifier_loss(embedding, own, means))
    points, labels = embedding.tolist(), own.tolist()
    assert fitted <= oracles.supervised(means, points, labels)
    other = optimize.minimize(lambda flat: oracles.supervised(flat.reshape(tasks, 2), points, labels),
                              np.zeros(tasks * 2), method="L-BFGS-B")  # fmt: skip
    assert fitted == pytest.approx(other.fun, abs=1e-5)


@given(st.integers(0, 2**32), SCALES, st.integers(2, 4), st.floats(0.1, 5))
def test_mean_classifier_and_theorem_31(seed: int, scale: float, tasks: int, temperature: float) -> None:
    query, key = draws(seed, 2, tasks, Z, scale=scale), draws(seed + 1, 2, tasks, Z)
    ours = theorems.mean_classifier_loss(query, key, temperature=temperature)
    close(ours, [oracles.mean_classifier(query[s], key[s], temperature) for s in range(2)])
    both = theorems.identity_of_losses(query, key, temperature=temperature)  # [S, 2]
    assert both.shape == (2, 2)
    close(both[:, 0], both[:, 1])


@given(st.integers(0, 2**32), SCALES, st.integers(1, 3), st.integers(2, 4))
def test_unsupervised_loss(seed: int, scale: float, count: int, tasks: int) -> None:
    embedding, positive = draws(seed, count, tasks, Z, scale=scale), draws(seed + 1, count, tasks, Z)
    close(theorems.unsupervised_loss(embedding, positive), oracles.unsupervised(embedding, positive))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_theorem_32_orders_the_losses(seed: int, scale: float) -> None:
    z = draws(seed, 2, 3, 1, 2) + draws(seed + 5, 2, 3, 8, 2, scale=scale)  # [S, T, D, Z]
    ours = theorems.order_of_losses(z)
    for s in range(2):
        flat, own = z[s].flatten(0, 1), [task for task in range(3) for _ in range(8)]
        means = [oracles.mean_embedding(z[s, task]) for task in range(3)]
        single = [
            oracles.unsupervised(z[s].transpose(0, 1), z[s].roll(shift, 1).transpose(0, 1))
            for shift in range(8)
        ]
        close(ours[s, 1], oracles.supervised(means, flat, own))
        close(ours[s, 2], oracles.mean(single))
    assert bool((ours.diff(dim=-1) >= -1e-9).all())


# --- sparsity


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9), st.sampled_from([-0.2, -0.5, 3.0, 6.0, None]))
def test_sparsify(rewards: list[float], radius: float | None) -> None:
    rewards = [*rewards, radius or 0.0]  # the radius itself is outside
    np.testing.assert_array_equal(
        sparsify(np.array(rewards), radius), [oracles.sparsified(r, radius) for r in rewards]
    )


@pytest.mark.parametrize("name", [family.name for family in families() if family.radius is not None])
def test_absolutely_sparse(name: str) -> None:
    family = find_family(name)
    tasks = family.task_set()
    where = draws(7, 1, 2, 60, family.obs_dim)  # [S, M, K, O]
    there = where + 0.2 * draws(8, 1, 2, 60, family.obs_dim)
    action = torch.zeros(1, 2, 60, family.action_dim, dtype=torch.float64)
    assert family.radius is not None
    found = absolutely_sparse((where, action, action[..., :1], there), family, tasks, family.radius)
    rows = zip(*(field.flatten(0, 2).numpy() for field in (where, action, there)), strict=True)
    expected = [
        oracles.absolutely_sparse([float(family.reward(*row, p)) for p in tasks.params], family.radius)
        for row in rows
    ]
    assert 0 < sum(expected) < len(expected)
    np.testing.assert_array_equal(found.flatten(), expected)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.95])
def test_contexts_hold_the_share_of_sparse_rows_that_was_asked_for(ratio: float) -> None:
    absolute = torch.from_numpy(np.random.default_rng(0).random((2, 3, 50)) < 0.4)
    mark = absolute[..., None].float()
    mixed = mixed_context(Context(mark, mark, mark), absolute, ratio, 40, Stream([1, 2]))
    np.testing.assert_allclose(mixed.reward.mean((2, 3)), round(ratio * 40) / 40)


def test_a_variance_takes_two_transitions() -> None:
    values = draws(5, 1, 4, 6, 2)  # [S, M, K, Z]
    chosen = torch.arange(6) < torch.tensor([6, 2, 1, 0])[None, :, None]
    found = masked_variance(values, chosen)
    close(found[0, 0], values[0, 0].var(0))
    close(found[0, 1], values[0, 1, :2].var(0))
    assert bool(found[0, 2:].isnan().all())


@given(st.floats(1e-3, 5), st.floats(1e-3, 5), st.floats(0.01, 0.99), st.floats(0.01, 0.2))
def test_sparsity_threshold(nonsparse: float, sparse: float, p: float, more: float) -> None:
    """Eq. 34, and what it says: above it a slightly stronger gate lowers the variance of eqs. 28 and 29."""
    ours = float(metrics.sparsity_threshold(nonsparse, sparse))
    assert ours == pytest.approx(oracles.threshold(nonsparse, sparse))
    gated = p + more * max(0.0, (1 - p) - ours)  # within the right-hand side of eq. 32
    if 1 - p > ours + 1e-6:
        assert oracles.variance_change(p, gated, nonsparse, sparse) < 0
    if 1 - p < ours - 1e-6:
        assert oracles.variance_change(p, p + 1e-3 * more, nonsparse, sparse) > 0


def test_embedding_variance() -> None:
    z = np.random.default_rng(0).normal(size=(3, 5, 2))
    loops = [
        np.sum([(z[t, d, k] - oracles.mean(z[t, :, k])) ** 2 for d in range(5)]) / 4
        for t in range(3)
        for k in range(2)
    ]
    assert metrics.embedding_variance(z) == pytest.approx(oracles.mean(loops))


# --- control


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.3, -0.7), (-2.0, -3.0), (0.4, 5.0)])
def test_tanh_gaussian_log_density(mean: float, log_std: float) -> None:
    noise = draws(3, 1, 9, 2)
    head = torch.tensor([mean, mean / 2, log_std, log_std - 1], dtype=torch.float64).expand(1, 9, 4)
    drawn = sample(head, noise, low=-5.0, high=0.5)
    stds = [math.exp(min(max(value, -5.0), 0.5)) for value in (log_std, log_std - 1)]
    for n in range(9):
        action = drawn.action[0, n].tolist()
        each = zip(action, (mean, mean / 2), stds, strict=True)
        loops = sum(oracles.tanh_gaussian_log_density(*one) for one in each)
        assert float(drawn.log_prob[0, n, 0]) == pytest.approx(loops, abs=1e-5)
    low, high = (math.tanh(mean + width * stds[0]) for width in (-1.0, 1.0))  # one deviation either side
    total, _ = integrate.quad(
        lambda x: math.exp(oracles.tanh_gaussian_log_density(x, mean, stds[0])), low, high
    )
    assert total == pytest.approx(math.erf(0.5**0.5), abs=1e-6)


def test_log_density_stays_finite_where_tanh_rounds_to_one() -> None:
    noise = torch.tensor([-60.0, -9.0, 0.0, 9.0, 60.0], dtype=torch.float64).view(1, 5, 1)
    drawn = sample(torch.zeros(1, 5, 2, dtype=torch.float64), noise, low=-20.0, high=0.0)
    log_cosh = np.abs(noise.numpy()) + np.log1p(np.exp(-2 * np.abs(noise.numpy()))) - math.log(2)
    close(drawn.log_prob, stats.norm.logpdf(noise.numpy()) + 2 * log_cosh)


@given(st.integers(0, 2**32), st.floats(0, 0.99), st.floats(0, 2))
def test_control_losses(seed: int, discount: float, temperature: float) -> None:
    q, reward, value, log_prob = (
        draws(seed + i, *shape, 4, 1) for i, shape in enumerate([(2, 3), (3,), (3,), (3,)])
    )
    alive = torch.from_numpy(np.random.default_rng(seed).random((3, 4, 1)) < 0.5).double()
    means, stds = draws(seed + 5, 3, 4, 2), draws(seed + 6, 3, 4, 2)
    drawn = Sampled(means.tanh(), log_prob, means, stds)
    critic = critic_loss(q, reward, alive, value, discount)
    fitted = value_loss(value, q.amin(0), log_prob, temperature)
    policy = policy_loss(drawn, q.amin(0), temperature, 1e-3)
    for s in range(3):
        both = q[:, s, :, 0].tolist()
        rows = [x[s, :, 0].tolist() for x in (reward, alive, value, log_prob)]
        close(critic[s], oracles.critic_loss(both, rows[0], rows[1], rows[2], discount))
        close(fitted[s], oracles.value_loss(rows[2], both, rows[3], temperature))
        close(
            policy[s],
            oracles.policy_loss(both, rows[3], means[s].tolist(), stds[s].tolist(), temperature, 1e-3),
        )


def test_online_sac_losses() -> None:
    """Data generation's critic, policy and temperature losses, row by row, from the networks' own outputs."""
    control, space = OnlineSac(width=5, initial_temperature=0.3, target_entropy=-1.5), Space(3, 2, 1, False)
    nets = {name: net.double() for name, net in control.build(space, 1, Stream([3, 8])).items()}
    nets["temperature"][0].data.fill_(math.log(0.3))  # which float32 has rounded
    obs, next_obs, action = draws(1, 2, 6, 3), draws(2, 2, 6, 3), draws(3, 2, 6, 2).tanh()
    reward, z, alive = draws(4, 2, 6, 1), draws(5, 2, 6, 1), (torch.arange(6) % 3 != 0).double()[:, None]
    rows = Rows(obs, action, reward, next_obs, alive.expand(2, -1, -1), reward)
    noise, training = draws(6, 2, 6, 4), shared(discount=0.9, reward_scale=2.0)
    with torch.no_grad():
        ours = control.losses(nets, rows, dict.fromkeys(control.rates(), z), noise, training)
        here, there = torch.cat([obs, z], -1), torch.cat([next_obs, z], -1)
        drawn, after = control.draw(nets, here, noise[..., :2]), control.draw(nets, there, noise[..., 2:])
        q = nets["critic"](torch.cat([here, action], -1))
        q_drawn = nets["critic"](torch.cat([here, drawn.action], -1))
        q_after = nets["critic_target"](torch.cat([there, after.action], -1))
    for s in range(2):
        want = {"critic": 0.0, "policy": 0.0, "temperature": 0.0}
        for n in range(6):
            q_next, entropy = q_after[:, s, n, 0].tolist(), float(after.log_prob[s, n])
            target = oracles.soft_target(2 * float(reward[s, n]), bool(alive[n]), q_next, entropy, 0.3, 0.9)
            log_prob = float(drawn.log_prob[s, n])
            want["critic"] += sum((float(q[i, s, n]) - target) ** 2 for i in range(2)) / 6
            want["policy"] += (0.3 * log_prob - min(float(q_drawn[i, s, n]) for i in range(2))) / 6
            want["temperature"] -= math.log(0.3) * (log_prob - 1.5) / 6
        for name, value in want.items():
            close(ours[name][s], value)


def test_polyak() -> None:
    target, source = (StackedMLP(3, (4,), 2, Stream([seed])).double() for seed in (1, 2))
    before = [p.detach().clone() for p in target.parameters()]
    polyak(target, source, 0.3)
    for old, new, now in zip(before, source.parameters(), target.parameters(), strict=True):
        close(now.detach().flatten(), oracles.polyak(old.flatten().tolist(), new.flatten().tolist(), 0.3))
