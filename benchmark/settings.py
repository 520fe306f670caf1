"""Every setting of an algorithm on an environment: its value, where that comes from, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark.protocol import (
    Layer,
    configured,
    layers,
    part_settings,
    path_of,
    resolve,
    split_overrides,
)
from comrl.envs.family import find_family
from comrl.ground.settings import Setting, settings_of

COLUMNS = ["setting", "value", "from", "is", "paper"]


def settings_table(preset: str, env: str, algo: str, overrides: Mapping[str, Any]) -> pd.DataFrame:
    """A row for every setting that a run would read, the protocol's first; BadInput as for the run."""
    find_family(env)
    shared, own = split_overrides(overrides)
    algorithm = configured(find_algorithm(algo), preset, env, own)
    known = layers(preset, env, algorithm)
    given = {*shared, *(path_of(algorithm, key) for key in own)}
    rows = [*settings_of(resolve(preset, env, shared).training, "training"), *part_settings(algorithm)]
    return pd.DataFrame([_row(one, known, given) for one in rows if not one.idle], columns=COLUMNS)


def _row(one: Setting, known: list[Layer], given: set[str]) -> dict[str, Any]:
    """The cells of one setting."""
    origin = "--set" if one.path in given else _origin(one, known)
    cells = (one.path, _plain(one.value), origin, one.says, one.paper)
    return dict(zip(COLUMNS, cells, strict=True))


def _origin(one: Setting, known: list[Layer]) -> str:
    """The last layer that gives the setting, by its class or from the part around its part."""
    found = "the part's default"
    for outer in (False, True):
        for origin, tables in known:
            if one.path.startswith("training."):
                there = one.name in tables.get("training", {})
            else:
                there = _gives(one, tables.get("parts", {}), outer)
            found = origin if there else found
    return found


def _gives(one: Setting, parts: Mapping[str, Any], outer: bool) -> bool:
    if not outer:
        return one.name in parts.get(one.part, {})
    inner = one.path.split(".")[-2]
    return any(one.name in (table.get(inner) or {}) for name, table in parts.items() if name in one.around)


def _plain(value: Any) -> str:
    """A value as --set takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)
