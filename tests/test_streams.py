"""A command whose output nobody reads, or that has none, does its work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.data import put_data_set
from support.places import ENV, words

from comrl.benchmark.commands.cli import main
from comrl.envs import find_family
from comrl.ground.errors import BadInput
from comrl.ground.streams import Lasting, lasting_streams

ROOT = Path(__file__).resolve().parents[1]
BENCH = f"{sys.executable} -m comrl.benchmark.commands.cli"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("root") / "data"
    put_data_set(data, find_family(ENV))
    return data


@pytest.mark.parametrize("end", ["| true", "2>&1 | true", "2>&-", "<&- >&- 2>&-"])
def test_a_command_ends_well_without_a_reader_or_a_stream(end: str, data: Path) -> None:
    done = shell(f"{BENCH} verify --data {data} {end}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert ("problems" in done.stdout) == (end == "2>&-")


@pytest.mark.parametrize("end", ["2>/dev/full", pytest.param("2>&1 | true", marks=pytest.mark.slow)])
def test_a_training_whose_bars_nobody_reads_keeps_its_result(end: str, data: Path, tmp_path: Path) -> None:
    command = " ".join(words("run", data.parent)) + f" --results {tmp_path}"
    assert shell(f"{BENCH} {command} --seeds 0 {end}").returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_full_disk_under_the_output_is_a_sentence(data: Path) -> None:
    done = shell(f"{BENCH} verify --data {data} >/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: the output cannot be written (No space left on device);")
    assert done.stderr.count("\n") == 1


def test_what_an_encoding_has_not_is_written_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    lasting = Lasting(stream, always=False)
    print("10–90 % \udcff", file=lasting)  # type: ignore[arg-type]
    stream.flush()
    assert stream.buffer.getvalue() == b"10\\u201390 % \\udcff\n"  # type: ignore[attr-defined]
    assert main(["verify", "--data", "/\udcff"]) == 2
    assert "holds no data set" in capsys.readouterr().err


def test_streams_are_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with lasting_streams():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


def test_only_what_nobody_reads_is_dropped() -> None:
    with open("/dev/full", "w") as full:
        for always in (True, False):
            lasting = Lasting(full, always=always)
            lasting.write("x")
            if always:
                lasting.flush()
        assert os.readlink(f"/proc/self/fd/{full.fileno()}") == "/dev/null"
    with open("/dev/full", "w") as full:
        lasting = Lasting(full, always=False)
        lasting.write("x")
        with pytest.raises(BadInput, match="the output cannot be written"):
            lasting.flush()
