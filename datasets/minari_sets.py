"""Minari's data sets: ours written as one a task and quality, and such sets read back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from comrl.datasets.arrays import as_episodes, checked_episodes, put_data_set, rows_hash
from comrl.datasets.birth import Birth
from comrl.datasets.cards import TaskSetCard
from comrl.datasets.logged import Contents
from comrl.datasets.store import Dataset
from comrl.datasets.taskfile import (
    FIELDS,
    LENGTHS,
    QUALITIES,
    VISITS,
    Checkpoints,
    Quality,
    StoredEpisodes,
    Visits,
)
from comrl.envs.family import TaskFamily, find_family
from comrl.ground.cards import Card
from comrl.ground.errors import BadInput
from comrl.ground.files import claimed, write_folder_whole, write_whole

NAME = re.compile(rf"task-(\d+)-({'|'.join(QUALITIES)})(-{VISITS})?(?:-v\d+)?")
OURS = "comrl"
NAMESPACE = "namespace_metadata.json"  # by which Minari knows a folder of sets


class Origin(Card):
    """What a Minari set says of the data set that it is a part of, under the key `comrl`."""

    family: str
    task: int
    quality: str
    step: int
    hosts: tuple[int, ...] | None
    """The task of each episode, where the agent played in other tasks than its own."""
    checkpoints: dict[str, tuple[float, ...]]
    task_set: TaskSetCard
    birth: Birth
    rows: str
    """The hash of these transitions."""
    data_sha256: str
    """The identity of the whole data set."""
    sets: int
    """How many sets it was exported as."""


class Part(NamedTuple):
    """One of Minari's sets as read."""

    path: Path
    task: int
    quality: str
    visits: bool
    arrays: dict[str, np.ndarray]
    origin: Origin | None


def _minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise BadInput(
            f"Minari is not here ({error}); install it: pip install 'comrl-bench[minari]'"
        ) from None
    return minari


def minari_root() -> Path:
    """Where Minari looks for sets."""
    _minari()
    from minari.storage import get_dataset_path

    return Path(get_dataset_path())


# --- export


def export_minari(dataset: Dataset, root: Path) -> Path:
    """Write a data set as Minari's below its root, unless it is there, and return the folder of the sets.

    Their ids are `comrl/ENV-HASH/task-000-expert-v0` and so on.  BadInput where an episode is no path.
    """
    _minari()
    name = f"{dataset.family.name}-{dataset.sha256[:8]}"
    folder = root / OURS / name
    with claimed(folder.with_name(f".{name}.lock")):
        if folder.exists():
            return folder
        exported = list(_exported(dataset))
        with write_folder_whole(folder) as part:
            for origin, rows in exported:
                _write_set(part, f"{OURS}/{name}", dataset, origin, rows, len(exported))
            (part / NAMESPACE).write_text(json.dumps({"description": f"{dataset.family.label}, COMRL-Bench"}))
    if not (above := root / OURS / NAMESPACE).exists():
        with write_whole(above) as new:
            new.write_text("{}")
    return folder


def _exported(dataset: Dataset) -> Iterator[tuple[Origin, StoredEpisodes]]:
    """Every task at every quality, and after it its agent's episodes in other tasks; `sets` is still 0."""
    for task in dataset.tasks:
        stored = dataset.read_task(task)
        curve = {name: tuple(values.tolist()) for name, values in stored.checkpoints._asdict().items()}
        for label, quality in stored.qualities.items():
            parts: list[tuple[StoredEpisodes, tuple[int, ...] | None]] = [
                (StoredEpisodes(quality.transitions, quality.lengths), None)
            ]
            if quality.visits is not None:
                parts.append((quality.visits.episodes, tuple(map(int, quality.visits.hosts))))
            for rows, hosts in parts:
                origin = Origin(
                    family=dataset.family.name,
                    task=task,
                    quality=label,
                    step=quality.step,
                    hosts=hosts,
                    checkpoints=curve,
                    task_set=TaskSetCard.of(dataset.task_set),
                    birth=dataset.birth,
                    rows=rows_hash(rows),
                    data_sha256=dataset.sha256,
                    sets=0,
                )
                yield origin, rows


def _write_set(
    folder: Path, namespace: str, dataset: Dataset, origin: Origin, rows: StoredEpisodes, sets: int
) -> None:
    """One of Minari's sets below a folder."""
    from gymnasium.spaces import Box
    from minari.dataset.minari_storage import MinariStorage

    family, away = dataset.family, "" if origin.hosts is None else f"-{VISITS}"
    name = f"task-{origin.task:03d}-{origin.quality}{away}-v0"
    (folder / name / "data").mkdir(parents=True)
    storage = MinariStorage.new(
        folder / name / "data",
        observation_space=Box(-np.inf, np.inf, (family.obs_dim,), np.float32),
        action_space=Box(-1.0, 1.0, (family.action_dim,), np.float32),
        env_spec=_spec(dataset, origin),
        data_format="hdf5",
    )
    about = {"birth": dataset.birth.to_json(), "sets": sets}
    storage.update_metadata(
        {
            "dataset_id": f"{namespace}/{name}",
            "minari_version": _minari().__version__,
            "algorithm_name": f"SAC ({dataset.birth.trainer})",
            "description": f"{family.label}, {origin.quality} agent of task {origin.task}"
            + (", in other tasks" if away else ""),
            "requirements": ["comrl-bench"],
            OURS: origin.model_dump(mode="json") | about,
        }
    )
    storage.update_episodes(list(_buffers(rows, f"task {origin.task}, {origin.quality}")))


