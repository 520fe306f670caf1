"""Data in and out: bench import-data and bench export-data."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from comrl.ground.errors import BadInput

if TYPE_CHECKING:
    from comrl.benchmark.reporting.tables import Row

Arguments = argparse.Namespace


def add_commands(add: Callable[[str, Callable[[Arguments], int], str, str], argparse.ArgumentParser]) -> None:
    """Let the command line take them."""
    text = (
        "make a data set of logged transitions in npz, HDF5 or Minari files, checked against the environment"
    )
    sub = add("import-data", import_data, text, "data")
    sub.add_argument("--env", required=True, metavar="ENV", help="the environment that they are of")
    text = "the folder that holds a file for each task, or Minari's sets"
    sub.add_argument("--from", dest="source", type=Path, required=True, metavar="FOLDER", help=text)
    text = "expert, medium or random: what files without groups hold"
    sub.add_argument("--quality", metavar="QUALITY", help=text)
    text = (
        "the tasks' true parameters, a line for each (default: in the files, or the environment's own tasks)"
    )
    sub.add_argument("--params", type=Path, metavar="FILE", help=text)
    text = "the tasks held out (default: as the environment's own)"
    sub.add_argument("--test", nargs="+", type=int, metavar="TASK", help=text)
    text = "write a data set in another format: one of Minari's sets for each task and quality"
    sub = add("export-data", export_data, text, "data")
    sub.add_argument("--env", nargs="+", required=True, metavar="ENV", help="whose data")
    sub.add_argument("--to", choices=("minari",), required=True, help="the format")
    text = "where to write them (default: where Minari looks for its sets, $MINARI_DATASETS_PATH)"
    sub.add_argument("--out", type=Path, metavar="FOLDER", help=text)


def import_data(arguments: Arguments) -> int:
    """Read, check and write, and print a row of what came in."""
    from comrl.benchmark.commands.cli import show
    from comrl.datasets.arrays import from_arrays
    from comrl.datasets.logged import read_logged, read_params
    from comrl.datasets.minari_sets import by_task, holds_minari, read_minari, restored
    from comrl.datasets.taskfile import QUALITIES

    if arguments.quality is not None and arguments.quality not in QUALITIES:
        raise BadInput(f"--quality {arguments.quality}: choose one of {', '.join(QUALITIES)}")
    env, params, dataset = arguments.env, None, None
    if holds_minari(arguments.source):
        parts = read_minari(arguments.source)
        tasks = by_task(parts)
        if arguments.params is None and arguments.test is None:
            dataset = restored(parts, arguments.data, env)
    else:
        tasks, params = read_logged(arguments.source, arguments.quality)
    if dataset is None:
        params = params if arguments.params is None else read_params(arguments.params)
        dataset = from_arrays(arguments.data, env, tasks, params=params, test=arguments.test)
    rows = [dataset.read_task(task).qualities for task in dataset.tasks]
    show(
        [
            {
                "env": env,
                "tasks (train + test)": f"{len(dataset.task_set.train)} + {len(dataset.task_set.test)}",
                "transitions": sum(part.transitions.reward.size for own in rows for part in own.values()),
                "qualities": " ".join(rows[0]),
                "sha256": dataset.sha256[:8],
                "folder": str(dataset.folder),
            }
        ]
    )
    return 0


def export_data(arguments: Arguments) -> int:
    """Write each data set, and print where its sets are."""
    from comrl.benchmark.commands.cli import show_each
    from comrl.datasets.minari_sets import export_minari, minari_root
    from comrl.datasets.store import open_dataset

    root = arguments.out or minari_root()

    def one(env: str) -> list[Row]:
        folder = export_minari(open_dataset(arguments.data, env, check=True), root)
        sets = sorted(path.parent.name for path in folder.glob("*/data"))
        return [{"env": env, "sets": len(sets), "the first": f"{folder.parent.name}/{folder.name}/{sets[0]}"}]

    show_each(partial(one, env) for env in arguments.env)
    print(f"\nMinari finds them where MINARI_DATASETS_PATH is {root.resolve()}")
    return 0
