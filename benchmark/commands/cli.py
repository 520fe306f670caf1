"""The command line: bench generate-data | run | test | suite | report | settings | list | verify | …"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comrl.benchmark.commands import doctor, exchange, filming, jobs, packing, suite, telling
from comrl.benchmark.commands.ending import ended
from comrl.benchmark.commands.exploring import add_options, asked_for, contexts_of_tests
from comrl.ground.errors import BadInput, raise_all, tried
from comrl.ground.workforce import LOCAL, Workforce

if TYPE_CHECKING:
    import pandas as pd

    from comrl.benchmark.reporting.tables import Row
    from comrl.benchmark.spec import RunSpec
    from comrl.ground.machine import Machine

Arguments = argparse.Namespace
Add = Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 and one sentence on standard error where the input cannot be used."""

    def command() -> int:
        arguments = parser().parse_args(argv)
        code: int = arguments.command(arguments)
        return code

    return ended(command, at_once=argv is None)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="bench", description="The benchmark of context-based offline meta-RL.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[Arguments], int], text: str, options: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=telling.telling(command))
        for option in options.split():
            OPTIONS[option](sub)
        return sub

    _add_making(add)
    for module in (exchange, filming, jobs, suite, packing, doctor):
        module.add_commands(add)
    _add_reading(add)
    return top


def _add_making(add: Add) -> None:
    """The commands that compute results."""
    text = "train one SAC agent per task and store its rollouts"
    sub = add("generate-data", generate_data, text, "preset set data machine engine")
    sub.add_argument("--env", nargs="+", required=True, metavar="ENV", help="one or more environments")
    trainers = "stacked (all tasks at once, the default) or sb3 (the reference)"
    sub.add_argument("--trainer", default="stacked", help=trainers)
    text = "train and test algorithms under the identical protocol"
    sub = add("run", run_algorithms, text, "preset set data results explore machine engine tensorboard")
    sub.add_argument("--algo", nargs="+", required=True, metavar="ALGO", help="one or more algorithms")
    jobs.add_side_by_side(sub)
    sub.add_argument("--env", nargs="+", required=True, metavar="ENV", help="one or more environments")
    sub.add_argument("--split", nargs="+", default=["mixed"], metavar="SPLIT", help="default: mixed")
    sub.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    text = "online: test policies on contexts of their own too"
    sub.add_argument("--context", choices=("offline", "online"), default="offline", help=text)
    text = "test what was trained in another way, without training it again"
    sub = add("test", test_runs, text, "data explore machine")
    sub.add_argument("--run", nargs="+", type=Path, required=True, metavar="FOLDER", help="folders of runs")
    text = "where contexts come from: the data, the policy itself, or other tasks' agents"
    sub.add_argument("--context", choices=("offline", "online", "shifted"), required=True, help=text)
    sub.add_argument("--split", metavar="SPLIT", help="offline: whose contexts (default: what it trained on)")
    text = "test (default), or train, which alone a choice of settings may look at"
    sub.add_argument("--tasks", choices=("test", "train"), default="test", help=text)


def _add_reading(add: Add) -> None:
    """The commands that show what there is, and what this machine does."""
    sub = add("report", report, "write the tables, the figures and one HTML page", "results quiet")
    packing.add_with(sub)
    sub.add_argument("--preset", help="which results to show where there are several presets")
    sub.add_argument("--out", type=Path, help="where to write it (default: report/ below the results)")
    text = "print every setting of an algorithm, or of data generation: value, origin, meaning, paper's value"
    sub = add("settings", show_settings, text, "preset set")
    sub.add_argument("--env", required=True, metavar="ENV", help="an environment")
    sub.add_argument("--algo", metavar="ALGO", help="an algorithm (default: how the data are made)")
    sub.add_argument(
        "--split", default="mixed", metavar="SPLIT", help="the data it trains on (default: mixed)"
    )
    add("list", list_all, "show environments, algorithms, splits, data sets and runs", "data results")
    sub = add("verify", verify, "check every file: hashes, schema, rewards", "data")
    sub.add_argument("--env", nargs="+", metavar="ENV", help="which data sets (default: all there are)")
    add("demo", demo, "from nothing to a report, in minutes", "machine")
    sub = add("speed", speed, "measure this machine, the updates and the trainers in one run", "machine")
    sub.add_argument(
        "--algo", nargs="+", metavar="ALGO", help="only steps of these, made in every way there is"
    )
    sub.add_argument("--env", nargs="+", metavar="ENV", help="with --algo: on these environments")
    sub.add_argument("--preset", default="paper", help="with --algo: at this preset (default: paper)")
    sub.add_argument("--out", type=Path, help="write the figures as JSON too")


