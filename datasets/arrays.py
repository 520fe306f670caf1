"""Logged transitions, given as arrays, made into a data set of the suite after they were checked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from comrl.datasets.birth import IMPORTED, Birth
from comrl.datasets.store import Dataset, missing_tasks, open_dataset, write_manifest, write_task
from comrl.datasets.taskfile import (
    FIELDS,
    LENGTHS,
    QUALITIES,
    Checkpoints,
    Quality,
    StoredEpisodes,
    dense_reward,
)
from comrl.datasets.transitions import Transitions
from comrl.envs.family import Array, TaskFamily, TaskSet, find_family
from comrl.envs.rollout import Episodes
from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput
from comrl.ground.files import locked, require_space
from comrl.ground.hashing import identity, sha256

Logged = Mapping[str, ArrayLike]
"""Episodes of one task and one quality, one after another, as arrays by name."""

TRUNCATIONS = "truncations"
OTHER_NAMES = {"terminals": FIELDS["terminated"], "timeouts": TRUNCATIONS}
KNOWN = (*FIELDS.values(), LENGTHS, TRUNCATIONS)
NEEDED = tuple(name for name in FIELDS.values() if name != FIELDS["reward"])
TOLERANCE = 1e-3  # of a reward, relative above 1: a speed is a difference of two rounded positions


def from_arrays(
    data: str | Path,
    env: str,
    tasks: Mapping[int, Mapping[str, Logged]],
    *,
    params: ArrayLike | None = None,
    test: Sequence[int] | None = None,
) -> Dataset:
    """Check logged transitions against a declared family, write them as its data set, and open that.

    tasks: for each task's number and each quality (expert, medium, random; all tasks the same) arrays of
    N transitions, one episode after another: observations and next_observations [N, O] as the family's
    simulator gives them, actions [N, A] in [-1, 1], terminations [N] where the world ended, and either
    episode_lengths [E] or truncations [N].  Dense rewards [N] are compared with the family's where given.
    params: [T, P], the tasks' true parameters, with `test`, the numbers of the tasks held out; without them
    the tasks are the family's own, all of them, in their order and split.
    BadInput names the task, the quality and the array that does not fit.
    """
    family, folder = find_family(env), Path(data)
    task_set = task_set_of(family, params, test)
    _refuse_other_tasks(task_set, tasks)
    found = {
        task: {
            name: checked_episodes(family, task_set.params[task], logged, f"task {task}, {name}")
            for name, logged in tasks[task].items()
        }
        for task in range(len(task_set.params))
    }
    hashes = {f"{task}/{name}": rows_hash(rows) for task, own in found.items() for name, rows in own.items()}
    packages = {name: version(name) for name in ("h5py", "numpy")}
    birth = Birth(IMPORTED, IMPORTED, 0, {"rows": identity(hashes)}, packages)
    contents = {
        task: {name: Quality(0, as_episodes(rows)) for name, rows in own.items()}
        for task, own in found.items()
    }
    curves = {task: _curve(own) for task, own in found.items()}
    return put_data_set(folder, family, task_set, contents, curves, birth)


def put_data_set(
    data: Path,
    family: TaskFamily,
    task_set: TaskSet,
    contents: Mapping[int, Mapping[str, Quality]],
    curves: Mapping[int, Checkpoints],
    birth: Birth,
) -> Dataset:
    """Write what is missing of a data set that is known whole, and open it; BadInput where others lie."""
    folder, began = data / family.name, time.perf_counter()
    require_space(data, _size(contents))
    with locked(folder):
        for task in missing_tasks(folder, family, task_set, birth):
            write_task(folder, family, task_set, task, contents[task], curves[task], birth)
        write_manifest(folder, family, task_set, birth, {"seconds": time.perf_counter() - began})
    return open_dataset(data, family.name, check=True)


def _size(contents: Mapping[int, Mapping[str, Quality]]) -> int:
    """Roughly the bytes on the disk: what is in memory is in double precision."""
    parts = [quality.episodes for own in contents.values() for quality in own.values()]
    return sum(field.nbytes for episodes in parts for field in episodes) // 2 + 2**20


# --- tasks


def task_set_of(family: TaskFamily, params: ArrayLike | None, test: Sequence[int] | None) -> TaskSet:
    """The family's own tasks, or those of the parameters and the tasks held out.  params: [T, P]."""
    own = family.task_set()
    if params is None:
        if test is not None:
            raise BadInput("only of tasks of your own can you say which are held out; give their params too")
        return own
    array, width = _numbers(params, "params"), len(family.param_names)
    if array.ndim != 2 or array.shape[1] != width or len(array) < 1:
        names = ", ".join(family.param_names)
        raise BadInput(f"params have shape {array.shape} where [tasks, {width}] belong ({names})")
    if not np.isfinite(array).all():
        task = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise BadInput(f"params of task {task} are not all finite; give the numbers that it was made with")
    if test is None and np.array_equal(array, own.params):
        return own
    everyone = tuple(range(len(array)))
    if test is None and not family.held_out:
        return TaskSet(family.name, 0, array, everyone, everyone)
    if test is None:
        raise BadInput(f"say which of the {len(array)} tasks are held out, as in test=[{len(array) - 1}]")
    if not len(test) or not all(task in everyone for task in test):
        raise BadInput(f"test tasks {list(test)}: give numbers from 0 to {len(array) - 1}")
    held_out = tuple(sorted({int(task) for task in test}))
    train = tuple(task for task in everyone if task not in held_out)
    if not train:
        raise BadInput("every task is held out; leave some to train on")
    return TaskSet(family.name, 0, array, train, held_out)


