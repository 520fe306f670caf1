"""The report: every table and figure is made, repeats, stands alone, and is never half-written."""

from __future__ import annotations

import base64
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.ledgers import (
    BLIND,
    FOCAL,
    FOCALPP,
    GOALS,
    MUJOCO,
    ORACLE,
    WIND,
    add_mujoco,
    add_run,
    make_ledger,
    portrait,
)

from comrl.benchmark.reporting import drawing, tables
from comrl.benchmark.reporting.cards import PortraitCard
from comrl.benchmark.reporting.figures import SECTIONS, Absent, Figure, embeddings, films, style
from comrl.benchmark.reporting.figures.data import dataset_table, show_datasets, state_maps
from comrl.benchmark.reporting.figures.data_behaviour import returns_by_task
from comrl.benchmark.reporting.figures.gates import gate_table, variance_against_sparsity
from comrl.benchmark.reporting.figures.returns import headline_returns, show_summary, summary
from comrl.benchmark.reporting.figures.shift import shifted_returns
from comrl.benchmark.reporting.figures.theorems import theorem_check
from comrl.benchmark.reporting.figures.views import nothing_held_out
from comrl.benchmark.reporting.ledger import Ledger, Portrait, read_ledger
from comrl.benchmark.reporting.report import write_report
from comrl.envs.family import families
from comrl.ground.discovery import declared
from comrl.ground.errors import BadInput
from comrl.ground.files import LOCK, claimed

ROOT = Path(__file__).parent.parent
REPORTING = ROOT / "benchmark" / "reporting"
FIGURES = declared("comrl.benchmark.reporting.figures", "FIGURES")


