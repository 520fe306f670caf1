"""Presets, `--set` and run ids: what resolves, what is refused and how, what makes a run another."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from comrl.algorithms.algorithm import Algorithm, Training, algorithms, find_algorithm
from comrl.benchmark.job import prepare_job
from comrl.benchmark.protocol import (
    DEFAULT_PRESET,
    RunSpec,
    describe,
    override_algorithm,
    parse_overrides,
    part_settings,
    presets,
    resolve,
    run_id,
    split_overrides,
)
from comrl.datasets.splits import find_split
from comrl.envs import families, find_family
from comrl.ground.errors import BadInput

SPEC = RunSpec(
    env="sparse-point-robot", split="mixed", preset="smoke", algo="focalpp", seeds=(0, 1), overrides={}
)
TABLE_6 = {  # as printed, column Point-Robot
    "reward_scale": 100,
    "discount": 0.9,
    "latent": 5,
    "meta_batch": 16,
    "encoder_lr": 1e-3,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "relabeled_pool": 10_000,  # buffer size per task
    "control_batch": 256,
    "context_batch": 512,
    "attention_width": 128,
    "attention_heads": 8,
    "attention_reduction": 16,
    "attention_blocks": 3,
    "dropout": 0.1,
    "strength": 0,
    "target_divergence": 0.05,
    "divergence_lr": 1e-4,
    "width": 256,
    "depth": 3,
    "encoder_width": 256,  # "network width (others)"
    "encoder_depth": 3,
}


def other(kind: Any, value: Any) -> Any:
    """Another valid value of a field's type."""
    if value is None:
        return 0.5
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return next(choice for choice in get_args(kind) if choice != value)
    return value + 1 if isinstance(value, int) else 0.5 * value + 0.013


def overridden(algorithm: str, key: str, value: Any = 1) -> Algorithm:
    return override_algorithm(find_algorithm(algorithm), key, value)


# --- presets


@pytest.mark.parametrize("preset", ["paper", "lite", "smoke"])
@pytest.mark.parametrize("env", [family.name for family in families()])
def test_every_preset_resolves_for_every_family(preset: str, env: str) -> None:
    protocol = resolve(preset, env)
    assert protocol.preset == preset
    assert protocol.training.meta_batch <= find_family(env).train_tasks
    assert protocol.behaviour.steps % protocol.behaviour.checkpoint_every == 0
    assert protocol.training.attention_width % protocol.training.attention_heads == 0
    assert DEFAULT_PRESET in presets()


@pytest.mark.parametrize("env", ["sparse-point-robot", "point-robot-wind"])
def test_the_paper_preset_is_table_6(env: str) -> None:
    training = resolve("paper", env).training.model_dump()
    assert {name: training[name] for name in TABLE_6} == TABLE_6
    assert find_family(env).horizon == 20
    task_loss = find_algorithm("focalpp").task_loss
    assert (task_loss.temperature, task_loss.momentum) == (0.5, 0.9)  # type: ignore[union-attr]


def test_algorithms_share_the_numbers() -> None:
    """No algorithm brings numbers of its own: what a preset holds is all there is to tune."""
    asked = {name for name, field in Training.model_fields.items() if field.is_required()}
    assert set(presets()["lite"]["training"]) == asked
    names = {algorithm.name for algorithm in algorithms()}
    sections = {key for preset in presets().values() for key in preset}
    assert not names & sections


# --- what is unknown


