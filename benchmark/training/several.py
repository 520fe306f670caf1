"""Several runs: one after another here, or side by side, each in a process of its own, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from comrl.benchmark.reporting.tables import Row
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.job import Job, prepare_job, prepare_jobs
from comrl.benchmark.training.run import run_job
from comrl.ground.errors import BadInput, tried
from comrl.ground.machine import Machine, prepare
from comrl.ground.progress import Progress, SideBySide, tell_progress
from comrl.ground.workforce import LOCAL, Workforce

FLOAT, CACHE = 4, 2**23
"""Bytes of a number, and of a stack's widest layer beyond which its seeds are trained one after another.

FOCAL's three seeds at the paper's sizes on Cheetah-Vel, whose layer has 25 MB, cost 3.1 to 3.7 times one as
a stack.
"""


def run_all(
    specs: Sequence[RunSpec],
    data: Path,
    results: Path,
    machine: Machine,
    side_by_side: int | None = None,
    workforce: Workforce = LOCAL,
) -> tuple[list[Row], list[Exception]]:
    """A row of every run, and what went wrong on the way, which stops no other.

    All specs are checked before anything is trained: BadInput then tells of every one that is refused.
    """
    if side_by_side is not None and side_by_side < 1:
        raise BadInput(f"--jobs {side_by_side} must be at least 1")
    settled = zip(specs, prepare_jobs(specs, data, prepare(machine)), strict=True)
    parts = [part for spec, job in settled for part in _parts(spec, job, each_seed=workforce.away)]
    specs, jobs = [spec for spec, _ in parts], [job for _, job in parts]
    parts.clear()
    count = side_by_side or (len(jobs) if workforce.away else 1)
    if workforce.away or min(count, len(jobs)) > 1:
        share = replace(machine, threads=machine.threads or 1) if workforce.away else machine.shared_by(count)
        outcomes = _beside(specs, data.absolute(), results.absolute(), share, count, workforce)
    else:
        taken = (jobs.pop(0) for _ in specs)  # done, a run lets go of its data
        outcomes = [
            job if isinstance(job, Exception) else tried(partial(run_job, job, results)) for job in taken
        ]
    rows: list[Row] = []
    failures: list[Exception] = []
    for spec, outcome in zip(specs, outcomes, strict=True):
        if isinstance(outcome, Exception):
            failures.append(_of_run(spec, outcome) if len(specs) > 1 else outcome)
        else:
            rows.append(outcome)
    return rows, failures


def _parts(spec: RunSpec, job: Job | Exception, *, each_seed: bool) -> list[tuple[RunSpec, Job | Exception]]:
    """What is trained as one stack each, or the error that came in its place."""
    if isinstance(job, Exception):
        return [(spec, job)]
    return [(part.spec, part) for part in (seeds_of(job) if each_seed else stacks_of(job))]


def stacks_of(job: Job) -> list[Job]:
    """The job, or one of each seed where a stack of all would not stay in a processor's cache."""
    training, seeds = job.training, job.spec.seeds
    rows = training.meta_batch * max(training.control_batch, training.context_batch)
    widest = max(p.shape[-1] for net in job.fresh().nets.values() for p in net.parameters())
    if job.device.type != "cpu" or len(seeds) * rows * widest * FLOAT <= CACHE:
        return [job]
    return seeds_of(job)


def seeds_of(job: Job) -> list[Job]:
    """A job of each seed: all of them are one experiment."""
    return [replace(job, spec=job.spec.model_copy(update={"seeds": (seed,)})) for seed in job.spec.seeds]


def _of_run(spec: RunSpec, error: Exception) -> Exception:
    """An error that names its run."""
    name = f"{spec.algo} on {spec.env}, {spec.split} data, seeds {' '.join(map(str, spec.seeds))}"
    if isinstance(error, BadInput):
        return BadInput(f"{name}: {error}")
    error.add_note(f"That was {name}; what else was asked for was done.")
    return error


def _beside(
    specs: Sequence[RunSpec], data: Path, results: Path, machine: Machine, count: int, workforce: Workforce
) -> list[Row | Exception]:
    """The outcomes in the order of the specs; every process has a line of its own to show its progress."""
    work = partial(_run, data=data, results=results, machine=machine)
    with SideBySide() as lines:
        return workforce.do(work, specs, count, heard=lines.show)


def _run(
    spec: RunSpec, tell: Callable[[Progress], object], *, data: Path, results: Path, machine: Machine
) -> Row:
    tell_progress(tell)
    return run_job(prepare_job(spec, data, prepare(machine)), results)
