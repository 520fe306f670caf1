"""What there is: declared parts, data sets on the disk and runs in the ledger, as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pandas as pd

from comrl.benchmark.reporting.cards import RunCard
from comrl.benchmark.reporting.tables import Row
from comrl.datasets.manifest import MANIFEST, is_task_file
from comrl.datasets.splits import Split, splits, splits_of
from comrl.datasets.store import open_dataset
from comrl.datasets.verify import verify
from comrl.envs.family import TaskFamily, families
from comrl.ground.errors import BadInput
from comrl.ground.reading import content_of, folders_in, names_in, reading
from comrl.ground.remembered import Table, remembered


def list_tables(data: Path, results: Path) -> list[tuple[str, pd.DataFrame]]:
    """A titled table each of environments, algorithms, splits, rules, data sets and runs that there are."""
    algorithms = remembered("comrl.algorithms", "ALGORITHMS", _algorithms)
    rules = remembered("comrl.benchmark.training", "RULES", _rules)
    return [
        ("Environments", pd.DataFrame([_environment(family) for family in families()])),
        ("Algorithms", pd.DataFrame(algorithms)),
        ("Splits", pd.DataFrame([_split(split) for split in splits()])),
        ("Rules of exploration, --explore RULE", pd.DataFrame(rules)),
        (f"Data sets in {data}", _table(partial(data_sets, data), _data_set)),
        (f"Runs in {results}", _table(partial(folders_in, results / "runs"), _run)),
    ]


def _table(folders: Callable[[], list[Path]], row: Callable[[Path], Row]) -> pd.DataFrame:
    """A row for each of some folders; what keeps one, or all, from being read is told in its place."""
    try:
        found = folders()
    except BadInput as error:
        return pd.DataFrame([{"environment": "", "state": str(error)}])
    return pd.DataFrame([row(folder) for folder in found])


def verify_tables(data: Path, envs: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """A row for each data set looked over, and one sentence for everything that is wrong."""
    rows, problems = [], []
    for env in envs:
        try:
            dataset = open_dataset(data, env)
        except BadInput as error:
            rows.append({"env": env, "files": 0, "episodes": 0, "transitions": 0, "problems": 1})
            problems.append(str(error))
            continue
        files = verify(dataset)
        found = [problem for file in files for problem in file["problems"]]
        totals = {key: sum(file[key] for file in files) for key in ("episodes", "transitions")}
        rows.append({"env": env, "files": len(files), **totals, "problems": len(found)})
        problems += found
    return pd.DataFrame(rows), problems


def data_sets(data: Path) -> list[Path]:
    """The folders below `data` that hold a data set, finished or not.

    A folder that cannot be looked into is taken for one where an environment has its name.
    """
    known = {family.name for family in families()}
    return [folder for folder in folders_in(data) if _holds_data(folder, folder.name in known)]


def _holds_data(folder: Path, unless_told: bool) -> bool:
    try:
        return any(name == MANIFEST or is_task_file(name) for name in names_in(folder))
    except BadInput:
        return unless_told


def _environment(family: TaskFamily) -> Row:
    return {
        "environment": family.name,
        "tasks (train + test)": f"{family.train_tasks} + {family.test_tasks}",
        "horizon": family.horizon,
        "observation": family.obs_dim,
        "action": family.action_dim,
        "splits": " ".join(split.name for split in splits_of(family)),
    }


def _split(split: Split) -> Row:
    pooled = ", pooled over tasks and relabeled" if split.relabel else ""
    return {"split": split.name, "made of": " + ".join(split.qualities) + pooled}


def _algorithms() -> Table:
    from comrl.algorithms.algorithm import algorithms

    return [{"algorithm": one.name, "label": one.label, "role": one.role} for one in algorithms()]


def _rules() -> Table:
    from comrl.benchmark.training.explore import rules

    return [{"rule": one.name, "how a test task is explored": one.text} for one in rules()]


def _data_set(folder: Path) -> Row:
    try:
        dataset = open_dataset(folder.parent, folder.name)
        first = dataset.read_task(0).qualities
        with reading(folder):
            size = sum((folder / name).stat().st_size for name in dataset.files)
    except BadInput as error:
        return {"environment": folder.name, "state": str(error)}
    tasks = dataset.task_set
    return {
        "environment": folder.name,
        "tasks (train + test)": f"{len(tasks.train)} + {len(tasks.test)}",
        "transitions of task 0": " + ".join(str(part.transitions.reward.size) for part in first.values()),
        "preset": dataset.birth.preset,
        "trainer": dataset.birth.trainer,
        "seed": str(dataset.birth.seed),
        "MB": f"{size / 1e6:.1f}",
        "sha256": dataset.sha256[:8],
        "state": "complete",
    }


def _run(folder: Path) -> Row:
    try:
        card = RunCard.read(json.loads(content_of(folder / RunCard.FILE) or b""))
        spec = card.spec
        return {
            "environment": spec.env,
            "split": spec.split,
            "preset": spec.preset,
            "algorithm": spec.algo,
            "seeds": " ".join(map(str, spec.seeds)),
            "overrides": " ".join(f"{key}={value}" for key, value in spec.overrides.items()),
            "id": card.id,
            "data": card.data_sha256[:8],
            "minutes": f"{card.cost.train_seconds / 60:.1f}",
            "state": "complete",
        }
    except BadInput as error:
        return {"environment": folder.name, "state": str(error)}
    except (ValueError, RecursionError) as error:
        return {
            "environment": folder.name,
            "state": f"unreadable ({error}); delete {folder} and run it again",
        }