@pytest.fixture(scope="module", autouse=True)
def _quick_maps() -> Iterator[None]:
    """Maps of embeddings without t-SNE, which takes half of a report's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "project", lambda points: points[:, :2])
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return add_mujoco(make_ledger(tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def ledger(results: Path) -> Ledger:
    return read_ledger(results).select()


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory) -> Path:
    return write_report(results, tmp_path_factory.mktemp("out") / "report", progress=False)


def test_every_declared_table_and_figure_is_in_the_report(page: Path, subtests: pytest.Subtests) -> None:
    for figure in FIGURES:
        with subtests.test(figure.name):
            assert figure.section in SECTIONS
            if figure.name == films.FIGURES[0].name and f'id="{figure.name}"' not in page.read_text():
                assert "cannot draw here" in page.read_text()  # no graphics: the page says so
                continue
            assert f'id="{figure.name}"' in page.read_text()
            if figure.kind == "figure":
                png = (page.parent / "figures" / f"{figure.name}.png").read_bytes()
                width, height = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
                assert png.startswith(b"\x89PNG") and width > 600 and height > 250
                assert (page.parent / "figures" / f"{figure.name}.pdf").read_bytes().startswith(b"%PDF")
                continue
            made = pd.read_csv(page.parent / "tables" / f"{figure.name}.csv")
            markdown = (page.parent / "tables" / f"{figure.name}.md").read_text()
            latex = (page.parent / "tables" / f"{figure.name}.tex").read_text()
            assert len(made) and markdown.count("\n") > 2
            assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
            assert not re.search(r"[^\\]&[^ ]|[^\x00-\x7f]", latex), (
                "an unescaped or non-ASCII character does not compile"
            )


@pytest.mark.parametrize(
    "figure",
    [pytest.param(figure, marks=pytest.mark.slow if figure in films.FIGURES else ()) for figure in FIGURES],
    ids=lambda figure: figure.name,
)
def test_a_table_or_figure_repeats_byte_for_byte(figure: Figure, ledger: Ledger, page: Path) -> None:
    with style.styled():
        made = figure.make(ledger)
        if isinstance(made, Absent):
            return
        if figure.kind == "table":
            again = made.to_csv(index=False, lineterminator="\n").encode()
            assert again == (page.parent / "tables" / f"{figure.name}.csv").read_bytes()
        else:
            _, *again = style.rendered(made, "svg", "png", "pdf")
            files = [page.parent / "figures" / f"{figure.name}.{kind}" for kind in ("png", "pdf")]
            assert again == [file.read_bytes() for file in files]


def test_a_figure_without_data_is_none(subtests: pytest.Subtests) -> None:
    for figure in FIGURES:
        with subtests.test(figure.name):
            assert figure.make(Ledger((), ())) is None
            figure.needs.format(envs="", algos="", relabeled="", relabeled_envs="", shift_commands="")


def test_the_page_stands_alone(page: Path) -> None:
    text = page.read_text()
    assert len(text) < 8e6
    assert 'name="viewport"' in text and "<script" not in text
    fetched = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', text)
    assert fetched and all((page.parent / name).is_file() for name in fetched), (
        "links lead to the report's own files"
    )
    for source in re.findall(r'src="data:image/png;base64,([^"]*)"', text):
        assert base64.b64decode(source).startswith(b"\x89PNG")
    assert "Nothing is missing" not in text  # the fixture lacks two of the paper's algorithms
    assert "--env point-robot-wind --split mixed --algo focalpp-contrastive focalpp-seq --seeds 0" in text


def test_no_figure_names_an_environment_or_algorithm() -> None:
    paper = tomllib.loads((REPORTING / "paper.toml").read_text())
    names = {family.name for family in families()} | {family.label for family in families()}
    names |= set(paper["environments"]) | set(paper["algorithms"]) | {ORACLE.name, BLIND.name, "FOCAL"}
    for path in [*(REPORTING / "figures").glob("*.py"), REPORTING / "report.py"]:
        code = re.sub(r"\[focalpp [^\]]*\]", "", path.read_text())  # the tags of equations name the paper
        for name in names:
            assert not re.search(rf"\b{re.escape(name)}\b", code), f"{path.name} names {name}"


def test_table1_holds_the_numbers_of_the_ledger(ledger: Ledger) -> None:
    table = headline_returns(ledger).set_index(["environment", "algorithm"])
    run = next(r for r in ledger.runs if (r.env, r.split, r.algo) == (GOALS.name, "mixed", FOCALPP.name))
    by_hand = run.returns[run.returns["context"] == "mixed"].groupby("seed")["inside"].mean()
    row = table.loc[(GOALS.label, FOCALPP.label)]
    assert row["mean"] == pytest.approx(by_hand.mean())
    assert row["std"] == pytest.approx(by_hand.std())  # pandas: n - 1
    assert (row["paper_mean"], row["paper_std"]) == (12.96, 0.09)
    ends = {role: table.loc[(GOALS.label, role.label), "mean"] for role in (ORACLE, BLIND)}
    assert row["normalised"] == pytest.approx((row["mean"] - ends[BLIND]) / (ends[ORACLE] - ends[BLIND]))
    portrait = next(p for p in ledger.portraits if p.env == GOALS.name)
    best = portrait.arrays["best_inside"][list(portrait.card.task_set.test)].mean()
    assert table.loc[(GOALS.label, "best possible"), "mean"] == pytest.approx(best)


def test_table3_drops_are_against_the_training_splits_own_context(ledger: Ledger) -> None:
    table = shifted_returns(ledger).set_index(["environment", "training", "context", "algorithm"])
    walker = MUJOCO[-1].label
    assert {("expert", "expert"), ("expert", "mixed"), ("mixed", "random")} <= {
        key[1:3] for key in table.index if key[0] == walker
    }
    assert table.loc[(walker, "mixed", "random", FOCALPP.label), "paper_mean"] == 346.95
    table = table.loc[GOALS.label]
    for split, context in (("expert", "random"), ("medium", "expert")):
        own, other = table.loc[(split, split, FOCAL.label)], table.loc[(split, context, FOCAL.label)]
        assert other["drop"] == pytest.approx(own["mean"] - other["mean"])
    told = table.loc[("expert", "random", FOCAL.label)]
    assert (told["paper_mean"], round(told["paper_drop"], 2)) == (4.43, 3.73)


def test_a_violated_theorem_shows(tmp_path: Path) -> None:
    add_run(tmp_path, WIND, FOCAL)
    ledger = read_ledger(tmp_path)
    assert theorem_check(ledger)[["equal", "ordered"]].all(axis=None)
    probe = ledger.runs[0].probe
    probe["theorem32"][1] = probe["theorem32"][1, ::-1]
    probe["theorem31"][2, 0] += 0.1
    assert not theorem_check(ledger)[["equal", "ordered"]].any(axis=None)


def test_one_run_makes_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    add_run(tmp_path / "results", WIND, FOCAL, seeds=(0,))
    text = write_report(tmp_path / "results", tmp_path / "report", progress=False).read_text()
    assert "bench generate-data --env point-robot-wind" in text
    assert "bench run --env sparse-point-robot --split expert --algo focal focalpp" in text
    assert "bench run --env sparse-point-robot --split relabeled" in text


def test_two_presets_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for preset in ("lite", "smoke"):
        add_run(tmp_path / "results", WIND, FOCAL, preset=preset)
    with pytest.raises(BadInput, match="--preset"):
        write_report(tmp_path / "results", tmp_path / "report", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_a_second_process_on_the_same_report_is_told_so(tmp_path: Path) -> None:
    add_run(tmp_path / "results", WIND, FOCAL)
    with claimed(tmp_path / f".report{LOCK}"), pytest.raises(BadInput, match="another process"):
        write_report(tmp_path / "results", tmp_path / "report", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_no_results_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`bench run`"):
        write_report(tmp_path / "results", tmp_path / "report")


def test_a_folder_that_is_not_a_report_is_left_alone(tmp_path: Path) -> None:
    add_run(tmp_path / "results", WIND, FOCAL)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("years of work")
    with pytest.raises(BadInput, match="not a report"):
        write_report(tmp_path / "results", tmp_path / "thesis")
    assert (tmp_path / "thesis" / "index.html").read_text() == "years of work"


def test_numbers_in_print() -> None:
    assert [tables.number(x) for x in (12.958, -5.391, 1470.52, 0.0137, 8.54e-5, 0.0, np.nan, None, 3)] == [
        "12.96", "−5.39", "1470.5", "0.014", "8.54e−5", "0.00", "–", "–", "3"
    ]  # fmt: skip
    assert tables.mean_std(12.958, 0.0894) == "12.96 (0.09)"
    assert tables.mean_std(1351.4, 90.46) == "1351.4 (90.5)"
    assert tables.mean_std(-183.32, 4.163) == "−183.3 (4.2)"
    assert tables.mean_std(-183.32, 0.0312) == "−183.3 (0.03)"  # and not 0.0
    assert tables.interval(-1.0, 2.0) == "[−1.00, 2.00]"
    assert [tables.fixed(x) for x in (-1e-17, -3.02e-3, 1.5)] == ["0.00", "0.00", "1.50"]


def test_a_table_survives_its_formats() -> None:
    frame = pd.DataFrame({"group": ["a_b", "", "c"], "x|y": ["1.0", "−2.0", "–"], "50 %": ["α<β", "", "x"]})
    assert tables.markdown(frame).splitlines()[:2] == ["| group | x\\|y | 50 % |", "| --- | ---: | --- |"]
    grouped = pd.DataFrame({"group": ["name", *[""] * 19], "x": ["1.0"] * 20})
    assert tables.markdown(grouped).splitlines()[1] == "| --- | ---: |"  # what is blank is no number
    made = tables.latex(frame, "100 %", "t")
    assert r"\multicolumn{2}{l}{\textit{a\_b}} \\" in made and r"1.0 & $\alpha$$<$$\beta$ \\" in made
    assert made.count(r"\multicolumn") == 2 and "resizebox" not in made
    assert tables.html(frame).count("<tr") == 1 + 2 + 3
    assert "α&lt;β" in tables.html(frame)


def test_long_tables_break_and_wide_ones_shrink() -> None:
    long = pd.DataFrame({"x": range(tables.LONG + 1)}).astype(str)
    made = tables.latex(long, "c", "t")
    assert r"\begin{longtable}{r}" in made and "tabular" not in made
    wide = pd.DataFrame({f"Name-of-a-long column {i}": ["12345.6 (78.9)"] for i in range(8)})
    made = tables.latex(wide, "c", "t")
    assert made.count(r"\resizebox{\linewidth}{!}{%") == made.count(r"\end{tabular}}") == 1
    assert r"\shortstack{Name-of-a-\\long column 0}" in made
    assert tables.html(wide).count('class="n wrap"') == 8


def test_the_summary_has_a_column_per_environment_and_the_papers_numbers_beneath(ledger: Ledger) -> None:
    shown = show_summary(summary(ledger))
    envs = [GOALS.label, WIND.label, *(env.label for env in MUJOCO)]
    assert list(shown.columns) == ["algorithm", *envs]
    row = shown.index[shown["algorithm"] == FOCAL.label][0]
    assert shown.loc[row + 1, "algorithm"] == tables.BESIDE + "paper"
    assert shown.loc[row + 1, MUJOCO[0].label] == "1351.4 (90.5)"
    assert "class=beside" in tables.html(shown) and r"\quad paper &" in tables.latex(shown, "", "t")


def test_captions_say_where_nothing_is_held_out(ledger: Ledger, page: Path) -> None:
    told = nothing_held_out(ledger)
    assert told.startswith(
        f"In {MUJOCO[0].label} and {MUJOCO[1].label} the test tasks are the training tasks"
    )
    assert "as in the paper" in told and page.read_text().count(told) > 5
    others = Ledger(tuple(run for run in ledger.runs if run.env in (GOALS.name, WIND.name)), ())
    assert nothing_held_out(others) == ""
    run = next(run for run in ledger.runs if run.env == MUJOCO[0].name)
    spec = run.spec.model_copy(update={"env": "my-own"})
    run = replace(run, card=run.card.model_copy(update={"spec": spec, "env_label": "Mine"}))
    alone_there = nothing_held_out(Ledger((run,), ()))
    assert alone_there.startswith("In Mine the test tasks") and "paper" not in alone_there


def test_the_data_table_shows_shares_beside_the_papers(ledger: Ledger) -> None:
    table = dataset_table(ledger).set_index(["data set", "split"])
    assert table.loc[(MUJOCO[0].label, "mixed"), ["tasks", "nonsparse", "paper"]].tolist() == [2, 0.37, 0.5]
    assert table.loc[(MUJOCO[0].label, "mixed"), "other_radii"] == "0.60 (R = 0.5)"
    assert np.isnan(table.loc[(MUJOCO[0].label, "expert"), "paper"])
    assert table.loc[(WIND.label, "mixed"), ["nonsparse", "paper"]].isna().all()
    shown = show_datasets(dataset_table(ledger))
    assert "130–240" in shown["transitions per task"].tolist() and "about 50 %" in shown["paper"].tolist()


def test_portraits_of_earlier_versions_make_the_data_page(tmp_path: Path) -> None:
    card, arrays = portrait(WIND)
    later = ("transitions", "radius", "nonsparse_rate_at", "fewest_transitions")
    known = {key: value for key, value in card.to_json().items() if key not in later}
    old = Ledger((), (Portrait(tmp_path, PortraitCard.read(known), arrays),))
    shown = show_datasets(dataset_table(old))
    assert shown["transitions per task"].tolist() == [tables.NONE] * 4
    assert "share at another radius" not in shown
    assert returns_by_task(old) is not None and state_maps(old) is not None


def test_pictures_of_data_suit_their_environments(ledger: Ledger) -> None:
    with style.styled():
        maps = [axis.get_title(loc="left") for axis in state_maps(ledger).axes]
        shown = returns_by_task(ledger).axes
    assert maps == [GOALS.label, WIND.label, ""]  # alone their observations are a map; and the key of colours
    assert len(shown) == 2 + len(MUJOCO)
    labels = {text for axis in shown for text in axis.get_legend_handles_labels()[1]}
    assert {"expert", "medium", "random"} <= labels and "mixed" not in labels
    pair = next(axis for axis in shown if axis.get_title(loc="left") == MUJOCO[0].label)
    assert [label.get_text() for label in pair.get_xticklabels()] == ["−1", "+1"]


def test_contexts_without_any_reward_have_no_auc_and_no_threshold(ledger: Ledger, page: Path) -> None:
    gates = gate_table(ledger).set_index("environment")
    assert gates.loc[MUJOCO[0].label, ["auc", "threshold"]].isna().all(axis=None)
    with style.styled():
        titles = [axis.get_title(loc="left") for axis in variance_against_sparsity(ledger).axes]
    assert MUJOCO[1].label in titles and MUJOCO[0].label not in titles
    assert "nan" not in (page.parent / "tables" / "gates.md").read_text()


def test_a_machine_that_cannot_draw_makes_the_report_without_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(tmp_path / "results", MUJOCO[0], FOCAL)
    monkeypatch.setenv("MUJOCO_GL", "no-such-thing")
    with pytest.raises(OSError, match="MUJOCO_GL"):
        drawing.draw_films({MUJOCO[0].name: np.zeros((1, 18), dtype=np.float32)})
    text = write_report(tmp_path / "results", tmp_path / "report", progress=False).read_text()
    assert "MuJoCo cannot draw here" in text and 'id="films"' not in text


def test_a_back_end_that_takes_its_process_down_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="exit 1"):
        drawing.draw_films({MUJOCO[0].name: np.zeros((1, 18), dtype=np.float32)})
