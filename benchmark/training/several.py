"""Several runs: one after another here, or side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from comrl.benchmark.generation.workers import end_with_parent
from comrl.benchmark.protocol import RunSpec
from comrl.benchmark.reporting.tables import Row
from comrl.benchmark.training.job import Job, prepare_job, prepare_jobs
from comrl.benchmark.training.run import run_job
from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine, prepare
from comrl.ground.progress import use_line

FLOAT, CACHE = 4, 2**23
"""Bytes of a number, and of a stack's widest layer beyond which seeds cost less one after another."""


def run_all(
    specs: Sequence[RunSpec], data: Path, results: Path, machine: Machine, side_by_side: int = 1
) -> tuple[list[Row], list[BadInput]]:
    """A row of every run, and what was refused on the way, which stops no other.

    All specs are checked before anything is trained.
    """
    if side_by_side < 1:
        raise BadInput(f"--jobs {side_by_side} must be at least 1")
    jobs = [part for job in prepare_jobs(specs, data, prepare(machine)) for part in stacks_of(job)]
    specs = [job.spec for job in jobs]
    if min(side_by_side, len(jobs)) > 1:
        return _collected(_beside(specs, data, results, machine.shared_by(side_by_side), side_by_side))
    taken = (jobs.pop(0) for _ in specs)  # done, a run lets go of its data
    return _collected(partial(run_job, job, results) for job in taken)


def stacks_of(job: Job) -> list[Job]:
    """The job, or one of each seed where a stack of all would not stay in a processor's cache."""
    training, seeds = job.training, job.spec.seeds
    rows = training.meta_batch * max(training.control_batch, training.context_batch)
    widest = max(p.shape[-1] for net in job.fresh().nets.values() for p in net.parameters())
    if job.device.type != "cpu" or len(seeds) * rows * widest * FLOAT <= CACHE:
        return [job]
    return [replace(job, spec=job.spec.model_copy(update={"seeds": (seed,)})) for seed in seeds]


def _collected(runs: Iterator[Callable[[], Row]]) -> tuple[list[Row], list[BadInput]]:
    rows, refused = [], []
    for run in runs:
        try:
            rows.append(run())
        except BadInput as error:
            refused.append(error)
    return rows, refused


def _beside(
    specs: Sequence[RunSpec], data: Path, results: Path, machine: Machine, count: int
) -> Iterator[Callable[[], Row]]:
    """The results in the order of the specs; every process draws its progress in a line of its own."""
    context = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads half-made
    lines: Any = context.Queue()
    for line in range(count):
        lines.put(line)
    with ProcessPoolExecutor(count, context, initializer=_begin, initargs=(lines, context.RLock())) as pool:
        work = partial(_run, data=data, results=results, machine=machine)
        waiting: list[Future[Row]] = [pool.submit(work, spec) for spec in specs]
        try:
            for run in waiting:
                yield run.result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(lines: Any, lock: Any) -> None:
    end_with_parent()
    use_line(lines.get(), lock)


def _run(spec: RunSpec, data: Path, results: Path, machine: Machine) -> Row:
    return run_job(prepare_job(spec, data, prepare(machine)), results)
