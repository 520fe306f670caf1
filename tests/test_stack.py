"""A member of a stack is exactly the run that it would be alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from support.compare import of_member
from support.families import KINDS, each
from support.runs import CPU, begin, random_sampler
from torch import nn

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.behaviour import Behaviour, Collector
from comrl.algorithms.learner import State, update
from comrl.algorithms.stack import Ensemble, StackedLinear, StackedMLP, adam, minimise, polyak
from comrl.benchmark.protocol import resolve
from comrl.envs import TaskFamily, find_family
from comrl.envs.physics import compiled
from comrl.envs.walker import WALKER, fell
from comrl.ground.noise import Stream, derive_seed

Matrix = list[list[float]]
SEEDS = (5, 1, 9)
SIZES = (4, 6, 5)  # M, K, B


def trained(algorithm: Algorithm, seeds: tuple[int, ...], steps: int = 20) -> State:
    state, sampler = begin(algorithm, seeds=seeds, encoder_steps=15), random_sampler()
    for _ in range(steps):
        update(state, state.next_batch(sampler))
    return state


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_a_stack_of_seeds_is_each_seed_alone(algorithm: Algorithm) -> None:
    together = trained(algorithm, SEEDS)
    for member, seed in enumerate(SEEDS):
        alone = trained(algorithm, (seed,))
        for name, net in together.nets.items():
            for ours, theirs in zip(net.parameters(), alone.nets[name].parameters(), strict=True):
                mine = of_member(ours, member, len(SEEDS))
                torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9, msg=f"{name} of seed {seed}")


@pytest.mark.usefixtures("float64")
def test_seeds_differ_from_each_other() -> None:
    weight = next(trained(algorithms()[0], SEEDS, 2).nets["policy"].parameters())
    assert (
        min(float((weight[i] - weight[j]).abs().max().detach()) for i, j in ((0, 1), (0, 2), (1, 2))) > 0.01
    )


def behaviour(family: TaskFamily, **changes: int) -> Behaviour:
    """The smoke preset's agents, 90 steps long, with some numbers changed."""
    usual = {"steps": 90, "checkpoint_every": 30, "worlds": 1}
    return replace(resolve("smoke", family.name).behaviour, **(usual | changes))


