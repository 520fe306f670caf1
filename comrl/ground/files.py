"""Files are written whole or not at all, by one process at a time; a full disk is a sentence."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from comrl.ground.errors import BadInput, Notice

PARTIAL = ".bench-partial"
ASIDE = f".bench-old{PARTIAL}"
LOCK = ".bench-lock"
FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EFBIG, errno.EBUSY, errno.ETXTBSY, errno.ENXIO),
    *(errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EOPNOTSUPP, errno.EXDEV, errno.ENODEV),
)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # Lustre, some NFS


class Owned(BadInput):
    """Another process writes there."""


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write under; it becomes `path`, safe on the disk, when the block ends well."""
    part = path.with_name(f".{path.name}{PARTIAL}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_back(path)
        _remove(part)
    try:
        with disk_errors(path, part):
            yield part
            _sync(part)
            _rename(part, path)
            _sync(path.parent, deep=False)
    finally:
        _remove(part)


@contextmanager
def write_folder_whole(path: Path) -> Iterator[Path]:
    """The same for a folder: an empty one to fill, which takes the place of whatever is at `path`."""
    with write_whole(path) as part:
        part.mkdir()
        yield part


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Own a folder and all below it, or BadInput where somebody does and we do not wait.

    What a killed owner left half-written is removed.
    """
    with claimed(folder / LOCK, wait=wait):
        with disk_errors(folder):
            _sweep(folder)
        yield


@contextmanager
def claimed(lock: Path, *, wait: bool = False) -> Iterator[None]:
    """Own a lock file, or BadInput where somebody does and we do not wait; it is gone afterwards."""
    with disk_errors(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(lock, wait)
    try:
        yield
    finally:
        with suppress(OSError):  # a disk that became read-only meanwhile: what counts is the handle
            lock.unlink()
        os.close(handle)


@contextmanager
def disk_errors(path: Path, part: Path | None = None) -> Iterator[None]:
    """A full disk, or a place that cannot be written to, is one sentence; `part` is what is there."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise _no_space(path, _size(part or path)) from error
        if error.errno in REFUSED:
            where = error.filename or path
            raise BadInput(f"{where}: {error.strerror}; choose a folder that you may write to") from error
        raise


def require_writable(folder: Path, option: str) -> None:
    """BadInput at the door where the folder, or the nearest above it that exists, is not to be written to."""
    with disk_errors(folder):
        where = existing(folder)
    if not os.access(where, os.W_OK | os.X_OK):
        raise BadInput(f"{where} cannot be written to; give another folder with {option}")


def require_space(folder: Path, size: int) -> None:
    """BadInput at the door where the folder's disk has no room for so many bytes."""
    with disk_errors(folder):
        free = shutil.disk_usage(existing(folder)).free
    if free < size:
        raise _no_space(folder, size - free)


def _no_space(path: Path, size: int) -> BadInput:
    disk = existing(path)
    while not disk.is_mount() and disk != disk.parent:
        disk = disk.parent
    megabytes = max(1, -(-size // 10**6))
    return BadInput(
        f"no space left on {disk} for {path}: free {megabytes} MB or more there and give the same command "
        "again; what is finished is kept"
    )


def _lock(path: Path, wait: bool) -> int:
    """The handle of a lock file, which the kernel lets go when the process ends, however it ends."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            owner = os.read(handle, 256).decode(errors="replace") or "unknown"
            os.close(handle)
            raise Owned(
                f"{path.parent}: another process ({owner}) is writing there; wait until it ends or choose "
                "another folder"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warnings.warn(
                f"{path.parent}: this file system has no locks; give no second command that writes there",
                Notice,
                stacklevel=2,
            )
        if _is_open(handle, path):
            with suppress(OSError):  # a full disk has no room for the owner's name: the lock holds without
                os.truncate(handle, 0)
                os.write(handle, f"number {os.getpid()} on {socket.gethostname()}".encode())
            return handle
        os.close(handle)  # its last owner removed it between our opening and our locking: try the new one


def _is_open(handle: int, path: Path) -> bool:
    """Whether the handle is of the file that now lies at the path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return False


def _sweep(folder: Path) -> None:
    """Remove partial files below a folder, and put back what was set aside, but for folders with an owner of
    their own.
    """
    for root, folders, files in os.walk(folder):
        here = Path(root)
        for name in [*folders, *files]:
            if name.startswith(".") and name.endswith(ASIDE):
                _put_back(here / name[1 : -len(ASIDE)])
            if name.startswith(".") and name.endswith(PARTIAL):
                _remove(here / name)
        folders[:] = [name for name in folders if not os.path.exists(here / name / LOCK)]


def _rename(part: Path, path: Path) -> None:
    """Give the part its name; a folder in the way is set aside first, as nothing replaces a full one."""
    if not path.is_dir():
        part.replace(path)
        return
    aside = _aside(path)
    _remove(aside)
    try:
        path.replace(aside)
        part.replace(path)
    except BaseException:
        _put_back(path)
        raise
    _remove(aside)


def _aside(path: Path) -> Path:
    """Where a folder waits while another takes its name."""
    return path.with_name(f".{path.name}{ASIDE}")


def _put_back(path: Path) -> None:
    """Give a folder that was set aside its name again, where nothing has taken it."""
    if not os.path.lexists(path) and _aside(path).is_dir():
        _aside(path).replace(path)


def _sync(path: Path, deep: bool = True) -> None:
    """Have the disk hold a file, or a folder's entries and all below it."""
    if deep and path.is_dir():
        for child in path.iterdir():
            _sync(child)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """The bytes in a file or below a folder; none where there is nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def existing(path: Path) -> Path:
    """The nearest folder above a path, itself included, that exists."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
