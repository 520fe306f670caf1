"""The figures of metrics: a panel for each metric that a run has, and none where no run has any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from support.ledgers import FOCAL, GOALS, MUJOCO, ORACLE, add_run

from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.figures.diagnostics import (
    ACROSS,
    control_metrics,
    inference_metrics,
    metrics_of,
)
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.ledger import Ledger, Run, read_ledger


def _reporting(run: Run, tests: int, **metrics: float) -> Run:
    """The run with these metrics alone, and the first of its tests."""
    bare = run.curves[["seed", "step", *run.scores]]
    return replace(run, curves=bare[bare["step"].rank(method="dense") <= tests].assign(**metrics))


def _texts(axes: list[Axes], name: str) -> list[str]:
    found = [getattr(axis, f"get_{name}")() for axis in axes if axis.axison]
    return [text for text in found if text]


def test_every_metric_has_a_panel_with_the_mean_over_seeds(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    ledger = read_ledger(tmp_path).select()
    (run,) = ledger.runs
    bare = run.curves[["seed", "step", *run.scores]].assign(loss_task=1.0)
    none = Ledger((replace(run, curves=bare),), ledger.portraits)
    told = bare.assign(mean_q=np.arange(len(bare), dtype=float), own_word=2.0)
    some = Ledger((replace(run, curves=told),), ledger.portraits)
    with style.styled():
        assert control_metrics(none) is None and inference_metrics(none) is None
        figures = [control_metrics(some), inference_metrics(some)]
    assert metrics_of(entries(some)[0]) == ["mean_q", "own_word"]
    titles = [[axis.get_title(loc="left") for axis in figure.axes] for figure in figures]
    assert titles == [["mean Q"], ["own word"]]
    mean = told.groupby("step")["mean_q"].mean()
    np.testing.assert_allclose(figures[0].axes[0].lines[0].get_xydata(), np.array([mean.index, mean]).T)


@pytest.mark.parametrize("tests", [1, 4])
def test_rows_and_columns_keep_their_names_where_a_panel_is_empty(tmp_path: Path, tests: int) -> None:
    """The first environment has no strength, the second no mean Q; a test alone is seen as a mark."""
    for env in (GOALS, MUJOCO[0]):
        for algo in (FOCAL, ORACLE):
            add_run(tmp_path, env, algo)
    first = {"mean_q": 0.1}, {"mean_strength": 9.08, "mean_divergence": 0.2}
    runs = [
        _reporting(run, tests, **first[run.env != GOALS.name]) for run in read_ledger(tmp_path).select().runs
    ]
    with style.styled():
        figure = control_metrics(Ledger(tuple(runs), ()))
        figure.draw_without_rendering()
    names = [label.replace("\n", "") for label in _texts(figure.axes, "ylabel")]
    assert names == [GOALS.label, MUJOCO[0].label]
    assert _texts(figure.axes, "xlabel") == ["gradient steps"] * 3
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == [
        "mean Q", "BRAC strength", "divergence, nats"
    ]  # fmt: skip
    page = figure.bbox
    for axis in (axis for axis in figure.axes if axis.axison):
        assert axis.get_window_extent().width > 0.15 * page.width  # and not 50 pixels
        assert all(tick.get_text() for tick in axis.get_xticklabels())
        assert not any("10^" in tick.get_text() for tick in axis.get_yticklabels())
        assert all(line.get_marker() not in ("", "None", None) for line in axis.lines)


def test_many_metrics_stand_in_several_blocks_of_rows(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    (run,) = read_ledger(tmp_path).select().runs
    told = {f"own_{i}": float(i) for i in range(ACROSS + 2)}
    with style.styled():
        axes = inference_metrics(Ledger((_reporting(run, 3, **told),), ())).axes
    assert len(axes) == 2 * ACROSS
    assert [axis.get_title(loc="left") for axis in axes if axis.axison] == [
        f"own {i}" for i in range(ACROSS + 2)
    ]