def _spec(dataset: Dataset, origin: Origin) -> Any:
    """What gymnasium makes the task by; None for visits, and where the tasks are not the family's own."""
    import gymnasium

    import comrl.envs.gym  # registers the families

    family = dataset.family
    if origin.hosts is not None or not np.array_equal(dataset.task_set.params, family.sample_params()):
        return None
    comrl.envs.gym.register_families()
    spec = copy.deepcopy(gymnasium.spec(family.gym_id()))
    spec.kwargs |= {"task": origin.task, "sees_position": True}
    return spec


def _buffers(rows: StoredEpisodes, where: str) -> Iterator[Any]:
    """Each episode as Minari keeps it: a path of one observation more than there are steps."""
    from minari.data_collector import EpisodeBuffer

    obs, action, reward, next_obs, terminated = rows.transitions
    ends = np.cumsum(rows.lengths)
    for episode, (begin, end) in enumerate(zip(ends - rows.lengths, ends, strict=True)):
        if not np.array_equal(next_obs[begin : end - 1], obs[begin + 1 : end]):
            raise BadInput(
                f"{where}: episode {episode} is no path: some next observation is not the one that follows, "
                "and Minari keeps paths alone"
            )
        truncated = np.zeros(end - begin, dtype=bool)
        truncated[-1] = not terminated[end - 1]
        yield EpisodeBuffer(
            id=episode,
            observations=np.concatenate([obs[begin:end], next_obs[end - 1 : end]]),
            actions=action[begin:end],
            rewards=reward[begin:end],
            terminations=terminated[begin:end],
            truncations=truncated,
        )


# --- import


def holds_minari(folder: Path) -> bool:
    """Whether a folder holds sets of Minari's."""
    return any(folder.glob("*/data/metadata.json"))


def read_minari(folder: Path) -> list[Part]:
    """The sets of a folder, named by task and quality; BadInput names one that is not, or cannot be read."""
    _minari()
    parts = []
    for path in sorted(file.parent.parent for file in folder.glob("*/data/metadata.json")):
        named = NAME.fullmatch(path.name)
        if named is None:
            raise BadInput(f"{path} says not whose data it holds; name it like task-003-{QUALITIES[0]}-v0")
        arrays, origin = _read_set(path)
        task, quality, visits = named.groups()
        parts.append(Part(path, int(task), quality, visits is not None, arrays, origin))
    return parts


def _read_set(path: Path) -> tuple[dict[str, np.ndarray], Origin | None]:
    """A set's episodes one after another, by our names, and what it says of its origin."""
    from minari import MinariDataset

    try:
        found = MinariDataset(path / "data")
        episodes = list(found.iterate_episodes())
        about = found.storage.metadata.get(OURS)
        origin = None if about is None else Origin.read(about)
        steps = {
            FIELDS["obs"]: [episode.observations[:-1] for episode in episodes],
            FIELDS["action"]: [episode.actions for episode in episodes],
            FIELDS["reward"]: [episode.rewards for episode in episodes],
            FIELDS["next_obs"]: [episode.observations[1:] for episode in episodes],
            FIELDS["terminated"]: [episode.terminations for episode in episodes],
        }
        arrays = {name: np.concatenate(values) for name, values in steps.items()}
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise BadInput(f"{path} cannot be read as a set of Minari's ({error})") from error
    arrays[LENGTHS] = np.array([len(episode.rewards) for episode in episodes], dtype=np.int32)
    return arrays, origin


def by_task(parts: list[Part]) -> dict[int, Contents]:
    """The arrays of sets by task and quality; visits are none of a task's own."""
    tasks: dict[int, Contents] = {}
    for part in parts:
        if not part.visits:
            tasks.setdefault(part.task, {})[part.quality] = part.arrays
    return tasks


def restored(parts: list[Part], data: Path, env: str) -> Dataset | None:
    """The data set that was exported, its birth too; None where the sets are others' or of several data sets.

    BadInput where some are missing, or are not what was exported.
    """
    origins = [part.origin for part in parts]
    first = origins[0]
    if first is None or any(origin is None or origin.data_sha256 != first.data_sha256 for origin in origins):
        return None
    if first.family != env:
        raise BadInput(f"{parts[0].path.parent} holds data of {first.family}; give --env {first.family}")
    family, task_set = find_family(env), first.task_set.task_set(env)
    contents: dict[int, dict[str, Quality]] = {}
    curves: dict[int, Checkpoints] = {}
    for part in sorted(parts, key=lambda part: part.visits):
        rows, origin = _as_exported(part, family), part.origin
        assert origin is not None
        own = contents.setdefault(part.task, {})
        if origin.hosts is None:
            own[part.quality] = Quality(origin.step, as_episodes(rows))
            curves[part.task] = Checkpoints(
                *(np.array(origin.checkpoints[name]) for name in Checkpoints._fields)
            )
        elif part.quality in own:
            own[part.quality] = own[part.quality]._replace(
                visits=Visits(np.array(origin.hosts), as_episodes(rows))
            )
    if len(parts) != first.sets:
        raise BadInput(
            f"{parts[0].path.parent} holds {len(parts)} of {first.sets} exported sets; export the data again"
        )
    return put_data_set(data, family, task_set, contents, curves, first.birth)


def _as_exported(part: Part, family: TaskFamily) -> StoredEpisodes:
    """A set's rows; BadInput where they are not those that were exported."""
    origin = part.origin
    assert origin is not None
    params, lengths = origin.task_set.array, part.arrays[LENGTHS]
    hosts = (part.task,) * len(lengths) if origin.hosts is None else origin.hosts
    each = np.repeat(params[list(hosts)], lengths, 0)  # [N, P]
    rows = checked_episodes(family, each, part.arrays, part.path.name)
    if rows_hash(rows) != origin.rows:
        raise BadInput(f"{part.path} holds other transitions than were exported; export the data again")
    return rows
