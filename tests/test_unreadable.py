"""What cannot be read is one sentence with its path, in every command; what does not need it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.places import ENV, FILES, FOLDERS, SPOILERS, build, forbid, place, words

from comrl.benchmark.commands.cli import main
from comrl.datasets.cost import seconds_spent
from comrl.ground.errors import BadInput
from comrl.ground.reading import content_of, folders_in, is_there, names_in

NEEDED = {  # the commands that cannot do their work without the place
    f"data/{ENV}/manifest.json": ("verify", "run", "test", "generate-data"),
    f"data/{ENV}/task-000.hdf5": ("verify", "run", "test", "generate-data"),
    f"data/{ENV}/cost.json": (),
    f"data/{ENV}": ("verify", "run", "test", "generate-data"),
    "data": ("verify", "run", "test", "generate-data"),
    "results/runs/RUN/run.json": ("run", "test", "report"),
    "results/runs/RUN/returns.csv": ("run", "report"),
    "results/runs/RUN/weights.pt": ("test",),
    "results/runs/RUN": ("run", "test", "report"),
    "results/runs": ("run", "test", "report"),
    "results/datasets/PORTRAIT/portrait.json": ("report",),
    "results/datasets": ("report",),
    "results": ("run", "test", "report"),
}
NOT_LISTED = ("cost", "returns", "weights", "datasets")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    build(root)
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(built, tmp_path / "root")
    return tmp_path / "root"


def refuses(command: list[str], path: Path, said: pytest.CaptureFixture[str]) -> None:
    """The command ends with one sentence that names the path or what lies below it."""
    said.readouterr()
    assert main(command) == 2, command
    err = said.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("bench: ")]
    assert lines and str(path) in err and "delete" not in err, err
    assert "cannot be read (" in err or "choose a folder" in err or "cannot be written" in err, err


def test_every_place_is_told_of() -> None:
    assert {*NEEDED} == {*FILES, *FOLDERS}


@pytest.mark.parametrize("name", NEEDED)
def test_a_place_that_may_not_be_read_is_a_sentence(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(root, name)
    commands = {command: words(command, root) for command in NEEDED[name]}
    listing = words("list", root)
    forbid(path, monkeypatch)
    for command in commands.values():
        refuses(command, path, capsys)
    capsys.readouterr()
    assert main(listing) == 0
    listed = not any(word in name for word in NOT_LISTED)
    assert ("cannot be read (permission denied)" in capsys.readouterr().out) == listed


@pytest.mark.parametrize("kind", SPOILERS)
def test_what_is_no_file_is_a_sentence(
    kind: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(FILES):
        root = tmp_path / str(number)
        shutil.copytree(built, root)
        commands = {command: words(command, root) for command in NEEDED[name]}
        path = place(root, name)
        SPOILERS[kind](path)
        for command in commands.values():
            refuses(command, path, capsys)
        assert main(words("list", root)) == 0


def test_names_that_no_file_system_takes_are_a_sentence(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = root / ("x" * 300)
    for command in ("verify", "run", "test", "generate-data"):
        refuses([*words(command, root), "--data", str(long)], long, capsys)
    for command in ("run", "report"):
        refuses([*words(command, root), "--results", str(long)], long, capsys)
    assert main([*words("list", root), "--data", str(long), "--results", str(long)]) == 0
    assert capsys.readouterr().out.count("cannot be read (file name too long)") == 2


def test_a_run_that_another_experiment_left_broken_stops_none(root: Path) -> None:
    """Only runs of the same experiment are opened before a training."""
    other = root / "results" / "runs" / "walker-2d-params.mixed.smoke.focal.00000000"
    other.mkdir()
    (other / "run.json").write_text("{")
    assert main(words("run", root)) == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"seconds": "x"}', '{"seconds": NaN}', '{"seconds": -1}']
)
def test_a_cost_that_says_nothing_is_not_missed(content: str, tmp_path: Path) -> None:
    (tmp_path / "cost.json").write_text(content)
    assert seconds_spent(tmp_path) is None
    (tmp_path / "cost.json").write_text(json.dumps({"seconds": 1.5}))
    assert seconds_spent(tmp_path) == 1.5


def test_reading_tells_what_is_absent_from_what_is_shut(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("absent")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".folder.bench-partial").mkdir()
    assert content_of(tmp_path / "file") == b"x" and content_of(tmp_path / "file" / "below") is None
    assert content_of(tmp_path / "nowhere") is None and not is_there(tmp_path / "nowhere")
    assert names_in(tmp_path / "absent") == [] and is_there(tmp_path / "folder")
    assert [path.name for path in folders_in(tmp_path)] == ["folder", "loop"]
    for look in (content_of, is_there, names_in):
        with pytest.raises(BadInput, match=r"loop cannot be read \(too many levels"):
            look(tmp_path / "loop")
