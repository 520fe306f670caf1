"""Logged transitions in files of others: one npz or HDF5 file a task, read as arrays."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comrl.datasets.taskfile import QUALITIES, arrays_in
from comrl.ground.errors import BadInput

SUFFIXES = (".npz", ".hdf5", ".h5")
PARAMS = "params"

Contents = dict[str, dict[str, NDArray]]
"""A task's arrays by quality and name."""


class LoggedTasks(NamedTuple):
    """What a folder holds."""

    tasks: dict[int, Contents]
    params: NDArray | None
    """[T, P]; None where the files say nothing of them."""


def read_logged(folder: Path, quality: str | None = None) -> LoggedTasks:
    """The tasks of a folder's files, numbered by the last number of each name; BadInput names what is amiss.

    A file has a group (in npz: names with a slash, `expert/actions`) for each quality, or arrays without a
    group, which are of the `quality` that is told; other groups are not read.  `params` [P] may lie beside.
    """
    files = _numbered(folder)
    flat = {task: _read(path) for task, path in files.items()}
    tasks = {task: _by_quality(files[task], arrays, quality) for task, arrays in flat.items()}
    known = [task for task, arrays in flat.items() if PARAMS in arrays]
    if known and len(known) < len(flat):
        lacking = files[min(set(flat) - set(known))]
        raise BadInput(f"{lacking} lacks {PARAMS}, which {files[known[0]].name} has; give every task its own")
    return LoggedTasks(tasks, _stacked([flat[task][PARAMS] for task in sorted(flat)]) if known else None)


def read_params(path: Path) -> NDArray[np.float64]:
    """The tasks' parameters in a .npy file, or a text file with a line a task: [T, P]."""
    try:
        if path.suffix == ".npy":
            return np.atleast_2d(np.load(path, allow_pickle=False)).astype(np.float64)
        text = path.read_text("utf-8").replace(",", " ").splitlines()
        if not any(map(str.strip, text)):
            raise ValueError("it is empty")
        return np.loadtxt(text, ndmin=2, dtype=np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise BadInput(f"{path} holds no table of numbers ({error}); write a line for each task") from None


def _numbered(folder: Path) -> dict[int, Path]:
    """The files by the last number of their names, in order."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; name the one that holds a file for each task")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES:
            continue
        numbers = re.findall(r"\d+", path.stem)
        if not numbers:
            raise BadInput(f"{path} says no task's number; name it like task-003{path.suffix}")
        if (other := found.get(int(numbers[-1]))) is not None:
            raise BadInput(f"{path} and {other.name} are both of task {int(numbers[-1])}; keep one")
        found[int(numbers[-1])] = path
    if not found:
        raise BadInput(f"{folder} holds no task: no file that ends in {', '.join(SUFFIXES)}")
    return dict(sorted(found.items()))


def _read(path: Path) -> dict[str, NDArray]:
    """All arrays of a file; nothing that could run code is loaded."""
    if path.suffix != ".npz":
        return arrays_in(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BadInput(f"{path} cannot be read as npz ({error})") from None


def _by_quality(path: Path, arrays: Mapping[str, NDArray], quality: str | None) -> Contents:
    """The arrays of each quality."""
    found: Contents = {}
    for name, values in arrays.items():
        group, _, own = name.rpartition("/")
        belongs = quality if not group and quality and name != PARAMS and values.ndim else group
        if belongs in QUALITIES:
            found.setdefault(belongs, {})[own] = values
    if not found:
        raise BadInput(
            f"{path} has no group {', '.join(QUALITIES)}; name its groups so, or say with --quality what "
            "data without a group are"
        )
    return found


def _stacked(params: list[NDArray]) -> NDArray:
    if len({values.shape for values in params}) > 1:
        raise BadInput(f"{PARAMS} have different shapes in different files")
    return np.stack(params)
