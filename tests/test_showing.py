"""What a command tells of its work: a bar on a terminal, plain lines elsewhere, or nothing; its curves."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.logged import FAMILY, all_tasks, put, train_blind
from tqdm import tqdm

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark.reporting.ledger import read_card
from comrl.benchmark.training import train
from comrl.ground.progress import Progress, SideBySide, Told
from comrl.ground.showing import Lines, bar, each

BRIEF = ("steps=30", "eval_every=10")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("showing")
    put(folder, all_tasks("expert", "medium", "random"))
    return folder


def run(data: Path, results: Path, *options: str) -> int:
    return train_blind(data, results, "--seeds", "0", "3", "--set", *BRIEF, *options)


def curves_of(results: Path) -> Path:
    (folder,) = (results / "runs").iterdir()
    return folder / "curves.csv"


def interrupted_after(tests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a training interrupted as it keeps what came after so many tests."""
    seen: list[Any] = []
    keep = train.save

    def save(path: Path, checkpoint: Any) -> None:
        if len(seen) == tests:
            raise KeyboardInterrupt
        seen.append(checkpoint)
        keep(path, checkpoint)

    monkeypatch.setattr(train, "save", save)


def test_where_there_is_no_terminal_each_test_is_one_plain_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path) == 0
    told = capsys.readouterr().err
    about = re.escape(f"{find_algorithm('blind').label}, {FAMILY.label}, mixed, seeds 0 3")
    lines = [
        re.fullmatch(rf"{about}: step (\d+) of 30, inside -?[\d.]+, \d+ s", line)
        for line in told.splitlines()
    ]
    assert [line and line[1] for line in lines] == ["10", "20", "30"] and "\r" not in told


def test_quiet_is_quiet_and_lasts_as_long_as_the_command(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path, "--quiet") == 0
    told = capsys.readouterr()
    assert not told.err and "seeds" in told.out
    assert "COMRL_QUIET" not in os.environ
    assert run(data, tmp_path / "none", "--quiet", "--split", "exprt") == 2
    assert "did you mean 'expert'" in capsys.readouterr().err


def test_a_terminal_gets_a_bar_and_a_closed_stream_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with bar(10, 0, "work") as shown:
        assert isinstance(shown, tqdm)
    capsys.readouterr()
    monkeypatch.setattr(sys, "stderr", None)
    with bar(10, 0, "work") as shown:
        assert isinstance(shown, Lines)
        shown.update(3)
        shown.set_postfix({"return": "1.0"})


def test_work_without_tests_tells_its_tenths_or_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(1000, 500, "data", tenths=True) as shown:
        for _ in range(50):
            shown.update(10)
    tenths = [int(number) for number in re.findall(r"data: step (\d+) of 1000, ", capsys.readouterr().err)]
    assert tenths == [600, 700, 800, 900, 1000]
    assert list(each(range(4), "report", "figure")) == [0, 1, 2, 3]
    assert capsys.readouterr().err.startswith("report: figure 4 of 4, ")


def test_the_curves_grow_in_the_work_folder_and_become_the_runs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        interrupted_after(2, broken)
        assert run(data, tmp_path) == 130
    (growing,) = (tmp_path / "work").glob("*/curves.csv")
    so_far = growing.read_bytes()
    assert pd.read_csv(growing)["step"].tolist() == [0, 0, 10, 10, 20, 20]
    assert run(data, tmp_path) == 0
    whole = curves_of(tmp_path).read_bytes()
    assert whole.startswith(so_far) and pd.read_csv(curves_of(tmp_path))["step"].max() == 30
    assert not growing.exists()


def test_tensorboard_has_the_numbers_of_the_curves(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, although the training was interrupted."""
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="[tensorboard] is not installed"
    )
    with monkeypatch.context() as broken:
        interrupted_after(2, broken)
        assert run(data, tmp_path, "--tensorboard") == 130
    assert run(data, tmp_path, "--tensorboard") == 0
    curves = pd.read_csv(curves_of(tmp_path))
    name = read_card(curves_of(tmp_path).parent).name
    for seed, own in curves.groupby("seed"):
        found = events.EventAccumulator(str(tmp_path / "tensorboard" / name / f"seed-{seed}"))
        found.Reload()
        assert set(found.Tags()["scalars"]) == {*curves.columns} - {"seed", "step"}
        for scalar in found.Tags()["scalars"]:
            there = [(event.step, event.value) for event in found.Scalars(scalar)]
            known = own[["step", scalar]].dropna()
            assert [step for step, _ in there] == known["step"].tolist()
            assert [value for _, value in there] == pytest.approx(known[scalar].tolist(), rel=1e-6)


def test_tensorboard_that_is_not_there_is_a_sentence_before_anything_is_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run(data, tmp_path, "--tensorboard") == 2
    assert "pip install 'comrl-bench[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_processes_side_by_side_tell_each_result_once_though_it_be_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with SideBySide() as lines:
        for line in (0, 1):
            told = Told(partial(lines.show, line), Progress(30, 0, f"run {line}"))
            with told:
                for _ in range(2):
                    told.update(10)
                    told.set_postfix({"return": "0.00"})
    said = capsys.readouterr().err.splitlines()
    assert [re.sub(r", \d+ s", "", line) for line in said] == [
        f"run {line}: step {step} of 30, return 0.00" for line in (0, 1) for step in (10, 20)
    ]
