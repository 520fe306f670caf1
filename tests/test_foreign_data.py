"""Data that came another way than by `bench generate-data`: trained on, or named, and never to be deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.data import BIRTH, checkpoints, put_data_set, qualities, small_task_set

from comrl.benchmark.commands.cli import main
from comrl.benchmark.generation.generate import generate
from comrl.benchmark.reporting.figures import data, data_behaviour
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.reporting.tables import Row
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.run import run
from comrl.datasets.manifest import task_file
from comrl.datasets.store import missing_tasks, open_dataset, write_manifest, write_task
from comrl.envs import find_family
from comrl.ground.errors import BadInput
from comrl.ground.hashing import identity, sha256

FAMILY = find_family("sparse-point-robot")
TASKS = small_task_set(FAMILY)
CPU = torch.device("cpu")


def trained(data: Path, results: Path, split: str = "mixed") -> Row:
    spec = RunSpec(env=FAMILY.name, split=split, preset="smoke", algo="blind", seeds=(0,), overrides={})
    return run(spec, data, results, CPU)


def put(data: Path, *names: str, counts: tuple[int, ...] = (3, 3, 3)) -> Path:
    """A data set with some qualities, each task with as many checkpoints as counts say in turn."""
    folder = data / FAMILY.name
    for task in range(len(TASKS.params)):
        all_there = qualities(FAMILY, TASKS, task)
        curve = checkpoints(task)
        few = curve._make(field[: counts[task % len(counts)]] for field in curve)
        write_task(folder, FAMILY, TASKS, task, {name: all_there[name] for name in names}, few, BIRTH)
    write_manifest(folder, FAMILY, TASKS, BIRTH, {})
    return folder


def declare_anew(folder: Path) -> None:
    """Give the manifest the hashes of the files as they are."""
    body = json.loads((folder / "manifest.json").read_text())
    body["files"] = {name: sha256((folder / name).read_bytes()) for name in body["files"]}
    body["sha256"] = identity(body["files"])
    (folder / "manifest.json").write_text(json.dumps(body))


def test_a_copy_without_its_cost_is_trained_on(tmp_path: Path) -> None:
    folder = put_data_set(tmp_path / "data", FAMILY)
    shutil.copytree(folder, tmp_path / "copy" / FAMILY.name)
    (tmp_path / "copy" / FAMILY.name / "cost.json").unlink()
    assert trained(tmp_path / "copy", tmp_path / "results")["seeds"] == "0"
    (portrait,) = read_ledger(tmp_path / "results").portraits
    assert portrait.card.generation_seconds is None
    table = data.dataset_table(read_ledger(tmp_path / "results"))
    assert table is not None and "generated in" not in data.show_datasets(table)["data set"].iloc[0]


def test_tasks_of_different_numbers_of_episodes_and_checkpoints_are_trained_on(tmp_path: Path) -> None:
    put(tmp_path / "data", "expert", "medium", "random", counts=(3, 2))
    trained(tmp_path / "data", tmp_path / "results")
    ledger = read_ledger(tmp_path / "results")
    (portrait,) = ledger.portraits
    returns, curves = portrait.arrays["return_expert_dense"], portrait.arrays["checkpoint_returns"]
    assert np.isfinite(returns).sum(1).tolist() == [3, 4, 3, 4, 3] and portrait.card.episodes == 4
    assert np.isfinite(curves).sum(1).tolist() == [3, 2, 3, 2, 3]
    dataset = open_dataset(tmp_path / "data", FAMILY.name)
    own = [
        float(np.add.reduceat(rows.reward.astype(np.float64), np.cumsum([0, *lengths[:-1]])).mean())
        for rows, lengths in dataset.read_all("expert")
    ]
    assert np.allclose(np.nanmean(returns, axis=1), own, rtol=1e-12)
    table = data.dataset_table(ledger)
    assert table is not None and np.isfinite(table["mean return"]).all()
    for figure in data_behaviour.FIGURES:
        assert figure.make(ledger) is not None, figure.name


def test_a_data_set_of_experts_alone_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "data", "expert")
    assert main(["verify", "--data", str(tmp_path / "data")]) == 0
    assert main(["list", "--data", str(tmp_path / "data"), "--results", str(tmp_path)]) == 0
    trained(tmp_path / "data", tmp_path / "results", "expert")
    ledger = read_ledger(tmp_path / "results")
    assert set(ledger.runs[0].returns["context"]) == {"expert"}
    assert ledger.portraits[0].splits("dense") == ["expert"]
    for split, lacking in (("mixed", "medium, random"), ("medium", "medium")):
        with pytest.raises(BadInput, match=f"holds no {lacking} data of every task.*choose --split expert"):
            trained(tmp_path / "data", tmp_path / "results", split)


def break_form(folder: Path, how: str) -> None:
    """Make a file that is not in the form of the format, with the hash that it has."""
    with h5py.File(task_file(folder, 1), "r+") as file:
        if how == "no group":
            for name in ("expert", "medium", "random"):
                del file[name]
        if how == "no field":
            del file["expert"]["actions"]
        if how == "other type":
            rewards = file["expert"]["rewards"][:]
            del file["expert"]["rewards"]
            file["expert"]["rewards"] = rewards.astype(np.float64)
        if how == "other lengths":
            file["expert"]["episode_lengths"][0] += 1
        if how == "no rows":
            lengths = file["expert"]["episode_lengths"][:]
            del file["expert"]["episode_lengths"]
            file["expert"]["episode_lengths"] = lengths[:0]
    declare_anew(folder)


@pytest.mark.parametrize("how", ["no group", "no field", "other type", "other lengths", "no rows"])
def test_what_cannot_be_trained_on_is_named_and_not_to_be_deleted(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put_data_set(tmp_path / "data", FAMILY)
    break_form(folder, how)
    with pytest.raises(BadInput) as error:
        trained(tmp_path / "data", tmp_path / "results")
    assert main(["verify", "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    for sentence in (str(error.value), said):
        assert "task-001.hdf5 is as its manifest says and does not have the form" in sentence
        assert "delete" not in sentence
    assert main(
        ["generate-data", "--env", FAMILY.name, "--preset", "smoke", "--data", str(tmp_path / "data")]
    )
    assert "delete" not in capsys.readouterr().err


def test_an_altered_manifest_is_found_before_nothing_is_missing(tmp_path: Path) -> None:
    """A flipped bit is refused, or is in what nobody reads: in the spelling of the same values."""
    folder = put_data_set(tmp_path / "data", FAMILY)
    path = folder / "manifest.json"
    whole, found = path.read_bytes(), 0
    for seed in range(60):
        draw, image = np.random.default_rng(seed), bytearray(whole)
        image[int(draw.integers(len(image)))] ^= 1 << int(draw.integers(8))
        path.write_bytes(image)
        try:
            missing = missing_tasks(folder, FAMILY, TASKS, BIRTH)
        except BadInput as error:
            assert "manifest.json" in str(error) or "update comrl-bench" in str(error), str(error)
            found += 1
            continue
        assert missing == () and json.loads(image) == json.loads(whole), seed
    assert found > 50
    path.write_bytes(whole)
    assert missing_tasks(folder, FAMILY, TASKS, BIRTH) == ()


def test_complete_data_that_may_not_be_written_to_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data shared read-only: nothing is missing, so nothing is locked."""
    how = {"preset": "smoke", "overrides": {}, "trainer": "stacked", "device": CPU}
    brief = {"behaviour.steps": 20, "behaviour.warmup_steps": 10, "behaviour.checkpoint_every": 20}
    few = {**how, "overrides": {**brief, "data.episodes": 1}}
    generate(FAMILY.name, tmp_path, **few)
    monkeypatch.setattr("comrl.benchmark.generation.generate.locked", lambda folder: 1 / 0)
    assert generate(FAMILY.name, tmp_path, **few)["made now"] == 0
    task_file(tmp_path / FAMILY.name, 3).unlink()
    with pytest.raises(ZeroDivisionError):
        generate(FAMILY.name, tmp_path, **few)
