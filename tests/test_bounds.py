"""What cannot be trained, kept or joined to other runs is refused or left out before anything is trained."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.runs import CPU
from support.settings import SPEC, at_smoke

from comrl.algorithms.algorithm import Algorithm, algorithms, find_algorithm
from comrl.benchmark.protocol import (
    RunSpec,
    configured,
    effective_overrides,
    parse_overrides,
    part_settings,
    resolve,
    with_setting,
)
from comrl.benchmark.training.job import prepare_job
from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine, prepare
from comrl.ground.settings import changed, settings_of

WILD = (math.inf, -math.inf, math.nan, "1e400", 1e300, -1e300, 10**5000)
every = pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@every
def test_every_number_of_a_part_has_bounds(algorithm: Algorithm) -> None:
    chosen = at_smoke(algorithm.name)
    numbers = [one for one in part_settings(chosen) if is_number(one.value)]
    assert numbers
    for one in numbers:
        for wild in WILD:
            with pytest.raises(BadInput, match=rf"^setting {one.path} = .{{1,60}}: ") as refusal:
                with_setting(chosen, one.path, wild)
            assert len(str(refusal.value)) < 250


def test_every_number_of_the_protocol_has_bounds() -> None:
    numbers = [one for one in settings_of(resolve("smoke", SPEC.env)) if is_number(one.value)]
    assert {"training.discount", "behaviour.seed", "behaviour.control.lr"} <= {one.path for one in numbers}
    for path in [*(one.path for one in numbers), "training.context_radius"]:
        for wild in WILD:
            with pytest.raises(BadInput, match=rf"^setting {path} = "):
                resolve("smoke", SPEC.env, {path: wild})


@dataclass(frozen=True)
class Plain:
    """A part of somebody else's, whose numbers are of plain types."""

    sharpness: float = 1.0
    reach: int = 1
    weights: tuple[float, ...] = (1.0,)


@pytest.mark.parametrize(
    ("path", "wild"), [("sharpness", math.nan), ("reach", 10**20), ("weights", [1.0, math.inf])]
)
def test_numbers_of_plain_types_have_bounds_too(path: str, wild: Any) -> None:
    with pytest.raises(BadInput, match=rf"setting {path} = .*: give a number from -1e\+09 to 1e\+09"):
        changed(Plain(), path, wild)


def test_numbers_that_an_algorithm_declares_have_bounds_too() -> None:
    focal = find_algorithm("focal")
    wild: Any = focal.task_loss
    with pytest.raises(BadInput, match=r"setting focal, task_loss\.push = nan"):
        configured(replace(focal, task_loss=replace(wild, push=math.nan)), "smoke", SPEC.env)


def test_a_value_on_the_command_line_is_one_toml_value_or_words() -> None:
    digits = "9" * 5000  # more than Python reads as a number
    given = parse_overrides(["steps=20\neval_every=1", f"encoder.width={digits}"], "training")
    assert given == {"training.steps": "20\neval_every=1", "encoder.width": digits}


# --- what changes nothing


def asked(algo: str = "focal", **overrides: Any) -> RunSpec:
    named = {name.replace("__", "."): value for name, value in overrides.items()}
    return SPEC.model_copy(update={"algo": algo, "overrides": named})


def test_overrides_are_told_by_their_whole_path_and_as_their_field_has_them() -> None:
    spec = asked(training__steps=40.0, eps="0.2", encoder__lr=1e-2)
    chosen = effective_overrides(find_algorithm("focal"), spec)
    assert json.dumps(chosen) == '{"training.steps": 40, "encoder.lr": 0.01, "task_loss.eps": 0.2}'


@every
def test_a_setting_given_at_its_own_value_changes_nothing(algorithm: Algorithm) -> None:
    read = [one for one in part_settings(at_smoke(algorithm.name)) if not one.idle]
    shared = [one for one in settings_of(resolve("smoke", SPEC.env).training, "training")]
    own = {one.path: one.value for one in [*read, *shared]}
    assert effective_overrides(algorithm, asked(algorithm.name).model_copy(update={"overrides": own})) == {}


def test_a_run_at_its_own_values_is_the_plain_run(smoke_data: Path) -> None:
    plain, given = (
        prepare_job(spec, smoke_data, CPU)
        for spec in (asked(), asked(training__steps=30, task_loss__eps=0.1, training__relabeled_pool=400))
    )
    assert given.spec == plain.spec and given.name == plain.name
    changed = prepare_job(asked(training__steps=31), smoke_data, CPU)
    assert changed.spec.overrides == {"training.steps": 31} and changed.id != plain.id


# --- what cannot be computed


@pytest.mark.parametrize("seeds", [(), (2**63,), (10**30, 1)])
def test_seeds_that_no_table_holds_are_refused(seeds: tuple[int, ...], smoke_data: Path) -> None:
    with pytest.raises(BadInput, match="--seeds"):
        prepare_job(SPEC.model_copy(update={"seeds": seeds}), smoke_data, CPU)


@pytest.mark.parametrize("threads", [0, 10**6, 10**30])
def test_threads_have_bounds(threads: int) -> None:
    with pytest.raises(BadInput, match="at least 1 and at most 1024"):
        prepare(Machine(threads=threads))
