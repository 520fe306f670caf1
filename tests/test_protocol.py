"""Presets, `--set` and run ids: what resolves, what is refused and how, what makes a run another."""

from __future__ import annotations

import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from support.settings import SPEC, at_smoke, every_setting, overridden

from comrl.algorithms.algorithm import Space, algorithms, find_algorithm
from comrl.algorithms.learner import start
from comrl.benchmark.protocol import (
    DEFAULT_PRESET,
    configured,
    data_preset,
    describe,
    parse_overrides,
    part_settings,
    presets,
    resolve,
    split_overrides,
)
from comrl.benchmark.settings import settings_table
from comrl.benchmark.training.job import prepare_job
from comrl.datasets.splits import find_split
from comrl.envs import families, find_family
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

TABLE_6 = {  # as printed, column Point-Robot; buffer size per task is the pool's
    "training": {"reward_scale": 100, "discount": 0.9, "meta_batch": 16, "relabeled_pool": 10_000,
                 "control_batch": 256, "context_batch": 512},
    "encoder": {"latent": 5, "lr": 1e-3, "width": 128, "heads": 8, "reduction": 16, "blocks": 3,
                "dropout": 0.1},
    "task_loss": {"temperature": 0.5, "momentum": 0.9},
    "control.sac": {"actor_lr": 1e-3, "critic_lr": 1e-3, "width": 256, "depth": 3},
    "control": {"strength": 0, "target_divergence": 0.05, "divergence_lr": 1e-4},
}  # fmt: skip


# --- presets


@pytest.mark.parametrize("env", [family.name for family in families()])
def test_every_preset_resolves_for_every_family(env: str, subtests: pytest.Subtests) -> None:
    for preset in presets():
        with subtests.test(preset):
            protocol = resolve(preset, env)
            assert protocol.preset == preset
            assert protocol.training.meta_batch <= find_family(env).train_tasks
            assert protocol.behaviour.steps % protocol.behaviour.checkpoint_every == 0
            space = Space(3, 2, 1, False)
            for algorithm in algorithms():
                configured(algorithm, preset, env).encoder.build(space, Stream([0]))
            assert DEFAULT_PRESET in presets()


def test_a_group_that_names_algorithms_holds_what_is_their_own() -> None:
    """Control is everybody's, and so is what is no part of an algorithm."""
    groups = [group for body in presets().values() for group in body.get("groups", {}).values()]
    named = [group for group in groups if "algorithms" in group]
    assert named
    for group in named:
        assert group.keys() == {"environments", "splits", "algorithms", "parts"}
        for algorithm in map(find_algorithm, group["algorithms"]):
            shared = {
                type(algorithm.control).__name__,
                type(getattr(algorithm.control, "sac", None)).__name__,
            }
            assert type(algorithm.encoder).__name__ in group["parts"] and not shared & group["parts"].keys()


def test_a_group_that_names_algorithms_holds_for_these_on_its_splits() -> None:
    def steps(algo: str, split: str | None) -> int:
        return configured(find_algorithm(algo), "lite", "sparse-point-robot", split=split).encoder.steps

    assert steps("focal", "mixed") < steps("focal", "relabeled") == steps("focal", None)
    assert steps("unicorn-sup", "mixed") == steps("unicorn-sup", "relabeled") == steps("focal", "relabeled")


@pytest.mark.parametrize("env", ["sparse-point-robot", "point-robot-wind"])
def test_the_paper_preset_is_table_6(env: str) -> None:
    focalpp = configured(find_algorithm("focalpp"), "paper", env)
    for path, printed in TABLE_6.items():
        part = resolve("paper", env).training if path == "training" else attrgetter(path)(focalpp)
        both = 4.0 if path == "task_loss" else 1.0  # z is half the sum that the temperature is of
        found = {name: getattr(part, name) * (both if name == "temperature" else 1) for name in printed}
        assert found == printed
    mlp = configured(find_algorithm("focal"), "paper", env).encoder
    assert (mlp.width, mlp.depth) == (256, 3)  # "network width (others)"
    assert find_family(env).horizon == 20


