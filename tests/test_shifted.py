"""Contexts from other tasks' agents: exact rewards, no dynamics, and a table and figure of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import CPU, TOY, begin, toy_goals, toy_sampler

from comrl.algorithms.algorithm import Space, find_algorithm
from comrl.benchmark.protocol import RunSpec
from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.figures.shifted import (
    rank_of,
    returns_by_behaviour,
    shift_by_distance,
    show_shifted,
)
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.training import run as running
from comrl.benchmark.training.shifted import BEHAVIOURS, behaviours_of, shifted_contexts
from comrl.envs import TaskSet
from comrl.envs.family import sparsify
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

SPEC = RunSpec(
    env="sparse-point-robot", split="mixed", preset="smoke", algo="focal", seeds=(0, 1), overrides={}
)
TASKS = TaskSet("toy", 0, toy_goals(), (0, 1, 2, 4, 6, 7), (3, 5))


def test_rewards_are_the_test_tasks_and_all_else_the_behaviours() -> None:
    state, sampler = begin(find_algorithm("focal"), Space(2, 2, 2, False, TASKS.train)), toy_sampler(8)
    pairs = ([3, 3, 5], [3, 0, 1])
    context = shifted_contexts(state, sampler, TOY, TASKS, pairs, -0.5, Stream([4, 2]))
    rows = sampler.packed.unflatten(0, (8, -1)).numpy()
    for s in range(2):
        for n, (task, behaviour) in enumerate(zip(*pairs, strict=True)):
            theirs = {tuple(row[:4]) for row in rows[behaviour]}  # observation and action
            shown = torch.cat([context.obs, context.action], -1)[s, n].numpy()
            assert {*map(tuple, shown)} <= theirs
            where = {tuple(row[:4]): row[5:7] for row in rows[behaviour]}  # the next observation
            moved = np.array([where[tuple(row)] for row in shown], dtype=np.float64)
            paid = sparsify(-np.linalg.norm(moved - toy_goals()[task], axis=-1), -0.5)
            np.testing.assert_allclose(context.reward[s, n, :, 0], paid, atol=1e-6)


def test_its_own_behaviour_is_the_offline_context() -> None:
    """Rewards that are computed again are those that were stored."""
    state, sampler = begin(find_algorithm("focal"), Space(2, 2, 2, False, TASKS.train)), toy_sampler(8)
    shifted = shifted_contexts(state, sampler, TOY, TASKS, ([3, 5], [3, 5]), None, Stream([4, 2]))
    size = state.training.test_context
    own = sampler.context(torch.tensor([[3, 5], [3, 5]]), Stream([4, 2]).uniform(2, size))
    for ours, theirs in zip(shifted.fields, own.fields, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_behaviours_go_from_the_task_itself_to_the_farthest() -> None:
    many = TaskSet("toy", 0, np.arange(40.0)[:, None], tuple(range(30)), tuple(range(30, 40)))
    found = behaviours_of(35, many)
    assert len(found) == BEHAVIOURS == len({*found.tolist()})
    apart = np.abs(found - 35)
    assert found[0] == 35 and apart[1] == 1 and apart[-1] == 35 and (np.diff(apart) > 0).all()
    few = TaskSet("two", 0, np.array([[-1.0], [1.0]]), (0, 1), (0, 1))
    assert {*behaviours_of(1, few).tolist()} == {0, 1} and behaviours_of(1, few)[0] == 1


def test_dynamics_that_differ_are_refused(smoke_data: Path, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"env": "point-robot-wind", "algo": "blind"})
    running.run(spec, smoke_data, tmp_path, CPU)
    (folder,) = (tmp_path / "runs").iterdir()
    with pytest.raises(BadInput, match="in point-robot-wind tasks differ in their dynamics"):
        running.test_folder(folder, smoke_data, CPU, "shifted", None)


def test_the_test_is_kept_and_shown_apart(smoke_data: Path, tmp_path: Path) -> None:
    running.run(SPEC, smoke_data, tmp_path, CPU)
    assert returns_by_behaviour(read_ledger(tmp_path).select()) is None
    (folder,) = (tmp_path / "runs").iterdir()
    row = running.test_folder(folder, smoke_data, CPU, "shifted", None)
    ledger = read_ledger(tmp_path).select()
    (done,) = ledger.runs
    table = done.shifted
    assert table is not None and len(table) == 2 * 20 * BEHAVIOURS
    assert (table.groupby(["seed", "task"])["distance"].min() == 0).all()
    assert sorted(set(rank_of(table))) == list(range(BEHAVIOURS))
    others = table[table["behaviour"] != table["task"]]["inside"].mean()
    assert row["mean"] == pytest.approx(others, abs=1e-3)
    frame = returns_by_behaviour(ledger)
    assert frame is not None and frame["others"].item() == pytest.approx(others)
    assert show_shifted(frame)["algorithm"].tolist() == ["FOCAL"]
    with style.styled():
        assert shift_by_distance(ledger) is not None
