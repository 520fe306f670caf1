"""What data were made with, and the JSON and hashes by which two births, or two files, are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Birth:
    """What a data set was made with; the same birth makes the same bytes."""

    preset: str
    trainer: str
    seed: int
    settings: dict[str, Any]
    packages: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        body: dict[str, Any] = json.loads(dumps(asdict(self)))
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Birth:
        """From plain JSON values; an unknown or a missing key raises TypeError."""
        return cls(**body)


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
