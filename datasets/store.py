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
from comrl.datasets.cards import TaskSetCard
from comrl.datasets.cost import COST
from comrl.datasets.form import misfit
from comrl.datasets.manifest import (
    MANIFEST,
    broken_manifest,
    command,
    manifest_of,
    read_manifest,
    task_file,
)
from comrl.datasets.taskfile import (
    FORMAT,
    QUALITIES,
    UNREADABLE,
    Checkpoints,
    Quality,
    StoredTask,
    as_image,
    parse,
)
from comrl.datasets.transitions import Transitions
from comrl.envs.family import TaskFamily, TaskSet, find_family
from comrl.ground.cards import Tree
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.hashing import difference, identity, sha256
from comrl.ground.reading import content_of, is_there

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
    hashes = _hashes(folder, family, task_set, birth)
    if None in hashes:
        path = task_file(folder, hashes.index(None))
        raise BadInput(f"{path} is missing or broken; run {command(family.name, folder)} again")
    known = {task: each for task, each in enumerate(hashes) if each is not None}
    manifest = manifest_of(family, task_set, birth, known)
    for name, content in ((COST, cost), (MANIFEST, manifest.to_json())):
        with write_whole(folder / name) as part:
            part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return manifest.sha256


def missing_tasks(folder: Path, family: TaskFamily, task_set: TaskSet, birth: Birth) -> tuple[int, ...]:
    """The tasks with no whole file in the folder.

    BadInput where it holds data of another birth or format, or a manifest that is not that of its files.
    """
    manifest = read_manifest(folder, family.name) if is_there(folder / MANIFEST) else None
    hashes = _hashes(folder, family, task_set, birth)
    if manifest is None:
        return tuple(task for task, known in enumerate(hashes) if known is None)
    if not any(hashes):  # no file says what the data were
        _refuse_other(folder, manifest.birth.to_json(), birth.to_json())
    files = {task: manifest.files.get(task_file(folder, task).name, "") for task in range(len(hashes))}
    if what := difference(manifest.to_json(), manifest_of(family, task_set, birth, files).to_json()):
        raise broken_manifest(folder, family.name, what)
    return tuple(task for task, known in enumerate(hashes) if known != files[task])


def _hashes(folder: Path, family: TaskFamily, task_set: TaskSet, birth: Birth) -> list[str | None]:
    """The hash of each task's file; None where there is none, or none that is whole."""
    found: list[str | None] = []
    for task in range(len(task_set.params)):
        path = task_file(folder, task)
        image = content_of(path)
        try:
            stored = parse(path, image or b"")
        except BadInput:
            raise
        except UNREADABLE:
            found.append(None)
            continue
        _refuse_other(folder, stored.header, _header(family.name, task_set, task, birth))
        found.append(sha256(image or b""))
    return found


def _refuse_other(folder: Path, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    what = difference(there, now)
    if what:
        raise BadInput(
            f"{folder} holds data that were made otherwise ({what}); give another folder with --data"
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
            "move it away, and copy it anew from where it came or run "
            f"{command(self.family.name, self.folder)} again as the data were made ({born}): it writes only "
            "what is missing"
        )

    @cached_property
    def qualities(self) -> tuple[str, ...]:
        """The qualities that every task has; data that came another way may lack some."""
        held = [self.read_task(task).qualities for task in self.tasks]
        return tuple(name for name in QUALITIES if all(name in each for each in held))

    def read_task(self, task: int) -> StoredTask:
        """All of a task, read once."""
        if task not in self._read:
            self._read[task] = self._read_task(task)
        return self._read[task]

    def _read_task(self, task: int) -> StoredTask:
        path = task_file(self.folder, task)
        image = content_of(path)
        if image is None:
            raise BadInput(f"{path} is missing; {self.remedy}")
        if sha256(image) != self.files[path.name]:
            raise BadInput(f"{path} is truncated or altered; {self.remedy}")
        try:
            stored = parse(path, image)
            for quality in stored.qualities.values():
                if found := misfit(self.family, quality):
                    raise ValueError(found)
        except BadInput:
            raise
        except UNREADABLE as error:
            raise BadInput(
                f"{path} is as its manifest says and does not have the form of data format {FORMAT} "
                f"({error}); write it in that form"
            ) from error
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
    manifest = read_manifest(folder, env)
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
        raise broken_manifest(folder, env, error) from error
    for task in dataset.tasks:
        if check:
            dataset.read_task(task)
        elif not is_there(task_file(folder, task)):
            raise BadInput(f"{task_file(folder, task)} is missing; {dataset.remedy}")
    return dataset
