"""What is written is read back, the same data are the same bytes, and nothing broken is read as whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.data import BIRTH, checkpoints, put_data_set, put_task, qualities, small_task_set
from support.families import KINDS, each

from comrl.algorithms.behaviour import Behaviour
from comrl.benchmark.commands.inspect import list_tables, verify_tables
from comrl.benchmark.generation.generate import generate, packages
from comrl.datasets.birth import warn_of_other_physics
from comrl.datasets.store import Dataset, missing_tasks, open_dataset, task_file, write_manifest, write_task
from comrl.datasets.taskfile import QUALITIES, dense_reward
from comrl.datasets.verify import verify
from comrl.envs import TaskFamily, families, find_family
from comrl.ground.errors import BadInput

FAMILY = find_family("sparse-point-robot")
REMEDY = rf"move it away, .* run `bench generate-data --env {FAMILY.name} .*writes only what is missing"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("made")
    put_data_set(data, FAMILY)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def flip(path: Path, offset: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def refused(data: Path, *names: str) -> str:
    """The sentence with which a broken data set is refused; it names each of `names`."""
    with pytest.raises(BadInput) as error:
        open_dataset(data, FAMILY.name, check=True)
    assert all(name in str(error.value) for name in names), str(error.value)
    return str(error.value)


@each(KINDS)
def test_round_trip(family: TaskFamily, tmp_path: Path) -> None:
    put_data_set(tmp_path, family)
    dataset, wanted = open_dataset(tmp_path, family.name, check=True), small_task_set(family)
    assert dataset.family is family and dataset.birth == BIRTH
    assert dataset.task_set.train == wanted.train and dataset.task_set.test == wanted.test
    np.testing.assert_array_equal(dataset.task_set.params, wanted.params)
    for task in dataset.tasks:
        for name, (step, episodes, _) in qualities(family, wanted, task).items():
            rows, lengths = dataset.read(task, name)
            valid = episodes.valid
            np.testing.assert_array_equal(lengths, valid.sum(-1))
            np.testing.assert_array_equal(rows.obs, episodes.obs[valid].astype(np.float32))
            np.testing.assert_array_equal(rows.action, episodes.action[valid].astype(np.float32))
            np.testing.assert_array_equal(rows.next_obs, episodes.next_obs[valid].astype(np.float32))
            np.testing.assert_array_equal(rows.terminated, episodes.terminated[valid])
            np.testing.assert_allclose(rows.reward, episodes.reward[valid], rtol=1e-3, atol=1e-4)
            assert dataset.read_task(task).qualities[name].step == step
        for stored, given in zip(dataset.read_task(task).checkpoints, checkpoints(task), strict=True):
            np.testing.assert_array_equal(stored, given)


@each(KINDS)
def test_stored_rewards_are_reproduced_exactly(family: TaskFamily, tmp_path: Path) -> None:
    put_data_set(tmp_path, family)
    dataset = open_dataset(tmp_path, family.name)
    for task in dataset.tasks:
        for name in QUALITIES:
            rows, _ = dataset.read(task, name)
            one_by_one = [
                family.reward(
                    o.astype(float), a.astype(float), n.astype(float), dataset.task_set.params[task]
                )
                for o, a, n in zip(rows.obs, rows.action, rows.next_obs, strict=True)
            ]
            np.testing.assert_array_equal(rows.reward, np.array(one_by_one, dtype=np.float32))
    assert [row["problems"] for row in verify(dataset)] == [[]] * len(dataset.tasks)


def start_writing(data: Path) -> subprocess.Popen[bytes]:
    """Another process that writes the data set."""
    script, root = Path(__file__).parent / "support" / "data.py", Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, str(script), str(data), FAMILY.name], env=environment)


def assert_same_bytes(one: Path, other: Path) -> None:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert [(one / name).read_bytes() for name in names] == [(other / name).read_bytes() for name in names]


def test_the_same_data_are_the_same_bytes_in_another_process_and_folder(made: Path, tmp_path: Path) -> None:
    assert start_writing(tmp_path).wait() == 0
    assert_same_bytes(made / FAMILY.name, tmp_path / FAMILY.name)


@pytest.mark.parametrize("files", [1, 4])
def test_a_killed_writer_goes_on_where_it_was(made: Path, tmp_path: Path, files: int) -> None:
    process = start_writing(tmp_path)
    while len(list(tmp_path.glob("*/task-*"))) < files and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    put_data_set(tmp_path, FAMILY)
    assert_same_bytes(made / FAMILY.name, tmp_path / FAMILY.name)


def test_a_flipped_bit_is_found_and_mended(data: Path, subtests: pytest.Subtests) -> None:
    for seed in range(6):
        with subtests.test(seed=seed):
            draw, folder = np.random.default_rng(seed), data / FAMILY.name
            task = int(draw.integers(len(small_task_set(FAMILY).params)))
            path, before = task_file(folder, task), open_dataset(data, FAMILY.name).sha256
            whole = path.read_bytes()
            flip(path, int(draw.integers(len(whole))), int(draw.integers(8)))
            assert re.search(REMEDY, refused(data, str(path), "truncated or altered"))
            assert missing_tasks(folder, FAMILY, small_task_set(FAMILY), BIRTH) == (task,)

            path.unlink()  # the remedy
            refused(data, str(path), "missing")
            assert missing_tasks(folder, FAMILY, small_task_set(FAMILY), BIRTH) == (task,)
            put_task(folder, FAMILY, small_task_set(FAMILY), task)
            assert path.read_bytes() == whole
            assert write_manifest(folder, FAMILY, small_task_set(FAMILY), BIRTH, {}) == before
            assert open_dataset(data, FAMILY.name, check=True).sha256 == before


def test_a_flipped_bit_in_the_manifest_is_found(data: Path, subtests: pytest.Subtests) -> None:
    manifest = data / FAMILY.name / "manifest.json"
    whole = manifest.read_bytes()
    for seed in range(40):
        with subtests.test(seed=seed):
            draw = np.random.default_rng(seed)
            manifest.write_bytes(whole)
            flip(manifest, int(draw.integers(manifest.stat().st_size)), int(draw.integers(8)))
            told = refused(data, "manifest.json")
            assert "bench generate-data" in told or "update comrl-bench" in told


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_file_is_found(data: Path, left: float) -> None:
    path = task_file(data / FAMILY.name, 2)
    size = path.stat().st_size
    os.truncate(path, int(left * size) if isinstance(left, float) else left)
    assert re.search(REMEDY, refused(data, str(path), "truncated"))
    assert missing_tasks(path.parent, FAMILY, small_task_set(FAMILY), BIRTH) == (2,)


def test_a_broken_file_is_not_read_by_a_data_set_opened_before(data: Path) -> None:
    dataset = open_dataset(data, FAMILY.name)
    flip(task_file(dataset.folder, 1), 3000, 0)
    with pytest.raises(BadInput, match=r"task-001.hdf5 is truncated or altered"):
        dataset.read(1, "expert")


def test_what_was_read_whole_stays_as_it_was_read(data: Path) -> None:
    dataset = open_dataset(data, FAMILY.name, check=True)
    before = dataset.read(1, "expert")[0].reward.copy()
    flip(task_file(dataset.folder, 1), 3000, 0)
    assert (dataset.read(1, "expert")[0].reward == before).all()


def test_broken_files_without_a_manifest_are_written_again(data: Path) -> None:
    folder = data / FAMILY.name
    (folder / "manifest.json").unlink()
    task_file(folder, 0).write_bytes(b"")
    task_file(folder, 1).write_bytes(task_file(folder, 1).read_bytes()[:-1000])
    task_file(folder, 3).unlink()
    assert missing_tasks(folder, FAMILY, small_task_set(FAMILY), BIRTH) == (0, 1, 3)
    with pytest.raises(BadInput, match=r"task-000.hdf5 is missing or broken"):
        write_manifest(folder, FAMILY, small_task_set(FAMILY), BIRTH, {})
    assert not (folder / "manifest.json").exists()


def test_data_of_a_newer_version_ask_for_an_update(data: Path) -> None:
    folder = data / FAMILY.name
    manifest = folder / "manifest.json"
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({"format": 2, "rest": "unknown"}))
    refused(data, str(manifest), "format 2", "update comrl-bench")
    with pytest.raises(BadInput, match="update comrl-bench"):
        missing_tasks(folder, FAMILY, small_task_set(FAMILY), BIRTH)
    manifest.unlink()
    with h5py.File(task_file(folder, 0), "r+") as file:
        file.attrs["format"] = body["format"] + 1
    with pytest.raises(BadInput, match=r"task-000.hdf5 has format 2.*update comrl-bench"):
        missing_tasks(folder, FAMILY, small_task_set(FAMILY), BIRTH)


def test_missing_data_name_the_command(data: Path, tmp_path: Path) -> None:
    command = f"`bench generate-data --env {FAMILY.name} --data {tmp_path}`"
    with pytest.raises(BadInput, match=re.escape(f"does not exist; run {command}")):
        open_dataset(tmp_path, FAMILY.name)
    (data / FAMILY.name / "manifest.json").unlink()
    refused(data, "is incomplete", f"bench generate-data --env {FAMILY.name}")
    with pytest.raises(BadInput, match=f"did you mean '{FAMILY.name}'"):
        open_dataset(data, FAMILY.name[:-1])


def test_data_made_otherwise_are_neither_mixed_nor_overwritten(data: Path) -> None:
    folder, tasks = data / FAMILY.name, small_task_set(FAMILY)
    assert missing_tasks(folder, FAMILY, tasks, BIRTH) == ()
    others = {
        r'preset is "smoke" there and "paper" here': replace(BIRTH, preset="paper"),
        r"settings.episodes is 3 there and 4 here": replace(
            BIRTH, settings={**BIRTH.settings, "episodes": 4}
        ),
        r"packages.torch is null there": replace(BIRTH, packages={**BIRTH.packages, "torch": "2"}),
    }
    for with_manifest in (True, False):
        for what, other in others.items():
            with pytest.raises(BadInput, match=f"{what}.*give another folder"):
                missing_tasks(folder, FAMILY, tasks, other)
        with pytest.raises(BadInput, match="train"):
            missing_tasks(folder, FAMILY, replace(tasks, train=(0,)), BIRTH)
        if with_manifest:
            (folder / "manifest.json").unlink()


def test_verify_finds_what_checksums_cannot(tmp_path: Path) -> None:
    folder, tasks = tmp_path / FAMILY.name, small_task_set(FAMILY)
    for task in range(len(tasks.params)):
        family, rolled = FAMILY, qualities(FAMILY, tasks, task)
        if task == 1:
            family = replace(FAMILY, reward=lambda *rows: FAMILY.reward(*rows) + 0.5)
        if task == 2:
            episodes = rolled["medium"].episodes
            rolled["medium"] = rolled["medium"]._replace(
                episodes=episodes._replace(action=episodes.action * 3)
            )
        write_task(folder, family, tasks, task, rolled, checkpoints(task), BIRTH)
    write_manifest(folder, FAMILY, tasks, BIRTH, {})
    dataset = open_dataset(tmp_path, FAMILY.name, check=True)
    problems = [row["problems"] for row in verify(dataset)]
    assert [len(found) for found in problems] == [0, 3, 1, 0, 0]
    assert "task-001.hdf5" in problems[1][0] and "rewards are not those of" in problems[1][0]
    assert (
        "task-002.hdf5" in problems[2][0] and "actions reach" in problems[2][0] and "medium" in problems[2][0]
    )


def test_tables_of_what_there_is(data: Path, tmp_path: Path) -> None:
    tables = dict(list_tables(data, tmp_path / "results"))
    assert set(tables["Environments"]["environment"]) == {family.name for family in families()}
    (row,) = tables[f"Data sets in {data}"].to_dict("records")
    assert row["environment"] == FAMILY.name and row["state"] == "complete" and row["preset"] == BIRTH.preset
    assert tables[f"Runs in {tmp_path / 'results'}"].empty

    frame, problems = verify_tables(data, [FAMILY.name])
    assert frame["problems"].tolist() == [0] and problems == []
    flip(task_file(data / FAMILY.name, 0), 2000, 5)
    flip(task_file(data / FAMILY.name, 3), 2000, 5)
    frame, problems = verify_tables(data, [FAMILY.name, "nowhere"])
    assert frame["problems"].tolist() == [2, 1]
    assert ["task-000" in problems[0], "task-003" in problems[1], "unknown environment" in problems[2]] == [
        True
    ] * 3
    (row,) = dict(list_tables(data, tmp_path))[f"Data sets in {data}"].to_dict("records")
    assert "task-000.hdf5 is truncated or altered" in row["state"]


def test_rewards_broadcast_over_tasks(made: Path) -> None:
    dataset: Dataset = open_dataset(made, FAMILY.name)
    rows, _ = dataset.read(0, "expert")
    every = dense_reward(FAMILY, rows, dataset.task_set.params[:, None])  # [T, N]
    for task in dataset.tasks:
        np.testing.assert_array_equal(every[task], dense_reward(FAMILY, rows, dataset.task_set.params[task]))


# --- the physics of the data


BRIEF = {"steps": 2, "warmup_steps": 1, "checkpoint_every": 1}


def generated(env: str, data: Path) -> Dataset:
    """The smoke preset's data with next to no training."""
    overrides = {f"behaviour.{name}": value for name, value in BRIEF.items()} | {"data.episodes": 1}
    generate(env, data, preset="smoke", overrides=overrides, trainer="stacked", device=torch.device("cpu"))
    return open_dataset(data, env)


