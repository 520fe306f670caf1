"""A figure that cannot be made is absent with its reason, the others stand; names are shown as they are.

A report that is killed leaves the old one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from support import ledgers
from support.ledgers import BLIND, FOCAL, GOALS, ORACLE, WIND, Algo, add_run

from comrl.benchmark.reporting import report, tables
from comrl.benchmark.reporting.figures import Absent, Figure, embeddings, films, style
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.benchmark.reporting.report import write_report
from comrl.ground.discovery import declared

ROOT = Path(__file__).parent.parent
FIGURES = [
    figure
    for figure in declared("comrl.benchmark.reporting.figures", "FIGURES")
    if figure.name != films.FIGURES[0].name  # takes a process of its own
]
DOLLARS = Algo("dollars", r"Pays $5 or $\frac{, <script>alert(1)</script> & co_", 0.3, gate=True)


def made(results: Path, name: str = "") -> Ledger:
    """The ledger, each of whose figures was made, or the one that is named."""
    ledger = read_ledger(results).select()
    for figure in (one for one in FIGURES if name in ("", one.name)):
        with style.styled():
            product = figure.make(ledger)
            if figure.kind == "figure" and product is not None:
                style.rendered(product, "svg")
    return ledger


def test_a_yardstick_alone_on_its_environment_costs_no_figure(tmp_path: Path) -> None:
    for yardstick in (BLIND, ORACLE):
        add_run(tmp_path / yardstick.name, GOALS, yardstick)
        add_run(tmp_path / yardstick.name, WIND, FOCAL)
        assert len(made(tmp_path / yardstick.name).runs) == 2


def test_embeddings_of_one_number_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ledgers.TRAINING, "latent", 1)
    add_run(tmp_path, GOALS, FOCAL)
    (run,) = made(tmp_path, "fig4b").runs
    assert run.probe["z"].shape[-1] == 1


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Dollars are dollars; what is a power on a logarithmic axis stays one."""
    for env in (replace(GOALS, label="Costs $ and $x^"), WIND):
        add_run(tmp_path, env, DOLLARS)
    ledger = made(tmp_path)
    with style.styled():
        drawing = next(figure for figure in FIGURES if figure.name == "fig4a").make(ledger)
        style.rendered(drawing, "svg")
        texts = {text.get_text(): text for text in drawing.findobj(style.Text)}
        assert not texts[DOLLARS.label].get_parse_math() and not texts["Costs $ and $x^"].get_parse_math()
        figure, axis = plt.subplots()
        axis.set_yscale("log")
        axis.set_ylim(1, 1000)
        style.rendered(figure, "svg")
        assert axis.get_yticklabels()[0].get_parse_math()


def test_names_are_no_markup_and_no_formula_in_any_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"=1+1": ["<script>", "[x](js:1) `|`"], "n": [-1.5, 2.0], "@": ["-cmd", None]})
    assert tables.csv(frame) == "'=1+1,n,'@\n<script>,-1.5,'-cmd\n[x](js:1) `|`,2.0,\n"
    shown = tables.markdown(frame)
    assert "<script>" not in shown and "&lt;script&gt;" in shown and r"[x]\(js:1) \`\|\`" in shown
    assert tables.markdown(pd.DataFrame({"a": ["two\nlines\\"]})).splitlines()[2] == r"| two lines\\ |"
    add_run(tmp_path / "results", WIND, DOLLARS)
    page = write_report(tmp_path / "results", tmp_path / "report", progress=False)
    for file in page.parent.rglob("*.*"):
        if file.suffix in (".html", ".md"):
            assert "<script>alert" not in file.read_text("utf-8"), file


# --- a figure that fails


def unlucky(ledger: Ledger) -> style.Drawing:
    style.panels(1)
    raise TypeError("of what\nnobody thought")


def rows(ledger: Ledger) -> pd.DataFrame:
    return pd.DataFrame({"a": [1]})


ABSENT = (
    Figure("unlucky", "Unlucky <b>", "figure", unlucky, "c"),
    Figure("late", "Shown badly", "table", rows, "c", show=lambda frame: frame["no such column"]),
    Figure("told", "Told badly", "table", rows, "c", note=lambda ledger: 1 / 0),  # type: ignore[arg-type]
    Figure("plain", "Plain", "table", rows, "c"),
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "declared_figures", lambda: ABSENT)
    add_run(tmp_path / "results", WIND, FOCAL)
    return tmp_path / "results"


def test_a_figure_that_fails_is_absent_with_its_reason_and_the_others_stand(
    results: Path, tmp_path: Path
) -> None:
    before = plt.get_fignums()
    with pytest.warns(UserWarning, match="the report is without") as told:
        page = write_report(results, tmp_path / "report", progress=False)
    text = page.read_text("utf-8")
    assert "Unlucky &lt;b&gt;: it could not be made (TypeError: of what)" in text
    assert "Shown badly: it could not be made (KeyError" in text and "mend test_absent" in text
    assert "Told badly: it could not be made (ZeroDivisionError" in text
    assert [str(one.message).partition(":")[0] for one in told] == [
        f"the report is without {figure.title}" for figure in ABSENT[:3]
    ]
    assert sorted(path.name for path in (page.parent / "tables").iterdir()) == [
        "plain.csv", "plain.md", "plain.tex",
    ]  # fmt: skip
    assert plt.get_fignums() == before


def test_a_full_disk_is_no_fault_of_a_figure(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ValueError, match="no space left"):
        write_report(results, tmp_path / "report", progress=False)


def test_what_a_machine_lacks_is_no_fault(results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                          recwarn: pytest.WarningsRecorder) -> None:  # fmt: skip
    lacking = Figure("lacking", "Lacking", "figure", lambda ledger: Absent("no screen", "a screen"), "c")
    monkeypatch.setattr(report, "declared_figures", lambda: (lacking,))
    text = write_report(results, tmp_path / "report", progress=False).read_text("utf-8")
    assert "Lacking: no screen" in text and not [one for one in recwarn if "without" in str(one.message)]


# --- a report that is killed

KILLED = """
import os, signal, sys
from pathlib import Path
from comrl.benchmark.reporting import report
report._page = lambda *_: os.kill(os.getpid(), signal.SIGKILL)   # every table and figure is written by then
report.write_report(Path(sys.argv[1]), Path(sys.argv[2]), progress=False)
"""


@pytest.mark.slow
def test_a_killed_report_leaves_the_old_one_and_the_next_finishes(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "report"
    add_run(results, WIND, FOCAL)
    old = write_report(results, out, progress=False).read_text()
    add_run(results, WIND, BLIND)
    ended = subprocess.run([sys.executable, "-c", KILLED, str(results), str(out)], cwd=ROOT, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert (out / "index.html").read_text() == old
    new = write_report(results, out, progress=False).read_text()
    assert BLIND.label in new and new != old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "results"]
    undisturbed = write_report(results, tmp_path / "elsewhere", progress=False)
    assert undisturbed.read_text() == new


# --- a map


def test_a_map_of_embeddings_repeats() -> None:
    points = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    first = embeddings.project(points)
    assert first.shape == (60, 2) and np.array_equal(first, embeddings.project(points))