def _machine(sub: argparse.ArgumentParser) -> None:
    telling.add_quiet(sub)
    sub.add_argument("--device", default="cpu", help="where to compute, cpu or cuda; tests run on the CPU")
    sub.add_argument("--threads", type=int, help="CPU threads (default: one a core)")
    text = "of matrix products: fp32 (default), or tf32, which is faster on CUDA and has fewer digits"
    sub.add_argument("--precision", choices=("fp32", "tf32"), default="fp32", help=text)


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], Any]] = {
    "preset": lambda sub: sub.add_argument("--preset", default="lite", help="paper, full, lite, demo, smoke"),
    "set": lambda sub: sub.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change any number of the preset or of an algorithm's part",
    ),
    "data": lambda sub: sub.add_argument(
        "--data",
        type=Path,
        default=_folder("COMRL_DATA", "data"),
        help="where data sets live ($COMRL_DATA, else ./data)",
    ),
    "results": lambda sub: sub.add_argument(
        "--results",
        type=Path,
        default=_folder("COMRL_RESULTS", "results"),
        help="where results live ($COMRL_RESULTS, else ./results)",
    ),
    "explore": add_options,
    "machine": _machine,
    "engine": jobs.add_engine,
    "quiet": telling.add_quiet,
    "tensorboard": telling.add_tensorboard,
}


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default)


def show(rows: Sequence[Row] | pd.DataFrame, title: str = "") -> None:
    """Print rows as one table."""
    import pandas as pd

    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    left = {  # words start at one edge; numbers end at one
        name: f"{{:<{max(map(len, column))}}}".format
        for name, column in table.items()
        if all(isinstance(cell, str) for cell in column)
    }
    how = {"index": False, "justify": "left", "na_rep": "", "formatters": left}
    text = "(none)" if table.empty else table.to_string(**how)
    print(f"\n{title}\n{text}" if title else f"\n{text}")


def show_each(pieces: Iterable[Callable[[], Row | list[Row]]]) -> int:
    """Print the rows of each piece of work; one that fails stops no other, and is raised after the last."""
    outcomes = [tried(piece) for piece in pieces]
    done = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    show([row for rows in done for row in (rows if isinstance(rows, list) else [rows])])
    raise_all([outcome for outcome in outcomes if isinstance(outcome, Exception)])
    return 0


def generate_data(arguments: Arguments) -> int:
    """Make what is missing of each data set."""
    from comrl.benchmark.generation.generate import generate
    from comrl.benchmark.protocol import parse_overrides
    from comrl.envs.family import find_family
    from comrl.ground.machine import prepare

    device = prepare(_machine_of(arguments))
    overrides = parse_overrides(arguments.set, "behaviour", "data")
    how = {"preset": arguments.preset, "trainer": arguments.trainer, "device": device}
    workforce = jobs.workforce_of(arguments, threads=1)
    raise_all(
        [error for env in arguments.env if isinstance(error := tried(partial(find_family, env)), Exception)]
    )
    return show_each(
        partial(generate, env, arguments.data, overrides=overrides, workforce=workforce, **how)
        for env in arguments.env
    )


def run_algorithms(arguments: Arguments) -> int:
    """Check everything that was asked for, then train what is not there yet."""
    from comrl.benchmark.protocol import parse_overrides
    from comrl.benchmark.spec import RunSpec

    overrides = parse_overrides(arguments.set, "training")
    specs = [
        RunSpec(
            env=env,
            split=split,
            preset=arguments.preset,
            algo=algo,
            seeds=arguments.seeds,
            overrides=overrides,
            context="online" if arguments.explore else arguments.context,
            **asked_for(arguments),
        )
        for env in arguments.env
        for split in arguments.split
        for algo in arguments.algo
    ]
    workforce = jobs.workforce_of(arguments, arguments.threads or 1)
    show(_run_all(specs, arguments, arguments.jobs, workforce))
    return 0


def _machine_of(arguments: Arguments) -> Machine:
    from comrl.ground.machine import Machine

    return Machine(arguments.device, arguments.threads, arguments.precision)


