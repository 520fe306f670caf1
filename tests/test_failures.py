"""What fails ends nothing else: each of several is tried, and all that went wrong is told at the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import put_data_set
from support.forked import usual_signals

from comrl.benchmark.commands.cli import main
from comrl.benchmark.training import job, several
from comrl.benchmark.training.train import _bookkeeping
from comrl.envs import find_family
from comrl.ground.errors import BadInput, kept, mendable, raise_all, tried
from comrl.ground.interrupts import ENDING

ENV = "sparse-point-robot"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    put_data_set(data, find_family(ENV))
    return data


def ordered(data: Path, results: Path, *algos: str) -> list[str]:
    command = ["run", "--env", ENV, "--preset", "smoke", "--seeds", "0", "--threads", "1", "--algo", *algos]
    return [*command, "--data", str(data), "--results", str(results)]


def failing(real: Callable[..., object], **errors: Exception) -> Callable[..., object]:
    """Work on a job or a spec that fails as its algorithm's name says."""

    def work(first: object, *rest: object) -> object:
        if error := errors.get(getattr(first, "spec", first).algo):  # type: ignore[attr-defined]
            raise error
        return real(first, *rest)

    return work


def test_every_run_is_tried_and_every_refusal_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = {
        "focal": torch.OutOfMemoryError("CUDA out of memory."),
        "oracle": np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("f8")),  # type: ignore[attr-defined]
        "csro": FileNotFoundError(2, "No such file or directory", "/a/file"),
    }
    monkeypatch.setattr(several, "run_job", failing(several.run_job, **errors))
    assert main(ordered(data, tmp_path, *errors, "blind")) == 2
    said = capsys.readouterr()
    told = [line for line in said.err.splitlines() if line.startswith("bench: ")]
    assert [line.split()[1] for line in told] == ["focal", "oracle", "csro"]
    for line, words in zip(
        told, ("the GPU's memory", "this machine's memory", "/a/file: No such"), strict=True
    ):
        assert f"on {ENV}, mixed data, seeds 0: {words}" in line
    assert "blind" in said.out and len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.parametrize("where", ["at the door", "on the way"])
def test_a_fault_of_one_is_raised_after_the_others_with_its_traceback(
    where: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is no sentence is a fault of the program, or of a plug-in: nothing of it is hidden."""
    module, name = (job, "_settle") if where == "at the door" else (several, "run_job")
    monkeypatch.setattr(module, name, failing(getattr(module, name), focal=ZeroDivisionError("by zero")))
    with pytest.raises(ZeroDivisionError) as error:
        main(ordered(data, tmp_path, "focal", "blind", "oracle"))
    story = "".join(error.value.__notes__)
    assert "Traceback" in story and "That was focal on" in story
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert "blind" in capsys.readouterr().out


def test_what_is_refused_at_the_door_is_told_at_once_and_nothing_is_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ordered(data, tmp_path, "focal", "blindd", "orakle"), "--env", ENV, "nowhere"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [name in line for name, line in zip(("blindd", "orakle", "nowhere"), told, strict=True)] == [
        True
    ] * 3
    assert not (tmp_path / "runs").exists()


def test_data_sets_are_each_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    envs = ["point-robot-wind", ENV]
    put_data_set(tmp_path, find_family(envs[0]))  # made otherwise
    few = ["steps=20", "warmup_steps=10", "checkpoint_every=20", "data.episodes=1"]
    command = ["generate-data", "--preset", "smoke", "--threads", "1", "--data", str(tmp_path)]
    assert main([*command, "--env", *envs, "--set", *few]) == 2
    said = capsys.readouterr()
    assert "point-robot-wind holds data that were made otherwise" in said.err.splitlines()[-1]
    assert ENV in said.out and (tmp_path / ENV / "manifest.json").exists()
    assert main([*command, "--env", envs[0], "nowhere", "nothing"]) == 2
    assert capsys.readouterr().err.count("unknown environment") == 2


def test_runs_are_each_tested(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ordered(data, tmp_path, "blind")) == 0
    (good,) = (tmp_path / "runs").iterdir()
    command = ["test", "--context", "offline", "--data", str(data), "--run"]
    assert main([*command, "nowhere", str(good), "neither"]) == 2
    said = capsys.readouterr()
    assert good.name in said.out
    assert [line.split()[1] for line in said.err.splitlines() if "bench:" in line] == [
        "nowhere/run.json",
        "neither/run.json",
    ]


def test_several_errors_are_raised_as_one() -> None:
    raise_all([])
    one, two = BadInput("one"), BadInput("two")
    with pytest.raises(BadInput, match="one\ntwo"):
        raise_all([one, two, one])
    with pytest.raises(ExceptionGroup, match="2 pieces of work failed"):
        raise_all([one, ZeroDivisionError()])


def test_an_error_is_kept_without_what_its_frames_hold() -> None:
    def fail() -> None:
        raise KeyError("x")

    error = tried(fail)
    assert isinstance(error, KeyError) and error.__traceback__ is None and "in fail" in error.__notes__[0]
    assert isinstance(kept(MemoryError()), BadInput)
    assert mendable(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")) is not None
    assert mendable(RuntimeError("else")) is None and mendable(OSError("of no file")) is None


def test_an_interrupted_training_does_not_wait_for_its_test_beside_it() -> None:
    """On CUDA tests go on in a thread; what fails otherwise waits for the checkpoint that it keeps."""
    for error, waits in ((KeyboardInterrupt, False), (BadInput, True)):
        released, done = threading.Event(), threading.Event()

        def test(released: threading.Event = released, done: threading.Event = done) -> None:
            released.wait(60)
            done.set()

        if waits:
            threading.Timer(0.3, released.set).start()
        with pytest.raises(error), _bookkeeping(torch.device("cuda")) as do:
            do(test)
            raise error
        assert done.is_set() == waits
        released.set()


def test_an_interrupt_is_a_sentence_and_its_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        usual_signals()
        monkeypatch.setattr(
            "comrl.benchmark.commands.cli.list_all", lambda _, number=number: os.kill(os.getpid(), number)
        )
        assert main(["list"]) == 128 + number
        assert capsys.readouterr().err.strip().startswith("bench: interrupted; the same command goes on")
    for number, handler in before.items():
        signal.signal(number, handler)
