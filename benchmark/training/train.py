"""The training of one run: every stage to its last step, tested on the way, going on where it was left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from comrl.algorithms.accelerate import Engine, Progress, means
from comrl.algorithms.learner import State, hand_over
from comrl.benchmark.reporting.cards import Provenance
from comrl.benchmark.reporting.formats import csv_bytes
from comrl.benchmark.reporting.ledger import CURVES
from comrl.benchmark.training.checkpoint import CurveRow, load, restore, save
from comrl.benchmark.training.job import Job, birth_of
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.progress import progress_bar
from comrl.ground.showing import Bar

Watch = Callable[[Sequence[CurveRow]], object]
"""Sees the rows of curves.csv as they come."""


class Trained(NamedTuple):
    """A training at its last step."""

    state: State
    curves: pd.DataFrame
    seconds: list[float]
    """Of each stage."""
    returns: pd.DataFrame
    """The test at the last step, with contexts of the split it was trained on."""
    births: list[Provenance]
    """What it was begun with, and what it went on with each time that something was another."""


class Mark(NamedTuple):
    """Where a training stands at a test."""

    state: State | None
    """What is tested; None: nothing in this stage."""
    snapshot: dict[str, Any]
    seconds: list[float]
    learned: dict[str, list[float]]
    """The mean of every loss and metric since the last test, [S]."""


@dataclass(eq=False)
class Tests:
    """The tests on the way, each with a checkpoint behind it."""

    job: Job
    checkpoint: Path
    watch: Watch
    device: str
    """The kind of device that the training is on."""
    births: list[Provenance]
    curves: list[CurveRow] = field(default_factory=list)
    returns: pd.DataFrame | None = None
    """Of the latest."""

    def test(self, state: State, learned: dict[str, list[float]]) -> None:
        """Test the state, and keep the result."""
        self.returns = self.job.test(state, self.job.split)
        rows = _curve_rows(self.job, state, self.returns, learned)
        self.curves += rows
        self.watch(rows)

    def keep(self, mark: Mark, bar: Bar) -> None:
        """Test where there is something to test, and save a checkpoint from which this test is known."""
        if mark.state is not None:
            self.test(mark.state, mark.learned)
            bar.set_postfix({self.job.family.scores[0].name: f"{_latest(self.curves, self.job):.2f}"})
        save(
            self.checkpoint,
            {
                "state": mark.snapshot,
                "curves": self.curves,
                "seconds": mark.seconds,
                "device": self.device,
                "births": [birth.model_dump(mode="json") for birth in self.births],
            },
        )
        if self.curves:
            with write_whole(self.checkpoint.with_name(CURVES)) as part:
                part.write_bytes(csv_bytes(pd.DataFrame(self.curves)))


def train(job: Job, checkpoint: Path, watch: Watch = lambda rows: None) -> Trained:
    """Train every stage to its last step, testing the last one on the way.

    Goes on from the checkpoint where there is one, and tells `watch` the curves' rows as they come, those of
    before too.  BadInput where a loss is no finite number any more.
    """
    state, sampler, birth = job.fresh(), job.sampler(job.split), birth_of(job.device)
    tests = Tests(job.testing, checkpoint, watch, job.device.type, [birth])
    seconds = [0.0 for _ in state.stages]
    if saved := load(checkpoint, job.device):
        restore(state, saved, checkpoint)
        tests.curves, seconds = saved["curves"], saved["seconds"]
        known = [Provenance.model_validate(one) for one in saved["births"]]
        tests.births = known if known[-1] == birth or state.done else [*known, birth]
        watch(tests.curves)
    with _bookkeeping(job.device) as do:
        for place, stage in enumerate(state.stages):
            hand_over(stage)
            tested, engine = stage is state, Engine(stage, sampler)
            if tested and not tests.curves:
                tests.test(as_it_is(state, tests.job), {})
            total, about = stage.training.steps, _title(job, stage)
            with progress_bar(total, stage.step, about) as bar:
                while not stage.done:
                    began = time.perf_counter()
                    parts = engine.advance(_until_the_next_test(stage), bar.update)
                    learned = means(parts)  # waits for the device
                    seconds[place] += time.perf_counter() - began
                    _refuse_failure(job, stage, parts)
                    here = as_it_is(state, tests.job) if tested else None
                    do(partial(tests.keep, Mark(here, _snapshot(state), [*seconds], learned), bar))
    returns = tests.returns
    if returns is None:  # all was trained before; only the test is made again
        returns = tests.job.test(as_it_is(state, tests.job), job.split)
    return Trained(state, pd.DataFrame(tests.curves), seconds, returns, tests.births)


def _snapshot(state: State) -> dict[str, Any]:
    """What a checkpoint keeps of a state: a copy beside CUDA, where training goes on as it is written."""
    snapshot = state.snapshot()
    return deepcopy(snapshot) if state.noise.device.type == "cuda" else snapshot


def as_it_is(state: State, testing: Job) -> State:
    """The state on the device where it is tested: itself, or a copy without its stages that stands still."""
    if testing.device == state.noise.device:
        return state
    copy = replace(testing, algorithm=replace(testing.algorithm, before=())).fresh()
    for name, net in copy.nets.items():
        net.load_state_dict(state.nets[name].state_dict())
    copy.step = state.step
    return copy


@contextmanager
def _bookkeeping(device: torch.device) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A function that does what it is given: at once, or, beside CUDA, in a thread and one after another."""
    if device.type != "cuda":
        yield lambda work: work()
        return
    pending: list[Future[None]] = []

    def soon(work: Callable[[], None]) -> None:
        while pending:
            pending.pop().result()
        pending.append(pool.submit(work))

    pool = ThreadPoolExecutor(1)
    try:
        yield soon
        while pending:
            pending.pop().result()
    except BaseException as error:  # an interrupted training does not wait for its test
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


