"""Smoke runs of every algorithm on every family; killed at any moment, a command ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.families import pairs
from support.runs import CPU

from comrl.algorithms.algorithm import Training, find_algorithm
from comrl.algorithms.attention import Attention
from comrl.algorithms.encoders import GaussianProduct
from comrl.benchmark.commands.cli import main
from comrl.benchmark.protocol import configured, resolve
from comrl.benchmark.reporting.ledger import Run, read_ledger
from comrl.benchmark.reporting.portrait import keep_portrait
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.film import FRAMES, frames
from comrl.benchmark.training.job import prepare_job
from comrl.benchmark.training.run import run
from comrl.datasets.splits import find_split, splits_of
from comrl.datasets.store import open_dataset
from comrl.envs import families, find_family
from comrl.envs.rollout import Episodes
from comrl.ground.errors import BadInput
from comrl.ground.files import locked


def numbers_of_env(env: str) -> Training:
    """The smoke preset's numbers for an environment."""
    return resolve("smoke", env).training


def spec(
    env: str, algo: str, seeds: tuple[int, ...] = (0, 1), split: str = "mixed", **overrides: Any
) -> RunSpec:
    return RunSpec(env=env, split=split, preset="smoke", algo=algo, seeds=seeds, overrides=overrides)


# --- what a run leaves behind


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test process keeps its runs."""
    return tmp_path_factory.mktemp("results")


@pairs(everywhere={"focalpp"})
def test_every_algorithm_runs_on_every_family(env: str, algo: str, smoke_data: Path, results: Path) -> None:
    row = run(spec(env, algo), smoke_data, results, CPU)
    ledger = read_ledger(results)
    (done,) = (found for found in ledger.runs if (found.env, found.algo) == (env, algo))
    (portrait,) = (found for found in ledger.portraits if found.env == env)
    assert row["done"] == done.path.name and done.path.name.startswith(f"{env}.mixed.smoke.{algo}.")
    assert (done.split, done.role) == ("mixed", find_algorithm(algo).role)
    assert done.card.data_sha256 == portrait.card.sha256 == open_dataset(smoke_data, env).sha256
    check_curves(done)
    check_returns(done)
    check_probe(done)
    assert not list((results / "work").iterdir())


def check_curves(done: Run) -> None:
    """Both seeds at step 0 and at every test, every loss from the first test on."""
    curves, scores, numbers = done.curves, list(done.scores), numbers_of_env(done.env)
    steps = range(0, numbers.steps + 1, numbers.eval_every)
    assert sorted(zip(curves["seed"], curves["step"], strict=True)) == [(s, t) for s in (0, 1) for t in steps]
    losses = [column for column in curves if column.startswith("loss_")]
    metrics = {*curves} - {"seed", "step", *scores, *losses}
    assert bool(metrics & {"mean_q", "log_prob"}) == (done.algo != "mbml")
    algorithm = configured(find_algorithm(done.algo), "smoke", done.env)
    expected = {f"loss_{name}" for name in algorithm.control.rates()}
    own = {"task", *algorithm.task_loss.rates()} if algorithm.task_loss else set()
    assert {*losses} == expected | {f"loss_{name}" for name in own}
    tested = curves[curves["step"] > 0]
    assert bool(np.isfinite(tested[[*scores, *expected]]).all(axis=None))
    if algorithm.task_loss:  # the mean since the last test, there as long as the encoder learns
        learns = tested["step"] - numbers.eval_every < algorithm.encoder.steps
        assert bool((np.isfinite(tested["loss_task"]) == learns).all())
        assert learns.any() and learns.all() == (len(steps) == 2)


def check_returns(done: Run) -> None:
    """Every test task × episode × context split; the own context's mean is the last point of the curve."""
    family, returns, numbers = find_family(done.env), done.returns, numbers_of_env(done.env)
    tasks, scores = done.card.task_set.test, list(done.scores)
    alike = [split.name for split in splits_of(family) if not split.relabel]
    keys = {(s, c, t, e) for s in (0, 1) for c in alike for t in tasks for e in range(numbers.eval_episodes)}
    assert len(returns) == len(keys)
    assert {*returns[["seed", "context", "task", "episode"]].itertuples(index=False, name=None)} == keys
    own = returns[returns["context"] == done.split].groupby("seed")[scores].mean()
    last = done.curves[done.curves["step"] == numbers.steps].set_index("seed")[scores]
    np.testing.assert_allclose(own.loc[[0, 1]], last.loc[[0, 1]], rtol=1e-6)