@each(KINDS)
def test_agents_of_all_tasks_are_each_agent_alone(family: TaskFamily, subtests: pytest.Subtests) -> None:
    """Bit for bit while actions are random; after some updates to what float32 and the bodies make of it."""
    for worlds in (1, 3):
        with subtests.test(worlds=worlds):
            settings = behaviour(family, worlds=worlds, steps=60)
            params, tasks = family.sample_params(), [0, family.tasks // 2, family.tasks - 1]
            agents = Collector(family, params, tasks, settings, CPU)
            assert [step for step, _, _ in agents.train()] == [0, 30, 60]
            assert agents.step == settings.steps
            random = settings.warmup_steps * worlds
            # bodies in contact magnify the last bits of an action; points do not
            loose = {"rtol": 1e-2, "atol": 1e-2} if family.model_sha256 else {"rtol": 1e-3, "atol": 1e-4}
            weights = {"rtol": 1e-3, "atol": 1e-3} if family.model_sha256 else {"rtol": 1e-3, "atol": 1e-4}
            for member, task in enumerate(tasks):
                alone = Collector(family, params, [task], settings, CPU)
                assert len(list(alone.train())) == 3
                assert torch.equal(agents.replay.rows[member, :random], alone.replay.rows[0, :random])
                torch.testing.assert_close(agents.replay.rows[member], alone.replay.rows[0], **loose)
                for name, net in agents.state.nets.items():
                    for ours, theirs in zip(
                        net.parameters(), alone.state.nets[name].parameters(), strict=True
                    ):
                        torch.testing.assert_close(of_member(ours, member, 3), theirs, **weights, msg=name)


@pytest.mark.parametrize(
    ("name", "last_rows", "actions"),
    [
        (
            "sparse-point-robot",
            [[-0.060053, 0.084660, -0.647249, -0.791756, -1.123825, -0.124778, 0.005485, 1.0, -1.123825],
             [0.083746, 0.493048, 0.011189, 0.790153, -0.885241, 0.084864, 0.572063, 1.0, -0.885241]],
            [[-0.252353, -0.396992], [-0.089698, 0.247618]],
        ),
        (
            "point-robot-wind",
            [[-0.095855, 0.522151, -0.640449, -0.795101, -1.263827, -0.163968, 0.492380, 1.0, -1.263827],
             [0.187960, 0.706919, -0.050468, 0.812315, -1.141755, 0.195763, 0.810437, 1.0, -1.141755]],
            [[-0.232401, -0.407305], [-0.089256, 0.248924]],
        ),
    ],
)  # fmt: skip
def test_agents_of_one_world_are_what_they_were(name: str, last_rows: Matrix, actions: Matrix) -> None:
    """Numbers of the first revision in which agents learn by the one update."""
    family = find_family(name)
    agents = Collector(family, family.sample_params(), [3, 11], behaviour(family, steps=60), CPU)
    *_, (_, _, mean) = agents.train()
    np.testing.assert_allclose(agents.replay.rows[:, -1], last_rows, atol=1e-4)
    np.testing.assert_allclose(mean(np.ones((2, 2))), actions, atol=1e-4)


def test_worlds_that_fall_end_there_and_start_anew() -> None:
    """alive is 0 exactly where a body lies; its world's next row is a start of its own, others go on."""
    family, many = find_family("walker-2d-params"), 3
    settings = behaviour(family, worlds=many, checkpoint_every=90)  # which would cut the episodes
    agents = Collector(family, family.sample_params(), [2, 20], settings, CPU)
    assert len(list(agents.train())) == 2
    replay = agents.replay.rows.unflatten(1, (-1, many)).double().numpy()  # [S, steps, W, F]
    obs, _, _, next_obs, alive, _ = np.split(replay, np.cumsum(agents.replay.widths)[:-1], -1)
    fallen = fell(next_obs.reshape(-1, family.body_dim)).reshape(alive.shape[:-1])  # [S, steps, W]
    np.testing.assert_array_equal(alive[..., 0], ~fallen)
    assert fallen.any((0, 1)).all()
    goes_on, restarts = ~fallen[:, :-1], fallen[:, :-1]
    np.testing.assert_array_equal(obs[:, 1:][goes_on], next_obs[:, :-1][goes_on])
    first = np.concatenate([compiled(WALKER)[0].qpos0[1:], np.zeros(9)])
    starts = obs[:, 1:][restarts]
    assert np.abs(starts - first).max() <= 0.005 + 1e-6
    assert len(np.unique(starts, axis=0)) == len(starts)


def test_stacked_linear_is_torchs_linear_of_every_member() -> None:
    stacked, x = (
        StackedLinear(4, 3, Stream([1, 2])),
        torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)),
    )
    for member in range(2):
        alone = nn.Linear(4, 3)
        alone.weight.data, alone.bias.data = stacked.weight.data[member].T, stacked.bias.data[member, 0]
        torch.testing.assert_close(stacked(x)[member], alone(x[member]))


def test_stacked_mlp_and_twins_are_torchs_networks() -> None:
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    mlp, twins = StackedMLP(4, (6, 7), 3, Stream([1, 2])), Ensemble(4, (6, 7), 3, Stream([3, 4]))
    first, second = twins(x)
    for member in range(2):
        torch.testing.assert_close(mlp(x)[member], as_torch(mlp, member)(x[member]))
        torch.testing.assert_close(first[member], as_torch(twins.all, member)(x[member]))
        torch.testing.assert_close(second[member], as_torch(twins.all, 2 + member)(x[member]))
    assert float((first - second).abs().max().detach()) > 0.01


