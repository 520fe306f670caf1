"""A data set on the disk: one file a task, and a manifest that names and hashes them all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comrl.datasets.birth import IMPORTED, Birth, warn_of_other_physics
from comrl.datasets.cards import Manifest, TaskSetCard
from comrl.datasets.taskfile import (
    FORMAT,
    UNREADABLE,
    Checkpoints,
    Quality,
    StoredTask,
    as_image,
    newer,
    parse,
)
from comrl.datasets.transitions import Transitions
from comrl.envs.family import TaskFamily, TaskSet, find_family
from comrl.ground.cards import Tree
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.hashing import difference, identity, sha256

MANIFEST = "manifest.json"


def task_file(folder: Path, task: int) -> Path:
    """Where a task lies."""
    return folder / f"task-{task:03d}.hdf5"


def command(family: str, folder: Path) -> str:
    """The command that makes a data set or what is missing of it."""
    return f"`bench generate-data --env {family} --data {folder.parent}`"


# --- writing


def write_task(
    folder: Path,
    family: TaskFamily,
    task_set: TaskSet,
    task: int,
    qualities: Mapping[str, Quality],
    checkpoints: Checkpoints,
    birth: Birth,
) -> Path:
    """Keep a task, whole or not at all."""
    header = _header(family.name, task_set, task, birth)
    image = as_image(header, family, task_set.params, qualities, checkpoints, task)
    path = task_file(folder, task)
    with write_whole(path) as part:
        part.write_bytes(image)
    return path


def write_manifest(
    folder: Path, family: TaskFamily, task_set: TaskSet, birth: Birth, cost: dict[str, Any]
) -> str:
    """Declare a data set complete, its cost beside it, and return its identity."""
    missing = missing_tasks(folder, family, task_set, birth)
    if missing:
        path = task_file(folder, missing[0])
        raise BadInput(f"{path} is missing or broken; run {command(family.name, folder)} again")
    names = [task_file(folder, task).name for task in range(len(task_set.params))]
    files = {name: sha256((folder / name).read_bytes()) for name in names}
    manifest = Manifest(
        format=FORMAT,
        family=family.name,
        task_set=TaskSetCard.of(task_set),
        birth=birth,
        files=files,
        sha256=identity(files),
    )
    for name, content in (("cost.json", cost), (MANIFEST, manifest.to_json())):
        with write_whole(folder / name) as part:
            part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return manifest.sha256


def missing_tasks(folder: Path, family: TaskFamily, task_set: TaskSet, birth: Birth) -> tuple[int, ...]:
    """The tasks with no whole file in the folder; BadInput where it holds data of another birth or format."""
    manifest = _read_manifest(folder, family.name) if (folder / MANIFEST).exists() else None
    if manifest is not None:
        _refuse_other(folder, manifest.birth.to_json(), birth.to_json())
    known = manifest.files if manifest is not None else {}
    missing = []
    for task in range(len(task_set.params)):
        path = task_file(folder, task)
        try:
            image = path.read_bytes()
            stored = parse(path, image)
        except UNREADABLE as error:
            if isinstance(error, BadInput):
                raise
            missing.append(task)
            continue
        _refuse_other(folder, stored.header, _header(family.name, task_set, task, birth))
        if path.name in known and sha256(image) != known[path.name]:
            missing.append(task)
    return tuple(missing)


def _refuse_other(folder: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    what = difference(there, now)
    if what:
        raise BadInput(
            f"{folder} holds data that were made otherwise ({what}); give another folder with --data, "
            "or delete this one"
        )


def _header(family: str, task_set: TaskSet, task: int, birth: Birth) -> Tree:
    """The attributes of a task file."""
    return {
        "format": FORMAT,
        "family": family,
        "task": task,
        "params": task_set.params[task].tolist(),
        "task_set": TaskSetCard.of(task_set).split(),
        "birth": birth.to_json(),
    }


# --- reading


@dataclass(frozen=True, eq=False)
class Dataset:
    """A complete data set; the first read of a file compares it with its hash in the manifest."""

    folder: Path
    family: TaskFamily
    task_set: TaskSet
    birth: Birth
    sha256: str
    files: dict[str, str]
    """The hash of every task file by name."""
    _read: dict[int, StoredTask] = field(default_factory=dict, repr=False)

    @property
    def tasks(self) -> range:
        """All tasks, training and test."""
        return range(len(self.task_set.params))

    @cached_property
    def remedy(self) -> str:
        """What brings a broken file back."""
        if self.birth.trainer == IMPORTED:
            return "import the data again from where they came: only what is missing is written"
        born = f"preset {self.birth.preset}, trainer {self.birth.trainer}, seed {self.birth.seed}"
        return (
            f"delete it and run {command(self.family.name, self.folder)} again as the data were made "
            f"({born}): it writes only what is missing"
        )

    def read_task(self, task: int) -> StoredTask:
        """All of a task, read once."""
        if task not in self._read:
            self._read[task] = self._read_task(task)
        return self._read[task]

    def _read_task(self, task: int) -> StoredTask:
        path = task_file(self.folder, task)
        try:
            image = path.read_bytes()
        except FileNotFoundError:
            raise BadInput(f"{path} is missing; {self.remedy}") from None
        if sha256(image) != self.files[path.name]:
            raise BadInput(f"{path} is truncated or altered; {self.remedy}")
        try:
            stored = parse(path, image)
        except UNREADABLE as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{path} is not a task file ({error}); {self.remedy}") from error
        what = difference(stored.header, _header(self.family.name, self.task_set, task, self.birth))
        if what:
            manifest = self.folder / MANIFEST
            raise BadInput(f"{manifest} disagrees with {path.name} ({what}); {self.remedy}")
        return stored

    def read(self, task: int, quality: str) -> tuple[Transitions, NDArray[np.int32]]:
        """The rows of one task at one quality and the lengths of its episodes: [N, ...], [E]."""
        stored = self.read_task(task).qualities[quality]
        return stored.transitions, stored.lengths

    def read_all(self, quality: str) -> list[tuple[Transitions, NDArray[np.int32]]]:
        """The same of every task in turn."""
        return [self.read(task, quality) for task in self.tasks]


def open_dataset(data: Path, env: str, *, check: bool = False) -> Dataset:
    """The data set of an environment; BadInput names what is missing or broken and what mends it."""
    family, folder = find_family(env), data / env
    manifest = _read_manifest(folder, env)
    try:
        task_set = manifest.task_set.task_set(env)
        names = [task_file(folder, task).name for task in range(len(task_set.params))]
        dataset = Dataset(folder, family, task_set, manifest.birth, manifest.sha256, manifest.files)
        if manifest.family != env or sorted(dataset.files) != sorted(names):
            raise ValueError("its names do not fit together")
        warn_of_other_physics(folder, dataset.birth)
        wide = task_set.params.shape[1:] == (len(family.param_names),)
        if identity(dataset.files) != dataset.sha256 or not wide:
            raise ValueError("its hashes or parameters do not fit together")
    except ValueError as error:
        raise _broken_manifest(folder, env, error) from error
    for task in dataset.tasks:
        if check:
            dataset.read_task(task)
        elif not task_file(folder, task).exists():
            raise BadInput(f"{task_file(folder, task)} is missing; {dataset.remedy}")
    return dataset


def _read_manifest(folder: Path, env: str) -> Manifest:
    path = folder / MANIFEST
    try:
        body = json.loads(path.read_bytes())
        written = int(body["format"])
        if written < FORMAT:
            raise ValueError(f"format {written}")
        if written == FORMAT:
            return Manifest.read(body)
    except (FileNotFoundError, NotADirectoryError):
        state = "is incomplete" if any(folder.glob("task-*.hdf5")) else "does not exist"
        raise BadInput(f"the data set {folder} {state}; run {command(env, folder)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _broken_manifest(folder, env, error) from error
    raise newer(path, written)


def _broken_manifest(folder: Path, env: str, error: Exception) -> BadInput:
    return BadInput(
        f"{folder / MANIFEST} is truncated or altered ({error}); delete it and run "
        f"{command(env, folder)} again: whole task files are kept"
    )