@pytest.mark.parametrize("preset", presets())
def test_presets_name_parts_that_exist_and_leave_no_class_without_numbers(preset: str) -> None:
    """A table of a misspelt class would change nothing, and so is an error here."""
    body = presets()[preset]
    tables = [body, *body.get("groups", {}).values(), *body.get("env", {}).values()]
    named = {name for table in tables for name in table.get("parts", {})}
    assert named <= {name for one in every_setting() for name in (one.part, *one.around)}
    if "extends" in body:
        assert body["extends"] in presets()
        return
    assert {"MeanPool", "Attention", "GaussianProduct", "Sac", "Bcq", "Brac"} <= set(body["parts"])


def test_layers_lie_over_one_another_and_the_table_tells_which() -> None:
    """Preset, group, environment, the family's and the algorithm's own, and --set on top."""
    changes = {"control.width": 7}
    table = settings_table("lite", "sparse-ant-dir", "mbml", changes).set_index("setting")
    told = {
        "training.lr_schedule": ("linear", "preset lite"),
        "training.discount": ("0.97", "lite, group ant-dir"),
        "training.meta_batch": ("2", "lite, group two-tasks"),
        "teacher.steps": ("6000", "lite, sparse-ant-dir"),
        "control.width": ("7", "--set"),
        "control.proposals.candidates": ("10", "the part's default"),
        "teacher.control.bcq.width": ("64", "preset lite"),
    }
    for path, (value, origin) in told.items():
        assert (table.loc[path, "value"], table.loc[path, "from"]) == (value, origin), path
    own = replace(find_algorithm("focal"), presets={"lite": {"Brac": {"strength": 5.0}}})
    assert configured(own, "lite", "sparse-ant-dir").control.strength == 5.0


