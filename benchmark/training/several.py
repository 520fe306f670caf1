"""Several runs: one after another here, or side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from comrl.benchmark.generation.workers import end_with_parent
from comrl.benchmark.protocol import RunSpec
from comrl.benchmark.reporting.tables import Row
from comrl.benchmark.training.job import prepare_job, prepare_jobs
from comrl.benchmark.training.run import run_job
from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine, prepare
from comrl.ground.progress import use_line


def run_all(
    specs: Sequence[RunSpec], data: Path, results: Path, machine: Machine, side_by_side: int = 1
) -> tuple[list[Row], list[BadInput]]:
    """A row of every run, and what was refused on the way, which stops no other.

    All specs are checked before anything is trained.
    """
    jobs = prepare_jobs(specs, data, prepare(machine))
    if side_by_side < 1:
        raise BadInput(f"--jobs {side_by_side} must be at least 1")
    if min(side_by_side, len(jobs)) > 1:
        return _collected(_beside(specs, data, results, machine.shared_by(side_by_side), side_by_side))
    taken = (jobs.pop(0) for _ in specs)  # done, a run lets go of its data
    return _collected(partial(run_job, job, results) for job in taken)


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
