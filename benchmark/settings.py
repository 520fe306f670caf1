"""Every setting of a run, or of the data it needs: its value, where that comes from, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark.protocol import (
    SECTIONS,
    Layer,
    configured,
    find_path,
    layers,
    part_settings,
    path_of,
    resolve,
    settled,
    split_overrides,
)
from comrl.envs.family import find_family
from comrl.ground.settings import Setting, settings_of

COLUMNS = ["setting", "value", "from", "is", "paper"]


def settings_table(
    preset: str,
    env: str,
    algo: str | None,
    overrides: Mapping[str, str | int | float | bool],
    split: str | None = None,
) -> pd.DataFrame:
    """A row for every setting that a run would read, the protocol's first, or without an algorithm every one
    that data generation would; BadInput as for these.
    """
    family = find_family(env)
    if algo is None:
        protocol = resolve(preset, env, overrides)
        rows = [*settings_of(protocol.data, "data"), *settings_of(protocol.behaviour, "behaviour")]
        known, paths = layers(preset, env), [one.path for one in rows]
        given = {find_path(paths, key, "data generation") for key in overrides}
    else:
        shared, own = split_overrides(overrides)
        algorithm = configured(find_algorithm(algo), preset, env, own, split)
        known = layers(preset, env, algorithm, split)
        given = {*shared, *(path_of(algorithm, key) for key in own)}
        rows = [*settings_of(resolve(preset, env, shared).training, "training"), *part_settings(algorithm)]
    origins = dict.fromkeys(given, "--set")
    if settled(preset, env, "training")["meta_batch"] > family.train_tasks:
        origins.setdefault("training.meta_batch", "all training tasks")
    return pd.DataFrame([_row(one, known, origins) for one in rows if not one.idle], columns=COLUMNS)


def _row(one: Setting, known: list[Layer], origins: Mapping[str, str]) -> dict[str, str]:
    """The cells of one setting."""
    origin = origins.get(one.path) or _origin(one, known)
    cells = (one.path, _plain(one.value), origin, one.says, one.paper)
    return dict(zip(COLUMNS, cells, strict=True))


def _origin(one: Setting, known: list[Layer]) -> str:
    """The last layer that gives the setting, by its class or from the part around its part."""
    found = "the part's default"
    for outer in (False, True):
        for origin, tables in known:
            section, _, rest = one.path.partition(".")
            if section in SECTIONS and rest == one.name:
                there = one.name in tables.get(section, {})
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
