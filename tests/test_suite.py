"""bench suite: what it lists exists, what is there is skipped, and what remains is made in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.ledgers import FOCAL, GOALS, add_run

from comrl.algorithms.algorithm import algorithms, find_algorithm
from comrl.benchmark import suite
from comrl.benchmark.commands.cli import main
from comrl.benchmark.commands.suite import lasting
from comrl.benchmark.protocol import resolve
from comrl.benchmark.suite import Group
from comrl.benchmark.training import planning, several
from comrl.benchmark.training.planning import FILES, plan
from comrl.datasets.splits import find_split
from comrl.envs.family import find_family
from comrl.ground.errors import BadInput

ENV = "sparse-point-robot"
SMALL = Group(
    name="small",
    environments=(ENV,),
    splits=("mixed",),
    algorithms=("focal",),
    seeds=1,
    tests=("online", "shifted"),
)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """A suite that a test can make."""
    own = [SMALL]
    monkeypatch.setattr(planning, "groups", lambda: tuple(own))
    return own


def given(data: Path, results: Path, *more: str) -> list[str]:
    place = ["--data", str(data), "--results", str(results)]
    return ["suite", "--preset", "smoke", *place, "--threads", "1", *more]


def test_what_the_suite_lists_exists_and_is_everything() -> None:
    places = [
        (e, s, a)
        for group in suite.groups()
        for e in group.environments
        for s in group.splits
        for a in group.algorithms
    ]
    assert len(set(places)) == len(places), "two groups list the same runs"
    for env, split, algo in places:
        find_split(split, find_family(env))
        find_algorithm(algo)
    assert {algo for *_, algo in places} == {algorithm.name for algorithm in algorithms()}
    assert all(test in FILES for group in suite.groups() for test in group.tests)


def test_short_presets_have_few_seeds() -> None:
    big = max(suite.groups(), key=lambda group: group.seeds)
    assert suite.seeds_of(big, "lite") == big.seeds > suite.seeds_of(big, "smoke") == 2
    assert suite.seeds_for(big.environments[0], big.splits[0], big.algorithms[0], "lite") == big.seeds
    assert suite.seeds_for("elsewhere", "mixed", "mine", "lite") == suite.SEEDS


def test_a_plan_without_anything_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given(tmp_path / "data", tmp_path / "results", "--plan")) == 0
    told = capsys.readouterr().out
    assert "Done: 0 of 6 data sets, 0 of" in told and "unknown" in told
    assert not list(tmp_path.iterdir())


def test_an_environment_that_the_suite_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not in the suite"):
        plan("smoke", tmp_path, tmp_path, ["hopper-params"])
    with pytest.raises(BadInput, match="did you mean 'sparse-point-robot'"):
        plan("smoke", tmp_path, tmp_path, ["sparse-point-robots"])


def test_times_come_from_runs_of_the_same_preset(
    listed: list[Group], smoke_data: Path, tmp_path: Path
) -> None:
    add_run(tmp_path, GOALS, FOCAL, preset="smoke", seeds=(0, 1, 2), draws=2)  # of other settings
    (place,) = plan("smoke", smoke_data, tmp_path)
    run = next(iter(planning._there("smoke", tmp_path).runs))[1]
    assert place.data and place.parts[0].absent == (0,)
    steps = resolve("smoke", ENV).training.steps
    assert place.parts[0].seconds == pytest.approx(
        run.cost.train_seconds / 3 * steps / run.cost.gradient_steps
    )
    (unknown,) = plan("lite", smoke_data, tmp_path)
    assert not unknown.data and unknown.parts[0].seconds is None  # data of another preset are no data


def test_the_suite_makes_what_is_missing_and_no_more(
    listed: list[Group],
    smoke_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(given(smoke_data, tmp_path)) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert {*FILES.values(), "returns.csv"} <= {file.name for file in run.iterdir()}
    before = {file.name: file.stat().st_mtime_ns for file in run.iterdir()}
    capsys.readouterr()

    listed[0] = SMALL.model_copy(update={"algorithms": ("focal", "blind")})
    assert main(given(smoke_data, tmp_path, "--plan")) == 0
    assert re.search(r"there +1 of 2 +blind", capsys.readouterr().out)
    assert main(given(tmp_path / "nowhere", tmp_path, "--plan")) == 0  # as in a clone, which has no data
    assert re.search(r"to make +1 of 2 +blind", capsys.readouterr().out)
    assert main(given(smoke_data, tmp_path)) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert {file.name: file.stat().st_mtime_ns for file in run.iterdir()} == before

    monkeypatch.setattr(several, "run_all", lambda *_: pytest.fail("nothing remains"))
    assert main(given(smoke_data, tmp_path)) == 0
    assert "Nothing remains" in capsys.readouterr().out


def test_what_is_refused_stops_nothing_else(
    listed: list[Group], smoke_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without weights cannot be tested again; the algorithm after it is trained."""
    listed[0] = SMALL.model_copy(update={"tests": ()})
    assert main(given(smoke_data, tmp_path)) == 0
    (run,) = (tmp_path / "runs").iterdir()
    (run / "weights.pt").unlink()
    listed[:] = [
        SMALL.model_copy(update={"tests": ("shifted",)}),
        SMALL.model_copy(update={"algorithms": ("blind",), "tests": ()}),
    ]
    assert main(given(smoke_data, tmp_path)) == 2
    told = capsys.readouterr().err
    assert "kept no weights" in told
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_durations_as_one_says_them() -> None:
    assert [lasting(s) for s in (7.4, 600, 5940, 6000, 40_000)] == [
        "7 s",
        "10 min",
        "99 min",
        "1 h 40 min",
        "11 h 7 min",
    ]