def _run_all(
    specs: Sequence[RunSpec], arguments: Arguments, jobs: int | None, workforce: Workforce = LOCAL
) -> list[Row]:
    """A row of every run; one that fails on the way stops no other, and is raised after the last."""
    from comrl.benchmark.training.several import run_all

    machine = _machine_of(arguments)
    rows, failures = run_all(specs, arguments.data, arguments.results, machine, jobs, workforce)
    if failures:
        show(rows)
    raise_all(failures)
    return rows


def test_runs(arguments: Arguments) -> int:
    """Test every run that is named and print a row of each test."""
    from comrl.benchmark.training.run import test_folder
    from comrl.ground.machine import prepare

    device, asked = prepare(_machine_of(arguments)), asked_for(arguments)
    about = (arguments.split, arguments.tasks)
    return show_each(
        partial(test_folder, folder, arguments.data, device, context, *about, **asked)
        for context, folder in product(contexts_of_tests(arguments), arguments.run)
    )


def report(arguments: Arguments) -> int:
    """Make the report and print where it is."""
    from comrl.benchmark.reporting.report import write_report
    from comrl.ground.machine import cores

    out, preset = arguments.out or arguments.results / "report", arguments.preset
    page = write_report(arguments.results, out, preset, packs=arguments.packs, processes=cores())
    print(f"\nreport: {page.resolve()}")
    return 0


def show_settings(arguments: Arguments) -> int:
    """Print what a run, or data generation, would read."""
    from comrl.benchmark.protocol import parse_overrides
    from comrl.benchmark.settings import settings_table

    sections = ("training",) if arguments.algo else ("behaviour", "data")
    overrides = parse_overrides(arguments.set, *sections)
    show(settings_table(arguments.preset, arguments.env, arguments.algo, overrides, arguments.split))
    return 0


def list_all(arguments: Arguments) -> int:
    """Print what there is."""
    from comrl.benchmark.commands.inspect import list_tables

    for title, table in list_tables(arguments.data, arguments.results):
        show(table, title)
    return 0


def verify(arguments: Arguments) -> int:
    """Print what was checked and every problem; 2 where there is one."""
    from comrl.benchmark.commands.inspect import data_sets, verify_tables

    envs = arguments.env or [folder.name for folder in data_sets(arguments.data)]
    if not envs:
        raise BadInput(f"{arguments.data} holds no data set; make one with `bench generate-data`")
    table, problems = verify_tables(arguments.data, envs)
    show(table)
    for problem in problems:
        print(f"bench: {problem}", file=sys.stderr)
    return 2 if problems else 0


def demo(arguments: Arguments) -> int:
    """Data, runs and report of demo.toml."""
    from comrl.benchmark.generation.generate import generate
    from comrl.benchmark.reporting.report import write_report
    from comrl.benchmark.spec import RunSpec
    from comrl.ground.machine import cores, prepare

    plan = tomllib.loads(files("comrl.benchmark.commands").joinpath("demo.toml").read_text("utf-8"))
    folder = arguments.results = Path(plan["folder"])
    arguments.data = folder / "data"
    device = prepare(_machine_of(arguments))
    made = generate(
        plan["env"], arguments.data, preset=plan["preset"], overrides={}, trainer="stacked", device=device
    )
    asked = {key: plan[key] for key in ("env", "split", "preset", "seeds")}
    specs = [RunSpec(algo=algo, overrides={}, **asked) for algo in plan["algos"]]
    rows = _run_all(specs, arguments, plan["jobs"])
    page = write_report(folder, folder / "report", processes=cores())
    show([made])
    show(rows)
    print(f"\nA shortened protocol: something to look at, not to compare.\nOpen {page.resolve()}")
    return 0


def speed(arguments: Arguments) -> int:
    """Measure, print one table, and keep it where asked."""
    from comrl.benchmark.commands.speed import keep, measure
    from comrl.benchmark.commands.speed_steps import step_rows
    from comrl.ground.machine import prepare

    if bool(arguments.algo) != bool(arguments.env):
        raise BadInput("--algo and --env choose together what bench speed measures; give both or none")
    device = prepare(_machine_of(arguments))
    if arguments.algo:
        rows = step_rows(arguments.algo, arguments.env, arguments.preset, _machine_of(arguments))
    else:
        rows = measure(device)
    show(keep(rows, device, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