def check_probe(done: Run) -> None:
    """Both theorems hold; gates where there is a gate; only the film where nothing is learned."""
    family, encoder, probe = find_family(done.env), find_algorithm(done.algo).encoder, done.probe
    check_film(done)
    if done.role != "method":
        assert not [name for name in probe if not name.startswith("film_")]
        return
    assert probe["z"].shape[:2] == (2, family.tasks)
    assert probe["z"].shape[3] == configured(find_algorithm(done.algo), "smoke", done.env).encoder.latent
    assert bool(np.isfinite(probe["z"]).all())
    if not isinstance(encoder, GaussianProduct):  # whose means are not squashed
        assert float(np.abs(probe["z"]).max()) < 1
    np.testing.assert_allclose(probe["theorem31"][:, 0], probe["theorem31"][:, 1], rtol=1e-4)
    assert bool((np.diff(probe["theorem32"], axis=1) >= -1e-6).all())
    hardly_moves = family.model_sha256 is not None  # so little trained, it may never get inside its radius
    gated = isinstance(encoder, Attention) and encoder.batch_wise and family.radius is not None
    assert ("gate_weight" in probe) == gated
    looked = family.radius is not None and not isinstance(encoder, GaussianProduct)
    assert ("sparsity_variance" in probe) == looked
    if gated:
        absolute, nonzero = probe["gate_absolute"], probe["gate_nonzero"]
        assert not bool((absolute & nonzero).any())
        assert absolute.mean() > 0 and (absolute.mean() < 1 or hardly_moves)
        assert probe["gate_weight"].shape[1] % numbers_of_env(done.env).test_context == 0
        np.testing.assert_allclose(probe["gate_weight"].mean(1), 1.0, rtol=0.2)  # a quarter of each context
    if looked:
        assert probe["sparsity_variance"].shape == (2, len(probe["sparsity_ratio"]))
        variances = (probe["sparsity_variance"], probe["var_nonsparse"])
        for variance in variances:
            none_to_see = hardly_moves & (np.isnan(variance) | (variance == 0))
            assert bool(((variance > 0) | none_to_see).all())


def check_film(done: Run) -> None:
    """Whole observations of the two test tasks farthest apart, for families that can be drawn."""
    family, probe, tasks = find_family(done.env), done.probe, done.card.task_set
    assert ("film_obs" in probe) == (family.film is not None)
    if family.film is None:
        return
    assert probe["film_obs"].shape == (2, 2, FRAMES, family.obs_dim)
    assert probe["film_obs"].dtype == np.float32 and bool(np.isfinite(probe["film_obs"]).all())
    steps = probe["film_steps"]
    assert not steps[..., 0].any() and bool((np.diff(steps) >= 0).all()) and steps.max() <= family.horizon
    first = {task: tasks.params[task][0] for task in tasks.test}
    assert probe["film_tasks"].tolist() == [[min(first, key=first.get), max(first, key=first.get)]] * 2


def test_a_film_ends_with_the_fall_and_never_shows_diverged_physics() -> None:
    obs = np.arange(3.0 * 5).reshape(3, 5, 1)
    length = np.array([5, 3, 2])
    next_obs = obs + 100.0
    next_obs[2, 1] = np.nan
    nothing = np.zeros((3, 5))
    valid = np.arange(5) < length[:, None]
    shown, steps = frames(Episodes(obs, obs, nothing, next_obs, nothing > 0, valid))
    assert steps[:, 0].tolist() == [0, 0, 0] and steps[:, -1].tolist() == [5, 3, 1]
    assert shown[:, -1, 0].tolist() == [104.0, 107.0, 11.0]
    assert shown[0, 0, 0] == 0.0 and shown.shape == (3, FRAMES, 1)


