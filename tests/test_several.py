"""Several runs in one command: one after another or side by side, they are the same runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.runs import CPU

from comrl.benchmark.commands import cli
from comrl.benchmark.reporting.ledger import read_cards
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.job import prepare_job
from comrl.benchmark.training.run import claimed_seeds, run_job
from comrl.benchmark.training.several import run_all, stacks_of
from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine

ONE = Machine(threads=1)


def specs(*algos: str, **overrides: object) -> list[RunSpec]:
    shared = {"env": "point-robot-wind", "split": "mixed", "preset": "smoke", "seeds": (0, 1)}
    return [RunSpec(algo=algo, overrides=overrides, **shared) for algo in algos]  # type: ignore[arg-type]


def numbers(results: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{name}": (folder / name).read_bytes()
        for folder in (results / "runs").iterdir()
        for name in ("curves.csv", "returns.csv")
    }


def test_runs_side_by_side_are_those_one_after_another(smoke_data: Path, tmp_path: Path) -> None:
    asked = specs("focal", "oracle", "blind")
    rows, refused = run_all(asked, smoke_data, tmp_path / "after", ONE)
    beside, none = run_all(asked, smoke_data, tmp_path / "beside", ONE, side_by_side=2)
    assert not refused and not none
    assert [row["algo"] for row in rows] == [row["algo"] for row in beside] == ["focal", "oracle", "blind"]
    assert numbers(tmp_path / "after") == numbers(tmp_path / "beside")


def test_runs_of_many_processes_at_once_leave_each_other_alone(smoke_data: Path, tmp_path: Path) -> None:
    asked = [spec.model_copy(update={"seeds": (seed,)}) for spec in specs("blind") for seed in range(4)]
    rows, refused = run_all(asked, smoke_data, tmp_path, ONE, side_by_side=4)
    assert not refused and len(rows) == len(read_cards(tmp_path)) == 4
    assert not list((tmp_path / "work").iterdir())


def test_a_seed_that_another_process_trains_is_left_to_it(smoke_data: Path, tmp_path: Path) -> None:
    (both,) = specs("blind")
    job = prepare_job(both, smoke_data, CPU)
    with claimed_seeds(job, tmp_path) as first:
        assert first == (0, 1)
        later = job.spec.model_copy(update={"seeds": (1, 2)})
        assert run_job(replace(job, spec=later), tmp_path)["seeds"] == "2"
        with pytest.raises(
            BadInput, match=rf"another process \(number {os.getpid()} on .*wait until it ends"
        ):
            run_job(job, tmp_path)
    assert run_job(job, tmp_path)["seeds"] == "0 1"
    assert sorted(seed for card in read_cards(tmp_path) for seed in card.spec.seeds) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_that_fails_stops_no_other_and_leaves_nothing(
    smoke_data: Path, tmp_path: Path, count: int
) -> None:
    """What failed says step, seed and loss; the ledger has the others alone."""
    broken = specs("oracle", **{"control.sac.critic_lr": 1.0, "control.sac.depth": 30})
    rows, refused = run_all([*broken, *specs("blind")], smoke_data, tmp_path, ONE, side_by_side=count)
    assert [row["algo"] for row in rows] == ["blind"]
    (error,) = refused
    assert "loss of the" in str(error) and "was nan or infinite at step" in str(error)
    assert "(seed 0)" in str(error) and "lower the learning rates" in str(error)
    assert [card.spec.algo for card in read_cards(tmp_path)] == ["blind"]


def test_a_count_below_one_is_refused_before_anything_starts(smoke_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--jobs 0 must be at least 1"):
        run_all(specs("blind"), smoke_data, tmp_path, ONE, side_by_side=0)
    assert not list(tmp_path.iterdir())


def test_a_stack_too_large_for_the_cache_is_trained_seed_by_seed(smoke_data: Path) -> None:
    (small,) = specs("focal")
    job = prepare_job(small, smoke_data, CPU)
    assert stacks_of(job) == [job]
    large = prepare_job(small.model_copy(update={"preset": "paper"}), smoke_data, CPU)
    assert [part.spec.seeds for part in stacks_of(large)] == [(0,), (1,)]
    assert {part.settings_id for part in stacks_of(large)} == {large.settings_id}


def test_a_machine_is_shared_out() -> None:
    assert Machine(threads=4).shared_by(2) == Machine(threads=2)
    assert Machine(threads=1).shared_by(3) == Machine(threads=1)
    assert CPU.type == Machine().device


def test_a_full_gpu_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(arguments: object) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(cli, "list_all", full)
    assert cli.main(["list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: the GPU's memory is full; ") and said.count("\n") == 1
