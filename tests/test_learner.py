"""The only update: what it steps, by how much, and that stopping in between leaves no trace."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import begin, random_sampler

from comrl.algorithms.algorithm import Algorithm, algorithms, find_algorithm
from comrl.algorithms.learner import KEY_ENCODER, State, update

SEEDS, STEPS, ENCODER_STEPS = (2, 0), 12, 8


def go_on(state: State, until: int) -> list[dict[str, torch.Tensor]]:
    sampler = random_sampler()
    return [update(state, state.next_batch(sampler)).losses for _ in range(until - state.step)]


def fresh(algorithm: Algorithm, **changes: Any) -> State:
    few = {"steps": STEPS, "encoder_steps": ENCODER_STEPS, "encoder_dropout": 0.1}
    return begin(algorithm, seeds=SEEDS, **{**few, **changes})


def weights(state: State) -> dict[str, list[torch.Tensor]]:
    return {name: [p.detach().clone() for p in net.parameters()] for name, net in state.nets.items()}


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_a_resumed_run_is_an_uninterrupted_one_bit_for_bit(
    algorithm: Algorithm, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for cut in (0, 1, 7, 8, 9):  # the encoder comes to rest at 8
        with subtests.test(cut=cut):
            whole, first, second = fresh(algorithm), fresh(algorithm), fresh(algorithm)
            losses = go_on(whole, STEPS)
            go_on(first, cut)
            torch.save(first.snapshot(), tmp_path / "checkpoint.pt")
            second.restore(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
            rest = go_on(second, STEPS)
            assert second.step == whole.step == STEPS
            for ours, theirs in zip(losses[cut:], rest, strict=True):
                assert ours.keys() == theirs.keys()
                assert all(torch.equal(ours[name], theirs[name]) for name in ours)
            for name, there in weights(whole).items():
                assert all(torch.equal(a, b) for a, b in zip(there, weights(second)[name], strict=True)), name


def test_a_snapshot_holds_tensors_and_plain_values_only() -> None:
    state = fresh(find_algorithm("focalpp"))
    go_on(state, 2)
    memory = io.BytesIO()
    torch.save(state.snapshot(), memory)
    memory.seek(0)
    assert torch.load(memory, weights_only=True)["stages"][-1]["step"] == 2


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_a_linear_schedule_ends_at_zero(algorithm: Algorithm) -> None:
    """Every step takes the same off the rate, so that one more would find it zero; the encoder's sooner, and
    with it that of the task loss's networks.
    """
    state = fresh(algorithm, lr_schedule="linear", encoder_lr=4e-3)
    task_loss = algorithm.task_loss
    own_rate = {id(p): rate for name, rate in (task_loss.rates() if task_loss else {}).items()
                for p in state.nets[name].parameters()}  # fmt: skip
    encoder, sooner = ({id(p) for name in names for p in state.nets[name].parameters()}
                       for names in (["encoder"], of_the_encoder(state)))  # fmt: skip
    for step in range(STEPS):
        go_on(state, step + 1)
        for group in state.optimiser.param_groups:
            own = {id(p) for p in group["params"]}
            life = ENCODER_STEPS if own & sooner else STEPS
            base = 4e-3 if own & encoder else own_rate.get(next(iter(own)), 1e-3)
            assert group["lr"] == pytest.approx(base * max(0, life - step) / life)


def of_the_encoder(state: State) -> set[str]:
    """The networks that learn as long as the encoder does."""
    task_loss = state.algorithm.task_loss
    return {"encoder", *(task_loss.rates() if task_loss else ())}


def test_a_linear_schedule_ends_at_zero_for_an_encoder_that_would_learn_for_longer() -> None:
    state = fresh(find_algorithm("focal"), lr_schedule="linear", encoder_steps=2 * STEPS)
    go_on(state, STEPS)
    assert [group["lr"] for group in state.optimiser.param_groups] == [pytest.approx(1e-3 / STEPS)] * 4


def test_a_constant_schedule_stays() -> None:
    state = fresh(find_algorithm("focal"), encoder_steps=STEPS, lr_schedule="constant")
    for step in range(STEPS):
        go_on(state, step + 1)
        assert [group["lr"] for group in state.optimiser.param_groups] == [1e-3] * 4


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_after_its_steps_the_encoder_stands_still(algorithm: Algorithm, subtests: pytest.Subtests) -> None:
    """Its keys with it; control goes on, and no loss is computed for nothing."""
    for schedule in ("constant", "linear"):
        with subtests.test(schedule):
            state = fresh(algorithm, lr_schedule=schedule, encoder_dropout=0.5)
            learning = go_on(state, ENCODER_STEPS)
            there = weights(state)
            rest = go_on(state, STEPS)
            assert all(("task" in losses) == (algorithm.task_loss is not None) for losses in learning)
            assert not any("task" in losses for losses in rest) and len(rest) == STEPS - ENCODER_STEPS
            for name, now in weights(state).items():
                same = all(torch.equal(a, b) for a, b in zip(there[name], now, strict=True))
                assert same == (name in {KEY_ENCODER, *of_the_encoder(state)}), name


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_keys_follow_by_momentum(algorithm: Algorithm) -> None:
    """phi_k <- m phi_k + (1 - m) phi_q after the query encoder's step (Algorithm 1, line 23)."""
    state = fresh(algorithm)
    momentum = algorithm.task_loss.momentum if algorithm.task_loss else None
    assert (KEY_ENCODER in state.nets) == (momentum is not None)
    if momentum is None:
        return
    before = weights(state)
    assert all(torch.equal(a, b) for a, b in zip(before["encoder"], before[KEY_ENCODER], strict=True))
    for step in range(1, 4):
        go_on(state, step)
        now = weights(state)
        for old, query, key in zip(before[KEY_ENCODER], now["encoder"], now[KEY_ENCODER], strict=True):
            torch.testing.assert_close(key, momentum * old + (1 - momentum) * query)
        before = now


def test_the_papers_momentum() -> None:
    task_loss = find_algorithm("focalpp").task_loss
    assert task_loss is not None and task_loss.momentum == 0.9  # Table 6


@pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
def test_targets_follow_by_tau(algorithm: Algorithm) -> None:
    state = fresh(algorithm, tau=0.25)
    targets = [name for name in state.nets if name.endswith("_target")]
    before = weights(state)
    go_on(state, 1)
    now = weights(state)
    for name in targets:
        source = name.removesuffix("_target")
        assert all(torch.equal(a, b) for a, b in zip(before[name], before[source], strict=True))
        for old, online, new in zip(before[name], now[source], now[name], strict=True):
            torch.testing.assert_close(new, 0.75 * old + 0.25 * online)
    assert targets or algorithm.before  # who learns by imitation alone chases nothing


def test_every_trained_network_moves_and_losses_are_the_ones_before_the_step() -> None:
    from comrl.algorithms.learner import losses

    for algorithm in algorithms():
        state, twin = fresh(algorithm), fresh(algorithm)
        before = weights(state)
        sampler = random_sampler()
        batch = sampler.meta_batch(state.noise, torch.arange(5), (4, 6, 5))
        twin.noise.restore(state.noise.state())
        expected = losses(twin, batch).losses
        found = update(state, batch).losses
        assert all(torch.equal(found[name], expected[name].detach()) for name in expected)
        assert not any(loss.requires_grad for loss in found.values())
        for name, there in weights(state).items():
            moved = [not torch.equal(a, b) for a, b in zip(before[name], there, strict=True)]
            assert any(moved) or not moved, f"{algorithm.name}: {name} stands still"