@pytest.mark.parametrize("env", [family.name for family in families() if family.relabel_radius is not None])
def test_the_relabeled_split_is_tested_on_relabeled_contexts(
    env: str, smoke_data: Path, tmp_path: Path
) -> None:
    run(spec(env, "focalpp-batch", (0,), "relabeled"), smoke_data, tmp_path, CPU)
    (done,) = read_ledger(tmp_path).runs
    family = find_family(env)
    assert {*done.returns["context"]} == {"relabeled"}
    assert done.card.train_split_radius == family.relabel_radius == find_split("relabeled").radius(family)


# --- what is there is left as it is


def test_what_exists_stays_and_only_absent_seeds_are_trained(smoke_data: Path, tmp_path: Path) -> None:
    def asked(*seeds: int, **overrides: Any) -> dict[str, Any]:
        return run(spec("point-robot-wind", "blind", seeds, **overrides), smoke_data, tmp_path, CPU)

    asked(3)
    (first,) = (tmp_path / "runs").iterdir()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first.iterdir()}
    assert asked(3)["done"] == "already there" and [*(tmp_path / "runs").iterdir()] == [first]
    assert asked(3, 0)["seeds"] == "0"
    seeds = [seed for done in read_ledger(tmp_path).runs for seed in done.spec.seeds]
    assert sorted(seeds) == [0, 3]
    assert asked(0, 3)["done"] == "already there"
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first.iterdir()}
    asked(3, **{"training.steps": 10})
    assert len([*(tmp_path / "runs").iterdir()]) == 3  # another number is another experiment


