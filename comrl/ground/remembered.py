"""What a package declares, kept between commands: to import what stands on torch takes seconds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.hashing import dumps, sha256

Table = list[dict[str, str]]


def remembered(package: str, constant: str, make: Callable[[], Table]) -> Table:
    """The table that `make` makes of what a package declares, kept until one of the package's files changes.

    Made anew where plug-ins declare parts too, or where nothing can be kept.
    """
    if entry_points(group=f"comrl.{constant.lower()}"):
        return make()
    name, state = f"{package}.{constant}.json", _state(package)
    with suppress(BadInput, OSError, ValueError, KeyError, TypeError, RecursionError):
        found = json.loads((folder() / name).read_text("utf-8"))
        if found["state"] == state:
            return list(found["table"])
    table = make()
    with suppress(BadInput), write_whole(folder() / name) as part:
        part.write_text(json.dumps({"state": state, "table": table}), "utf-8")
    return table


def folder() -> Path:
    """Where it is kept: $COMRL_CACHE, else comrl-bench in the user's cache; BadInput without a home."""
    if own := os.environ.get("COMRL_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comrl-bench"
    except RuntimeError as error:  # a container's user without a name
        raise BadInput(f"there is no home folder ({error}); name another in COMRL_CACHE") from error


def _state(package: str) -> str:
    """What changes when a file of the package does, or its place, or the interpreter."""
    roots = import_module(package).__path__  # of the package alone; its modules are what takes long
    files = sorted(file for root in roots for file in Path(root).glob("*.py"))
    seen = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return sha256(dumps([sys.version, seen]).encode())
