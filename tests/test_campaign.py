"""A campaign against the commands: unreadable files, random signals, full disks, fuzz; all seeds are fixed.

No traceback, nothing lost, no hang.  It takes minutes:
`make test PYTEST='-s -m slow tests/test_campaign.py'`.  CAMPAIGN=0.1 in the environment makes a tenth of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from support.forked import NOBODY, ROOT, Ended, forked, in_a_group, lost, state_of
from support.fuzz import command_line
from support.places import ENV, FILES, FOLDERS, SPOILERS, as_whole_again, build, place, readers, words

from comrl.benchmark.commands.cli import main
from comrl.benchmark.reporting.ledger import read_ledger

pytestmark = pytest.mark.slow
SHARE = float(os.environ.get("CAMPAIGN", "1"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PATIENCE = 20.0


def times(count: int) -> range:
    """So many, or the share of them that was asked for."""
    return range(max(1, round(SHARE * count)))


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A house that anybody may look into, with a data set and a run."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    folder.chmod(0o755)
    os.umask(0o022)
    torch.set_num_threads(1)
    build(folder)
    for command in [*readers("data"), "report"]:  # imports all that these do
        main(words(command, folder))
    shutil.rmtree(folder / "report")
    yield folder
    shutil.rmtree(folder)


def as_anybody(root: Path) -> int | None:
    """Who gives the commands where we are root, whom every file lets in; the house is theirs from now on."""
    if os.geteuid():
        return None
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(root)], check=True)
    return NOBODY


def told(ended: list[Ended]) -> None:
    """Say how the campaign went, and fail where something did."""
    faults = [(each.fault, each) for each in ended if each.fault]
    codes = Counter("killed" if each.code is None else each.code for each in ended)
    stopped = sum(each.interrupted for each in ended)
    print(f"\n{len(ended)} commands, exit codes {dict(codes)}, {stopped} interrupted, {len(faults)} faults")
    for fault, each in faults[:10]:
        print(f"--- {fault}: bench {' '.join(each.words)}\n{each.err[-1500:]}")
    assert not faults


@pytest.mark.parametrize("kind", [*SPOILERS, "permission denied", "truncated", "altered"])
def test_unreadable_files_at_every_place(kind: str, root: Path) -> None:
    """Six kinds, every place, every command: a sentence or its work, and nothing else is touched."""
    user = as_anybody(root)
    draw, ended = np.random.default_rng(1), []
    names = [*FILES, *FOLDERS] if kind == "permission denied" else [*FILES]
    for name in names:
        path, given = place(root, name), {command: words(command, root) for command in readers(name)}
        whole, mode = state_of(root), path.stat().st_mode
        image = path.read_bytes() if path.is_file() else b""
        if kind == "permission denied":
            path.chmod(0)
        elif kind == "truncated":
            path.write_bytes(image[: int(draw.integers(len(image)))])
        elif kind == "altered":
            flipped = bytearray(image)
            flipped[int(draw.integers(len(image)))] ^= 1 << int(draw.integers(8))
            path.write_bytes(flipped)
        else:
            SPOILERS[kind](path)
        ended += [forked(line, PATIENCE, root, user=user) for line in given.values()]
        if kind == "permission denied":
            path.chmod(stat.S_IMODE(mode))
        elif kind in SPOILERS:
            as_whole_again(path)
        else:
            path.write_bytes(image)
        shutil.rmtree(root / "report", ignore_errors=True)
        assert not lost(whole, state_of(root)), name
    told(ended)


def test_fuzzed_settings_and_arguments(root: Path) -> None:
    """A thousand command lines: each ends, with its work, with a sentence, or when it is asked to."""
    draw, whole, ended = np.random.default_rng(2), state_of(root), []
    below = root / "a" / "b" / "c"
    below.mkdir(parents=True)
    user = as_anybody(root)
    for _ in times(1000):
        ended.append(forked(command_line(draw, root), 1.0, below, user=user))
    told(ended)
    assert not lost(whole, state_of(root), "index.html", "run.json", ".csv", ".tex", ".md")
    assert read_ledger(root / "results").runs


# --- signals


def struck(folder: Path, line: list[str], draw: np.random.Generator, longest: float) -> Ended:
    """A command in a group of its own, and at a random moment a signal to it, to all of it or to a worker."""
    with (folder / "said").open("w+") as said:
        process = in_a_group(line, folder, said, OMP_NUM_THREADS="1")
        time.sleep(float(draw.uniform(2.0, longest)))  # later than the interpreter's own start
        number = signal.Signals(
            int(draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]))
        )
        whom = str(draw.choice(["parent", "group", "worker"]))
        whom = strike(process.pid, number, whom)
        try:
            code = process.wait(PATIENCE if whom != "worker" else 10 * PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        until = time.monotonic() + PATIENCE
        while group_of(process.pid) and time.monotonic() < until:
            time.sleep(0.02)
        left = group_of(process.pid)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        said.seek(0)
        words = said.read() + ("did not end" if left else "")
    fine = {0, 2, -number, 128 + number} if whom != "worker" else {0, 2}
    code = 2 if code in fine and not left else code
    return Ended([*line, whom, number.name], code, "", "bench: " + words, False)


def group_of(group: int) -> list[int]:
    """The processes of a group that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


