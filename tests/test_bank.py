"""Once the encoder stands still, control learns from a bank of beliefs as it would from new contexts."""

from __future__ import annotations

import pytest
import torch
from support.runs import begin, random_sampler

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.learner import State, beliefs, update

learned = [algorithm for algorithm in algorithms() if algorithm.role == "method"]
every = pytest.mark.parametrize("algorithm", learned, ids=lambda a: a.name)


def at_rest(algorithm: Algorithm, **changes: int) -> State:
    """A stack whose encoder made its steps, and whose next batch fills the bank."""
    state, sampler = begin(algorithm, steps=9, encoder_steps=2, teacher_steps=1, **changes), random_sampler()
    for _ in range(2):
        update(state, state.next_batch(sampler))
    return state


@every
def test_a_resting_encoder_costs_nothing(algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch) -> None:
    """No context is drawn and the encoder is not called."""
    state, sampler = at_rest(algorithm), random_sampler()
    batch = state.next_batch(sampler)
    assert batch.query.obs.shape[2] == batch.key.obs.shape[2] == 0
    monkeypatch.setattr(type(algorithm.encoder), "encode", None)
    terms = update(state, batch)
    update(state, state.next_batch(sampler))
    assert all(bool(loss.isfinite().all()) for loss in terms.losses.values())
    assert "task" not in terms.losses


@every
@pytest.mark.usefixtures("float64")
def test_the_bank_is_distributed_as_new_contexts_are(algorithm: Algorithm) -> None:
    """Quantiles of every task's embeddings agree with those of as many contexts drawn anew."""
    count = 600
    state, sampler = at_rest(algorithm, context_bank=count), random_sampler()
    state.next_batch(sampler)
    assert state.bank is not None
    banked = state.bank.mean  # [S, T, C, Z]
    state.bank, state.training = None, type(state.training)(**{**vars(state.training), "context_bank": 0})
    task = torch.arange(5).expand(2, -1)
    sizes = (state.training.context_batch, 1)
    with torch.no_grad():
        fresh = torch.stack(
            [beliefs(state, sampler.batch_of(task, state.noise, sizes))[0].mean for _ in range(count)], 2
        )
    if algorithm.control_sees == "query":
        ours, theirs = (x.sort(2).values for x in (banked, fresh))
        apart = (ours - theirs).abs().mean(2) / theirs.std(2)  # Wasserstein-1, in deviations
        assert float(apart.max()) < 0.25
    else:  # of both contexts: nearer to one another than those of one
        assert bool((banked.std(2) < fresh.std(2)).all())


def test_a_bank_serves_each_task_its_own() -> None:
    state = at_rest(learned[0], context_bank=4)
    state.next_batch(random_sampler())
    assert state.bank is not None
    assert state.bank.mean.shape[:3] == (2, 5, 4)
    for s in range(2):
        each = state.bank.mean[s].flatten(0, 1)
        assert len(each.unique(dim=0)) == 20