def _refuse_other_tasks(task_set: TaskSet, tasks: Mapping[int, Mapping[str, Logged]]) -> None:
    """BadInput where tasks are missing or unknown, or have other qualities than the first."""
    wanted, given = range(len(task_set.params)), set(tasks)
    if missing := [task for task in wanted if task not in given]:
        raise BadInput(
            f"task {missing[0]} is missing ({len(missing)} of {len(wanted)} tasks are); log it, or give the "
            "parameters of the tasks that there are, and which of them are test tasks"
        )
    if unknown := sorted(given - set(wanted)):
        raise BadInput(f"there is no task {unknown[0]}; tasks go from 0 to {len(wanted) - 1}")
    first = set(tasks[0])
    if not first:
        raise BadInput(f"task 0 has no data; give some of {', '.join(QUALITIES)}")
    for task, own in tasks.items():
        if other := sorted({*own} - {*QUALITIES}):
            raise BadInput(f"task {task}: unknown quality {other[0]!r}; {suggestion(other[0], QUALITIES)}")
        if lacking := sorted(first ^ {*own}):
            raise BadInput(
                f"tasks 0 and {task} differ in {' and '.join(lacking)} data; give all the same qualities"
            )


# --- episodes


def checked_episodes(family: TaskFamily, params: Array, logged: Logged, where: str) -> StoredEpisodes:
    """Arrays as rows of the family with its own rewards; BadInput names what does not fit.  params: [P]."""
    named = _named(logged, where)
    count = len(np.atleast_1d(named[FIELDS["obs"]]))
    if not count:
        raise BadInput(f"{where}: there are no transitions")
    widths = {"obs": (family.obs_dim,), "action": (family.action_dim,), "next_obs": (family.obs_dim,)}
    fields = {
        field: _floats(named[FIELDS[field]], (count, *width), where, FIELDS[field], family)
        for field, width in widths.items()
    }
    if (largest := np.abs(fields["action"]).max()) > 1.0:
        raise BadInput(f"{where}: actions reach {largest:.3g}; scale them to [-1, 1]")
    terminated = _flags(named[FIELDS["terminated"]], count, where, FIELDS["terminated"])
    lengths = _lengths(named, terminated, family.horizon, where)
    rows = Transitions(reward=np.zeros(count, np.float32), terminated=terminated, **fields)
    rows = rows._replace(reward=dense_reward(family, rows, params))
    if FIELDS["reward"] in named:
        given = _floats(named[FIELDS["reward"]], (count,), where, FIELDS["reward"], family)
        _refuse_other_rewards(family, given, rows.reward, where)
    return StoredEpisodes(rows, lengths)


def _named(logged: Logged, where: str) -> dict[str, NDArray]:
    """The arrays by our names."""
    named = {OTHER_NAMES.get(name, name): np.asarray(values) for name, values in logged.items()}
    if unknown := sorted({*named} - {*KNOWN}):
        raise BadInput(f"{where}: unknown array {unknown[0]!r}; {suggestion(unknown[0], KNOWN)}")
    if missing := [name for name in NEEDED if name not in named]:
        raise BadInput(f"{where}: {missing[0]} are missing; give {', '.join(NEEDED)}")
    return named


