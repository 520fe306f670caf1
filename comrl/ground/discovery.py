"""Find what modules declare: a part exists because a module of its package (or an installed plug-in)
says so.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from comrl.ground.errors import BadInput, Notice

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
"""A name stands in folders, files and commands."""


def declared(package: str, constant: str) -> tuple[Any, ...]:
    """Everything that the modules of `package`, and entry points of the group `comrl.<constant>`, declare.

    BadInput where a module of ours declares what cannot be used; a plug-in that does is named and left out.
    """
    found: dict[str, Any] = {}
    root = importlib.import_module(package)
    for module in sorted(info.name for info in pkgutil.iter_modules(root.__path__)):
        if not _may_declare(f"{package}.{module}", constant):
            continue
        own = getattr(importlib.import_module(f"{package}.{module}"), constant, ())
        try:
            found |= fitting(own, constant, found)
        except BadInput as error:
            raise BadInput(f"{package}.{module}: {error}") from None
    for point in entry_points(group=f"comrl.{constant.lower()}"):
        try:
            found |= fitting(point.load(), constant, found)
        except (Exception, SystemExit) as error:  # whatever a stranger's module does as it is imported
            _leave_out(point, error)
    return tuple(found.values())


def _may_declare(module: str, constant: str) -> bool:
    """Whether a module's source, where it has one, names the constant: to import the others takes seconds."""
    spec = find_spec(module)
    origin = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    return origin is None or origin.suffix != ".py" or constant.encode() in origin.read_bytes()


def fitting(parts: Any, constant: str, others: Mapping[str, Any]) -> dict[str, Any]:
    """Parts by name; BadInput where they are no tuple of parts, or names and labels cannot be used beside the
    others'.
    """
    if not isinstance(parts, tuple | list):
        kind = type(parts).__name__
        raise BadInput(f"{constant} is one {kind} and no tuple; write ({kind}(...),), with the comma")
    found: dict[str, Any] = {}
    labels = {part.label: name for name, part in others.items() if hasattr(part, "label")}
    for part in parts:
        name, label = getattr(part, "name", None), getattr(part, "label", "none")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadInput(f"{constant} declares the name {name!r}; use letters, digits, -, _ and + alone")
        if not isinstance(label, str) or not label.isprintable() or not label.strip() or label[0] == "_":
            raise BadInput(f"{constant} gives {name} the label {label!r}; use one line that begins with no _")
        if name in found or name in others:
            raise BadInput(f"{constant} declares {name!r}, which is there already; rename one of the two")
        if hasattr(part, "label") and labels.setdefault(label, name) != name:
            raise BadInput(
                f"{constant} gives {name} the label {label!r}, which {labels[label]} has; give it one of its "
                "own, as tables print labels"
            )
        found[name] = part
    return found


def _leave_out(point: EntryPoint, error: BaseException) -> None:
    """Warn of a plug-in that cannot be used, by its name and its package's."""
    home = point.dist.name if point.dist else point.value
    why = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
    said = " ".join(why.split())
    warnings.warn(
        f"the plug-in {point.name!r} of {home} is left out: {said}; mend or uninstall it",
        Notice,
        stacklevel=3,
    )


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
