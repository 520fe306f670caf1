"""Commands whose workers compute for minutes end within seconds of an interrupt, and keep what is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.data import put_data_set
from support.forked import in_a_group

from comrl.benchmark.commands.cli import main
from comrl.envs import find_family
from comrl.ground.files import locked

PATIENCE = 15  # seconds; on an idle machine it takes well below one
ENV = "sparse-point-robot"


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """A command in a process group of its own, its words on standard error in a file."""
    with (folder / "said").open("wb") as said:
        return in_a_group(words, folder, said)


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def interrupted(process: subprocess.Popen[bytes], whom: Callable[[int, int], None], folder: Path) -> float:
    """The seconds until it ended in order, with all its workers."""
    assert process.poll() is None, (folder / "said").read_text()
    began = time.monotonic()
    whom(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    took = time.monotonic() - began
    until = time.monotonic() + PATIENCE
    while alive(process.pid) and time.monotonic() < until:  # the tracker of the library's semaphores
        time.sleep(0.01)
    assert not alive(process.pid)
    said = (folder / "said").read_text()
    assert said.endswith("bench: interrupted; the same command goes on where this one stopped\n")
    assert "Traceback" not in said
    return took


def wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 200
    while not there() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("whom", [os.kill, os.killpg], ids=["parent", "group"])
def test_generation_with_queued_blocks_ends_at_once_and_goes_on(
    whom: Callable[[int, int], None], tmp_path: Path
) -> None:
    few = ["--preset", "smoke", "--set", "block=1", "data.episodes=1"]
    command = ["generate-data", "--env", "point-robot-wind", *few, "--threads", "2", "--data", str(tmp_path)]
    folder = tmp_path / "point-robot-wind"
    process = started(tmp_path, *command)
    wait_for(lambda: len(list(folder.glob("task-*.hdf5"))) >= 3, process)
    interrupted(process, whom, tmp_path)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("task-*.hdf5")}
    assert 3 <= len(kept) < 50 and {path.name for path in folder.iterdir()} == {
        *(path.name for path in kept),
        "cost.json",
    }
    time.sleep(2)
    assert all(path.stat().st_mtime_ns == at for path, (_, at) in kept.items()), "a worker went on"
    assert main(command) == 0 and main(["verify", "--data", str(tmp_path)]) == 0
    assert all(path.read_bytes() == image for path, (image, _) in kept.items())


@pytest.mark.slow
@pytest.mark.parametrize("whom", [os.kill, os.killpg], ids=["parent", "group"])
def test_long_blocks_of_bodies_end_at_once(whom: Callable[[int, int], None], tmp_path: Path) -> None:
    long = ["--preset", "smoke", "--set", "steps=8000", "checkpoint_every=4000", "block=10"]
    command = [
        "generate-data",
        "--env",
        "sparse-cheetah-vel",
        *long,
        "--threads",
        "2",
        "--data",
        str(tmp_path),
    ]
    process = started(tmp_path, *command)
    wait_for(lambda: (tmp_path / "sparse-cheetah-vel" / ".bench-lock").exists(), process)
    time.sleep(20)
    interrupted(process, whom, tmp_path)
    with locked(tmp_path / "sparse-cheetah-vel"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("whom", [os.kill, os.killpg], ids=["parent", "group"])
def test_runs_side_by_side_end_at_once_and_go_on(whom: Callable[[int, int], None], tmp_path: Path) -> None:
    put_data_set(tmp_path / "data", find_family(ENV))
    asked = ["run", "--env", ENV, "--preset", "smoke", "--seeds", "0", "--algo", "blind", "oracle", "focal"]
    asked += ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results"), "--jobs", "2"]
    asked += ["--threads", "2", "--set", "eval_every=20"]
    process = started(tmp_path, *asked, "steps=100000")
    wait_for(lambda: len(list(tmp_path.glob("results/work/*/checkpoint.pt"))) == 2, process)
    interrupted(process, whom, tmp_path)
    assert not list(tmp_path.glob("results/runs/*"))
    assert main([*asked, "steps=40"]) == 0
    assert len(list(tmp_path.glob("results/runs/*"))) == 3


@pytest.mark.slow
def test_the_demo_ends_at_once(tmp_path: Path) -> None:
    process = started(tmp_path, "demo", "--threads", "2")
    wait_for(lambda: bool(list(tmp_path.glob("results/demo/data/*/.bench-lock"))), process)
    time.sleep(8)
    interrupted(process, os.kill, tmp_path)
