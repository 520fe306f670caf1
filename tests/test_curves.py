"""Learning curves: what lies far under the lower yardstick is cut off, but no method's end."""

from __future__ import annotations

from pathlib import Path

from support.ledgers import BLIND, FOCAL, GOALS, Algo, add_run

from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.figures.curves import headline_curves
from comrl.benchmark.reporting.figures.views import entries
from comrl.benchmark.reporting.ledger import read_ledger


def test_a_curve_is_cut_where_it_begins_and_never_where_it_ends(tmp_path: Path) -> None:
    for algo in (FOCAL, BLIND, Algo("lost", "Lost", 4 * BLIND.short)):
        add_run(tmp_path, GOALS, algo)
    ledger = read_ledger(tmp_path).select()
    with style.styled():
        bottom = min(axis.get_ylim()[0] for axis in headline_curves(ledger).axes)
    curves = [entry.curves(GOALS.scores[0][0]) for entry in entries(ledger, role="method")]
    assert bottom < min(curve.iloc[-1].min() for curve in curves)
    assert bottom > min(curve.min().min() for curve in curves)
