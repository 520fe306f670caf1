"""The protocol: presets resolved to settings, `--set` applied over them, and the id of a run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from comrl.algorithms.algorithm import Algorithm, Training
from comrl.algorithms.behaviour import Behaviour
from comrl.benchmark.spec import RunSpec
from comrl.envs.family import families
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.settings import (
    Count,
    Setting,
    Whole,
    changed,
    checked,
    merged,
    refuse_unbounded,
    required,
    setting,
    settings_of,
    used,
    with_tables,
)

DEFAULT_PRESET = "lite"


@dataclass(frozen=True)
class Rollouts:
    """What is kept of the behaviour agents."""

    episodes: Count = required("episodes of each quality in a task's file")
    visits: Whole = setting(
        0, "episodes of each quality in every test task that an agent visits, where dynamics differ", before=0
    )


@dataclass(frozen=True)
class Protocol:
    """What a preset says of one environment, whatever algorithm runs there."""

    preset: str
    data: Rollouts
    behaviour: Behaviour
    training: Training


SECTIONS: dict[str, type] = {"data": Rollouts, "behaviour": Behaviour, "training": Training}
Layer = tuple[str, Mapping[str, Any]]
"""Where tables come from, and the tables."""


@cache
def presets() -> dict[str, Any]:
    """Every preset as its file stands, but that a table of several parts is one of each."""
    folder = files("comrl.benchmark").joinpath("presets")
    own = [file for file in folder.iterdir() if file.name.endswith(".toml") and file.name[0] != "."]
    read = {file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8")) for file in own}
    return {name: _of_each_part(read[name]) for name in sorted(read)}


def _of_each_part(body: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in body.items():
        if key == "parts":
            found[key] = merged([{name: table for name in names.split()} for names, table in value.items()])
        else:
            found[key] = _of_each_part(value) if isinstance(value, dict) else value
    return found


def layers(
    preset: str, env: str, algorithm: Algorithm | None = None, split: str | None = None
) -> list[Layer]:
    """The tables that hold for an environment, the last on top; BadInput where there is no such preset.

    They are the preset's, its groups', its environment's, the family's own for it and the algorithm's own for
    it; before them all of these for the preset that it extends.  A group that names splits holds for training
    on these alone, one that names algorithms for these alone.
    """
    if preset not in presets():
        raise BadInput(f"unknown preset {preset!r}; {suggestion(preset, presets())}")
    below = presets()[preset].get("extends")
    found = layers(below, env, algorithm, split) if below is not None else []
    found += _of_the_file(preset, env, split, algorithm.name if algorithm else None)
    family = {family.name: family for family in families()}.get(env)
    if family is not None:
        found.append((f"{env} itself", family.presets.get(preset, {})))
    if algorithm is not None:
        found.append((f"{algorithm.name} itself", {"parts": algorithm.presets.get(preset, {})}))
    return [(origin, tables) for origin, tables in found if tables]


def _of_the_file(preset: str, env: str, split: str | None, algo: str | None) -> list[Layer]:
    """The layers of a preset's file."""
    body = presets()[preset]
    own: list[Layer] = [(f"preset {preset}", {key: body.get(key, {}) for key in (*SECTIONS, "parts")})]
    for name, group in body.get("groups", {}).items():
        here = env in group["environments"] and split in group.get("splits", [split])
        if here and algo in group.get("algorithms", [algo]):
            own.append((f"{preset}, group {name}", group))
    return [*own, (f"{preset}, {env}", body.get("env", {}).get(env, {}))]


def settled(
    preset: str, env: str, section: str, algorithm: Algorithm | None = None, split: str | None = None
) -> dict[str, Any]:
    """One section of all layers, laid over one another."""
    return merged([tables.get(section, {}) for _, tables in layers(preset, env, algorithm, split)])


