"""A file is there whole or not at all, whatever ends the writer, and a folder has one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comrl.ground.errors import BadInput
from comrl.ground.files import ASIDE, PARTIAL, locked, require_space, write_folder_whole, write_whole

WRITER = """
import sys, time
from pathlib import Path
from comrl.ground.files import locked, write_folder_whole, write_whole
folder = Path(sys.argv[1])
with locked(folder), write_whole(folder / "a.bin") as a, write_folder_whole(folder / "runs" / "b") as b:
    a.write_bytes(b"half")
    (b / "c.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder and is half-way through two writes."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def below(folder: Path) -> list[str]:
    """The names of all files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        with write_whole(path) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert below(tmp_path) == ["new", "new/a.txt"]


def test_a_folder_takes_its_name_when_it_is_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for name in ("first", "second"):
        with write_folder_whole(path) as part:
            (part / "deep").mkdir()
            (part / "deep" / name).write_text(name)
    assert below(tmp_path) == ["run", "run/deep", "run/deep/second"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), write_whole(path) as part:
        part.write_text("new")
        raise error
    with pytest.raises(error), write_folder_whole(tmp_path / "run") as part:
        (part / "b").write_text("new")
        raise error
    assert below(tmp_path) == ["a.txt"] and path.read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.bin"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(BadInput, match=rf"no space .* for {path}: free 3 MB"),
        write_whole(path) as part,
    ):
        part.write_bytes(bytes(2_500_000))
    with pytest.raises(BadInput, match="free 1 MB"), write_folder_whole(tmp_path / "run") as part:
        (part / "b").write_text("new")
    assert below(tmp_path) == ["a.bin"] and path.read_text() == "old"


def test_a_disk_too_small_is_refused_at_the_door(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(BadInput, match="no space left"):
        require_space(tmp_path / "not" / "yet", 10**18)


def test_a_place_that_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(BadInput, match="choose a folder that you may write to"), locked(folder):
            pass
        with pytest.raises(BadInput, match="choose a folder"), write_whole(folder / "a"):
            pass


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        with (
            pytest.raises(BadInput, match=f"another process .number {process.pid}"),
            locked(tmp_path),
        ):
            pass
        assert (tmp_path / ".a.bin.bench-partial").read_bytes() == b"half"  # the refused one touched nothing
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert any("bench-partial" in name for name in below(tmp_path))
    with locked(tmp_path):
        assert below(tmp_path) == [".bench-lock", "runs"]
    assert below(tmp_path) == ["runs"]


def test_a_folder_with_an_owner_of_its_own_is_not_swept(tmp_path: Path) -> None:
    with writer(tmp_path / "inner"):
        before = below(tmp_path / "inner")
        with locked(tmp_path):
            assert below(tmp_path / "inner") == before


def test_a_lock_is_given_back_and_held_once(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path):
            with pytest.raises(BadInput, match="is writing there"), locked(tmp_path):
                pass
            assert below(tmp_path) == [".bench-lock"]
    assert below(tmp_path) == []


def test_a_lock_file_that_its_last_owner_removes_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, handles = fcntl.flock, list[int]()

    def slow(handle: int, operation: int) -> None:
        real(handle, operation)
        if not handles:  # the owner before us ends between our opening and our locking
            (tmp_path / ".bench-lock").unlink()
        handles.append(handle)

    monkeypatch.setattr(fcntl, "flock", slow)
    with locked(tmp_path), pytest.raises(BadInput, match="is writing there"), locked(tmp_path):
        pass
    assert len(handles) == 2


def test_a_file_system_without_locks_warns_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre and some NFS."""
    for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        monkeypatch.setattr(fcntl, "flock", lambda *_, number=number: refuse(number))
        with pytest.warns(UserWarning, match="this file system has no locks"), locked(tmp_path):
            pass
        assert below(tmp_path) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".bench-lock").symlink_to(tmp_path / "precious")
    with pytest.raises(BadInput, match=r"symbolic links.*choose a folder"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


def refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermissionError(errno.EACCES, "denied")])
@pytest.mark.parametrize("step", [1, 2])
def test_a_folder_is_there_whatever_ends_us_while_another_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: int
) -> None:
    """Between the two renames there is no folder of that name."""
    with write_folder_whole(tmp_path / "run") as part:
        (part / "old").write_text("old")
    real, calls = Path.replace, list[Path]()

    def ending(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == step:
            raise error
        return real(path, target)

    monkeypatch.setattr(Path, "replace", ending)
    with pytest.raises((KeyboardInterrupt, BadInput)), write_folder_whole(tmp_path / "run") as part:
        (part / "new").write_text("new")
    assert below(tmp_path) == ["run", "run/old"]


def test_a_folder_set_aside_by_a_killed_process_is_put_back(tmp_path: Path) -> None:
    def killed(name: str) -> None:
        for ending, file in ((ASIDE, "old"), (PARTIAL, "new")):
            (tmp_path / f".{name}{ending}").mkdir()
            (tmp_path / f".{name}{ending}" / file).write_text(file)

    killed("run")
    with locked(tmp_path):
        pass
    assert below(tmp_path) == ["run", "run/old"]
    killed("other")
    with pytest.raises(RuntimeError), write_folder_whole(tmp_path / "other"):
        raise RuntimeError
    assert below(tmp_path) == ["other", "other/old", "run", "run/old"]
    killed("run")  # the new one has the name already
    with locked(tmp_path):
        pass
    assert below(tmp_path) == ["other", "other/old", "run", "run/old"]
