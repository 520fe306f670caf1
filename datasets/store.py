"""HDF5, one file a task, and a manifest that names and hashes them all; the only file that knows h5py."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from comrl.datasets.birth import Birth, warn_of_other_physics
from comrl.datasets.cards import Manifest, TaskSetCard
from comrl.datasets.transitions import Transitions
from comrl.envs.family import Array, TaskFamily, TaskSet, find_family
from comrl.envs.rollout import Episodes
from comrl.ground.cards import Tree
from comrl.ground.errors import BadInput
from comrl.ground.files import write_whole
from comrl.ground.hashing import difference, dumps, identity, sha256

FORMAT = 1
MANIFEST = "manifest.json"
QUALITIES = ("expert", "medium", "random")
FIELDS = {
    "obs": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_obs": "next_observations",
    "terminated": "terminations",
}
LENGTHS = "episode_lengths"
UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)
"""What h5py, json and a wrong structure raise; BadInput, a ValueError, is let through by name."""


class Quality(NamedTuple):
    """The rollouts of one checkpoint, and the agent step at which it was taken."""

    step: int
    episodes: Episodes


class Checkpoints(NamedTuple):
    """The learning curve of a task's agent: mean dense returns of stochastic and deterministic rollouts."""

    steps: NDArray[np.int64]  # [C]
    returns: Array  # [C]
    deterministic: Array  # [C]


class StoredQuality(NamedTuple):
    """One quality as read back: its rows, one episode after another."""

    step: int
    transitions: Transitions  # [N, ...]
    lengths: NDArray[np.int32]  # [E]


class StoredTask(NamedTuple):
    """All that a task file holds."""

    header: Tree
    qualities: dict[str, StoredQuality]
    checkpoints: Checkpoints


def task_file(folder: Path, task: int) -> Path:
    """Where a task lies."""
    return folder / f"task-{task:03d}.hdf5"


def command(family: str, folder: Path) -> str:
    """The command that makes a data set or what is missing of it."""
    return f"`bench generate-data --env {family} --data {folder.parent}`"


def dense_reward(family: TaskFamily, rows: Transitions, params: Array) -> NDArray[np.float32]:
    """The family's reward of stored rows, in float64 and rounded once.  [..., O], [..., P] -> [...]."""
    obs, action, next_obs = (field.astype(np.float64) for field in (rows.obs, rows.action, rows.next_obs))
    return np.asarray(family.reward(obs, action, next_obs, params), dtype=np.float32)


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
    """Keep a task, whole or not at all: its episodes' valid steps, rewards recomputed from what is stored."""
    memory = io.BytesIO()  # not on the disk: its errors, and HDF5's own locks, stay out of HDF5
    with h5py.File(memory, "w", libver=("v110", "v110")) as file:
        for key, value in _header(family.name, task_set, task, birth).items():
            file.attrs[key] = dumps(value) if isinstance(value, dict) else value
        for name in QUALITIES:
            group = file.create_group(name)
            group.attrs["step"] = qualities[name].step
            rows = _rows(family, qualities[name].episodes, task_set.params[task])
            for field, values in rows._asdict().items():
                _put(group, FIELDS[field], values)
            _put(group, LENGTHS, qualities[name].episodes.valid.sum(-1).astype(np.int32))
        group = file.create_group("checkpoints")
        for field, values in checkpoints._asdict().items():
            _put(group, field, np.asarray(values, dtype=np.int64 if field == "steps" else np.float64))
    path = task_file(folder, task)
    with write_whole(path) as part:
        part.write_bytes(memory.getvalue())
    return path


def _put(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    group.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def _rows(family: TaskFamily, episodes: Episodes, params: Array) -> Transitions:
    """The valid steps of a task's episodes, one episode after another: [E, H, ...] -> [N, ...]."""
    valid = episodes.valid
    obs, action, reward, next_obs = (
        field[valid].astype(np.float32)
        for field in (episodes.obs, episodes.action, episodes.reward, episodes.next_obs)
    )
    rows = Transitions(obs, action, reward, next_obs, episodes.terminated[valid])
    return rows._replace(reward=dense_reward(family, rows, params))


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
            stored = _parse(path, image)
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
            stored = _parse(path, image)
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
    raise _newer(path, written)


def _broken_manifest(folder: Path, env: str, error: Exception) -> BadInput:
    return BadInput(
        f"{folder / MANIFEST} is truncated or altered ({error}); delete it and run "
        f"{command(env, folder)} again: whole task files are kept"
    )


def _parse(path: Path, image: bytes) -> StoredTask:
    """A task file's bytes as arrays; what is not one raises one of UNREADABLE."""
    with h5py.File(io.BytesIO(image), "r") as file:
        header = {key: _attribute(file.attrs[key]) for key in sorted(file.attrs)}
        if header["format"] > FORMAT:
            raise _newer(path, header["format"])
        qualities = {name: _parse_quality(file[name]) for name in QUALITIES}
        checkpoints = Checkpoints(*(file["checkpoints"][name][:] for name in Checkpoints._fields))
    for key in ("task_set", "birth"):
        header[key] = json.loads(header[key])
    return StoredTask(header, qualities, checkpoints)


def _parse_quality(group: h5py.Group) -> StoredQuality:
    transitions = Transitions(**{field: group[name][:] for field, name in FIELDS.items()})
    return StoredQuality(int(group.attrs["step"]), transitions, group[LENGTHS][:])


def _attribute(value: Any) -> Any:
    """An HDF5 attribute as a plain JSON value."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _newer(path: Path, written: int) -> BadInput:
    return BadInput(f"{path} has format {written}, newer than this program's {FORMAT}; update comrl-bench")