def _floats(
    values: NDArray, shape: tuple[int, ...], where: str, name: str, family: TaskFamily
) -> NDArray[np.float32]:
    """Finite numbers of a shape."""
    array = _numbers(values, f"{where}: {name}")
    if array.shape != shape:
        hint = ""
        if family.position_dim and name != FIELDS["action"] and array.shape[1:] == (family.body_dim,):
            hint = f"; the last {family.position_dim} say where the body is (sees_position=True in gymnasium)"
        raise BadInput(f"{where}: {name} have shape {array.shape} where {shape} belongs{hint}")
    small = array.astype(np.float32)
    if not np.isfinite(small).all():
        raise BadInput(f"{where}: {name} are not all finite; leave those episodes out")
    return small


def _numbers(values: ArrayLike, name: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} are not one array of numbers ({error})") from None


def _flags(values: NDArray, count: int, where: str, name: str) -> NDArray[np.bool_]:
    """Truth values, or zeros and ones: [N]."""
    if values.shape != (count,) or not np.isin(values, (0, 1)).all():
        raise BadInput(f"{where}: {name} have to be {count} truth values, one a transition")
    return values.astype(bool)


def _lengths(
    named: Mapping[str, NDArray], terminated: NDArray[np.bool_], horizon: int, where: str
) -> NDArray[np.int32]:
    """The lengths of episodes that fill the rows, none beyond the horizon or the world's end.  [N] -> [E]."""
    count = len(terminated)
    if LENGTHS in named:
        given = _numbers(named[LENGTHS], f"{where}: {LENGTHS}").ravel()
        if not (given == np.floor(given)).all() or not np.isfinite(given).all():
            raise BadInput(f"{where}: {LENGTHS} are not all whole numbers; count each episode's transitions")
        lengths = given.astype(np.int64)
    else:
        cut = named.get(TRUNCATIONS, np.zeros(count, dtype=bool))
        ends = terminated | _flags(cut, count, where, TRUNCATIONS)
        ends[-1] = True
        lengths = np.diff(np.flatnonzero(ends), prepend=-1)
    if not lengths.size or lengths.min() < 1 or lengths.sum() != count:
        raise BadInput(f"{where}: {LENGTHS} sum to {lengths.sum()} where there are {count} transitions")
    if lengths.max() > horizon:
        raise BadInput(
            f"{where}: an episode has {lengths.max()} steps and the horizon is {horizon}; give {LENGTHS} or "
            f"{TRUNCATIONS} that say where episodes end, or cut them there"
        )
    last = np.zeros(count, dtype=bool)
    last[np.cumsum(lengths) - 1] = True
    if (terminated & ~last).any():
        row = int(np.flatnonzero(terminated & ~last)[0])
        raise BadInput(f"{where}: the world ended in row {row}, inside of an episode; end the episode there")
    return lengths.astype(np.int32)


def _refuse_other_rewards(
    family: TaskFamily, given: NDArray[np.float32], own: NDArray[np.float32], where: str
) -> None:
    """BadInput where logged rewards are not the family's.  [N], [N]."""
    wrong = np.abs(given - own) > TOLERANCE * np.maximum(1.0, np.abs(own))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadInput(
            f"{where}: {np.count_nonzero(wrong)} of {len(own)} rewards are not the dense rewards of "
            f"{family.name}, first in row {row}: {given[row]:.6g} was given and is {own[row]:.6g}; check the "
            "task's parameters, or declare a family with your reward"
        )


def as_episodes(rows: StoredEpisodes) -> Episodes:
    """Rows one after another as episodes padded with zeros.  [N, ...], [E] -> [E, H, ...]."""
    valid = np.arange(rows.lengths.max()) < rows.lengths[:, None]  # [E, H]

    def padded(values: NDArray) -> NDArray:
        out = np.zeros((*valid.shape, *values.shape[1:]), dtype=bool if values.dtype == bool else np.float64)
        out[valid] = values
        return out

    fields = rows.transitions._asdict()
    return Episodes(**{name: padded(values) for name, values in fields.items()}, valid=valid)


def rows_hash(rows: StoredEpisodes) -> str:
    """The hash of transitions and of where episodes end."""
    fields = (*rows.transitions, rows.lengths.astype(np.int32))
    return sha256(b"".join(np.ascontiguousarray(field).tobytes() for field in fields))


def _curve(own: Mapping[str, StoredEpisodes]) -> Checkpoints:
    """Instead of a learning curve one point: the mean return of the best data there are, at step 0."""
    best = own[next(name for name in QUALITIES if name in own)]
    mean = np.array([best.transitions.reward.sum(dtype=np.float64) / best.lengths.size])
    return Checkpoints(np.zeros(1, dtype=np.int64), mean, mean)
