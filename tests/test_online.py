"""The test on self-collected contexts: what it collects, what it infers from, and that it is kept apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.runs import CPU, TOY, begin, toy_goals, toy_sampler

from comrl.algorithms.algorithm import Algorithm, Space, algorithms, find_algorithm
from comrl.algorithms.learner import State, update
from comrl.benchmark.reporting.figures.online import online_returns, show_online
from comrl.benchmark.reporting.ledger import EPISODES, FROM_PRIOR, read_ledger
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.online import evaluate_online
from comrl.benchmark.training.run import run
from comrl.benchmark.training.trials import Trials, from_prior, own_context
from comrl.envs import TaskSet
from comrl.envs.family import sparsify
from comrl.envs.rollout import Episodes
from comrl.ground.noise import Stream

SEEDS = (3, 1)
TASKS = TaskSet("toy", 0, toy_goals(), (0, 1, 2, 4, 6, 7), (3, 5))
every = pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)


def begun(algorithm: Algorithm, seeds: tuple[int, ...] = SEEDS) -> State:
    state = begin(algorithm, Space(2, 2, 2, False, TASKS.train), seeds)
    sampler = toy_sampler(8)
    for _ in range(2):
        update(state, state.next_batch(sampler))
    return state


def tried(state: State, seeds: tuple[int, ...] = SEEDS) -> pd.DataFrame:
    return evaluate_online(state, seeds, toy_sampler(8), TOY, TASKS, None)


@every
def test_every_trial_plays_every_episode(algorithm: Algorithm) -> None:
    state = begun(algorithm)
    table, trials = tried(state), state.training.eval_episodes
    keys = {(s, t, n, e) for s in SEEDS for t in TASKS.test for n in range(trials) for e in range(EPISODES)}
    assert {*table[["seed", "task", "trial", "episode"]].itertuples(index=False, name=None)} == keys
    assert len(table) == len(keys) and bool(np.isfinite(table["dense"]).all())
    pd.testing.assert_frame_equal(table, tried(state))


@pytest.mark.parametrize("name", ["focalpp", "batch-pearl"])
def test_a_seed_is_tested_as_it_would_be_alone(name: str) -> None:
    both, alone = tried(begun(find_algorithm(name))), tried(begun(find_algorithm(name), (1,)), (1,))
    ours = both[both["seed"] == 1].reset_index(drop=True)
    np.testing.assert_allclose(ours["dense"], alone["dense"], atol=1e-3)


def test_before_anything_is_known_embeddings_are_the_priors() -> None:
    sampler = toy_sampler(8)

    def drawn(name: str, count: int) -> torch.Tensor:
        state = begun(find_algorithm(name))
        state.training = replace(state.training, eval_episodes=count)
        return from_prior(Trials(state, sampler, TASKS, None, Stream(SEEDS), 4))

    z = drawn("batch-pearl", 400)
    assert z.shape == (2, 800, 3)
    assert abs(float(z.mean())) < 0.1 and abs(float(z.std()) - 1) < 0.1
    oracle = drawn("oracle", 2)
    assert torch.equal(oracle[0], sampler.params[[3, 3, 5, 5]])
    z = drawn("focal", 400)
    assert float(z.abs().max()) < 1 and len(z[0].unique(dim=0)) > 100


def test_contexts_hold_what_was_lived_through_and_nothing_else() -> None:
    """Steps after a fall are drawn never, all others sooner or later; rewards are sparsified."""
    state, draw = begun(find_algorithm("focal")), np.random.default_rng(0)
    count, horizon = 4, 5  # 2 seeds × 2 worlds
    length = np.array([5, 2, 1, 4])
    valid = np.arange(horizon) < length[:, None]
    shapes = ((2,), (2,), (), (2,))
    fields = [draw.normal(size=(count, horizon, *shape)) for shape in shapes]
    for field in fields:
        field[~valid] = np.nan
    episodes = [Episodes(*fields, np.zeros_like(valid), valid) for _ in range(2)]
    state.training = replace(state.training, test_context=200)
    trials = Trials(state, toy_sampler(8), TASKS, -0.5, Stream(SEEDS), 4, episodes)
    context = own_context(trials)
    assert context.obs.shape == (2, 2, 200, 2) and context.next_obs is None
    for n in range(count):
        mine = context.obs[n // 2, n % 2].numpy()
        there = fields[0][n, : length[n]].astype(np.float32)
        assert {*map(tuple, mine)} == {*map(tuple, there)}
        reward = sparsify(fields[2][n, : length[n]], -0.5).astype(np.float32)
        assert {*context.reward[n // 2, n % 2, :, 0].tolist()} == {*reward.tolist()}
    second = Episodes(*(field + (field.dtype != bool) for field in episodes[1]))  # told from the first by 1
    trials.lived[1] = second
    kept = own_context(trials, np.arange(2) == [[0], [1], [1], [0]])
    for n, which in enumerate((0, 1, 1, 0)):
        there = trials.lived[which].obs[n, : length[n]].astype(np.float32)
        assert {*map(tuple, kept.obs[n // 2, n % 2].numpy())} == {*map(tuple, there)}


def test_its_returns_are_kept_apart_and_shown_apart(smoke_data: Path, tmp_path: Path) -> None:
    plain = RunSpec(env="walker-2d-params", split="mixed", preset="smoke", algo="batch-pearl", seeds=(0, 1),
                    overrides={})  # fmt: skip
    found = []
    for spec in (plain, plain.model_copy(update={"context": "online"})):
        assert run(spec, smoke_data, tmp_path, CPU)["done"] != "already there"
        assert run(spec, smoke_data, tmp_path, CPU)["done"] == "already there"
        found.append(read_ledger(tmp_path).runs[0])
    first = found[0]
    ledger = read_ledger(tmp_path)
    (online,) = ledger.runs  # the same training: its other test is a file beside the first
    pd.testing.assert_frame_equal(first.returns, online.returns)
    assert first.online is None and online.online is not None
    assert "online" not in {*online.returns["context"]}
    frame = online_returns(ledger)
    assert frame is not None and len(frame) == 1
    rest = online.online[online.online["episode"] >= FROM_PRIOR]
    assert frame["mean"].item() == pytest.approx(rest["dense"].mean())
    assert show_online(frame)["algorithm"].tolist() == ["Batch PEARL"]
