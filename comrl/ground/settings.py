"""Settings: documented fields of frozen dataclasses, and trees of them read, changed and hashed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import pydantic

from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput

Part = TypeVar("Part")
Tables = Mapping[str, Mapping[str, Any]]
"""Values by the class of the part that has them; a table within a table is of a part's own part."""

MOST, LEAST = 1e9, 1e-12
"""How large a number of a setting may be, and how small one that must be positive: float32 holds what is
made of them.
"""
Whole = Annotated[int, pydantic.Field(ge=0, le=MOST)]
Count = Annotated[int, pydantic.Field(ge=1, le=MOST)]
Pair = Annotated[int, pydantic.Field(ge=2, le=MOST)]
Width = Annotated[int, pydantic.Field(ge=1, le=2**16)]
Depth = Annotated[int, pydantic.Field(ge=1, le=100)]
Logarithm = Annotated[float, pydantic.Field(ge=-50, le=50)]
Number = Annotated[float, pydantic.Field(ge=-MOST, le=MOST)]
Positive = Annotated[float, pydantic.Field(ge=LEAST, le=MOST)]
NonNegative = Annotated[float, pydantic.Field(ge=0, le=MOST)]
BelowOne = Annotated[float, pydantic.Field(ge=0, lt=1)]
Rate = Annotated[float, pydantic.Field(ge=LEAST, le=1)]

NEVER = object()


def setting(default: Any, says: str, *, paper: str = "", before: Any = NEVER) -> Any:
    """Declare a field: what it is with its unit, the paper's value and place, and what its absence meant.

    A field that is added later gives `before`, the value by which older runs were made without knowing it; a
    run that has this value keeps the id it had.
    """
    return field(default=default, metadata={"says": says, "paper": paper, "before": before})


def required(says: str, *, paper: str = "", before: Any = NEVER) -> Any:
    """Declare a field that has no default: every preset gives it."""
    return field(metadata={"says": says, "paper": paper, "before": before})


class Setting(NamedTuple):
    """One value of a tree of parts."""

    path: str
    part: str
    """The class of the part that reads it."""
    name: str
    value: Any
    says: str
    paper: str
    idle: bool
    """Not read, given the tree's other values."""
    around: tuple[str, ...] = ()
    """The classes of the parts around the part, outermost first."""


def idle_settings(part: Any) -> frozenset[str]:
    """The names of a part's own settings that it does not read, given its other values."""
    own = getattr(part, "idle", None)
    return frozenset(own()) if own else frozenset()


def settings_of(part: Any, path: str = "", around: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Every setting of a part and of its parts, outermost first."""
    idle, name = idle_settings(part), type(part).__name__
    for one in fields(part):
        value, here = getattr(part, one.name), f"{path}.{one.name}".strip(".")
        if is_dataclass(value):
            yield from settings_of(value, here, (*around, name))
        else:
            says, paper = one.metadata.get("says", ""), one.metadata.get("paper", "")
            yield Setting(here, name, one.name, value, says, paper, one.name in idle, around)


def used(part: Any) -> dict[str, Any]:
    """A tree of parts as plain values: the class of each and the settings that it reads."""
    idle = idle_settings(part)
    body: dict[str, Any] = {"part": type(part).__name__}
    for one in fields(part):
        value = getattr(part, one.name)
        if is_dataclass(value):
            body[one.name] = used(value)
        elif one.name not in idle and value != one.metadata.get("before", NEVER):
            body[one.name] = list(value) if isinstance(value, tuple) else value
    return body


@cache
def _kinds(part: type) -> dict[str, pydantic.TypeAdapter[Any]]:
    hints = get_type_hints(part, include_extras=True)
    return {one.name: pydantic.TypeAdapter(hints[one.name]) for one in fields(part)}


def checked(part: type, name: str, value: Any, path: str) -> Any:
    """A value as the field's type has it; BadInput in a sentence where it does not fit."""
    try:
        fitting = _kinds(part)[name].validate_python(value)
    except pydantic.ValidationError as error:
        raise BadInput(f"setting {path} = {_shown(value)}: {error.errors()[0]['msg'].lower()}") from None
    refuse_unbounded(path, fitting)
    return fitting


def refuse_unbounded(path: str, value: Any) -> None:
    """BadInput where a value is, or holds, a number that is not finite or that no setting can mean."""
    for one in value if isinstance(value, tuple | list) else [value]:
        if isinstance(one, int | float) and not abs(one) <= MOST:
            raise BadInput(f"setting {path} = {_shown(value)}: give a number from {-MOST:g} to {MOST:g}")


def _shown(value: Any) -> str:
    """A value in a message: its beginning where it is long."""
    if isinstance(value, int) and value.bit_length() > 99:
        return f"a number of {round(value.bit_length() * math.log10(2))} digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def changed(part: Part, path: str, value: Any, *, whole: str = "") -> Part:
    """A part with the setting at the end of a path changed."""
    name, _, rest = path.partition(".")
    whole = whole or path
    if rest:
        return replace(part, **{name: changed(getattr(part, name), rest, value, whole=whole)})  # type: ignore[type-var]
    return replace(part, **{name: checked(type(part), name, value, whole)})  # type: ignore[type-var]


def with_tables(part: Part, tables: Tables) -> Part:
    """A part with the values of its class's table, and so for its parts; the outer part has the last word."""
    for one in fields(part):  # type: ignore[arg-type]
        value = getattr(part, one.name)
        if is_dataclass(value):
            part = replace(part, **{one.name: with_tables(value, tables)})  # type: ignore[type-var]
        elif isinstance(value, tuple) and any(map(is_dataclass, value)):
            inner = tuple(with_tables(each, tables) for each in value)
            part = replace(part, **{one.name: inner})  # type: ignore[type-var]
    return _with_table(part, tables.get(type(part).__name__, {}), type(part).__name__)


def _with_table(part: Part, table: Mapping[str, Any], path: str) -> Part:
    known = [one.name for one in fields(part)]  # type: ignore[arg-type]
    for name, value in table.items():
        here = f"{path}.{name}"
        if name not in known:
            raise BadInput(f"a preset gives {here}, which is no setting; {suggestion(name, known)}")
        own = getattr(part, name)
        new = _with_table(own, value, here) if is_dataclass(own) else checked(type(part), name, value, here)
        part = replace(part, **{name: new})  # type: ignore[type-var]
    return part


def merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Nested tables laid over one another, the last on top."""
    whole: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = whole.get(key)
            if isinstance(value, Mapping):
                value = merged([below, value] if isinstance(below, Mapping) else [value])
            whole[key] = value
    return whole
