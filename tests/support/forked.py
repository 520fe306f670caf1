"""Commands in children of this process, which has all imports done: hundreds in minutes, each on its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from comrl.benchmark.commands.cli import main

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
ENOUGH = 15.0  # seconds to end in once interrupted, on a machine with much else to do


class Ended(NamedTuple):
    """How a command ended."""

    words: Sequence[str]
    code: int | None
    """None: it had to be killed."""
    out: str
    err: str
    interrupted: bool

    @property
    def fault(self) -> str:
        """What is wrong with that; nothing where it did its work or said in a sentence why not."""
        told = any(line.startswith("bench") for line in self.err.splitlines())
        if self.code is None:
            return "did not end when interrupted"
        if "Traceback" in self.err or "Traceback" in self.out:
            return "traceback"
        if self.interrupted:
            return "" if self.code in (0, 2, 130) else f"interrupted, ended with {self.code}"
        if self.code not in (0, 2):
            return f"exit code {self.code}"
        return "" if self.code == 0 or told else "no sentence"


def usual_signals() -> None:
    """As a command finds them that somebody types: who runs the tests may have had some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def in_a_group(words: Sequence[str], folder: Path, said: IO[Any], **environ: str) -> subprocess.Popen[bytes]:
    """A command that begins in a process group of its own, in a folder; all that it says goes to a file."""
    return subprocess.Popen(
        [sys.executable, "-m", "comrl.benchmark.commands.cli", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=said,
        stderr=said,
        start_new_session=True,
        preexec_fn=usual_signals,
    )


def forked(words: Sequence[str], patience: float, folder: Path, *, user: int | None = None) -> Ended:
    """A command in a folder; interrupted when it takes longer, and killed where that does not end it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            _do(words, out.fileno(), err.fileno(), user)
        code, interrupted = _wait(child, patience), False
        if code is None:
            interrupted = True
            os.kill(child, signal.SIGINT)
            code = _wait(child, ENOUGH)
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode(errors="replace"))
    return Ended(words, code, *said, interrupted)


def _do(words: Sequence[str], out: int, err: int, user: int | None) -> None:
    """Never returns."""
    code = 1
    try:
        usual_signals()
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        code = main(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    """The exit code, within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def state_of(folder: Path) -> dict[str, bytes | None]:
    """All that is whole below a folder: the bytes of files, None for what cannot be read; no lock is."""
    found: dict[str, bytes | None] = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "work" and "bench-partial" not in name]
        for name in files:
            path = Path(root) / name
            if not name.startswith("."):
                try:
                    found[str(path.relative_to(folder))] = path.read_bytes()
                except OSError:
                    found[str(path.relative_to(folder))] = None
    return found


def lost(before: dict[str, bytes | None], after: dict[str, bytes | None], *may_change: str) -> list[str]:
    """The files that were there and are not, or are others."""
    stays = {name: content for name, content in before.items() if not name.endswith(may_change)}
    return [name for name, content in stays.items() if after.get(name, b"absent") != content]
