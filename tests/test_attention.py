"""FOCAL++'s encoder: gate, self-attention, how they are joined, dropout."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from support.runs import SEEDS, SIZES, SPACE, begun, random_sampler
from torch import nn

from comrl.algorithms.algorithm import find_algorithm
from comrl.algorithms.attention import Attention, AttentionNet, Gate, drop
from comrl.algorithms.learner import losses
from comrl.datasets.transitions import Context
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

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
