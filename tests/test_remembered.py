"""What is listed comes quickly: what takes torch to know is kept, and never out of date."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comrl.ground import remembered
from comrl.ground.remembered import Table

TORCHLESS = """
import sys
from comrl.benchmark.commands.cli import main
code = main(sys.argv[1:])
assert code == 0, code
print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one module, and an empty folder to keep things in."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "part.py").write_text("PARTS = ('one',)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shelf", raising=False)
    monkeypatch.setenv("COMRL_CACHE", str(tmp_path / "kept"))
    return folder


def asked(made: list[int]) -> Table:
    def make() -> Table:
        made.append(1)
        return [{"part": "one"}]

    return remembered.remembered("shelf", "PARTS", make)


def test_it_is_made_once_until_a_file_changes(package: Path) -> None:
    made: list[int] = []
    assert asked(made) == asked(made) == [{"part": "one"}] and len(made) == 1
    os.utime(package / "part.py", ns=(1, 1))
    assert asked(made) and len(made) == 2
    (package / "another.py").write_text("")
    assert asked(made) and asked(made) and len(made) == 3


def test_a_folder_that_joins_the_package_counts(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    asked(made)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "own.py").write_text("")
    monkeypatch.setattr(sys.modules["shelf"], "__path__", [str(package), str(tmp_path / "more")])
    assert asked(made) and len(made) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state": 3, "table": 4}', "\x00"])
def test_what_cannot_be_read_is_made_anew(package: Path, content: str) -> None:
    made: list[int] = []
    asked(made)
    (remembered.folder() / "shelf.PARTS.json").write_text(content)
    assert asked(made) == [{"part": "one"}] and len(made) == 2
    assert json.loads((remembered.folder() / "shelf.PARTS.json").read_text())["table"] == [{"part": "one"}]


def test_nothing_is_kept_where_nothing_can_be(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMRL_CACHE", str(package / "part.py" / "below"))
    made: list[int] = []
    assert asked(made) == asked(made) == [{"part": "one"}] and len(made) == 2


def test_nobody_needs_a_home(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("COMRL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    made: list[int] = []
    assert asked(made) == asked(made) == [{"part": "one"}] and len(made) == 2


def test_plug_ins_are_asked_every_time(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "entry_points", lambda group: ["somebody's"] * (group == "comrl.parts"))
    made: list[int] = []
    asked(made)
    asked(made)
    assert len(made) == 2 and not remembered.folder().exists()


def test_listing_imports_no_torch_the_second_time(tmp_path: Path) -> None:
    kept = os.environ | {"COMRL_CACHE": str(tmp_path / "kept")}
    command = [sys.executable, "-c", TORCHLESS, "list", "--data", str(tmp_path), "--results", str(tmp_path)]
    first, second = (subprocess.run(command, capture_output=True, text=True, env=kept) for _ in range(2))
    assert (first.stderr, second.stderr) == ("True\n", "False\n")
    assert first.stdout == second.stdout and "focalpp" in second.stdout


def test_the_report_and_verify_import_no_torch() -> None:
    program = """
import sys
import comrl.benchmark.reporting.report, comrl.benchmark.commands.inspect
from comrl.datasets.splits import splits
from comrl.envs.family import families
assert families() and splits() and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
