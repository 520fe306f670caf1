"""What a report tells its reader first: yardsticks that rank nobody, methods above the top, doubtful runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.ledgers import BLIND, FOCAL, FOCALPP, GOALS, ORACLE, WIND, Algo, add_run
from support.runs import begin, random_sampler

from comrl.algorithms.algorithm import find_algorithm
from comrl.algorithms.control_brac import Brac
from comrl.algorithms.learner import update
from comrl.benchmark.reporting.cautions import cautions
from comrl.benchmark.reporting.figures.returns import headline_returns
from comrl.benchmark.reporting.figures.views import about_scores
from comrl.benchmark.reporting.leaderboard import page, standings
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.benchmark.reporting.report import _templates

CEILING = Algo("ceiling", "ceiling", 0.0, role="top")


def ledger_of(folder: Path, *algos: Algo, seeds: tuple[int, ...] = (0, 1, 2)) -> Ledger:
    for algo in algos:
        add_run(folder, GOALS, algo, seeds=seeds)
    return read_ledger(folder).select()


def test_nothing_is_said_where_all_is_in_order(tmp_path: Path) -> None:
    assert cautions(ledger_of(tmp_path, FOCAL, FOCALPP, ORACLE, BLIND)) == []


def test_yardsticks_that_cannot_be_told_apart_are_named(tmp_path: Path) -> None:
    weak = replace(ORACLE, short=BLIND.short)
    (said,) = cautions(ledger_of(tmp_path, replace(FOCAL, short=2.0), weak, BLIND))
    assert said.startswith("Sparse-Point-Robot: oracle and blind cannot be told apart")


def test_methods_above_the_top_are_named(tmp_path: Path) -> None:
    low = replace(ORACLE, short=0.7)
    (said,) = cautions(
        ledger_of(tmp_path, replace(FOCAL, short=0.65), replace(FOCALPP, short=0.0), low, BLIND)
    )
    assert "above the oracle, who knows the task: FOCAL++." in said


def test_one_seed_is_no_ground_for_a_judgement(tmp_path: Path) -> None:
    """Neither of what lies above the oracle nor of yardsticks whose points stand in the wrong order."""
    low = replace(ORACLE, short=1.5)
    assert cautions(ledger_of(tmp_path, replace(FOCAL, short=0.1), low, BLIND, seeds=(0,))) == []


def test_doubts_of_a_run_are_told(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, FOCAL, ORACLE, BLIND)
    first, *others = ledger.runs
    doubtful = replace(first, card=first.card.model_copy(update={"doubts": ("it is Monday (seed 1)",)}))
    (said,) = cautions(Ledger((doubtful, *others), ledger.portraits))
    assert said == f"Sparse-Point-Robot, mixed data, {first.label}: it is Monday (seed 1)."


def test_scores_lie_between_blind_and_the_ceiling_where_it_was_run(tmp_path: Path) -> None:
    frame = headline_returns(ledger_of(tmp_path, FOCAL, ORACLE, CEILING, BLIND))
    assert frame is not None
    scores = frame.set_index("algorithm")["normalised"]
    assert scores["ceiling"] == pytest.approx(1.0) and scores["blind"] == pytest.approx(0.0)
    assert scores["oracle"] < 1.0


def test_a_strength_at_its_largest_is_a_doubt() -> None:
    assert Brac().doubts({"strength_at_largest": 0.1}) == Brac().doubts({}) == []
    (doubt,) = Brac().doubts({"strength_at_largest": 0.34, "mean_divergence": 1.7})
    assert doubt.startswith(
        "the strength stood at its largest for 34% of the training, and the divergence at 1.70 nats with a "
        "target of 0.05; raise control.strength_max"
    )
    shares = []
    for largest in (1.5, 400.0):
        state = begin(find_algorithm("focal"), strength=2.0, strength_max=largest, divergence="primal")
        shares.append(update(state, state.next_batch(random_sampler())).metrics["strength_at_largest"])
    assert torch.equal(torch.stack(shares), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_one_yardstick_scores_1_in_the_whole_report(tmp_path: Path) -> None:
    """The ceiling where every environment has it; else the oracle, where the ceiling is too."""
    for env in (GOALS, WIND):
        for algo in (FOCAL, ORACLE, BLIND):
            add_run(tmp_path, env, algo, draws=2)
    add_run(tmp_path, GOALS, CEILING, draws=2)
    for top in (ORACLE, CEILING):
        ledger = read_ledger(tmp_path).select()
        frame = headline_returns(ledger)
        assert frame is not None
        scores = frame.set_index(["environment", "algorithm"])["normalised"]
        _, rows = standings(ledger)
        for env in (GOALS, WIND):
            assert scores[env.label, top.label] == pytest.approx(1.0)
        assert next(row.score.value for row in rows if row.algorithm == top.label) == pytest.approx(1.0)
        assert about_scores(ledger) == f"Normalised from blind (0) to {top.label} (1)."
        assert about_scores(ledger) in page(ledger, _templates(), "")
        add_run(tmp_path, WIND, CEILING, draws=2)
    assert about_scores(ledger_of(tmp_path / "none", FOCAL)) == ""
