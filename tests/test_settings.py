"""Every setting is told, can be set, changes what is computed, and is in the id exactly where it is read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import pytest
import torch
from support.runs import CPU, SPACE, random_sampler, settle
from support.settings import SPEC, at_smoke, every_setting, other_value, overridden

from comrl.algorithms.algorithm import Algorithm, Training, algorithms
from comrl.algorithms.learner import start, update
from comrl.benchmark.protocol import configured, part_settings, resolve, run_id, with_setting
from comrl.benchmark.spec import RunSpec
from comrl.ground.errors import BadInput
from comrl.ground.settings import changed, setting, settings_of, used

every = pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)


def test_every_setting_says_what_it_is() -> None:
    unsaid = {f"{one.part}.{one.name}" for one in every_setting() if not one.says}
    assert not unsaid, f"no word on {', '.join(sorted(unsaid))}"


def owner_of(algorithm: Algorithm, path: str) -> Any:
    """The part that has a setting."""
    name, _, rest = path.partition(".")
    part, inner = algorithm.parts()[name], rest.rpartition(".")[0]
    return attrgetter(inner)(part) if inner else part


@every
def test_every_setting_can_be_set_and_reaches_the_id_where_it_is_read(algorithm: Algorithm) -> None:
    before = configured(algorithm, "smoke", SPEC.env)
    for one in part_settings(before):
        name, _, rest = one.path.partition(".")
        new = other_value(type(owner_of(before, one.path)), one)
        after = with_setting(before, one.path, new)
        assert attrgetter(rest)(after.parts()[name]) == new, one.path
        assert with_setting(after, one.path, one.value) == before, one.path
        assert (identity(after) != identity(before)) == (not one.idle), one.path
        with pytest.raises(BadInput, match=rf"setting {one.path}"):
            with_setting(before, one.path, ["nonsense"])


# --- what is computed

BITES = {
    "log_std_low": -0.01, "log_std_high": -1.0, "strength_max": 0.5, "smallest_variance": 5.0,
    "candidates": 1, "strength_eps": 1.0, "width": 12, "heads": 4,
    "reward_agreement": 100.0, "next_obs_agreement": 100.0,
}  # fmt: skip
"""Bounds that a few steps reach, and widths that heads divide."""
ELSEWHERE = {  # where a shared setting acts, if not in the updates
    "eval_every": "test_run.py", "eval_episodes": "test_run.py", "test_context": "test_run.py",
    "relabeled_pool": "test_splits.py", "context_radius": "test_sampler.py",
    "sees_position": "test_sampler.py",
}  # fmt: skip


def computed(algorithm: Algorithm, training: Training) -> list[float]:
    """Every loss of every stage's updates, in the end a sum over the networks, and actions.

    They begin thrice as large as ever, so that what is bounded is beyond its bounds.
    """
    state, sampler = start(algorithm, training, SPACE, (3,), CPU), random_sampler()
    found: list[float] = []
    for stage in state.stages:
        for p in (p for net in stage.nets.values() for p in net.parameters()):
            p.data.mul_(3.0)
        while not stage.done:
            found += [float(loss.sum()) for loss in update(stage, stage.next_batch(sampler)).losses.values()]
        found += [float(p.detach().double().sum()) for net in stage.nets.values() for p in net.parameters()]
    obs, latent = torch.full((1, 1, SPACE.obs), 0.5), algorithm.encoder.latent_width(SPACE)
    action = algorithm.control.act(state.nets, obs, torch.full((1, 1, latent), 0.5))
    return found + action.flatten().tolist()


CONTEXTS = {"context_batch", "context_bank"}


@every
def test_every_setting_changes_what_is_computed(algorithm: Algorithm) -> None:
    """A setting that changes nothing would still change the id."""
    few = {"steps": 5, "encoder_steps": 4, "teacher_steps": 2, "lr_schedule": "linear", "strength": 1.0}
    chosen, training = settle(algorithm, **few)
    before, idle = computed(chosen, training), set()
    for one in part_settings(chosen):
        new = BITES.get(one.name, other_value(type(owner_of(chosen, one.path)), one))
        with suppress(BadInput):  # what cannot be alone is refused, and so not without effect
            if not one.idle and computed(with_setting(chosen, one.path, new), training) == before:
                idle.add(one.path)
    for one in settings_of(training, "training"):
        new = changed(training, one.name, other_value(Training, one))
        if one.name in CONTEXTS and not chosen.encoder.steps:
            continue  # the yardsticks read no context
        if one.name not in ELSEWHERE and computed(chosen, new) == before:
            idle.add(one.path)
    assert not idle, f"{algorithm.name}: {', '.join(sorted(idle))} change nothing"


# --- the id of a run


def identity(algorithm: Algorithm | None = None, training: Training | None = None, spec: RunSpec = SPEC,
             data: str = "f00") -> str:  # fmt: skip
    training = training or resolve("smoke", SPEC.env).training
    return run_id(algorithm or at_smoke("focalpp"), training, spec, data)


def test_the_id_is_eight_digits_and_stable() -> None:
    assert identity() == identity()
    assert len(identity()) == 8 and int(identity(), 16) >= 0


def test_the_id_depends_on_every_shared_setting_that_is_read() -> None:
    training = resolve("smoke", SPEC.env).training
    for one in settings_of(training):
        new = changed(training, one.path, other_value(Training, one))
        assert identity(training=new) != identity(), one.path
    pool = replace(training, relabeled_pool=77)
    ids = {run_id(at_smoke("focal"), t, SPEC, "f00", {"relabeled_pool"}) for t in (training, pool)}
    assert len(ids) == 1


@dataclass(frozen=True)
class Grown:
    """A task loss that came to know another setting after runs were made with it."""

    temperature: float = 0.5
    sharpness: float = setting(1.0, "an exponent, which was 1 before it could be set", before=1.0)


def test_a_new_setting_leaves_the_ids_of_older_runs_alone() -> None:
    assert used(Grown()) == {"part": "Grown", "temperature": 0.5}
    assert used(Grown(sharpness=2.0)) == {"part": "Grown", "temperature": 0.5, "sharpness": 2.0}


@pytest.mark.parametrize(
    "change", [{"seeds": (0, 2)}, {"seeds": (0,)}, {"env": "point-robot-wind"}, {"split": "expert"}]
)
def test_the_id_depends_on_what_was_asked_for(change: dict[str, Any]) -> None:
    assert identity(spec=SPEC.model_copy(update=change)) != identity()


def test_the_id_depends_on_the_algorithm_and_the_data() -> None:
    ids = {identity(configured(algorithm, "smoke", SPEC.env)) for algorithm in algorithms()}
    assert len(ids) == len(algorithms())
    assert identity(algorithm=overridden("focalpp", "encoder.gate", "sigmoid")) != identity()
    assert identity(data="f01") != identity()


def test_the_id_does_not_depend_on_how_settings_were_given() -> None:
    """A preset's own value given by --set, or the same numbers under another preset's name, is one run."""
    given = SPEC.model_copy(update={"overrides": {"training.steps": 30}, "preset": "other"})
    assert identity(spec=given) == identity()
