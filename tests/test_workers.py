"""Several workers: killed with their parent, and the bytes of one worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tqdm import tqdm

from comrl.benchmark.generation.workers import do_all
from comrl.ground.errors import BadInput

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [
    sys.executable,
    "-m",
    "comrl.benchmark.commands.cli",
    "generate-data",
    "--env",
    "point-robot-wind",
    "--preset",
    "smoke",
]


def start(data: Path, threads: int) -> subprocess.Popen[bytes]:
    """The command on its way, in a process group of its own."""
    words = [*COMMAND, "--set", "block=10", "--data", str(data), "--threads", str(threads)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)


def files_of(data: Path) -> dict[str, bytes]:
    folder = data / "point-robot-wind"
    return {path.name: path.read_bytes() for path in (*folder.glob("*.hdf5"), folder / "manifest.json")}


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def refuse_odd(order: int, progress: Callable[[int], object]) -> None:
    """Work that leaves a file, and refuses odd orders."""
    if order % 2:
        raise BadInput(f"order {order} is odd")
    Path(os.environ["LEFT"], str(order)).touch()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refused_order_stops_no_other(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEFT", str(tmp_path))
    done: list[None] = []
    with tqdm(disable=True) as bar, pytest.raises(BadInput, match=r"order [13] is odd"):
        do_all(refuse_odd, [0, 1, 2, 3, 4], workers, bar, lambda: done.append(None))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "4"]
    assert len(done) == 5


@pytest.mark.slow
def test_killed_with_two_workers_it_leaves_none_and_ends_at_the_same_bytes(tmp_path: Path) -> None:
    assert start(tmp_path / "one", 1).wait(120) == 0
    parent = start(tmp_path / "two", 2)
    folder, until = tmp_path / "two" / "point-robot-wind", time.monotonic() + 60
    while not list(folder.glob("*.hdf5")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while alive(parent.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(parent.pid)
    assert 0 < len(list(folder.glob("*.hdf5"))) < 50
    assert start(tmp_path / "two", 2).wait(120) == 0
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
