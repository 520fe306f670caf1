"""The manifest that names and hashes a data set's files: what it should be, and what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from comrl.datasets.birth import Birth
from comrl.datasets.cards import Manifest, TaskSetCard
from comrl.datasets.taskfile import FORMAT, newer
from comrl.envs.family import TaskFamily, TaskSet
from comrl.ground.errors import BadInput
from comrl.ground.hashing import identity
from comrl.ground.reading import content_of, names_in

MANIFEST = "manifest.json"


def task_file(folder: Path, task: int) -> Path:
    """Where a task lies."""
    return folder / f"task-{task:03d}.hdf5"


def is_task_file(name: str) -> bool:
    """Whether a name is that of a task's file."""
    return name.startswith("task-") and name.endswith(".hdf5")


def command(family: str, folder: Path) -> str:
    """The command that makes a data set or what is missing of it."""
    return f"`bench generate-data --env {family} --data {folder.parent}`"


def manifest_of(family: TaskFamily, task_set: TaskSet, birth: Birth, hashes: Mapping[int, str]) -> Manifest:
    """The manifest of tasks whose files have these hashes."""
    files = {task_file(Path(), task).name: known for task, known in hashes.items()}
    return Manifest(
        format=FORMAT,
        family=family.name,
        task_set=TaskSetCard.of(task_set),
        birth=birth,
        files=files,
        sha256=identity(files),
    )


def read_manifest(folder: Path, env: str) -> Manifest:
    """The manifest as it was written; BadInput where there is none, or none that can be read."""
    path = folder / MANIFEST
    content = content_of(path)
    if content is None:
        state = "is incomplete" if any(map(is_task_file, names_in(folder))) else "does not exist"
        raise BadInput(f"the data set {folder} {state}; run {command(env, folder)}")
    try:
        body = json.loads(content)
        written = int(body["format"])
        if written < FORMAT:
            raise ValueError(f"format {written}")
        if written == FORMAT:
            return Manifest.read(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise broken_manifest(folder, env, error) from error
    raise newer(path, written)


def broken_manifest(folder: Path, env: str, why: object) -> BadInput:
    """What to tell of a manifest that is not the one that was written."""
    return BadInput(
        f"{folder / MANIFEST} is truncated or altered ({why}); move it away and run "
        f"{command(env, folder)} again: whole task files are kept"
    )
