"""What every declared algorithm promises: losses, their gradients, how it reads a context, that it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from support.runs import (
    SEEDS,
    SIZES,
    SPACE,
    TOY,
    begin,
    begun,
    random_sampler,
    reached,
    toy_goals,
    toy_sampler,
)
from torch import Tensor, nn

from comrl.algorithms.algorithm import Algorithm, Space, algorithms, find_algorithm, inferred
from comrl.algorithms.attention import Attention, AttentionNet, Gate, drop
from comrl.algorithms.corro import TransitionPool
from comrl.algorithms.learner import KEY_ENCODER, State, losses, update
from comrl.algorithms.task_losses import DistanceMetric
from comrl.benchmark.training.evaluate import evaluate
from comrl.datasets.transitions import Context, MetaBatch
from comrl.envs import TaskSet
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

NAMES = [algorithm.name for algorithm in algorithms()]
every = pytest.mark.parametrize("algorithm", algorithms(), ids=NAMES)


def encode(state: State, context: Context, batch: MetaBatch, dropout: Stream | None = None) -> Tensor:
    return inferred(state.algorithm.encoder, state.nets["encoder"], context, batch.params, dropout).mean


# --- losses and gradients


def test_true_parameters_reach_the_oracle_alone(subtests: pytest.Subtests) -> None:
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            state, batch = begun(algorithm)
            hidden = batch._replace(params=torch.full_like(batch.params, torch.nan))
            found = losses(state, hidden).losses.values()
            assert all(bool(loss.isfinite().all()) for loss in found) == (algorithm.role != "upper")


@every
def test_losses_are_one_finite_number_a_member(algorithm: Algorithm, subtests: pytest.Subtests) -> None:
    for next_obs in (True, False):
        with subtests.test(next_obs=next_obs):
            state, batch = begun(algorithm, SPACE._replace(next_obs_in_context=next_obs))
            found = losses(state, batch).losses
            own = {"task", *algorithm.task_loss.rates()} if algorithm.task_loss else set()
            assert found.keys() == {*algorithm.control.rates()} | own
            assert all(loss.shape == (len(SEEDS),) and bool(loss.isfinite().all()) for loss in found.values())


def joint_losses(algorithm: Algorithm) -> list[tuple[str, ...]]:
    """None, one, or three of the control losses, as long as something trains the encoder."""
    pools = isinstance(algorithm.encoder, TransitionPool)  # which nothing else would train
    alone = (algorithm.task_loss or not algorithm.encoder_learns_from) and not pools
    none: list[tuple[str, ...]] = [()] if alone else []
    return [*none, ("critic",), tuple(algorithm.control.rates())[:3]]


@every
def test_a_loss_reaches_its_own_networks_alone(algorithm: Algorithm, subtests: pytest.Subtests) -> None:
    """The encoder learns from the task loss and from the control losses named; targets and keys from none."""
    for joint in joint_losses(algorithm):
        with subtests.test(joint):
            state, batch = begun(replace(algorithm, encoder_learns_from=joint))
            learns = bool(list(state.nets["encoder"].parameters()))
            for name, loss in losses(state, batch).losses.items():
                if name == "task":
                    assert reached(state, loss) == {"encoder"}
                else:
                    assert reached(state, loss) == {name} | (
                        {"encoder"} if learns and name in joint else set()
                    )


def test_the_optimiser_holds_what_is_trained_once(subtests: pytest.Subtests) -> None:
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            state, _ = begun(algorithm)
            held = [id(p) for group in state.optimiser.param_groups for p in group["params"]]
            trained = [name for name in state.nets if not name.endswith("_target") and name != KEY_ENCODER]
            assert sorted(held) == sorted(id(p) for name in trained for p in state.nets[name].parameters())


def test_gradients_are_contiguous(subtests: pytest.Subtests) -> None:
    """Torch's fused Adam reads them as if they were."""
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            for seeds in ((1,), (1, 2, 3)):
                state = begin(algorithm, seeds=seeds)
                batch = random_sampler().meta_batch(state.noise, torch.arange(5), SIZES)
                params = [p for group in state.optimiser.param_groups for p in group["params"]]
                gradients = torch.autograd.grad(
                    torch.stack(list(losses(state, batch).losses.values())).sum(), params
                )
                assert all(gradient.is_contiguous() for gradient in gradients)