@pytest.mark.parametrize("env", ["point-robot-wind", "sparse-cheetah-dir"])
def test_the_physics_model_is_kept_where_there_is_one(env: str, tmp_path: Path) -> None:
    """Headers of point robots are what they were at revision 864abfb, before there were bodies."""
    dataset = generated(env, tmp_path)
    model = dataset.family.model_sha256
    assert dataset.birth.model == (model() if model else None)
    header, manifest = dataset.read_task(1).header, json.loads((dataset.folder / "manifest.json").read_text())
    assert header["birth"] == manifest["birth"] == dataset.birth.to_json()
    if model is None:
        assert {*header} == {"format", "family", "task", "params", "task_set", "birth"}
        assert {*header["birth"]} == {"preset", "trainer", "seed", "settings", "packages"}
        read = {one.name for one in fields(Behaviour)} - {"agents", "worlds", "first_value"}
        assert {*header["birth"]["settings"]["behaviour"]} == read | {"part"}


def test_data_of_another_mujoco_open_with_a_word_and_are_not_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, now = "sparse-cheetah-dir", packages()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generated(env, tmp_path / "same")
    with monkeypatch.context() as patch:
        patch.setattr("comrl.benchmark.generation.generate.packages", lambda: now | {"mujoco": "3.1.4"})
        with pytest.warns(
            UserWarning, match=rf"with MuJoCo 3\.1\.4 and this is {re.escape(now['mujoco'])}: .*"
        ):
            generated(env, tmp_path)
    task_file(tmp_path / env, 1).unlink()
    with pytest.raises(BadInput, match=r'packages.mujoco is "3.1.4" there .*give another folder'):
        generated(env, tmp_path)
    assert not task_file(tmp_path / env, 1).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a point moves alike under every version
        warn_of_other_physics(tmp_path, replace(BIRTH, packages={"mujoco": "3.1.4"}))
