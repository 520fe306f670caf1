"""One task's file: HDF5, as bytes and back; the only module that knows h5py."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from comrl.datasets.transitions import Transitions
from comrl.envs.family import Array, TaskFamily
from comrl.envs.rollout import Episodes
from comrl.ground.cards import Tree
from comrl.ground.errors import BadInput
from comrl.ground.hashing import dumps

FORMAT = 1
QUALITIES = ("expert", "medium", "random")
FIELDS = {
    "obs": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_obs": "next_observations",
    "terminated": "terminations",
}
LENGTHS = "episode_lengths"
VISITS, HOSTS = "visits", "tasks"
COMPRESSED = 64
"""How many times its file an array may be, in bytes: we compress nothing, others may."""
Own = Callable[[Any, str], Any]
"""What is of a name in a group."""
UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)
"""What h5py, json and a wrong structure raise; BadInput, a ValueError, is let through by name."""


class Visits(NamedTuple):
    """Episodes of an agent in other tasks than its own."""

    hosts: NDArray[np.int64]  # [E]  the task of each episode
    episodes: Episodes  # [E, H, ...]


class Quality(NamedTuple):
    """The rollouts of one checkpoint, and the agent step at which it was taken."""

    step: int
    episodes: Episodes
    visits: Visits | None = None


class Checkpoints(NamedTuple):
    """The learning curve of a task's agent: mean dense returns of stochastic and deterministic rollouts."""

    steps: NDArray[np.int64]  # [C]
    returns: Array  # [C]
    deterministic: Array  # [C]


class StoredEpisodes(NamedTuple):
    """Episodes as read back, one after another."""

    transitions: Transitions  # [N, ...]
    lengths: NDArray[np.int32]  # [E]


class StoredVisits(NamedTuple):
    """Episodes in other tasks as read back."""

    hosts: NDArray[np.int32]  # [E]
    episodes: StoredEpisodes


class StoredQuality(NamedTuple):
    """One quality as read back."""

    step: int
    transitions: Transitions  # [N, ...]
    lengths: NDArray[np.int32]  # [E]
    visits: StoredVisits | None = None


class StoredTask(NamedTuple):
    """All that a task file holds."""

    header: Tree
    qualities: dict[str, StoredQuality]
    checkpoints: Checkpoints


def dense_reward(family: TaskFamily, rows: Transitions, params: Array) -> NDArray[np.float32]:
    """The family's reward of stored rows, in float64 and rounded once.  [..., O], [..., P] -> [...]."""
    obs, action, next_obs = (field.astype(np.float64) for field in (rows.obs, rows.action, rows.next_obs))
    return np.asarray(family.reward(obs, action, next_obs, params), dtype=np.float32)


# --- writing


def as_image(
    header: Tree,
    family: TaskFamily,
    params: Array,
    qualities: Mapping[str, Quality],
    checkpoints: Checkpoints,
    task: int,
) -> bytes:
    """The file of a task: its episodes' valid steps, rewards recomputed from what is stored.

    params: [T, P]  of all tasks; qualities: some of QUALITIES, or all, as `bench generate-data` makes them.
    """
    memory = io.BytesIO()  # not on the disk: its errors, and HDF5's own locks, stay out of HDF5
    with h5py.File(memory, "w", libver=("v110", "v110")) as file:
        for key, value in header.items():
            file.attrs[key] = dumps(value) if isinstance(value, dict) else value
        for name in filter(qualities.__contains__, QUALITIES):
            group, quality = file.create_group(name), qualities[name]
            group.attrs["step"] = quality.step
            _put_episodes(group, family, quality.episodes, params[[task]])
            if quality.visits is not None:
                group = group.create_group(VISITS)
                _put(group, HOSTS, quality.visits.hosts.astype(np.int32))
                _put_episodes(group, family, quality.visits.episodes, params[quality.visits.hosts])
        group = file.create_group("checkpoints")
        for field, values in checkpoints._asdict().items():
            _put(group, field, np.asarray(values, dtype=np.int64 if field == "steps" else np.float64))
    return memory.getvalue()