def resolve(
    preset: str, env: str, overrides: Mapping[str, Any] | None = None, tasks: int | None = None
) -> Protocol:
    """The preset's settings for an environment, with overrides `section.field`; BadInput names what is
    unknown.

    A preset asks for no more tasks a batch than there are to train on; an override may, and is then refused.
    tasks: how many there are; None: as many as the family declares.
    """
    parts = settled(preset, env, "parts")
    protocol = Protocol(
        preset,
        *(with_tables(_section(name, settled(preset, env, name)), parts) for name in SECTIONS),
    )
    family, training = {family.name: family for family in families()}.get(env), protocol.training
    most = family.train_tasks if tasks is None and family is not None else tasks
    if most is not None and training.meta_batch > most:
        protocol = replace(protocol, training=replace(training, meta_batch=most))
    known = [one.path for one in settings_of(protocol) if "." in one.path]
    for key, value in (overrides or {}).items():
        protocol = changed(protocol, find_path(known, key, "the protocol"), value)
    return protocol


def data_preset(preset: str, env: str) -> str:
    """The preset by whose name data are made: that which it extends, where both make the same."""
    below = presets()[preset].get("extends")
    if below is None or _makes(preset, env) != _makes(below, env):
        return preset
    return data_preset(below, env)


def _makes(preset: str, env: str) -> tuple[Rollouts, Behaviour]:
    protocol = resolve(preset, env)
    return protocol.data, protocol.behaviour


