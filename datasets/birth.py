"""What data were made with, and the JSON and hashes by which two births, or two files, are compared."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Birth:
    """What a data set was made with; the same birth makes the same bytes."""

    preset: str
    trainer: str
    seed: int
    settings: dict[str, Any]
    packages: dict[str, str]
    model: str | None = None
    """The hash of the physics model; left out where there is none."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        body: dict[str, Any] = json.loads(dumps(asdict(self)))
        return body if self.model else {key: value for key, value in body.items() if key != "model"}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Birth:
        """From plain JSON values; an unknown or a missing key raises TypeError."""
        return cls(**body)


def warn_of_other_physics(folder: Path, birth: Birth) -> None:
    """Data of another MuJoCo can be read; whoever trains on them should know."""
    here, there = version("mujoco"), birth.packages.get("mujoco", "of an unknown version")
    if birth.model is not None and here != there:
        warnings.warn(
            f"{folder} was made with MuJoCo {there} and this is {here}: policies will be tested in other "
            "physics than their data's",
            stacklevel=3,
        )


def dumps(body: Any) -> str:
    """JSON in one spelling only."""
    return json.dumps(body, sort_keys=True, allow_nan=False)


def sha256(content: bytes) -> str:
    """The hash in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def identity(files: Mapping[str, str]) -> str:
    """The hash of a set of files, given their hashes by name: that of the sorted `name hash` lines."""
    return sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode())


def difference(there: Any, now: Any, name: str = "") -> str:
    """The first value in which two JSON trees differ, in words; nothing where they agree."""
    if isinstance(there, dict) and isinstance(now, dict):
        keys = sorted({*there, *now})
        parts = (difference(there.get(key), now.get(key), f"{name}.{key}".strip(".")) for key in keys)
        return next(filter(None, parts), "")
    return "" if there == now else f"{name} is {_short(there)} there and {_short(now)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
