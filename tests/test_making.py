"""A report is the same, byte for byte, whoever makes it."""

import pickle
from pathlib import Path

import pandas as pd
import pytest
from support.ledgers import FOCAL, GOALS, add_run, make_ledger

from comrl.benchmark.reporting import making
from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.reporting.report import write_report


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_processes_side_by_side_make_the_same_report(tmp_path: Path) -> None:
    results = make_ledger(tmp_path / "results")
    alone, together = (
        contents(write_report(results, tmp_path / str(count), progress=False, processes=count).parent)
        for count in (1, 2)
    )
    assert alone.keys() == together.keys() and len(alone) > 50
    assert [name for name in alone if alone[name] != together[name]] == []


def test_a_figure_of_functions_that_cannot_be_sent_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"a": [1.0]})
    own = Figure(name="own", title="Own", kind="table", make=lambda ledger: frame, caption="Mine.")
    monkeypatch.setattr(making, "declared_figures", lambda: (own,))
    add_run(tmp_path, GOALS, FOCAL)
    answer = making._kept(read_ledger(tmp_path), tmp_path, "own", print)
    assert pickle.loads(pickle.dumps(answer)) == answer and (tmp_path / "tables" / "own.csv").exists()