@pytest.mark.parametrize(
    ("ask", "nearest"),
    [
        (lambda: resolve("papr", "sparse-point-robot"), "did you mean 'paper'"),
        (lambda: resolve("smoke", "x", {"training.step": 1}), "did you mean 'training.steps'"),
        (lambda: resolve("smoke", "x", {"behavior.lr": 1}), "did you mean 'behaviour.lr'"),
        (lambda: find_split("mixd"), "did you mean 'mixed'"),
        (lambda: find_split("relabled", find_family("point-robot-wind")), "of point-robot-wind"),
        (lambda: find_algorithm("focalp"), "did you mean 'focalpp'"),
        (lambda: find_family("sparse-point-robto"), "did you mean 'sparse-point-robot'"),
        (lambda: overridden("focalpp", "encoder.token"), "did you mean 'encoder.tokens'"),
        (lambda: overridden("focal", "task_los.eps"), "did you mean 'task_loss.eps'"),
        (lambda: overridden("blind", "task_loss.eps"), "blind has no setting"),
        (lambda: overridden("focal", "name"), "focal has no setting 'name'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(ask: Any, nearest: str) -> None:
    with pytest.raises(BadInput) as refused:
        ask()
    assert nearest in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.steps", 0),
        ("training.steps", "many"),
        ("training.meta_batch", 1),
        ("training.dropout", 1.0),
        ("training.lr_schedule", "cosine"),
        ("training.discount", 1.0),
        ("behaviour.lr", -1),
        ("data.episodes", 1.5),
    ],
)
def test_impossible_numbers_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(BadInput) as refused:
        resolve("smoke", "sparse-point-robot", {key: value})
    assert key in str(refused.value) and repr(value) in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": (0, 0)}, "different seeds"),
        ({"seeds": (-1,)}, "none below 0"),
        ({"env": "sparse-point-robt"}, "did you mean 'sparse-point-robot'"),
        ({"algo": "focla"}, "did you mean 'focal'"),
        ({"split": "exprt"}, "did you mean 'expert'"),
        ({"env": "point-robot-wind", "split": "relabeled"}, "split of point-robot-wind"),
        ({"preset": "lit"}, "did you mean 'lite'"),
        ({"overrides": {"training.meta_batch": 81}}, "exceeds the 80 training tasks"),
        ({"overrides": {"encoder.gates": "sigmoid"}}, "did you mean 'encoder.gate'"),
        ({}, "bench generate-data --env sparse-point-robot"),
    ],
)
def test_a_run_is_refused_at_the_door(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    import torch

    with pytest.raises(BadInput) as refused:
        prepare_job(SPEC.model_copy(update=change), tmp_path, torch.device("cpu"))
    assert words in str(refused.value)
    assert not list(tmp_path.iterdir())


# --- --set


def test_settings_are_parsed() -> None:
    settings = ["steps=1_000", "lr_schedule = linear", "encoder.batch_wise=false", "training.tau=1e-2"]
    parsed = parse_overrides([*settings, 'encoder.tokens="single"'], "training")
    assert parsed == {
        "training.steps": 1000,
        "training.lr_schedule": "linear",
        "encoder.batch_wise": False,
        "training.tau": 0.01,
        "encoder.tokens": "single",
    }
    assert parse_overrides(["steps=5"], "behaviour") == {"behaviour.steps": 5}
    assert parse_overrides([], "training") == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["steps"], "key=value"),
        (["=3"], "key=value"),
        (["steps=3", "steps=4"], "given twice"),
        (["steps=3", "training.steps=3"], "given twice"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse_overrides(settings, "training")


def test_overrides_are_numbers_or_parts() -> None:
    numbers, parts = split_overrides({"training.steps": 1, "data.episodes": 2, "encoder.gate": "sigmoid"})
    assert numbers == {"training.steps": 1, "data.episodes": 2}
    assert parts == {"encoder.gate": "sigmoid"}


def test_an_override_reaches_the_numbers_it_names_alone() -> None:
    before, after = resolve("smoke", "x"), resolve("smoke", "x", {"training.steps": 77})
    assert after.training == before.training.model_copy(update={"steps": 77})
    assert (after.data, after.behaviour) == (before.data, before.behaviour)
    assert resolve("smoke", "x") == before  # the preset itself stays


PART_FIELDS = [(algorithm, key) for algorithm in algorithms() for key in part_settings(algorithm)]


def test_parts_of_parts_have_settings_too() -> None:
    known = {key for algorithm, key in PART_FIELDS if algorithm.teachers}
    assert {"teachers.reward_spread", "teachers.teacher.bcq.candidates", "control.bcq.caution"} <= known
    assert not any(key.endswith(".bcq") or key.endswith(".teacher") for key in known)


@pytest.mark.parametrize(("algorithm", "key"), PART_FIELDS, ids=[f"{a.name}-{key}" for a, key in PART_FIELDS])
def test_every_field_of_every_part_can_be_set(algorithm: Algorithm, key: str) -> None:
    path, _, field = key.rpartition(".")
    part = attrgetter(path)(algorithm)
    kind, value = get_type_hints(type(part))[field], getattr(part, field)
    new = None if value is None else other(kind, value)
    changed = override_algorithm(algorithm, key, new)
    assert attrgetter(path)(changed) == replace(part, **{field: new})
    assert type(attrgetter(key)(changed)) is type(value)
    assert override_algorithm(changed, key, value) == algorithm  # and nothing else is another
    with pytest.raises(BadInput, match=rf"setting {key}"):
        override_algorithm(algorithm, key, "nonsense")


# --- the id of a run


def identity(algorithm: Algorithm | None = None, training: Training | None = None, spec: RunSpec = SPEC,
             data: str = "f00") -> str:  # fmt: skip
    training = training or resolve("smoke", SPEC.env).training
    return run_id(algorithm or find_algorithm("focalpp"), training, spec, data)


def test_the_id_is_eight_digits_and_stable() -> None:
    assert identity() == identity()
    assert len(identity()) == 8 and int(identity(), 16) >= 0


@pytest.mark.parametrize("field", list(Training.model_fields))
def test_the_id_depends_on_every_number(field: str) -> None:
    training = resolve("smoke", SPEC.env).training
    kind = Training.model_fields[field].annotation
    changed = training.model_copy(update={field: other(kind, getattr(training, field))})
    assert identity(training=Training(**changed.model_dump())) != identity()


@pytest.mark.parametrize(
    "change", [{"seeds": (0, 2)}, {"seeds": (0,)}, {"env": "point-robot-wind"}, {"split": "expert"}]
)
def test_the_id_depends_on_what_was_asked_for(change: dict[str, Any]) -> None:
    assert identity(spec=SPEC.model_copy(update=change)) != identity()


def test_the_id_depends_on_the_algorithm_and_the_data() -> None:
    ids = {identity(algorithm=algorithm) for algorithm in algorithms()}
    assert len(ids) == len(algorithms())
    assert identity(algorithm=overridden("focalpp", "encoder.gate", "sigmoid")) != identity()
    assert identity(data="f01") != identity()


def test_the_id_does_not_depend_on_how_settings_were_given() -> None:
    """A preset's own value given by --set, or the same numbers under another preset's name, is one run."""
    given = SPEC.model_copy(update={"overrides": {"training.steps": 30}, "preset": "other"})
    assert identity(spec=given) == identity()


def test_a_part_is_described_by_its_class_and_fields() -> None:
    tree = describe(find_algorithm("focalpp"))
    assert tree["encoder"] == {"part": "Attention", "batch_wise": True, "sequence_wise": True, "tokens":
    "fields",
                               "gate": "mean_one"}  # fmt: skip
    assert tree["encoder_learns_from"] == []