def _section(section: str, table: Mapping[str, Any]) -> Any:
    """A section with a preset's values; BadInput in a sentence where one does not fit or is missing."""
    kind = SECTIONS[section]
    known = fields_of(kind)
    for name in table:
        if name not in known:
            raise BadInput(f"a preset gives {section}.{name}, which is no setting; {suggestion(name, known)}")
    values = {name: checked(kind, name, value, f"{section}.{name}") for name, value in table.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise BadInput(f"the preset lacks a setting of {section} ({error})") from None


def fields_of(kind: type) -> list[str]:
    """The names of a section's settings."""
    return [one.name for one in fields(kind)]


def parse_overrides(settings: Sequence[str], *sections: str) -> dict[str, Any]:
    """`key=value` pairs; a value is TOML or a plain word.

    A key without a dot is of the first section, or, where training is the first and has no such field, of
    whatever part has it.  BadInput where a key is of a section that the command does not use.
    """
    parsed: dict[str, Any] = {}
    for pair in settings:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadInput(f"--set {pair}: write it as key=value, for example --set steps=1000")
        of_a_part = sections[0] == "training" and key not in fields_of(Training)
        key = key if "." in key or of_a_part else f"{sections[0]}.{key}"
        if key.partition(".")[0] in SECTIONS.keys() - set(sections):
            raise BadInput(
                f"--set {key} changes nothing in this command, which uses {' and '.join(sections)}"
            )
        if key in parsed:
            raise BadInput(f"--set {key} is given twice; keep one")
        parsed[key] = _as_toml(text)
    return parsed


def _as_toml(text: str) -> Any:
    """One TOML value, or the plain words that the text is."""
    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError:  # TOML's own errors, and a number with thousands of digits
        return text.strip()
    return found["value"] if len(found) == 1 else text.strip()


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides of the protocol's settings, and of the algorithm's parts."""
    shared = {key: value for key, value in overrides.items() if key.partition(".")[0] in SECTIONS}
    return shared, {key: value for key, value in overrides.items() if key not in shared}


def effective_overrides(algorithm: Algorithm, spec: RunSpec, tasks: int | None = None) -> dict[str, Any]:
    """What a spec's overrides change, each by its whole path and as its field has it.

    What gives a setting the value that it has anyway changes nothing and is left out.  tasks: as `resolve`'s.
    """

    def values(overrides: Mapping[str, Any]) -> dict[str, Any]:
        shared, own = split_overrides(overrides)
        protocol = resolve(spec.preset, spec.env, shared, tasks)
        parts = part_settings(configured(algorithm, spec.preset, spec.env, own, spec.split))
        return {one.path: one.value for one in [*settings_of(protocol), *parts]}

    before = values({})
    return {path: value for path, value in values(spec.overrides).items() if value != before[path]}


def part_settings(algorithm: Algorithm) -> list[Setting]:
    """Every setting of the algorithm's parts, each with its path from the algorithm."""
    return [one for name, part in algorithm.parts().items() for one in settings_of(part, name)]


def configured(
    algorithm: Algorithm,
    preset: str,
    env: str,
    overrides: Mapping[str, Any] | None = None,
    split: str | None = None,
) -> Algorithm:
    """The algorithm with the preset's values in its parts, and overrides `part.field` over them.

    BadInput names an override that is unknown, that fits several parts, or that no part reads.
    """
    given = overrides or {}
    chosen = with_tables(algorithm, settled(preset, env, "parts", algorithm, split))
    paths = {key: path_of(chosen, key) for key in given}
    for key, path in paths.items():
        chosen = with_setting(chosen, path, given[key])
    settings = part_settings(chosen)
    for one in settings:
        refuse_unbounded(f"{algorithm.name}, {one.path}", one.value)
    idle = {one.path for one in settings if one.idle}
    for key, path in paths.items():
        if path in idle:
            raise BadInput(
                f"--set {key} changes nothing: {algorithm.name} on {env} does not read {path} as its other "
                "settings are; see `bench settings`"
            )
    return chosen


def with_setting(algorithm: Algorithm, path: str, value: Any) -> Algorithm:
    """The algorithm with one setting of a part changed; BadInput where the value does not fit."""
    name, _, rest = path.partition(".")
    return algorithm.with_part(name, changed(algorithm.parts()[name], rest, value, whole=path))


def path_of(algorithm: Algorithm, key: str) -> str:
    """The path of a setting that is given whole or by its last names alone."""
    return find_path([one.path for one in part_settings(algorithm)], key, algorithm.name)


def find_path(known: Sequence[str], key: str, owner: str) -> str:
    """The one known path that is the key, ends in it, or begins and ends as it does, with parts in between.

    BadInput where there is none, or several.
    """
    first, _, rest = key.partition(".")
    between = [path for path in known if rest and path.startswith(f"{first}.") and path.endswith(f".{rest}")]
    ending = [path for path in known if path.endswith(f".{key}")]
    fitting = [key] if key in known else ending or between
    if not fitting:
        raise BadInput(f"{owner} has no setting {key!r}; {suggestion(key, known)}")
    if len(fitting) > 1:
        raise BadInput(f"{owner} has {key!r} in {len(fitting)} places; name {' or '.join(fitting)}")
    return fitting[0]


def describe(part: Any) -> Any:
    """A tree of parts as plain values, each part with the name of its class."""
    if is_dataclass(part) and not isinstance(part, type):
        own = {one.name: describe(getattr(part, one.name)) for one in fields(part) if one.compare}
        return {"part": type(part).__name__} | own
    return [describe(each) for each in part] if isinstance(part, tuple) else part


def run_id(
    algorithm: Algorithm, training: Training, spec: RunSpec, data_sha256: str, unread: Collection[str] = ()
) -> str:
    """Eight hexadecimal digits of the hash of everything that the run uses, seeds included.

    unread: settings of `training` that this split and environment have no use for.
    """
    shared = {key: value for key, value in used(training).items() if key not in unread}
    settled = {
        "algorithm": {name: used(part) for name, part in algorithm.parts().items()},
        "encoder_learns_from": list(algorithm.encoder_learns_from),
        "control_sees": algorithm.control_sees,
        "name": algorithm.name,
        "training": shared,
        "env": spec.env,
        "split": spec.split,
        "seeds": list(spec.seeds),
        "data": data_sha256,
    } | ({"sees_test_tasks": True} if algorithm.sees_test_tasks else {})
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:8]
