"""Tables and arrays as bytes, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


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


def npz_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Arrays by name as the bytes of an npz file."""
    out = io.BytesIO()
    np.savez_compressed(out, **{name: np.asarray(arrays[name]) for name in sorted(arrays)})  # type: ignore[arg-type]
    return out.getvalue()


def npz_arrays(content: bytes) -> Arrays:
    """The arrays of an npz file by name; ValueError where it is none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # of zipfile, zlib, NumPy or its parser: who knows what damaged bytes raise
        raise ValueError(f"no npz file ({error or type(error).__name__})") from error
