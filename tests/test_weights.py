"""Trained weights stay: nothing is made twice, a policy can be loaded, and damage is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from support.runs import CPU

import comrl
from comrl.algorithms import accelerate
from comrl.algorithms.algorithm import algorithms
from comrl.benchmark.commands.cli import main
from comrl.benchmark.protocol import describe
from comrl.benchmark.reporting.ledger import read_card, read_ledger
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training import job
from comrl.benchmark.training import run as running
from comrl.benchmark.training.weights import algorithm_of, training_of
from comrl.datasets.store import open_dataset
from comrl.ground.errors import BadInput

ENV = "sparse-point-robot"
NAMES = [algorithm.name for algorithm in algorithms()]


def spec(algo: str, context: str = "offline") -> RunSpec:
    return RunSpec(
        env=ENV, split="mixed", preset="smoke", algo=algo, seeds=(3, 1), overrides={}, context=context
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every algorithm, trained once."""
    there = tmp_path_factory.mktemp("results")
    for algo in NAMES:
        running.run(spec(algo), smoke_data, there, CPU)
    return there


def folder_of(results: Path, algo: str) -> Path:
    (found,) = results.glob(f"runs/*.smoke.{algo}.*")
    return found


@pytest.fixture
def own(results: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of FOCAL++'s results, to be changed."""
    folder = folder_of(results, "focalpp")
    shutil.copytree(folder, tmp_path / "runs" / folder.name)
    yield tmp_path


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no gradient step be made."""

    def refuse(*_: object) -> None:
        raise AssertionError("a gradient step was made")

    monkeypatch.setattr(accelerate, "descend", refuse)


# --- other tests


@pytest.mark.usefixtures("untrained")
def test_a_finished_training_is_tested_online_without_a_step(own: Path, smoke_data: Path) -> None:
    folder = folder_of(own, "focalpp")
    before = read_ledger(own).runs[0]
    assert before.online is None
    row = running.run(spec("focalpp", "online"), smoke_data, own, CPU)
    assert folder.name in row["done"]
    after = read_ledger(own).runs[0]
    assert after.online is not None and {*after.online["seed"]} == {3, 1}
    assert after.returns.equals(before.returns) and after.card.id == before.card.id
    assert running.run(spec("focalpp", "online"), smoke_data, own, CPU)["done"] == "already there"


@pytest.mark.usefixtures("untrained")
def test_bench_test_repeats_the_offline_test_and_adds_another_splits(
    own: Path, smoke_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(own, "focalpp")
    command = ["test", "--run", str(folder), "--data", str(smoke_data), "--context", "offline"]
    assert main(command) == 0
    again = (folder / "returns.mixed.csv").read_text().splitlines()
    first = (folder / "returns.csv").read_text().splitlines()
    assert again == [first[0], *(row for row in first[1:] if row.split(",")[1] == "mixed")]
    assert main([*command, "--split", "relabeled"]) == 0
    assert "relabeled" in (folder / "returns.relabeled.csv").read_text()
    assert folder.name in capsys.readouterr().out
    read_ledger(own)  # whole and unaltered


def test_data_are_read_once_and_each_test_is_made_once(
    smoke_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, tested = Mock(wraps=job.open_dataset), Mock(wraps=job.evaluate)
    monkeypatch.setattr(job, "open_dataset", opened)
    monkeypatch.setattr(job, "evaluate", tested)
    command = ["run", "--env", "point-robot-wind", "--preset", "smoke", "--seeds", "0", "--algo", "blind"]
    assert main([*command, "oracle", "--data", str(smoke_data), "--results", str(tmp_path)]) == 0
    assert opened.call_count == 1
    runs = read_ledger(tmp_path).runs
    shifted = [{*run.returns["context"]} - {run.split} for run in runs]
    assert tested.call_count == sum(
        len(run.curves) + len(others) for run, others in zip(runs, shifted, strict=True)
    )


# --- policies


@pytest.mark.parametrize("algo", NAMES)
def test_a_member_alone_acts_as_in_the_stack(algo: str, results: Path, smoke_data: Path) -> None:
    dataset, folder = open_dataset(smoke_data, ENV), folder_of(results, algo)
    context, _ = dataset.read(7, "expert")
    params = dataset.task_set.params[7]
    obs = np.random.default_rng(0).normal(size=(5, 2))
    stack = comrl.load(folder)
    z = stack.infer(context, params)
    action = stack.act(obs, z)
    assert z.shape[0] == 2 and action.shape == (2, 5, 2) and float(np.abs(action).max()) <= 1
    for member, seed in enumerate((3, 1)):
        alone = comrl.load(folder, seed=seed)
        np.testing.assert_allclose(alone.infer(context, params), z[member], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(alone.act(obs, z[member]), action[member], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(alone.act(obs[0], z[member]), action[member, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algo", NAMES)
def test_the_algorithm_comes_back_with_the_settings_it_was_trained_with(algo: str, results: Path) -> None:
    card = read_card(folder_of(results, algo))
    back = algorithm_of(card)
    assert describe(back.control) == card.algorithm["control"]
    assert describe(back.encoder) == card.algorithm["encoder"]


def test_what_an_older_card_does_not_say_is_as_it_was_then(results: Path) -> None:
    card = read_card(folder_of(results, "focalpp"))
    assert (
        card.training["context_bank"] != 0 and training_of(card).context_bank == card.training["context_bank"]
    )
    older = {name: value for name, value in card.training.items() if name != "context_bank"}
    assert training_of(card.model_copy(update={"training": older})).context_bank == 0
    del older["discount"]
    with pytest.raises(BadInput, match=r"does not say its training\.discount"):
        training_of(card.model_copy(update={"training": older}))


def test_weights_are_tensors_and_plain_values(results: Path) -> None:
    body = torch.load(folder_of(results, "mbml") / "weights.pt", weights_only=True)
    assert body["format"] == 1 and {"encoder", "critic", "decoder"} <= body["nets"].keys()


# --- what is refused


def damaged(folder: Path, how: str) -> None:
    path = folder / "weights.pt"
    content = bytearray(path.read_bytes())
    if how == "none":
        path.unlink()
    elif how == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("how", "words"), [("none", "kept no weights"), ("flipped", "altered"), ("cut", "truncated")]
)
def test_weights_that_are_not_whole_are_refused(
    how: str, words: str, own: Path, smoke_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(own, "focalpp")
    damaged(folder, how)
    with pytest.raises(BadInput, match=words):
        comrl.load(folder)
    assert main(["test", "--run", str(folder), "--data", str(smoke_data), "--context", "online"]) == 2
    said = capsys.readouterr().err
    assert "bench run" in said and len(said.splitlines()) == 1
    read_ledger(own)  # a report needs no weights


def test_the_oracle_is_told_its_task(results: Path, smoke_data: Path) -> None:
    policy, (context, _) = (
        comrl.load(folder_of(results, "oracle")),
        open_dataset(smoke_data, ENV).read(7, "expert"),
    )
    for params in (None, [0.5], [[0.5, 0.5]]):
        with pytest.raises(BadInput, match="learns nothing from a context; give params, 2 numbers"):
            policy.infer(context, params)
    assert comrl.load(folder_of(results, "focal")).infer(context).shape[0] == 2


def test_a_seed_that_was_not_trained_is_refused(results: Path) -> None:
    with pytest.raises(BadInput, match="no seed 7; it has 3, 1"):
        comrl.load(folder_of(results, "focal"), seed=7)