def _until_the_next_test(stage: State) -> int:
    """Steps until the next test, or the last step."""
    every, left = stage.training.eval_every, stage.training.steps - stage.step
    return min(every - stage.step % every, left)


def _refuse_failure(job: Job, stage: State, parts: Sequence[Progress]) -> None:
    """BadInput where a loss was no finite number: all that comes after it means nothing."""
    failures = [failure for part in parts if (failure := part.first_failure())]
    if not failures:
        return
    step, name, member = failures[0]
    seed = job.spec.seeds[member * len(job.spec.seeds) // len(stage.noise.generators)]
    raise BadInput(
        f"{_title(job, stage)}: {name.replace('_', ' of the ', 1)} was nan or infinite at step {step} (seed "
        f"{seed}); lower the learning rates, as in --set actor_lr=1e-4 critic_lr=1e-4, or the reward scale"
    )


def _title(job: Job, stage: State) -> str:
    """What a progress bar is about."""
    own = stage.algorithm is job.algorithm
    who = job.algorithm.label + ("" if own else f", first {stage.algorithm.label}")
    seeds = " ".join(map(str, job.spec.seeds))
    return f"{who}, {job.family.label}, {job.split.label}, seeds {seeds}"


def _curve_rows(
    job: Job, state: State, returns: pd.DataFrame, learned: dict[str, list[float]]
) -> list[CurveRow]:
    """One row a seed: mean test returns at this step, and mean losses and metrics since the last."""
    scores = [score.name for score in job.family.scores]
    means = returns.groupby("seed")[scores].mean()
    return [
        {"seed": seed, "step": state.step}
        | {name: float(means.loc[seed, name]) for name in scores}
        | {name: values[member] for name, values in learned.items()}
        for member, seed in enumerate(job.spec.seeds)
    ]


def _latest(curves: Sequence[CurveRow], job: Job) -> float:
    latest = curves[-len(job.spec.seeds) :]
    return float(np.mean([row[job.family.scores[0].name] for row in latest]))
