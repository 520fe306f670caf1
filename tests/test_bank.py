"""Once the encoder stands still, control learns from a bank of beliefs as it would from new contexts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.runs import begin, random_sampler
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.belief import together
from comrl.algorithms.learner import State, beliefs, extended, update

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
    sizes = (state.training.meta_batch, state.training.context_batch, 1)
    seen: list[list[list[Tensor]]] = [[[] for _ in range(5)] for _ in range(2)]  # by member and task
    with torch.no_grad():
        for _ in range(count):
            batch = extended(state, sampler.meta_batch(state.noise, state.tasks, sizes))
            one, other = beliefs(state, batch)
            z = (together(one, other) if algorithm.control_sees == "both" else one).mean  # [S, M, Z]
            for s, m in np.ndindex(*batch.task.shape):
                seen[s][int(batch.task[s, m])].append(z[s, m])
    levels = torch.linspace(0, 1, 101)
    for s, task in np.ndindex(2, 5):
        fresh = torch.stack(seen[s][task])
        ours, theirs = (x.quantile(levels, 0) for x in (banked[s, task], fresh))  # [Q, Z]
        apart = (ours - theirs).abs().mean(0) / fresh.std(0)  # Wasserstein-1, in deviations
        assert float(apart.max()) < 0.25


def test_a_bank_serves_each_task_its_own() -> None:
    state = at_rest(learned[0], context_bank=4)
    state.next_batch(random_sampler())
    assert state.bank is not None
    assert state.bank.mean.shape[:3] == (2, 5, 4)
    for s in range(2):
        each = state.bank.mean[s].flatten(0, 1)
        assert len(each.unique(dim=0)) == 20
