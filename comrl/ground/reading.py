"""Reading what may not be there, or may not be read: nothing, or one sentence that names the place."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comrl.ground.errors import BadInput

ABSENT = (FileNotFoundError, NotADirectoryError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What keeps a file or folder from being read is a sentence."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadInput(
            f"{error.filename or path} cannot be read ({why}); make it readable, or move it away"
        ) from error


def content_of(path: Path) -> bytes | None:
    """The bytes of a file; None where there is none.

    What is no file, as a pipe or a device, is not read: it may have no end.
    """
    with reading(path):
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise BadInput(f"{path} is no file but a pipe, a socket or a device; move it away")
            return path.read_bytes()
        except ABSENT:
            return None


def is_there(path: Path) -> bool:
    """Whether there is a file or folder, which may be behind links."""
    with reading(path):
        try:
            path.stat()
        except ABSENT:
            return False
    return True


def names_in(folder: Path) -> list[str]:
    """The sorted names in a folder; none where there is no folder."""
    with reading(folder):
        try:
            return sorted(os.listdir(folder))
        except ABSENT:
            return []


def folders_in(parent: Path) -> list[Path]:
    """The folders in a folder that were written whole: a name that starts with a dot is one that was not.

    One that cannot be looked at is among them, so that whoever reads it says so.
    """
    return [parent / name for name in names_in(parent) if name[0] != "." and _may_be_folder(parent / name)]


def _may_be_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True
