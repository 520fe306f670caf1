"""Find what modules declare: a part exists because a module of its package (or an installed plug-in)
says so.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from comrl.ground.errors import BadInput


def declared(package: str, constant: str) -> tuple[Any, ...]:
    """Everything that the modules of `package`, and entry points of the group `comrl.<constant>`, declare."""
    found: list[Any] = []
    root = importlib.import_module(package)
    for module in sorted(info.name for info in pkgutil.iter_modules(root.__path__)):
        found += getattr(importlib.import_module(f"{package}.{module}"), constant, ())
    for point in entry_points(group=f"comrl.{constant.lower()}"):
        found += _loaded(point)
    names = [part.name for part in found]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{constant} declares {name!r} {names.count(name)} times; rename all but one")
    return tuple(found)


def _loaded(point: EntryPoint) -> Iterable[Any]:
    """What a plug-in declares; nothing, and a warning that names it, where it cannot be imported."""
    try:
        return tuple(point.load())
    except Exception as error:
        home = point.dist.name if point.dist else point.value
        warnings.warn(
            f"the plug-in {point.name!r} of {home} is left out: {type(error).__name__}: {error}; mend or "
            "uninstall it",
            stacklevel=2,
        )
        return ()


def by_name(parts: Iterable[Any], name: str, what: str) -> Any:
    """The part of that name; an unknown name is BadInput that suggests the nearest one."""
    known = {part.name: part for part in parts}
    if name in known:
        return known[name]
    raise BadInput(f"unknown {what} {name!r}; {suggestion(name, known)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` with the nearest known name, or the list of all."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
