"""The doctor: what it reckons follows from what was measured, and what is missing is a sentence."""

from __future__ import annotations

import errno
import fcntl
import json
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from support.ledgers import FOCAL, GOALS, add_run

from comrl.benchmark.commands import checkup
from comrl.benchmark.commands.cli import main
from comrl.benchmark.generation.generate import disk_bytes
from comrl.benchmark.protocol import resolve
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.envs import find_family

ROOT = Path(__file__).parent.parent
COSTS = tomllib.loads((ROOT / "benchmark" / "commands" / "costs.toml").read_text())
FAMILY = find_family("sparse-point-robot")
CPU = torch.device("cpu")
Usage = namedtuple("Usage", "total used free")


def test_known_costs_are_those_of_the_reference() -> None:
    ledger = read_ledger(ROOT / "results" / "reference")
    speed = json.loads((ROOT / "results" / "reference" / "speed.json").read_text())
    assert COSTS["rate"] == pytest.approx(speed["rows"][0]["GFLOP/s"], abs=0.1)
    assert COSTS["threads"] == speed["threads"]
    found: dict[str, dict[str, float]] = {}
    for run in ledger.runs:
        card, cost = run.card, run.card.cost
        if card.spec.split == "mixed" and not card.spec.overrides:
            assert card.provenance.threads == 1
            own = found.setdefault(card.spec.env, {})
            took = (cost.train_seconds + cost.before_seconds) / len(card.spec.seeds)
            own[card.spec.algo] = min(took, own.get(card.spec.algo, took))
    assert {env: table["runs"] for env, table in COSTS["lite"].items()} == {
        env: {algo: round(took) for algo, took in own.items()} for env, own in found.items()
    }
    for portrait in ledger.portraits:
        assert COSTS["lite"][portrait.env]["data"] == round(portrait.card.generation_seconds or 0)


def test_time_follows_the_rate_and_ones_own_results_come_first(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    (half,) = checkup.needs([FAMILY], "lite", tmp_path, CPU, COSTS["rate"] / 2)
    assert half.data == pytest.approx(2 * COSTS["lite"][FAMILY.name]["data"])
    slower = 2 * threads / COSTS["threads"]  # for one thread has its share of the rate
    assert half.runs["focal"] == pytest.approx(slower * COSTS["lite"][FAMILY.name]["runs"]["focal"])
    assert half.disk == disk_bytes(FAMILY, resolve("lite", FAMILY.name)) and half.memory > 2 * half.disk
    (nobody,) = checkup.needs([FAMILY], "paper", tmp_path, CPU, 100.0)
    assert nobody.data is None and nobody.row()["a seed, min"] == "unknown"
    (card,) = checkup.needs([FAMILY], "lite", tmp_path, torch.device("cuda"), 100.0)
    assert card.data is None and not card.runs  # the reference's rate is that of a CPU
    path = add_run(tmp_path, GOALS, FOCAL)
    own = read_ledger(tmp_path).runs[0].card
    (seen,) = checkup.needs([FAMILY], "lite", tmp_path, CPU, COSTS["rate"])
    took = own.cost.train_seconds + own.cost.before_seconds
    assert seen.runs["focal"] == took / len(own.spec.seeds), path
    assert seen.source.endswith("this results folder")


def test_it_says_what_is_there_and_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comrl.benchmark.commands.speed.bmm_rate", lambda device: 50.0)
    monkeypatch.setattr(checkup, "drawing", lambda: "works")
    given = ["doctor", "--env", FAMILY.name, "--preset", "smoke", "--threads", "1"]
    places = ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]
    assert main([*given, *places]) == 0
    told = capsys.readouterr().out
    for words in ("torch 2", "mujoco", "50.0 GFLOP/s", "GB free", "locks of data    work", FAMILY.name):
        assert words in told
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_a_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comrl.benchmark.commands.speed.bmm_rate", lambda device: 50.0)
    monkeypatch.setattr(checkup, "drawing", lambda: "works")
    monkeypatch.setattr(checkup, "memory", lambda: (10**6, 10**9))
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10**6))
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: False)
    places = ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]
    assert main(["doctor", "--env", FAMILY.name, *places]) == 2
    told = capsys.readouterr().err
    for words in (
        "has 1 MB free and the data take",
        "1 MB of memory are free",
        "with --data",
        "with --results",
    ):
        assert words in told


def test_locks_and_drawing_that_are_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    assert checkup.locks(tmp_path / "not" / "there") == "work"
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert "no locks" in checkup.locks(tmp_path)
    monkeypatch.setenv("MUJOCO_GL", "no-such-thing")
    assert "not here" in checkup.drawing() and "reports lack films alone" in checkup.drawing()