def test_own_layers_lie_between_the_presets_that_extend_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a family or an algorithm says of `lite` holds in `demo` too, where that says nothing else."""
    family = replace(find_family(SPEC.env), presets={"lite": {"training": {"steps": 7, "discount": 0.5}}})
    monkeypatch.setattr("comrl.benchmark.protocol.families", lambda: (family,))
    found = resolve("demo", SPEC.env).training
    assert found.discount == 0.5 and found.steps == presets()["demo"]["training"]["steps"]
    own = {"lite": {"Brac": {"strength": 5.0}, "MeanPool": {"steps": 7}}}
    mine = replace(find_algorithm("focal"), presets=own)
    control, encoder = (getattr(configured(mine, "demo", SPEC.env), name) for name in ("control", "encoder"))
    assert control.strength == 5.0 and encoder.steps == presets()["demo"]["parts"]["MeanPool"]["steps"]
    both = replace(mine, presets={**own, "demo": {"Brac": {"strength": 6.0}}})
    assert configured(both, "demo", SPEC.env).control.strength == 6.0


def test_a_preset_that_makes_the_same_data_as_the_one_it_extends_shares_them() -> None:
    """So data that one of them made serve the other; presets of their own data keep their name."""
    assert data_preset("demo", "walker-2d-params") == "lite"
    own = ["lite", "paper", "smoke", "demo"]
    assert [data_preset(name, SPEC.env) for name in own] == own


# --- what is unknown


UNKNOWN: list[tuple[Any, str]] = [
    (lambda: resolve("papr", "sparse-point-robot"), "did you mean 'paper'"),
    (lambda: resolve("smoke", "x", {"training.step": 1}), "did you mean 'training.steps'"),
    (lambda: resolve("smoke", "x", {"behavior.control.lr": 1}), "did you mean 'behaviour.control.lr'"),
    (lambda: find_split("mixd"), "did you mean 'mixed'"),
    (lambda: find_split("relabled", find_family("point-robot-wind")), "of point-robot-wind"),
    (lambda: find_algorithm("focalp"), "did you mean 'focalpp'"),
    (lambda: find_family("sparse-point-robto"), "did you mean 'sparse-point-robot'"),
    (lambda: overridden("focalpp", "encoder.token"), "did you mean 'encoder.tokens'"),
    (lambda: overridden("focal", "task_los.eps"), "did you mean 'task_loss.eps'"),
    (lambda: overridden("blind", "task_loss.eps"), "blind has no setting"),
    (lambda: overridden("focal", "name"), "focal has no setting 'name'"),
    (lambda: overridden("focal", "width"), "encoder.width or control.sac.width"),
    (lambda: overridden("focal", "target_divergence"), "does not read control.target_divergence"),
    (lambda: overridden("focalpp-seq", "encoder.gate", "sigmoid"), "does not read encoder.gate"),
]


def test_unknown_names_are_refused_with_the_nearest(subtests: pytest.Subtests) -> None:
    for ask, nearest in UNKNOWN:
        with subtests.test(nearest):
            with pytest.raises(BadInput, match=re.escape(nearest)) as refused:
                ask()
            assert "\n" not in str(refused.value)


IMPOSSIBLE: list[tuple[str, Any]] = [
    ("training.steps", 0),
    ("training.steps", "many"),
    ("training.meta_batch", 1),
    ("training.lr_schedule", "cosine"),
    ("training.discount", 1.0),
    ("behaviour.control.lr", -1),
    ("data.episodes", 1.5),
]


def test_impossible_numbers_are_refused_by_name(subtests: pytest.Subtests) -> None:
    for key, value in IMPOSSIBLE:
        with subtests.test(key):
            with pytest.raises(BadInput) as refused:
                resolve("smoke", "sparse-point-robot", {key: value})
            assert key in str(refused.value) and repr(value) in str(refused.value)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"seeds": (0, 0)}, "different seeds"),
    ({"seeds": (-1,)}, "none below 0"),
    ({"env": "sparse-point-robt"}, "did you mean 'sparse-point-robot'"),
    ({"algo": "focla"}, "did you mean 'focal'"),
    ({"split": "exprt"}, "did you mean 'expert'"),
    ({"env": "point-robot-wind", "split": "relabeled"}, "split of point-robot-wind"),
    ({"preset": "lit"}, "did you mean 'lite'"),
    ({"overrides": {"encoder.gates": "sigmoid"}}, "did you mean 'encoder.gate'"),
    ({"overrides": {"encoder.dropout": 1.0}}, "encoder.dropout = 1.0"),
    ({}, "bench generate-data --env sparse-point-robot"),
]


def test_a_run_is_refused_at_the_door(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for change, words in REFUSED:
        with subtests.test(words):
            with pytest.raises(BadInput) as refused:
                prepare_job(SPEC.model_copy(update=change), tmp_path, torch.device("cpu"))
            assert words in str(refused.value)
            assert not list(tmp_path.iterdir())


# --- --set


def test_settings_are_parsed() -> None:
    settings = ["steps=1_000", "lr_schedule = linear", "encoder.batch_wise=false", "tau=1e-2"]
    parsed = parse_overrides([*settings, 'encoder.tokens="single"'], "training")
    assert parsed == {
        "training.steps": 1000,
        "training.lr_schedule": "linear",
        "encoder.batch_wise": False,
        "tau": 0.01,
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


def test_overrides_are_the_protocols_or_a_parts() -> None:
    shared, own = split_overrides({"training.steps": 1, "data.episodes": 2, "encoder.gate": "sigmoid"})
    assert (shared, own) == ({"training.steps": 1, "data.episodes": 2}, {"encoder.gate": "sigmoid"})


def test_an_override_reaches_the_numbers_it_names_alone() -> None:
    before, after = resolve("smoke", "x"), resolve("smoke", "x", {"training.steps": 77})
    assert after.training == replace(before.training, steps=77)
    assert (after.data, after.behaviour) == (before.data, before.behaviour)
    assert resolve("smoke", "x") == before  # the preset itself stays


def test_parts_of_parts_have_settings_too() -> None:
    known = {one.path for one in part_settings(find_algorithm("mbml"))}
    assert {"teacher.reward_agreement", "teacher.control.bcq.proposals.candidates"} <= known
    assert not any(path.endswith((".bcq", ".control", ".proposals")) for path in known)


def test_a_part_is_described_by_its_class_and_fields() -> None:
    tree = describe(at_smoke("focalpp"))
    assert {"part": "Attention", "tokens": "fields", "gate": "mean_one", "heads": 2}.items() <= tree[
        "encoder"
    ].items()
    assert tree["encoder_learns_from"] == [] and "presets" not in tree


def test_a_loss_that_does_not_exist_cannot_teach_the_encoder() -> None:
    wrong = replace(at_smoke("focal"), encoder_learns_from=("critics",))
    with pytest.raises(BadInput, match="did you mean 'critic'"):
        start(wrong, resolve("smoke", SPEC.env).training, Space(3, 2, 1, False), (0,), torch.device("cpu"))
