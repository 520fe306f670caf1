"""Processes side by side: none outlives its parent's work, and none that dies takes another's work along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.forked import usual_signals
from support.orders import double, stay

from comrl.ground import processes
from comrl.ground.errors import BadInput
from comrl.ground.files import locked
from comrl.ground.processes import do_beside

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def at_work(folder: Path, how: str = "waits") -> Iterator[subprocess.Popen[bytes]]:
    """The command of support.orders, in a group of its own, when two of its workers have begun.

    Nothing is buffered here: a line that came with the first would be lost to who reads the pipe later.
    """
    command = [sys.executable, "-m", "support.orders", str(folder), how]
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
    pipes |= {"start_new_session": True, "preexec_fn": usual_signals}
    with subprocess.Popen(command, env=environ, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        yield process
        process.kill()


def rest(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """What else it prints until it ends, and its errors."""
    out, err = process.communicate(timeout=60)
    return out.decode(), err.decode()


def gone(group: int, within: float = 20) -> bool:
    """Whether no process of the group is left, or will be soon."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("who", ["parent", "group"])
def test_an_interrupt_ends_the_workers_before_the_lock_goes(
    number: signal.Signals, who: str, tmp_path: Path
) -> None:
    with at_work(tmp_path) as process:
        began = time.monotonic()
        if who == "parent":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)
        out, err = rest(process)
        assert process.returncode == 128 + number and time.monotonic() - began < 10  # idle: 0.1 s
    assert out == "alive 0\n"
    assert err.strip() == "bench: interrupted; the same command goes on where this one stopped"
    assert gone(process.pid)
    assert len(list(tmp_path.glob("[0-9]"))) == 2, "what was queued was begun"
    with locked(tmp_path):
        pass


def test_a_failure_of_the_parent_takes_the_same_path(tmp_path: Path) -> None:
    with at_work(tmp_path, "fails") as process:
        out, err = rest(process)
    assert out == "alive 0\n" and "a failure of the parent" in err and process.returncode == 1
    assert gone(process.pid)


def test_a_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    with at_work(tmp_path) as process:
        process.kill()
        process.wait()
        assert gone(process.pid)


def test_a_second_interrupt_a_second_later_ends_at_once_and_one_at_the_same_moment_does_not(
    tmp_path: Path,
) -> None:
    with at_work(tmp_path, "slow") as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None and process.stdout.readline() == b"alive 0\n"
        time.sleep(1)
        assert process.poll() is None, "the first is taken in order"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 130


def test_what_dies_or_fails_costs_itself_alone() -> None:
    told: list[int] = []
    done: list[None] = []
    outcomes = do_beside(
        double,
        [0, 1, 3, 4, 3, 5, 6, 7],
        2,
        heard=lambda _, order: told.append(order),
        finished=lambda: done.append(None),
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [0, 2, 12, 14]
    killed, failed, again, crashed = outcomes[2:6]
    assert isinstance(killed, BadInput) and str(killed) == str(again)
    assert "most likely by the system because the memory was full" in str(killed) and "--jobs" in str(killed)
    assert isinstance(crashed, BadInput) and "exit code 7" in str(crashed)
    assert str(failed) == "Stubborn: this and that" and not isinstance(failed, BadInput)
    assert "in double" in "".join(getattr(failed, "__notes__", [])), "its traceback is told"
    assert len(done) == 8 and sorted(told) == [0, 1, 3, 3, 4, 5, 6, 7]


def test_processes_that_cannot_start_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from comrl.ground.processes import do_beside\nfrom support.orders import double\n"
        "print(*do_beside(double, [1, 2, 3], 2, heard=print), sep='\\n')\n"
    )
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, script], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.count("could not start (exit code 1); a script") == 3

    def none_left(self: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes.BaseProcess, "start", none_left)
    refused = do_beside(stay, [tmp_path], 1, heard=print)
    assert "no further process can be started (Resource" in str(refused[0])