def as_torch(mlp: StackedMLP, member: int) -> nn.Sequential:
    """One member of a stack as torch's own layers."""
    layers: list[nn.Module] = []
    for layer in mlp.layers:
        alone = nn.Linear(*layer.weight.shape[1:])
        alone.weight.data, alone.bias.data = layer.weight.data[member].T, layer.bias.data[member, 0]
        layers += [alone, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_twins_of_a_member_do_not_depend_on_the_others() -> None:
    together, alone = Ensemble(4, (6,), 1, Stream([3, 4])), Ensemble(4, (6,), 1, Stream([4]))
    for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(of_member(ours, 1, 2), theirs, rtol=0, atol=0)


def test_frozen_networks_pass_gradient_through_and_keep_none() -> None:
    x = torch.ones(1, 2, 4, requires_grad=True)
    for net in (StackedMLP(4, (6,), 1, Stream([1])), Ensemble(4, (6,), 1, Stream([1]))):
        loss = net(x, frozen=True).sum()
        gradients = torch.autograd.grad(loss, [x, *net.parameters()], allow_unused=True)
        assert float(gradients[0].abs().sum()) > 0
        assert all(gradient is None for gradient in gradients[1:])
        torch.testing.assert_close(net(x, frozen=True), net(x))


def test_layers_start_as_torchs_do() -> None:
    """Uniform within 1 / sqrt(inputs), weights and biases, like nn.Linear."""
    layer, theirs = StackedLinear(25, 400, Stream([1, 2])), nn.Linear(25, 400)
    for member in range(2):
        for ours, reference in ((layer.weight, theirs.weight), (layer.bias, theirs.bias)):
            values = ours[member].detach().flatten().numpy()
            assert np.abs(values).max() <= 1 / math.sqrt(25)
            assert reference.detach().abs().max() <= 1 / math.sqrt(25)
            assert stats.kstest(values, stats.uniform(-0.2, 0.4).cdf).pvalue > 0.01
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_a_members_draws_do_not_depend_on_the_others() -> None:
    together, alone = Stream([3, 7, 11]), Stream([7])
    for draw in ("normal", "uniform", "normal"):
        torch.testing.assert_close(
            getattr(together, draw)(4, 2)[1], getattr(alone, draw)(4, 2)[0], rtol=0, atol=0
        )


def test_streams_go_on_from_where_they_were() -> None:
    stream = Stream([3, 7])
    stream.normal(3)
    state = stream.state()
    ahead = stream.uniform(5)
    other = Stream([0, 0])
    other.restore(state)
    torch.testing.assert_close(other.uniform(5), ahead, rtol=0, atol=0)


def test_streams_draw_what_they_say() -> None:
    stream = Stream([1, 2])
    for sample, law in ((stream.normal(4000), stats.norm), (stream.uniform(4000), stats.uniform)):
        assert all(stats.kstest(member.numpy(), law.cdf).pvalue > 0.01 for member in sample)


def test_seeds_of_different_purposes_differ() -> None:
    paths = [("init",), ("noise",), (0,), (1,), ("init", 0), ("episodes", 0, 1), ("episodes", 1, 0)]
    seeds = {derive_seed(seed, *path) for seed in range(3) for path in paths}
    assert len(seeds) == 3 * len(paths)
    assert derive_seed(2, "init") == derive_seed(2, "init")


def test_minimise_gives_each_member_its_own_gradient() -> None:
    """Adam's first step moves every weight by the rate, against the sign of its own gradient."""
    net, other = StackedMLP(3, (4,), 1, Stream([1, 2])), StackedMLP(3, (4,), 1, Stream([1, 2]))
    before = [p.detach().clone() for p in net.parameters()]
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    loss = (other(net(x).expand(-1, -1, 3)) * torch.tensor([1.0, 100.0])[:, None, None]).mean((1, 2))  # [S]
    own = torch.autograd.grad(loss.sum(), list(net.parameters()), retain_graph=True)
    minimise(loss, adam([(net, {"lr": 0.01})]))
    for old, now, gradient in zip(before, net.parameters(), own, strict=True):
        moved = torch.where(gradient.abs() > 1e-5, -0.01 * gradient.sign(), (now - old).detach())
        torch.testing.assert_close((now - old).detach(), moved, rtol=1e-2, atol=1e-6)
    assert all(p.grad is None for p in other.parameters())


def test_every_network_has_its_own_rate() -> None:
    fast, slow = StackedLinear(2, 1, Stream([1])), StackedLinear(2, 1, Stream([1]))
    start_at = fast.weight.detach().clone()
    x = torch.ones(1, 4, 2)
    minimise((fast(x) + slow(x)).mean((1, 2)), adam([(fast, {"lr": 0.1}), (slow, {"lr": 0.01})]))
    torch.testing.assert_close(fast.weight.detach(), start_at - 0.1, rtol=0, atol=1e-5)
    torch.testing.assert_close(slow.weight.detach(), start_at - 0.01, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["transposed", "expanded"])
def test_minimise_steps_rightly_whatever_the_gradients_layout(layout: str) -> None:
    """Torch's fused Adam reads a gradient's memory in a row, so it must be handed a contiguous one."""
    weight = nn.Parameter(torch.zeros(1, 2, 3))
    factor = torch.tensor([[[1.0, -2.0, 3.0], [-4.0, 5.0, 6.0]]]).mT.contiguous().mT
    loss = (weight * factor).sum((1, 2)) if layout == "transposed" else weight.sum((1, 2))
    minimise(loss, adam([(nn.ParameterList([weight]), {"lr": 0.1})]))
    sign = factor.sign() if layout == "transposed" else torch.ones_like(factor)
    torch.testing.assert_close(weight.detach(), -0.1 * sign, rtol=0, atol=1e-4)


def test_polyak_with_one_copies_and_leaves_the_source() -> None:
    target, source = StackedLinear(2, 3, Stream([1])), StackedLinear(2, 3, Stream([2]))
    kept = source.weight.detach().clone()
    polyak(target, source, 1.0)
    torch.testing.assert_close(target.weight, source.weight, rtol=0, atol=0)
    torch.testing.assert_close(source.weight.detach(), kept, rtol=0, atol=0)
