"""JSON in one spelling, hashes of bytes and of sets of files, and where two JSON trees differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


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
