"""Tables and arrays as bytes, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
LEVELS = 65_535
BOUNDS = ".bounds"
"""Behind the name of an array that is kept as levels: the array of its lowest and highest numbers."""


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as the same bytes every time."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def csv_table(content: bytes) -> pd.DataFrame:
    """A table whose every number comes back to the last bit, which pandas' own reader does not promise in all
    versions; ValueError where it is none.
    """
    try:
        names, *rows = csv.reader(io.StringIO(content.decode()))
    except csv.Error as error:
        raise ValueError(f"no table ({error})") from error
    ragged = next((i for i, row in enumerate(rows, 1) if len(row) != len(names)), None)
    if ragged is not None:
        raise ValueError(f"row {ragged} of a table has {len(rows[ragged - 1])} cells, not {len(names)}")
    return pd.DataFrame({name: _column([row[i] for row in rows]) for i, name in enumerate(names)})


def _column(cells: list[str]) -> Sequence[int | float | str]:
    for kind in (int, lambda cell: float(cell or "nan")):
        try:
            return [kind(cell) for cell in cells]
        except ValueError:
            continue
    return cells


def npz_bytes(arrays: Mapping[str, NDArray[np.generic]], coarse: Collection[str] = ()) -> bytes:
    """Arrays by name as the bytes of an npz file; the coarse ones in 16 bits a number if all are finite."""
    out, kept = io.BytesIO(), {name: np.asarray(arrays[name]) for name in sorted(arrays)}
    for name in [name for name in kept if name in coarse and np.isfinite(kept[name]).all()]:
        kept |= _levels(name, kept[name])
    np.savez_compressed(out, **kept)  # type: ignore[arg-type]
    return out.getvalue()


def _levels(name: str, array: NDArray[Any]) -> Arrays:
    """Every number as a level between the lowest (0) and the highest of its seed, and these two beside it."""
    seeds = array.reshape(len(array), -1).astype(float)
    low, high = seeds.min(1, keepdims=True), seeds.max(1, keepdims=True)
    step = np.where(high > low, high - low, 1.0) / LEVELS
    levels = np.round((seeds - low) / step).astype(np.uint16)
    return {name: levels.reshape(array.shape), name + BOUNDS: np.concatenate([low, high], 1)}


def _numbers(levels: NDArray[Any], bounds: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers whose levels these are, each within half a level of what it was."""
    low, high = bounds.T.reshape(2, -1, *[1] * (levels.ndim - 1))
    return (low + levels * ((high - low) / LEVELS)).astype(np.float32)


def npz_arrays(content: bytes) -> Arrays:
    """The arrays of an npz file by name; ValueError where it is none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            bounds = {name: found.pop(name + BOUNDS) for name in file.files if name + BOUNDS in file.files}
            return found | {name: _numbers(found[name], bounds[name]) for name in bounds}
    except Exception as error:  # of zipfile, zlib, NumPy or its parser: who knows what damaged bytes raise
        raise ValueError(f"no npz file ({error or type(error).__name__})") from error
