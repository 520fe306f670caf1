"""The figure of metrics: a panel for each metric that a run has, and none where no run has any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.ledgers import FOCAL, GOALS, add_run

from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.figures.diagnostics import diagnostics, metrics_of
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.ledger import Ledger, read_ledger


def test_every_metric_has_a_panel_with_the_mean_over_seeds(tmp_path) -> None:
    add_run(tmp_path, GOALS, FOCAL)
    ledger = read_ledger(tmp_path).select()
    (run,) = ledger.runs
    bare = run.curves[["seed", "step", *run.scores]].assign(loss_task=1.0)
    none = Ledger((replace(run, curves=bare),), ledger.portraits)
    told = bare.assign(mean_q=np.arange(len(bare), dtype=float), own_word=2.0)
    some = Ledger((replace(run, curves=told),), ledger.portraits)
    with style.styled():
        assert diagnostics(none) is None
        figure = diagnostics(some)
    assert metrics_of(entries(some)[0]) == ["mean_q", "own_word"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["mean Q", "own word"]
    mean = told.groupby("step")["mean_q"].mean()
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), np.array([mean.index, mean]).T)