@pytest.mark.parametrize(
    "wrong",
    [
        spec("point-robot-wind", "focal", (1, 1)),
        spec("point-robot-wind", "focal", split="relabeled"),
        spec("point-robot-wind", "focal", **{"training.steps": "x"}),
        spec("point-robot-wind", "focalpp", **{"training.attention_heads": 3}),
    ],
    ids=["seeds", "split", "steps", "heads"],
)
def test_a_refused_run_leaves_nothing(wrong: RunSpec, smoke_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        run(wrong, smoke_data, tmp_path, CPU)
    assert not [*tmp_path.glob("runs/*"), *tmp_path.glob("work/*/*.pt")]


def test_a_run_that_is_refused_on_the_way_stops_no_other(
    smoke_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--env", "point-robot-wind", "--preset", "smoke", "--seeds", "0", "--algo", "blind"]
    command += ["oracle", "--data", str(smoke_data), "--results", str(tmp_path)]
    taken = prepare_job(spec("point-robot-wind", "blind", (0,)), smoke_data, CPU)
    with locked(tmp_path / "work" / taken.name):
        assert main(command) == 2
    said = capsys.readouterr()
    assert "oracle" in said.out and said.err.splitlines()[-1].startswith("bench: ") and "blind" in said.err
    assert [run.algo for run in read_ledger(tmp_path).runs] == ["oracle"]


def test_runs_side_by_side_keep_one_portrait(smoke_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(smoke_data, "point-robot-wind")
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(keep_portrait, dataset, tmp_path) for _ in range(4)]:
            done.result()
    (kept,) = (tmp_path / "datasets").iterdir()
    assert kept.name == f"point-robot-wind.{dataset.sha256[:8]}"


# --- kill -9

DRIVER = """
import os, signal, sys, threading, time
from pathlib import Path
from comrl.ground.machine import Machine, prepare
from comrl.benchmark.generation.generate import generate
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.run import run

how, when, what, data, results = sys.argv[1:]
device, die = prepare(Machine(threads=1)), lambda: os.kill(os.getpid(), signal.SIGKILL)
if how == "after":
    timer = threading.Timer(float(when), die)
    timer.daemon = True
    timer.start()
if how == "sync":
    real, left = os.fsync, [int(when)]
    def fsync(handle):
        left[0] -= 1
        die() if left[0] < 0 else real(handle)
    os.fsync = fsync
began = time.perf_counter()
if what == "generate":
    generate("point-robot-wind", Path(data), preset="smoke", overrides={"behaviour.block": 20},
             trainer="stacked", device=device)
else:
    spec = RunSpec(env="sparse-point-robot", split="mixed", preset="smoke", algo="focalpp", seeds=(0, 1),
    overrides={})
    run(spec, Path(data), Path(results), device)
print("seconds", time.perf_counter() - began)
"""


def drive(what: str, data: Path, results: Path, how: str = "never", when: float = 0) -> float | None:
    """The seconds that the command took in a process of its own; None where it was killed."""
    command = [sys.executable, "-c", DRIVER, how, str(when), what, str(data), str(results)]
    root = Path(__file__).resolve().parents[1]
    environ = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def numbers_of(results: Path) -> dict[str, Any]:
    """The curves and returns as bytes, the probe's arrays, and the card but for what it cost."""
    (folder,) = (results / "runs").glob("[!.]*")
    with np.load(folder / "probe.npz") as probe:
        arrays = {f"probe {name}": probe[name].tobytes() for name in probe.files}
    card = json.loads((folder / "run.json").read_text())
    kept = {name: card[name] for name in ("id", "spec", "algorithm", "training", "task_set", "data_sha256")}
    kept["cost"] = card["cost"]["gradient_steps"], card["cost"]["encoder_parameters"]
    return arrays | kept | {name: (folder / name).read_bytes() for name in ("curves.csv", "returns.csv")}


def files_of(data: Path) -> dict[str, bytes]:
    folder = data / "point-robot-wind"
    assert not [*folder.rglob("*partial*")]
    return {path.name: path.read_bytes() for path in (*folder.glob("*.hdf5"), folder / "manifest.json")}


def kill_twice(what: str, data: Path, results: Path, seconds: float) -> None:
    """Give the command again and again, killed at random moments; each goes on from the last."""
    moments = [seconds * (part + np.random.default_rng().uniform(0, 0.2)) for part in (0.3, 0.6)]
    ended = [drive(what, data, results, "after", moment) for moment in moments]
    assert None in ended
    drive(what, data, results)


@pytest.mark.slow
def test_a_run_killed_at_random_points_ends_at_the_same_numbers(smoke_data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "undisturbed", tmp_path / "killed"
    seconds = drive("run", smoke_data, whole)
    assert seconds is not None
    kill_twice("run", smoke_data, killed, seconds)
    assert numbers_of(killed) == numbers_of(whole)
    assert [done.algo for done in read_ledger(killed).runs] == ["focalpp"]


@pytest.mark.slow
def test_generation_killed_at_random_points_writes_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "undisturbed", tmp_path / "killed"
    seconds = drive("generate", whole, tmp_path)
    assert seconds is not None
    kill_twice("generate", killed, tmp_path, seconds)
    assert files_of(killed) == files_of(whole)
    assert len(files_of(killed)) == find_family("point-robot-wind").tasks + 1


@pytest.mark.slow
def test_a_run_killed_at_every_write_ends_at_the_same_numbers(smoke_data: Path, tmp_path: Path) -> None:
    """Killed as the n-th file or folder is made safe, each time from nothing and then given once more."""
    drive("run", smoke_data, tmp_path / "undisturbed")
    for count in range(100):
        results = tmp_path / f"killed-{count}"
        if drive("run", smoke_data, results, "sync", count) is not None:
            break
        drive("run", smoke_data, results)
        assert numbers_of(results) == numbers_of(tmp_path / "undisturbed"), count
    assert count > 10


@pytest.mark.slow
def test_generation_killed_at_every_few_writes_writes_the_same_bytes(tmp_path: Path) -> None:
    drive("generate", tmp_path / "undisturbed", tmp_path)
    for count in range(0, 1000, 13):
        data = tmp_path / f"killed-{count}"
        if drive("generate", data, tmp_path, "sync", count) is not None:
            break
        drive("generate", data, tmp_path)
        assert files_of(data) == files_of(tmp_path / "undisturbed"), count
    assert count > 50
