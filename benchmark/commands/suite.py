"""bench suite: everything behind the report in a good order; what is there is skipped."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from comrl.benchmark.commands.jobs import add_side_by_side, workforce_of
from comrl.ground.errors import raise_all, tried

if TYPE_CHECKING:
    from comrl.benchmark.reporting.tables import Row
    from comrl.benchmark.training.planning import Place

Arguments = argparse.Namespace


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take it."""
    text = "make everything behind the report: data, runs and tests; what is there is skipped"
    sub = add("suite", suite, text, "preset data results machine engine")
    sub.add_argument("--env", nargs="+", default=[], metavar="ENV", help="only these environments")
    add_side_by_side(sub)
    sub.add_argument("--plan", action="store_true", help="print what is done and what remains, and stop")


def suite(arguments: Arguments) -> int:
    """Print the plan, then make what remains of it, place by place; what failed is raised at the end."""
    from comrl.benchmark.commands.cli import show
    from comrl.benchmark.training.planning import plan

    workforce_of(arguments, threads=1)  # what is not to be had is refused before anything is made
    places = plan(arguments.preset, arguments.data, arguments.results, arguments.env)
    show([_row(place) for place in places])
    print(f"\n{_summary(places, arguments.jobs or 1)}")
    left = [place for place in places if not place.done]
    if arguments.plan:
        return 0
    failures: list[Exception] = []
    for number, place in enumerate(left, 1):
        print(f"\n{number} of {len(left)}: {place.env}, {place.split} data: {place.group.name}", flush=True)
        failed = _make(place, arguments)
        if failed:
            print(f"{len(failed)} failed here, which is told at the end; the rest goes on", flush=True)
        failures += failed
    raise_all(failures)
    print(f"\nAll there.  The report: bench report --preset {arguments.preset} --results {arguments.results}")
    return 0


def _make(place: Place, arguments: Arguments) -> list[Exception]:
    """Data, then runs, then tests of one place, in print; what failed, which stops nothing else."""
    from comrl.benchmark.commands.cli import show
    from comrl.benchmark.generation.generate import generate
    from comrl.benchmark.training.planning import again, specs_of
    from comrl.benchmark.training.run import test_folder
    from comrl.benchmark.training.several import run_all
    from comrl.ground.machine import Machine, prepare

    machine = Machine(arguments.device, arguments.threads, arguments.precision)
    data, results, preset = arguments.data, arguments.results, arguments.preset
    device = prepare(machine)
    how = {"preset": preset, "overrides": {}, "trainer": "stacked", "device": device}
    how |= {"workforce": workforce_of(arguments, threads=1)}
    made = tried(partial(generate, place.env, data, **how))
    if isinstance(made, Exception):
        return [made]
    specs = specs_of(place.group, place.env, place.split, preset)
    workforce = workforce_of(arguments, arguments.threads or 1)
    rows, failures = run_all(specs, data, results, machine, arguments.jobs, workforce)
    show(rows)
    lacking = [each for part in again(place, data, results, preset).parts for each in part.untested]
    outcomes = [tried(partial(test_folder, path, data, device, test, None)) for path, test in lacking]
    if outcomes:
        show([row for rows in outcomes if not isinstance(rows, Exception) for row in rows])
    return failures + [outcome for outcome in outcomes if isinstance(outcome, Exception)]


def _row(place: Place) -> Row:
    """What of a place is there, and how long the rest will take."""
    parts = place.parts
    seeds, absent = sum(len(part.spec.seeds) for part in parts), sum(len(part.absent) for part in parts)
    lacking = [part.spec.algo for part in parts if part.absent]
    tests = sum(len(part.untested) for part in parts)
    return {
        "environment": place.env,
        "split": place.split,
        "group": place.group.name,
        "data": "there" if place.data else "to make",
        "seeds": f"{seeds - absent} of {seeds}",
        "to train": " ".join(lacking) or "–",
        "to test": str(tests) if tests else "–",
        "time": _time([part.seconds for part in parts]),
    }


def _time(seconds: Iterable[float | None], jobs: int = 1) -> str:
    """How long some trainings take together."""
    given = list(seconds)
    known, unknown = sum(one or 0.0 for one in given) / jobs, given.count(None)
    told = [lasting(known)] if known else []
    told += [f"{unknown} unknown"] if unknown else []
    return " + ".join(told) or "–"


def lasting(seconds: float) -> str:
    """A duration as one says it."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _summary(places: list[Place], jobs: int) -> str:
    """What is done, what remains, and the time it will take."""
    data = {place.env: place for place in places}
    parts = [part for place in places for part in place.parts]
    seeds, absent = sum(len(part.spec.seeds) for part in parts), sum(len(part.absent) for part in parts)
    done = f"Done: {sum(place.data for place in data.values())} of {len(data)} data sets, "
    done += f"{seeds - absent} of {seeds} seeds."
    if all(place.done for place in places):
        return f"{done}  Nothing remains."
    sets = _time(place.data_seconds for place in data.values() if not place.data)
    runs = _time([part.seconds for part in parts if part.absent], jobs)
    tests = sum(len(part.untested) for part in parts)
    left = f"data {sets}; gradient steps of {sum(bool(part.absent) for part in parts)} trainings {runs}"
    left += f", {jobs} at a time" if jobs > 1 else ""
    return (
        f"{done}  Remains: {left}; {tests} tests of trained runs.  Times are those of the same preset here."
    )
