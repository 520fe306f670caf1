"""The protocol: presets resolved to numbers, `--set` applied to numbers and parts, and the id of a run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from comrl.algorithms.algorithm import Algorithm, Training
from comrl.algorithms.behaviour import SacSettings
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput

DEFAULT_PRESET = "lite"


class Rollouts(BaseModel):
    """How many episodes of each quality a task's file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    episodes: int = Field(ge=1)


class Protocol(BaseModel):
    """All numbers of one preset for one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    data: Rollouts
    behaviour: SacSettings
    training: Training


class RunSpec(BaseModel):
    """What `bench run` was asked for, one algorithm on one split of one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str
    split: str
    preset: str
    algo: str
    seeds: tuple[int, ...]
    overrides: dict[str, Any]
    context: Literal["offline", "online"] = "offline"
    """Where test contexts come from; online adds the test on self-collected ones to the offline test."""


@cache
def presets() -> dict[str, Any]:
    """The preset file as it stands."""
    return tomllib.loads(files("comrl.benchmark").joinpath("presets.toml").read_text())


SECTIONS: dict[str, type[BaseModel]] = {"data": Rollouts, "behaviour": SacSettings, "training": Training}


def settled(preset: str, env: str) -> dict[str, dict[str, Any]]:
    """The preset's numbers by section: everybody's, over them the environment's group's, then its own."""
    body = presets()[preset]
    layers = [group for group in body.get("groups", {}).values() if env in group["environments"]]
    layers += [body["env"][env]] if env in body.get("env", {}) else []
    return {
        section: body[section] | {k: v for layer in layers for k, v in layer.get(section, {}).items()}
        for section in SECTIONS
    }


def resolve(preset: str, env: str, overrides: dict[str, Any] | None = None) -> Protocol:
    """The preset's numbers for an environment, with overrides `section.field`; BadInput names what is
    unknown.
    """
    if preset not in presets():
        raise BadInput(f"unknown preset {preset!r}; {suggestion(preset, presets())}")
    numbers = settled(preset, env)
    for key, value in (overrides or {}).items():
        section, _, field = key.partition(".")
        known = [f"{name}.{field}" for name, kind in SECTIONS.items() for field in kind.model_fields]
        if key not in known:
            raise BadInput(f"unknown setting {key!r}; {suggestion(key, known)}")
        numbers[section][field] = value
    try:
        return Protocol.model_validate(numbers | {"preset": preset})
    except ValidationError as error:
        raise BadInput(_sentence(error, "setting ")) from None


def parse_overrides(settings: Sequence[str], *sections: str) -> dict[str, Any]:
    """`key=value` pairs; a key without a dot belongs to the first section, a value is TOML or a plain word.

    BadInput where a key belongs to a section of the presets that the command does not use.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise BadInput(f"--set {setting}: write it as key=value, for example --set steps=1000")
        key = key.strip() if "." in key else f"{sections[0]}.{key.strip()}"
        if key.partition(".")[0] in SECTIONS.keys() - set(sections):
            raise BadInput(
                f"--set {key} changes nothing in this command, which uses {' and '.join(sections)}"
            )
        if key in parsed:
            raise BadInput(f"--set {key} is given twice; keep one")
        try:
            parsed[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key] = text.strip()
    return parsed


def part_settings(tree: Any) -> list[str]:
    """Every setting of the parts of a tree: `part.field`, and `part.part.field` where parts have parts."""
    found = []
    for name, part in ((f.name, getattr(tree, f.name)) for f in fields(tree)):
        if is_dataclass(part):
            own = [f.name for f in fields(part) if not is_dataclass(getattr(part, f.name))]
            found += [f"{name}.{field}" for field in (*own, *part_settings(part))]
    return found


def override_algorithm(algorithm: Algorithm, key: str, value: Any) -> Algorithm:
    """The algorithm with one field of one part changed; BadInput names what is unknown."""
    if key not in (known := part_settings(algorithm)):
        raise BadInput(f"{algorithm.name} has no setting {key!r}; {suggestion(key, known)}")
    try:
        return _with(algorithm, key.split("."), value)
    except ValidationError as error:
        raise BadInput(_sentence(error, f"setting {key}")) from None


def _with(part: Any, path: Sequence[str], value: Any) -> Any:
    """A part with the field at the end of a path changed, checked against its type."""
    name, *rest = path
    if rest:
        return replace(part, **{name: _with(getattr(part, name), rest, value)})
    return replace(part, **{name: TypeAdapter(get_type_hints(type(part))[name]).validate_python(value)})


def split_overrides(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides of the preset's numbers, and of the algorithm's parts."""
    numbers = {key: value for key, value in overrides.items() if key.partition(".")[0] in SECTIONS}
    return numbers, {key: value for key, value in overrides.items() if key not in numbers}


def describe(part: Any) -> Any:
    """A tree of parts as plain values, each part with the name of its class."""
    if is_dataclass(part) and not isinstance(part, type):
        return {"part": type(part).__name__} | {f.name: describe(getattr(part, f.name)) for f in fields(part)}
    return list(part) if isinstance(part, tuple) else part


def run_id(algorithm: Algorithm, training: Training, spec: RunSpec, data_sha256: str) -> str:
    """Eight hexadecimal digits of the hash of everything that decides the result, seeds included."""
    settled = {
        "algorithm": describe(algorithm),
        "training": training.model_dump(),
        "env": spec.env,
        "split": spec.split,
        "seeds": list(spec.seeds),
        "data": data_sha256,
    } | ({"context": spec.context} if spec.context != "offline" else {})
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:8]


def _sentence(error: ValidationError, what: str) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"{what}{name} = {first['input']!r}: {first['msg'].lower()}"
