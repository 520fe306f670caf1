"""Work on a Ray cluster: the same results, whatever dies, and a sentence where there is no cluster."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.forked import usual_signals
from support.orders import crowd, double

from comrl.benchmark.commands import jobs
from comrl.benchmark.commands.cli import main
from comrl.benchmark.generation import generate
from comrl.benchmark.generation.workers import do_all
from comrl.benchmark.reporting.ledger import read_cards
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.several import run_all
from comrl.ground import workforce
from comrl.ground.errors import BadInput, Notice, tried
from comrl.ground.files import claimed, locked
from comrl.ground.machine import Machine
from comrl.ground.showing import Lines
from comrl.ground.workforce import Workforce, find_workforce

ROOT = Path(__file__).resolve().parents[1]
ENV, PATIENCE = "point-robot-wind", 300  # seconds
RUN = ["run", "--env", ENV, "--preset", "smoke", "--engine", "ray", "--threads", "1"]
SUITE = ["suite", "--preset", "smoke", "--env", ENV, "--engine", "ray", "--threads", "1"]
DATA = ["generate-data", "--env", ENV, "--preset", "smoke", "--threads", "1", "--set", "block=10"]


# --- without Ray


@pytest.mark.parametrize("words", [[*RUN, "--algo", "blind"], [*DATA, "--engine", "ray"], SUITE])
def test_where_ray_is_missing_a_sentence_says_how_to_install_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*words, "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("bench: Ray is not here (") and "pip install 'comrl-bench[ray]'" in told
    assert told.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_unknown_engine_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--algo", "blind", "--engine", "rai"]) == 2
    assert capsys.readouterr().err == "bench: unknown engine 'rai'; did you mean 'ray'?\n"


def test_where_no_cluster_is_reachable_a_sentence_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(**asked: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does
        raise ConnectionError("nobody listens")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=nowhere))
    monkeypatch.setattr(workforce, "_address", lambda: "127.0.0.1:1")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match=r"\(nobody listens\); start one with `ray start --head`"):
        find_workforce("ray").do(print, [1], 1, heard=print)
    assert signal.getsignal(signal.SIGTERM) is before


def test_begun_again_an_order_waits_for_the_lock_of_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(order: Path, tell: Callable[[str], object]) -> str:
        tell("begun")
        with locked(order):
            return "written"

    def outcome(again: bool) -> Any:
        *told, (kind, content) = workforce._attempt(write, tmp_path, {}, again)
        assert kind == "done" and all(word == ("told", "begun") for word in told)
        return content

    with claimed(tmp_path / ".bench-lock"):
        assert "another process" in str(outcome(again=False))
        monkeypatch.setattr(workforce, "LEASE", 0.0)
        assert "another process" in str(outcome(again=True))
        monkeypatch.setattr(workforce, "LEASE", 60.0)
        threading.Timer(0.5, (tmp_path / ".bench-lock").unlink).start()
        assert outcome(again=True) == "written"


def twice(work: Callable[..., Any], orders: list[Any], count: int, **told: Any) -> list[Any]:
    """A workforce whose first attempt at each order is lost when it has told all."""
    for order in orders:
        work(order, partial(told["heard"], 0))
    return [work(order, partial(told["heard"], 0)) for order in orders]


def test_what_is_begun_again_is_shown_once() -> None:
    def work(order: int, progress: Callable[[int], object]) -> None:
        for _ in range(order):
            progress(1)

    bar = Lines(9, 0, "work", "unit", None)
    do_all(work, [2, 3, 4], 1, bar, lambda: None, Workforce(twice, away=True))
    assert bar.n == 9


def test_elsewhere_each_seed_is_a_job_with_folders_and_threads_of_its_own(
    smoke_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def do(work: Any, orders: list[RunSpec], count: int, **told: Any) -> list[Any]:
        asked.append((count, work.keywords, [(order.algo, order.seeds) for order in orders]))
        return [{"seeds": order.seeds} for order in orders]

    monkeypatch.chdir(smoke_data.parent)
    both: dict[str, Any] = {"env": ENV, "split": "mixed", "preset": "smoke", "seeds": (4, 7), "overrides": {}}
    specs = [RunSpec(algo=algo, **both) for algo in ("blind", "oracle")]
    away = Workforce(do, away=True)
    rows, _ = run_all(specs, Path(smoke_data.name), Path("results"), Machine(), workforce=away)
    ((count, places, jobs),) = asked
    assert jobs == [(algo, (seed,)) for algo in ("blind", "oracle") for seed in (4, 7)]
    assert count == len(rows) == 4 and places["machine"] == Machine(threads=1)
    assert places["data"] == smoke_data and places["results"] == smoke_data.parent / "results"


def test_a_node_with_other_packages_makes_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def do(work: Any, orders: list[Any], count: int, **told: Any) -> list[Any]:
        monkeypatch.setattr(generate, "version", lambda name: "0.0")
        return [tried(partial(work, order, print)) for order in orders]

    monkeypatch.setattr(jobs, "find_workforce", lambda *_, **__: Workforce(do, away=True))
    assert main([*DATA, "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"{platform.node()} has torch 0.0, numpy 0.0" in told and "give every node the same" in told
    assert not list(tmp_path.rglob("*.hdf5"))


# --- with Ray


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and another node of one CPU each, on this machine."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the extra [ray] is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.other = made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """The command on its way, its words in a file."""
    command = [sys.executable, "-m", "comrl.benchmark.commands.cli", *words]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=usual_signals)


def wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not there() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    assert there() and process.poll() is None


def numbers(results: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{name}": (folder / name).read_bytes()
        for folder in (results / "runs").iterdir()
        for name in ("curves.csv", "returns.csv")
    }


@pytest.mark.slow
def test_a_dead_nodes_run_goes_on_elsewhere_from_its_checkpoint(
    cluster: Any, smoke_data: Path, tmp_path: Path
) -> None:
    long = {"training.steps": 1000, "training.eval_every": 100}
    asked = [*RUN, "--algo", "focal", "--seeds", "0", "1", "2", "--data", str(smoke_data)]
    asked += ["--set", *(f"{name}={value}" for name, value in long.items())]
    process = start(tmp_path, *asked, "--results", str(tmp_path / "away"))
    wait_for(lambda: len(list((tmp_path / "away" / "work").glob("*/checkpoint.pt"))) == 2, process)
    cluster.remove_node(cluster.other, allow_graceful=False)
    code, said = process.wait(PATIENCE), (tmp_path / "said").read_text()
    assert code == 0, said
    assert "a node or process of the cluster died; job " in said and "goes on elsewhere (try 2 of 4)" in said
    shared: dict[str, Any] = {"env": ENV, "split": "mixed", "preset": "smoke", "algo": "focal"}
    here = [RunSpec(seeds=(seed,), overrides=long, **shared) for seed in range(3)]
    run_all(here, smoke_data, tmp_path / "here", Machine(threads=1))
    assert numbers(tmp_path / "away") == numbers(tmp_path / "here")
    assert not list((tmp_path / "away" / "work").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_ends_takes_its_jobs_along_and_goes_on(
    cluster: Any, number: signal.Signals, smoke_data: Path, tmp_path: Path
) -> None:
    asked = [*RUN, "--algo", "blind", "--seeds", "0", "1", "--data", str(smoke_data)]
    asked += ["--results", str(tmp_path / "results"), "--set", "steps=1000", "eval_every=100"]
    process = start(tmp_path, *asked)
    wait_for(lambda: len(list((tmp_path / "results" / "work").glob("*/checkpoint.pt"))) == 2, process)
    process.send_signal(number)
    killed = number == signal.SIGKILL  # then Ray ends the jobs, a moment later
    assert process.wait(60) == (-number if killed else 128 + number)
    said = (tmp_path / "said").read_text()
    assert killed or said.endswith("bench: interrupted; the same command goes on where this one stopped\n")
    left = [folder for folder in (tmp_path / "results" / "work").iterdir() if folder.is_dir()]
    assert len(left) == 2 and not read_cards(tmp_path / "results")
    for folder in left:  # nobody is at work there any more
        with locked(folder, wait=killed):
            assert (folder / "checkpoint.pt").exists()
    assert start(tmp_path, *asked).wait(PATIENCE) == 0, (tmp_path / "said").read_text()
    assert len(read_cards(tmp_path / "results")) == 2


@pytest.mark.slow
def test_what_dies_is_tried_again_and_what_fails_is_not(cluster: Any) -> None:
    told: list[int] = []
    done: list[None] = []
    heard: dict[str, Any] = {"heard": lambda _, order: told.append(order)}
    heard |= {"finished": lambda: done.append(None)}
    with pytest.warns(Notice, match=r"job 3 of 5 goes on elsewhere \(try 4 of 4\)"):
        outcomes = find_workforce("ray").do(double, [0, 1, 3, 4, 6], 2, **heard)
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [0, 2, 12]
    killed, failed = outcomes[2:4]
    assert isinstance(killed, BadInput) and str(killed).startswith("4 times a node or process")
    assert str(failed) == "Stubborn: this and that" and not isinstance(failed, BadInput)
    assert sorted({*told} - {3}) == [0, 1, 4, 6] and len(done) == 5  # the killed one's words may be lost


@pytest.mark.slow
def test_jobs_that_tell_how_they_go_keep_their_cpus(cluster: Any, tmp_path: Path) -> None:
    others = find_workforce("ray").do(crowd, [tmp_path] * 6, 6, heard=lambda *_: None)
    assert 1 <= max(others) <= 2, others


@pytest.mark.slow
def test_data_of_a_cluster_are_those_of_this_machine(cluster: Any, tmp_path: Path) -> None:
    for name, engine in (("away", "ray"), ("here", "local")):
        folder = str(tmp_path / name)
        code = start(tmp_path, *DATA, "--engine", engine, "--data", folder).wait(PATIENCE)
        assert code == 0, (tmp_path / "said").read_text()
    manifest = Path(ENV, "manifest.json")  # holds the hashes of all files
    assert (tmp_path / "away" / manifest).read_bytes() == (tmp_path / "here" / manifest).read_bytes()


@pytest.mark.slow
def test_what_no_node_has_room_for_and_a_head_that_is_gone_are_sentences(
    cluster: Any, smoke_data: Path, tmp_path: Path
) -> None:
    asked = ["--algo", "blind", "--data", str(smoke_data), "--results", str(tmp_path / "results")]
    assert start(tmp_path, *RUN, *asked, "--threads", "2").wait(PATIENCE) == 2
    assert "no node of the Ray cluster has 2 CPUs" in (tmp_path / "said").read_text()
    cluster.shutdown()
    assert start(tmp_path, *RUN, *asked).wait(60) == 2
    assert "no Ray cluster is reachable (" in (tmp_path / "said").read_text()