def _put_episodes(group: h5py.Group, family: TaskFamily, episodes: Episodes, params: Array) -> None:
    """The valid steps, one episode after another.  params: [E, P], or [1, P] of one task."""
    valid = episodes.valid  # [E, H]
    obs, action, reward, next_obs = (
        field[valid].astype(np.float32)
        for field in (episodes.obs, episodes.action, episodes.reward, episodes.next_obs)
    )
    rows = Transitions(obs, action, reward, next_obs, episodes.terminated[valid])
    each = params if len(params) == 1 else np.repeat(params, valid.sum(-1), 0)  # [N, P] or [1, P]
    rows = rows._replace(reward=dense_reward(family, rows, each))
    for field, values in rows._asdict().items():
        _put(group, FIELDS[field], values)
    _put(group, LENGTHS, valid.sum(-1).astype(np.int32))


def _put(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    group.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


# --- reading


def arrays_in(path: Path) -> dict[str, NDArray[Any]]:
    """Every array in somebody's HDF5 file, and the file's own attributes, by name; BadInput where it is none.

    Links are not followed, and arrays that lie in another file are refused.
    """
    found = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if lies_elsewhere(item):
                raise BadInput(f"{path}: {name} lies in another file; write the numbers into this one")
            found[name] = item[()]

    try:
        with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
            found.update({name: np.asarray(value) for name, value in file.attrs.items()})
            file.visititems(keep)
    except UNREADABLE as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} cannot be read as HDF5 ({error})") from error
    return {name: np.asarray(values) for name, values in found.items()}


def lies_elsewhere(dataset: h5py.Dataset) -> bool:
    """Whether the numbers are another file's, which reading them would open, wherever it is."""
    return bool(dataset.external) or dataset.is_virtual


def _own(group: h5py.Group, name: str, most: int) -> Any:
    """A group or array that lies in this very file; ValueError where it does not, or says to be far larger.

    A file may be anybody's: its links and storage may lead to any place, and its shapes say anything.
    """
    link = group.id.links.get_info(name.encode()).type
    if link != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{name} is a link")
    item = group[name]
    if isinstance(item, h5py.Dataset) and lies_elsewhere(item):
        raise ValueError(f"{name} lies in another file")
    if isinstance(item, h5py.Dataset) and item.nbytes > most:
        raise ValueError(f"{name} says to have {item.nbytes} bytes")
    return item


def parse(path: Path, image: bytes) -> StoredTask:
    """A task file's bytes as arrays; what is not one raises one of UNREADABLE."""
    with h5py.File(io.BytesIO(image), "r") as file:
        header = {key: _attribute(file.attrs[key]) for key in sorted(file.attrs)}
        if header["format"] > FORMAT:
            raise newer(path, header["format"])
        own = partial(_own, most=COMPRESSED * len(image))
        there = [name for name in QUALITIES if file.id.links.exists(name.encode())]
        qualities = {name: _quality(own(file, name), own) for name in there}
        curve = own(file, "checkpoints")
        checkpoints = Checkpoints(*(own(curve, name)[:] for name in Checkpoints._fields))
    if not qualities:
        raise ValueError(f"it has none of the groups {', '.join(QUALITIES)}")
    for key in ("task_set", "birth"):
        header[key] = json.loads(header[key])
    return StoredTask(header, qualities, checkpoints)


def newer(path: Path, written: int) -> BadInput:
    """What is said of a file of a newer format."""
    return BadInput(f"{path} has format {written}, newer than this program's {FORMAT}; update comrl-bench")


def _quality(group: h5py.Group, own: Own) -> StoredQuality:
    inner = own(group, VISITS) if group.id.links.exists(VISITS.encode()) else None
    visits = None if inner is None else StoredVisits(own(inner, HOSTS)[:], _episodes(inner, own))
    return StoredQuality(int(group.attrs["step"]), *_episodes(group, own), visits)


def _episodes(group: h5py.Group, own: Own) -> StoredEpisodes:
    transitions = Transitions(**{field: own(group, name)[:] for field, name in FIELDS.items()})
    return StoredEpisodes(transitions, own(group, LENGTHS)[:])


def _attribute(value: Any) -> Any:
    """An HDF5 attribute as a plain JSON value."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
