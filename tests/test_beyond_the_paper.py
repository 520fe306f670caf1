"""Environments that the paper does not have stand after its own in the report, and change nothing there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.ledgers import BLIND, DENSE, FOCAL, FOCALPP, GOALS, ORACLE, WIND, Algo, Env, add_run, portrait

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.curves import THE_PAPERS, headline_curves
from comrl.benchmark.reporting.figures.embeddings import variances
from comrl.benchmark.reporting.figures.protocol import environments, hyperparameters
from comrl.benchmark.reporting.figures.returns import headline_returns, show_summary, summary
from comrl.benchmark.reporting.figures.shift import shifted_returns
from comrl.benchmark.reporting.figures.views import about_environments, paper
from comrl.benchmark.reporting.ledger import Ledger, read_ledger, write_portrait
from comrl.benchmark.reporting.report import missing_figures, missing_runs
from comrl.envs import families
from comrl.ground.discovery import declared

PAGE = Path(__file__).parent.parent / "docs" / "environments.md"
DIRECTIONS = Env("ant-dir", "Ant-Dir", 20, 20, DENSE, 700.0, 400.0, None, body=True)
FORWARDS = Env("cheetah-dir", "Cheetah-Dir", 2, 2, DENSE, 1500.0, 900.0, None, body=True, together=True)


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ledger]:
    """Runs on two environments of the paper, and the same beside runs on two others."""
    found = {}
    for name, envs in (("paper", (GOALS, WIND)), ("both", (DIRECTIONS, FORWARDS, GOALS, WIND))):
        results = tmp_path_factory.mktemp(name)
        for env in envs:
            write_portrait(results, *portrait(env))
            for algo in (FOCAL, ORACLE, BLIND):
                add_run(results, env, algo, draws=4)
        found[name] = read_ledger(results).select()
    return found


def test_their_rows_and_columns_come_after_the_papers(ledgers: dict[str, Ledger]) -> None:
    for make in (headline_returns, environments):
        alone, both = make(ledgers["paper"]), make(ledgers["both"])
        assert alone is not None and both is not None
        assert both[: len(alone)].astype(str).equals(alone.astype(str)) and len(both) > len(alone)
    shown = show_summary(summary(ledgers["both"]))
    assert list(shown.columns) == ["algorithm", GOALS.label, WIND.label, DIRECTIONS.label, FORWARDS.label]


def test_other_methods_have_panels_of_their_own_and_no_look_of_anothers(tmp_path: Path) -> None:
    others = [Algo(f"other-{i}", f"other {i}", 0.3) for i in range(9)]
    for algo in (FOCAL, BLIND, *others):
        add_run(tmp_path, WIND, algo, draws=2)
    ledger = read_ledger(tmp_path).select()
    colours, looks = style.colours(ledger), (style.strokes(ledger), style.markers(ledger))
    for look in looks:
        assert len({(colours[label], look[label]) for label in colours}) == 1 + len(others)
    with style.styled():
        drawing = headline_curves(ledger)
    assert drawing is not None
    first, second = ({line.get_label() for line in axis.lines} for axis in drawing.axes)
    assert "FOCAL" in first and not {algo.label for algo in others} & first
    assert {algo.label for algo in others} | {THE_PAPERS} <= second and "FOCAL" not in second


def test_captions_name_what_the_paper_lacks(ledgers: dict[str, Ledger]) -> None:
    assert about_environments(ledgers["paper"]) == ""
    told = about_environments(ledgers["both"])
    figures = declared("comrl.benchmark.reporting.figures", "FIGURES")
    assert sum(figure.legend(ledgers["both"]).endswith(told) for figure in figures) > 5
    assert told.endswith(" Not in the paper: Ant-Dir, Cheetah-Dir.")
    assert told.startswith("In Cheetah-Dir the test tasks are the training tasks: nothing is held out there.")


def test_no_number_of_the_paper_stands_beside_them(ledgers: dict[str, Ledger]) -> None:
    columns = set(hyperparameters(ledgers["both"]))
    assert {"point, paper", DIRECTIONS.name, FORWARDS.name} <= columns
    assert not {f"{DIRECTIONS.name}, paper", f"{FORWARDS.name}, paper"} & columns


def test_runs_are_missed_in_the_papers_environments_and_where_there_are_some(
    ledgers: dict[str, Ledger],
) -> None:
    def missed(name: str) -> set[str]:
        return {what.split(",")[0] for what, _ in missing_runs(ledgers[name])}

    assert "walker-2d-params" in missed("paper") and not missed("paper") & {"ant-dir", "cheetah-vel"}
    assert missed("both") - missed("paper") == {DIRECTIONS.name, FORWARDS.name}


def test_the_page_of_environments_is_true() -> None:
    """Tasks, context and whether the paper has it, of every declared family."""
    row = r"^\| `([\w-]+)` \| ([^|]*) \| [^|]* \| (sparse|dense) \| (yes|no) \|$"
    told = {name: rest for name, *rest in re.findall(row, PAGE.read_text(), re.MULTILINE)}
    for family in families():
        tasks, context, printed = told.pop(family.name)
        held_out = f"{family.train_tasks} + {family.test_tasks}"
        assert tasks == (held_out if family.held_out else f"{family.tasks}, all of them test tasks")
        assert context == ("dense" if family.radius is None else "sparse")
        assert printed == ("yes" if family.name in paper()["environments"] else "no")
    assert not told


def test_no_number_of_the_paper_stands_beside_another_algorithm(tmp_path: Path) -> None:
    """Neither beside one with a setting of its own nor beside a pack's."""
    for overrides in (None, {"encoder.width": 7}):
        for split in ("mixed", "expert"):
            contexts = ("expert", "random") if split == "expert" else ()
            add_run(tmp_path, GOALS, FOCALPP, split=split, contexts=contexts, overrides=overrides, draws=2)
    own = read_ledger(tmp_path).select()
    theirs = [replace(run, origin="lab") for run in own.runs if not run.spec.overrides]
    ledger = Ledger((*own.runs, *theirs), ())
    columns = {headline_returns: "paper_mean", variances: "paper", shifted_returns: "paper_mean"}
    for make, column in columns.items():
        frame = make(ledger)
        assert frame is not None and set(frame["algorithm"]) == {
            "FOCAL++", "FOCAL++ [encoder.width=7]", "FOCAL++ [pack lab]"
        }  # fmt: skip
        assert set(frame["algorithm"][frame[column].notna()]) == {"FOCAL++"}