def strike(parent: int, number: int, whom: str) -> str:
    """Send a signal to the parent, to its group, or to one of its workers, if it has some; who got it."""
    workers = [pid for pid in group_of(parent) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    whom = "parent" if whom == "worker" and not workers else whom
    with suppress(ProcessLookupError):  # it was done
        if whom == "group":
            os.killpg(parent, number)
        else:
            os.kill(workers[-1] if whom == "worker" else parent, number)
    return whom


def test_random_signals_to_a_generation(tmp_path: Path) -> None:
    """What is whole stays, and the data end at the same bytes."""
    few = ["--preset", "smoke", "--set", "block=2", "--threads", "2"]
    line = ["generate-data", "--env", "point-robot-wind", *few, "--data"]
    assert main([*line, str(tmp_path / "undisturbed")]) == 0
    draw, ended, data = np.random.default_rng(3), [], tmp_path / "data"
    data.mkdir()
    for _ in times(12):
        whole = state_of(data)
        ended.append(struck(tmp_path, [*line, str(data)], draw, 9.0))
        assert not lost(whole, state_of(data), "cost.json")
        if (data / "point-robot-wind" / "manifest.json").exists():
            shutil.rmtree(data / "point-robot-wind")
    told(ended)
    assert main([*line, str(data)]) == 0 and main(["verify", "--data", str(data)]) == 0
    assert not lost(state_of(tmp_path / "undisturbed"), state_of(data), "cost.json")


def test_random_signals_to_runs_side_by_side(root: Path, tmp_path: Path) -> None:
    """Finished runs stay, and the ledger ends as an undisturbed one."""
    line = [
        "run",
        "--env",
        ENV,
        "--preset",
        "smoke",
        "--algo",
        "blind",
        "oracle",
        "focal",
        "--seeds",
        "0",
        "1",
    ]
    line += ["--data", str(root / "data"), "--threads", "2", "--jobs", "2", "--set", "steps=200", "--results"]
    draw, ended, results = np.random.default_rng(4), [], tmp_path / "results"
    for _ in times(12):
        whole = state_of(results)
        ended.append(struck(tmp_path, [*line, str(results)], draw, 14.0))
        assert not lost(whole, state_of(results))
    told(ended)
    assert main([*line, str(results)]) == 0
    assert main([*line, str(tmp_path / "undisturbed")]) == 0
    curves = [
        {run.path.name: run.curves for run in read_ledger(where).runs}
        for where in (results, tmp_path / "undisturbed")
    ]
    assert curves[0].keys() == curves[1].keys() and len(curves[0]) == 3
    assert all(curves[0][name].equals(curves[1][name]) for name in curves[0])


# --- disks

ON_A_DISK = """
mount -t tmpfs -o size={size} tmpfs "$1" || exit 99
shift
"$@"; echo "full $?"
mount -o remount,size=200m tmpfs "{disk}"
"$@"; echo "room $?"
mount -o remount,ro tmpfs "{disk}"
"$@"; echo "shut $?"
"""


@pytest.mark.parametrize("size", ["600k", "1m", "1500k"])
def test_full_and_read_only_disks(size: str, tmp_path: Path) -> None:
    """Nothing is lost on a full disk; what is complete needs no disk to write to."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs a mount of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["generate-data", "--env", "point-robot-wind", "--preset", "smoke", "--threads", "1", "--data"]
    script = ON_A_DISK.format(size=size, disk=disk)
    bench = [sys.executable, "-m", "comrl.benchmark.commands.cli", *line, str(disk)]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "bash", str(disk), *bench],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert [word for word in done.stdout.split("\n") if word[:4] in ("full", "room", "shut")] == [
        "full 2",
        "room 0",
        "shut 0",
    ], done.stdout + done.stderr
    assert "no space left" in done.stderr and "Traceback" not in done.stderr
