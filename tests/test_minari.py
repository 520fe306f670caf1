"""Minari: our data as its sets, which it loads and iterates, and back to the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.data import BIRTH, checkpoints, episodes, put_data_set, qualities, small_task_set

from comrl.benchmark.commands.cli import main
from comrl.datasets.store import open_dataset, write_manifest, write_task
from comrl.datasets.taskfile import Visits
from comrl.envs import find_family

minari = pytest.importorskip("minari", reason="the extra [minari] is not installed")

ENV = "sparse-cheetah-dir"
SMALL = find_family("sparse-point-robot")


def files(folder: Path) -> dict[str, bytes]:
    """The content of a data set but for what it cost."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "cost.json"}


def exported(data: Path, env: str, root: Path) -> Path:
    """The folder of the sets of a data set."""
    assert main(["export-data", "--to", "minari", "--env", env, "--data", str(data), "--out", str(root)]) == 0
    (folder,) = (root / "comrl").glob(f"{env}-*")
    return folder


def imported(env: str, source: Path, data: Path, *options: str) -> int:
    return main(["import-data", "--env", env, "--from", str(source), "--data", str(data), *options])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small data set of tasks of its own, and its sets."""
    data = tmp_path_factory.mktemp("minari")
    put_data_set(data / "data", SMALL)
    return data / "data", exported(data / "data", SMALL.name, data / "root")


def test_it_loads_what_was_exported(
    smoke_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(smoke_data, ENV, tmp_path / "root")
    dataset = open_dataset(smoke_data, ENV)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    assert len(minari.list_local_datasets()) == len(list(folder.glob("*/data")))
    for task, quality in [(0, "expert"), (1, "random")]:
        found = minari.load_dataset(f"comrl/{folder.name}/task-{task:03d}-{quality}-v0")
        rows, lengths = dataset.read(task, quality)
        seen = list(found.iterate_episodes())
        assert [len(episode) for episode in seen] == lengths.tolist()
        for name, field in [("actions", rows.action), ("rewards", rows.reward)]:
            np.testing.assert_array_equal(np.concatenate([getattr(each, name) for each in seen]), field)
        paths = [each.observations for each in seen]
        np.testing.assert_array_equal(np.concatenate([path[:-1] for path in paths]), rows.obs)
        np.testing.assert_array_equal(np.concatenate([path[1:] for path in paths]), rows.next_obs)
        assert all(each.truncations[-1] != each.terminations[-1] for each in seen)
        about = found.storage.metadata["comrl"]
        assert about["data_sha256"] == dataset.sha256 and about["birth"] == dataset.birth.to_json()
        world = found.recover_environment()
        np.testing.assert_array_equal(world.unwrapped.params[0], dataset.task_set.params[task])
        assert world.observation_space.shape == found.observation_space.shape


def test_what_comes_back_is_the_same_data_set(smoke_data: Path, tmp_path: Path) -> None:
    folder = exported(smoke_data, ENV, tmp_path / "root")
    assert imported(ENV, folder, tmp_path / "back") == 0
    assert files(tmp_path / "back" / ENV) == files(smoke_data / ENV)


def test_visits_come_back(tmp_path: Path) -> None:
    family = find_family("point-robot-wind")
    tasks, folder = small_task_set(family), tmp_path / "data" / family.name
    for task in range(len(tasks.params)):
        own = qualities(family, tasks, task)
        hosts = np.array([4, 4, 2])
        away = Visits(hosts, episodes(family, tasks.params[4], task))
        own["medium"] = own["medium"]._replace(visits=away)
        write_task(folder, family, tasks, task, own, checkpoints(task), BIRTH)
    write_manifest(folder, family, tasks, BIRTH, {"seconds": 1.0})
    sets = exported(tmp_path / "data", family.name, tmp_path / "root")
    assert len(list(sets.glob("*-medium-visits-v0"))) == len(tasks.params)
    assert imported(family.name, sets, tmp_path / "back") == 0
    assert files(tmp_path / "back" / family.name) == files(folder)


def test_tasks_of_ones_own_come_back(small: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = small
    assert exported(data, SMALL.name, folder.parents[1]) == folder  # there already, and left as it is
    assert imported(SMALL.name, folder, tmp_path) == 0
    assert files(tmp_path / SMALL.name) == files(data / SMALL.name)


def test_what_is_not_what_was_exported_is_refused(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small[1], tmp_path / "sets")
    assert imported(ENV, tmp_path / "sets", tmp_path / "data") == 2
    assert f"holds data of {SMALL.name}" in capsys.readouterr().err
    with h5py.File(tmp_path / "sets" / "task-001-expert-v0" / "data" / "main_data.hdf5", "r+") as file:
        file["episode_0"]["actions"][0] *= 0.5
    assert imported(SMALL.name, tmp_path / "sets", tmp_path / "data") == 2
    assert "task-001-expert-v0 holds other transitions" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "sets" / "task-001-expert-v0")
    assert imported(SMALL.name, tmp_path / "sets", tmp_path / "data") == 2
    assert "14 of 15 exported sets" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_sets_of_others_are_checked_like_arrays(small: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(small[1], tmp_path / "sets")
    for about in (tmp_path / "sets").glob("*/data/metadata.json"):
        about.write_text(json.dumps({k: v for k, v in json.loads(about.read_text()).items() if k != "comrl"}))
    tasks = small_task_set(SMALL)
    np.save(tmp_path / "goals.npy", tasks.params)
    goals = ("--params", str(tmp_path / "goals.npy"), "--test", "4")
    assert imported(SMALL.name, tmp_path / "sets", tmp_path / "data", *goals) == 0
    there, back = open_dataset(small[0], SMALL.name), open_dataset(tmp_path / "data", SMALL.name)
    for task in there.tasks:
        for name, quality in there.read_task(task).qualities.items():
            found = back.read_task(task).qualities[name]
            for own, other in zip(quality.transitions, found.transitions, strict=True):
                np.testing.assert_array_equal(own, other)
    np.save(tmp_path / "goals.npy", tasks.params[::-1])
    assert imported(SMALL.name, tmp_path / "sets", tmp_path / "other", *goals) == 2