def test_an_algorithm_that_was_run_with_other_settings_alone_is_missing(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, FOCAL, draws=2)
    add_run(tmp_path, GOALS, FOCALPP, overrides={"encoder.width": 7}, draws=2)
    told = dict(missing_runs(read_ledger(tmp_path).select()))
    (command,) = (command for what, command in told.items() if what.startswith(f"{GOALS.name}, mixed"))
    algos = command.partition("--algo ")[2].partition(" --")[0].split()
    assert "focalpp" in algos and "focal" not in algos


def test_commands_add_to_the_ledger_that_lacks_something(tmp_path: Path) -> None:
    """With its preset, what was changed of it, and the suite's seeds."""
    add_run(tmp_path, GOALS, FOCAL, preset="smoke", overrides={"training.steps": 50}, draws=2)
    ledger = read_ledger(tmp_path).select()
    flags = " --seeds 0 1 --preset smoke --set training.steps=50"
    for _, command in missing_runs(ledger):
        assert re.fullmatch(rf"bench run --env \S+ --split \S+ --algo [\w -]+{flags}", command)
    figures = declared("comrl.benchmark.reporting.figures", "FIGURES")
    told = {figure.name: why for figure, (_, why) in zip(figures, _missing(ledger, figures), strict=True)}
    assert told["table1"] == f"bench run --env {GOALS.name} --split mixed --algo focal{flags}"
    assert told["online"].endswith(f"{flags} --context online")
    assert told["table1-splits"] == f"bench run --env {GOALS.name} --split relabeled --algo focal{flags}"
    assert told["datasets"] == f"bench generate-data --env {GOALS.name} --preset smoke"
    assert told["table3"].count(flags) == told["table3"].count("bench run") == 4


def _missing(ledger: Ledger, figures: Sequence[Figure]) -> list[tuple[str, str]]:
    return missing_figures(ledger, dict.fromkeys(figures))
