"""The run that tests of the protocol ask for, and other values of settings."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from comrl.algorithms.algorithm import Algorithm, algorithms, find_algorithm
from comrl.benchmark.protocol import configured, part_settings, resolve
from comrl.benchmark.spec import RunSpec
from comrl.ground.settings import Setting, settings_of

SPEC = RunSpec(
    env="sparse-point-robot", split="mixed", preset="smoke", algo="focalpp", seeds=(0, 1), overrides={}
)


def at_smoke(algo: str, overrides: dict[str, Any] | None = None, env: str = SPEC.env) -> Algorithm:
    return configured(find_algorithm(algo), "smoke", env, overrides)


def overridden(algo: str, key: str, value: Any = 1) -> Algorithm:
    return at_smoke(algo, {key: value})


def other(kind: Any, value: Any) -> Any:
    """Another valid value of a field's type."""
    if value is None:
        return 0.5
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(choice for choice in get_args(kind) if choice != value)
    return value + 1 if isinstance(value, int) else 0.5 * value + 0.013


def other_value(part: type, one: Setting) -> Any:
    """Another valid value of a setting."""
    kind = get_type_hints(part)[one.name]
    return other(kind, one.value)


def every_setting() -> list[Setting]:
    """Of all parts of all declared algorithms, of data generation and of the shared protocol."""
    every = [one for algorithm in algorithms() for one in part_settings(algorithm)]
    return every + [one for one in settings_of(resolve("smoke", SPEC.env)) if "." in one.path]