@every
def test_actions_are_deterministic_and_in_the_box(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    z = encode(state, batch.query, batch).repeat_interleave(5, 1)
    action = algorithm.control.act(state.nets, 100 * batch.rows.obs, z)
    assert action.shape == batch.rows.action.shape
    assert float(action.detach().abs().max()) <= 1.0
    assert torch.equal(action, algorithm.control.act(state.nets, 100 * batch.rows.obs, z))


# --- encoders


def reordered(context: Context, change: Callable[[Tensor], Tensor]) -> Context:
    return Context(*(change(field) for field in context.fields))


@every
@pytest.mark.usefixtures("float64")
def test_a_context_is_a_set_of_transitions(algorithm: Algorithm) -> None:
    """Neither the order nor a second copy of all transitions changes the mean of z, the gate included."""
    state, batch = begun(algorithm)
    z = encode(state, batch.query, batch)
    assert z.shape == (2, SIZES[0], state.algorithm.encoder.latent_width(SPACE))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(encode(state, reordered(batch.query, lambda x: x[:, :, order]), batch), z)
    torch.testing.assert_close(
        encode(state, reordered(batch.query, lambda x: torch.cat([x, x], 2)), batch), z
    )


@every
def test_tasks_of_a_batch_do_not_see_each_other(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    other = reordered(batch.query, lambda x: torch.cat([x[:, :1], x[:, 1:] * 2 + 1], 1))
    torch.testing.assert_close(encode(state, other, batch)[:, 0], encode(state, batch.query, batch)[:, 0])


@every
def test_learned_embeddings_tell_contexts_apart_and_certain_ones_are_bounded(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    z, other = encode(state, batch.query, batch), encode(state, batch.key, batch)
    assert torch.equal(z, other) != bool(list(state.nets["encoder"].parameters()))
    belief = algorithm.encoder.encode(state.nets["encoder"], batch.query, batch.params, None)
    if belief.variance is not None:
        assert bool((belief.variance > 0).all())
    elif list(state.nets["encoder"].parameters()):
        assert float(z.detach().abs().max()) < 1.0


def test_the_oracle_sees_the_parameters_and_the_blind_nothing() -> None:
    roles = {algorithm.role: algorithm for algorithm in algorithms()}
    state, batch = begun(roles["upper"])
    assert torch.equal(encode(state, batch.query, batch), batch.params)
    state, batch = begun(roles["lower"])
    assert not bool(encode(state, batch.query, batch).any())
    for name in ("upper", "lower"):
        assert roles[name].control == find_algorithm("focal").control


# --- attention

JOINS = ("sum", "product", "block")
OPTIONS = [
    Attention(batch_wise, sequence_wise, tokens, gate, join)  # type: ignore[arg-type]
    for batch_wise, sequence_wise, tokens, gate, join in product(
        (True, False), (True, False), ("fields", "single", "scalar"), ("mean_one", "sigmoid"), JOINS
    )
    if join == "sum" or (batch_wise and sequence_wise)
]


def attention(part: Attention, **changes: float) -> AttentionNet:
    small = {"width": 8, "heads": 2, "blocks": 1, "reduction": 4}
    return replace(part, **{**small, **changes}).build(SPACE, Stream(SEEDS))  # type: ignore[return-value]


def context(seed: int = 0) -> Context:
    return random_sampler().meta_batch(Stream([seed, seed + 1]), torch.arange(5), SIZES).query


def test_every_option_of_attention_trains(subtests: pytest.Subtests) -> None:
    for part in OPTIONS:
        with subtests.test(part):
            state, batch = begun(replace(find_algorithm("focalpp"), encoder=part))
            assert all(bool(loss.isfinite().all()) for loss in losses(state, batch).losses.values())
            for parameter in state.nets["encoder"].parameters():
                assert bool(parameter.isfinite().all())
            if part.batch_wise:
                weight = part.weights(state.nets["encoder"], batch.query)  # type: ignore[arg-type]
                assert weight.shape == batch.query.obs.shape[:3] and bool((weight >= 0).all())


@pytest.mark.parametrize(
    "options", [{}, {"power": 1}, {"weight": 10.0, "root": True, "mean_over_dims": True}]
)
def test_every_option_of_the_distance_metric_trains(options: dict[str, object]) -> None:
    task_loss = DistanceMetric(**options)  # type: ignore[arg-type]
    state, batch = begun(replace(find_algorithm("focal"), task_loss=task_loss))
    assert reached(state, losses(state, batch).losses["task"]) == {"encoder"}


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("gate", ["mean_one", "sigmoid"])
def test_the_gate_begins_with_equal_weights(gate: str, join: str) -> None:
    part = Attention(True, True, gate=gate, join=join)  # type: ignore[arg-type]
    net, seen = attention(part), context()
    torch.testing.assert_close(part.weights(net, seen), torch.ones(2, 4, 6), rtol=0, atol=1e-6)
    torch.testing.assert_close(part.encode(net, seen).mean, part.each(net, seen).mean(2))
    for gates in (own for own in net.modules() if isinstance(own, Gate)):
        nn.init.normal_(gates.excite.weight, std=3.0)
    weight = part.weights(net, seen)
    assert float(weight.detach().std()) > 0.1
    assert not torch.allclose(part.encode(net, seen).mean, part.encode(attention(part), seen).mean)
    if gate == "mean_one":
        torch.testing.assert_close(weight.mean(-1), torch.ones(2, 4))


def test_the_sum_is_the_mean_of_both_ablations() -> None:
    both, gated, attentive = Attention(), Attention(sequence_wise=False), Attention(batch_wise=False)
    net, seen = attention(both), context()
    one, other = attention(gated), attention(attentive)
    one.load_state_dict({name: value for name, value in net.state_dict().items() if "branches.1" not in name})
    other.load_state_dict(
        {
            name.replace("branches.1", "branches.0"): value
            for name, value in net.state_dict().items()
            if "branches.1" in name
        }
    )
    z = torch.stack([gated.encode(one, seen).mean, attentive.encode(other, seen).mean]).mean(0)
    torch.testing.assert_close(both.encode(net, seen).mean, z)


def test_without_a_gate_the_blocks_attend_alone() -> None:
    """The authors' block with weights of 0 is the sequence-wise encoder's."""
    part, plain = Attention(gate="sigmoid", join="block"), Attention(batch_wise=False)
    net, seen = attention(part), context()
    alone = attention(plain)
    alone.load_state_dict({name: value for name, value in net.state_dict().items() if "gate" not in name})
    for block in net.branches[0].blocks:
        nn.init.constant_(block.gate.excite.bias, -200.0)
    torch.testing.assert_close(part.encode(net, seen).mean, plain.encode(alone, seen).mean)


def interaction(part: Attention, net: AttentionNet) -> float:
    """How far a transition's embedding, before tanh, is from a function of s plus a function of r."""
    one, two = context(0), context(5)
    u = [
        [part.each(net, one._replace(obs=s.obs, reward=r.reward)).atanh() for r in (one, two)]
        for s in (one, two)
    ]
    return float((u[0][0] - u[0][1] - u[1][0] + u[1][1]).abs().max().detach())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("tokens", ["fields", "scalar"])
def test_sequence_wise_attention_mixes_the_fields(tokens: str) -> None:
    """Fields meet in the attention and nowhere else: silence it and the fields' contributions add up."""
    part = Attention(False, True, tokens)  # type: ignore[arg-type]
    net = attention(part)
    assert interaction(part, net) > 1e-3
    for block in net.branches[0].blocks:
        nn.init.zeros_(block.mix.weight)
    assert interaction(part, net) < 1e-9


@pytest.mark.parametrize("part", [p for p in OPTIONS if not p.batch_wise and p.gate == "mean_one"],
                         ids=lambda p: f"{p.tokens}-{p.sequence_wise}")  # fmt: skip
def test_a_single_token_has_nothing_to_attend_to(part: Attention) -> None:
    """Other queries change nothing where a transition is one token, as in the authors' code."""
    net, seen, params = attention(part), context(), torch.zeros(2, 4, 2)
    before = part.encode(net, seen, params, None).mean
    for block in net.branches[0].blocks:
        if part.sequence_wise:
            width = block.mix.weight.shape[1]
            nn.init.normal_(block.query_key_value.weight[..., :width], std=5.0)
    changed = not torch.allclose(before, part.encode(net, seen, params, None).mean, atol=1e-6)
    assert changed == (part.sequence_wise and part.tokens != "single")


def test_tokens_are_the_fields() -> None:
    assert Attention(True, True).token_widths(SPACE) == (3, 2, 1, 3)  # s, a, r, s'
    assert Attention(True, True).token_widths(SPACE._replace(next_obs_in_context=False)) == (3, 2, 1)
    assert Attention(True, True, "scalar").token_widths(SPACE) == (1,) * 9
    assert Attention(True, True, "single").token_widths(SPACE) == (9,)
    assert [branch.widths for branch in attention(Attention()).branches] == [(9,), (3, 2, 1, 3)]


@pytest.mark.parametrize("sequence_wise", [True, False])
def test_dropout_needs_a_stream_and_follows_it(sequence_wise: bool) -> None:
    part, params = Attention(True, sequence_wise), torch.zeros(2, 4, 2)
    net, seen = attention(part, dropout=0.5), context()
    plain = part.encode(net, seen, params, None).mean
    assert torch.equal(plain, part.encode(net, seen, params, None).mean)
    one, again, other = (part.encode(net, seen, params, Stream([s, s + 1])).mean for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other) and not torch.allclose(one, plain)
    silent = attention(part, dropout=0.0)
    assert torch.equal(
        part.encode(silent, seen, params, Stream([1, 2])).mean, part.encode(silent, seen, params, None).mean
    )


def test_dropout_keeps_the_mean() -> None:
    x = drop(torch.ones(2, 40_000), 0.3, Stream([1, 2]))
    assert set(x.unique().tolist()) == {0.0, float(np.float32(1 / np.float32(0.7)))}
    torch.testing.assert_close(x.mean(-1), torch.ones(2), rtol=0, atol=0.02)


def test_heads_must_divide_the_width() -> None:
    for part in (Attention(True, True), Attention(False, True, "scalar")):
        with pytest.raises(BadInput, match=r"encoder.heads 3 must divide encoder.width 8"):
            attention(part, heads=3)


# --- learning

TOY_SETTINGS = {
    **dict.fromkeys(("steps", "encoder_steps"), 400),
    **dict.fromkeys(("width", "encoder_width", "attention_width"), 32),
    **dict.fromkeys(("actor_lr", "critic_lr", "encoder_lr"), 5e-3),
    **{"meta_batch": 8, "context_batch": 16, "control_batch": 16, "test_context": 64, "eval_episodes": 4},
    **{"discount": 0.3, "tau": 0.1, "dropout": 0.0, "prior_weight": 1e-3},
    **{"teacher_steps": 300, "teacher_width": 32},
}


@cache
def learned(name: str) -> float:
    """Mean return on the toy's eight tasks after a few hundred updates of two seeds."""
    sampler, everyone = toy_sampler(), tuple(range(8))
    state = begin(find_algorithm(name), Space(2, 2, 2, False, everyone), (0, 1), **TOY_SETTINGS)
    for stage in state.stages:
        while not stage.done:
            update(stage, stage.next_batch(sampler))
    tasks = TaskSet("toy", 0, toy_goals(), everyone, everyone)
    return float(evaluate(state, (0, 1), sampler, TOY, tasks, "toy")["dense"].mean())


@every
def test_it_learns_a_toy(algorithm: Algorithm) -> None:
    """The best is -1.0 and staying in the middle -8.0, which is all that the blind can do."""
    blind, oracle = learned("blind"), learned("oracle")
    assert -9.0 < blind < -7.5
    assert oracle > -3.0
    if algorithm.role == "method":
        assert learned(algorithm.name) > blind + (oracle - blind) / 4
