"""Rules of exploration: each against a literal loop, what each does and keeps, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.ledgers import FOCAL, GOALS, add_run
from support.runs import CPU, TOY, begin, toy_goals, toy_sampler
from support.trial_oracle import Trial
from support.trial_oracle import farthest as farthest_literally
from torch import Tensor

from comrl.algorithms.algorithm import Space, find_algorithm
from comrl.algorithms.learner import State, update
from comrl.benchmark.commands import speed
from comrl.benchmark.commands.cli import main
from comrl.benchmark.reporting.figures.explored import returns_by_rule, show_by_rule
from comrl.benchmark.reporting.ledger import Ledger, merge_seeds, read_ledger
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training import online
from comrl.benchmark.training import run as running
from comrl.benchmark.training.explore import Exploration, farthest, find_rule, kept_episodes, rules
from comrl.benchmark.training.online import evaluate_online
from comrl.envs import TaskSet
from comrl.envs.rollout import Episodes

SEEDS = (3, 1)
TASKS = TaskSet("toy", 0, toy_goals(), (0, 1, 2, 4, 6, 7), (3, 5))
NAMES = [rule.name for rule in rules()]


def begun(name: str) -> State:
    state = begin(find_algorithm(name), Space(2, 2, 2, False, TASKS.train), SEEDS)
    sampler = toy_sampler(8)
    for _ in range(2):
        update(state, state.next_batch(sampler))
    return state


def tried(state: State, rule: str, exploring: int = 4, radius: float | None = None) -> pd.DataFrame:
    way = Exploration(find_rule(rule), exploring)
    return evaluate_online(state, SEEDS, toy_sampler(8), TOY, TASKS, radius, way)


# --- what a rule does


@pytest.mark.parametrize("exploring", [4, 1, 3])
@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("name", ["focal", "batch-pearl"])
def test_all_trials_at_once_are_each_trial_alone(name: str, rule: str, exploring: int) -> None:
    """Sparse rewards, so that what is kept is decided by what the encoder sees; odd halves end within one."""
    state = begun(name)
    table = tried(state, rule, exploring, radius=-1.2)
    ours = table.sort_values(["task", "trial", "episode"], kind="stable")
    for s, seed in enumerate(SEEDS):
        mine = ours[ours["seed"] == seed]["dense"].to_numpy().reshape(-1, exploring + 1)
        for n, returns in enumerate(mine):
            alone = Trial(state, SEEDS, toy_sampler(8), TOY, TASKS, -1.2, s, n).play(rule, exploring)
            np.testing.assert_allclose(returns, alone, atol=2e-3)


def test_the_prior_is_that_of_before_there_were_rules() -> None:
    """Mean returns by episode of the program that had no rules."""
    before = {
        "focal": [-8.38441, -10.70464, -9.40239, -10.34057, -9.24325],
        "batch-pearl": [-8.60445, -10.9849, -9.29589, -10.52284, -9.30106],
    }
    for name, means in before.items():
        found = tried(begun(name), "prior").groupby("episode")["dense"].mean()
        np.testing.assert_allclose(found, means, atol=1e-3)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Episodes]:
    """Every episode that is played."""
    found: list[Episodes] = []
    real = online.rollout

    def keep(*args: Any) -> Episodes:
        found.append(real(*args))
        return found[-1]

    monkeypatch.setattr(online, "rollout", keep)
    return found


@pytest.mark.parametrize("exploring", [4, 1, 3])
def test_random_takes_uniform_actions_in_exactly_the_first_half(
    exploring: int, played: list[Episodes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "policy", lambda state, z: lambda obs: np.full((len(obs), 2), 2.0))
    state = begun("focal")
    state.training = replace(state.training, eval_episodes=60)
    tried(state, "random", exploring)
    action = np.concatenate([episode.action for episode in played], 1)  # [N, steps, A]
    half = exploring * TOY.horizon // 2
    assert (action[:, half:] == 1).all() and (np.abs(action[:, :half]) < 1).all()
    assert abs(action[:, :half].mean()) < 0.05 and abs(action[:, :half].std() - 3**-0.5) < 0.02
    assert len(np.unique(action[:, :half])) > 0.99 * action[:, :half].size


def test_the_last_episode_has_the_embedding_of_the_best(
    played: list[Episodes], monkeypatch: pytest.MonkeyPatch
) -> None:
    acted: list[Tensor] = []
    real = online.policy
    monkeypatch.setattr(online, "policy", lambda state, z: acted.append(z) or real(state, z))
    tried(begun("focal"), "best")
    gained = np.stack([episode.reward.sum(1) for episode in played[:-1]], 1)  # [N, 4]
    assert len(acted) == 5 and len({*gained.argmax(1)}) > 1
    for row, winner in enumerate(gained.argmax(1)):
        rows = [z.flatten(0, 1)[row] for z in acted]
        assert torch.equal(rows[-1], rows[winner])
        assert not torch.equal(rows[0], rows[1])


def test_the_farthest_is_that_of_a_literal_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    candidates = torch.randn(2, 3, 5, 4, generator=draw)
    for count in range(4):
        before = [torch.randn(2, 3, 4, generator=draw) for _ in range(count)]
        found = farthest(candidates, before)
        for s in range(2):
            for n in range(3):
                slow = farthest_literally([*candidates[s, n]], [z[s, n] for z in before])
                assert torch.equal(found[s, n], slow)


def test_kept_are_the_best_of_the_first_and_whatever_beats_all_before() -> None:
    returns = np.random.default_rng(0).integers(0, 4, (200, 5)).astype(float)  # with many ties
    for opening in (1, 2, 3):
        for row, kept in zip(returns, kept_episodes(returns, opening), strict=True):
            first = [*row[:opening]]
            later = [j for j in range(opening, 5) if row[j] > max(row[:j])]
            assert np.flatnonzero(kept).tolist() == [first.index(max(first)), *later]


@pytest.mark.parametrize("name", ["oracle", "blind"])
def test_yardsticks_explore_at_random_and_are_as_good_as_ever(name: str) -> None:
    """Their embedding reads no context, so whatever was lived through, the last episode is the same."""
    last = [tried(begun(name), rule).query("episode == 4")["dense"] for rule in ("prior", "random")]
    np.testing.assert_array_equal(*last)


# --- files, report, command line


SPEC = RunSpec(
    env="point-robot-wind", split="mixed", preset="smoke", algo="focal", seeds=(0, 1), overrides={}
)
ASKED = {"context": "online", "explore": ("prior", "random", "best")}


def test_each_rule_has_a_file_and_a_row_of_its_own(smoke_data: Path, tmp_path: Path) -> None:
    running.run(SPEC, smoke_data, tmp_path, CPU)
    assert returns_by_rule(read_ledger(tmp_path)) is None
    first = running.run(SPEC.model_copy(update={"context": "online"}), smoke_data, tmp_path, CPU)
    (folder,) = (tmp_path / "runs").iterdir()
    before = {name: (folder / name).read_bytes() for name in ("online.csv", "returns.csv")}
    row = running.run(SPEC.model_copy(update=ASKED), smoke_data, tmp_path, CPU)
    assert folder.name in row["done"] and row["explore prior"] == first["explore prior"]
    again = running.run(SPEC.model_copy(update=ASKED), smoke_data, tmp_path, CPU)
    assert again == row | {"done": "already there"}
    short = running.test_folder(folder, smoke_data, CPU, "online", None, explore=["best"], explore_steps=20)
    assert [one["explore"] for one in short] == ["best.1"]
    assert before == {name: (folder / name).read_bytes() for name in before}
    files = {path.name for path in folder.glob("online.*")}
    assert files == {"online.csv", "online.best.1.csv", "online.best.csv", "online.random.csv"}
    (run,) = read_ledger(tmp_path).runs
    frame = returns_by_rule(read_ledger(tmp_path))
    assert frame is not None and frame["rule"].tolist() == ["prior", "best", "best, 1 episode", "random"]
    for name, shown in zip(("prior", "best", "best.1", "random"), frame["mean"], strict=True):
        table = run.explored[name]
        assert shown == pytest.approx(table[table["episode"] == table["episode"].max()]["dense"].mean())
    offline = run.returns[run.returns["context"] == "mixed"]["dense"].mean()
    np.testing.assert_allclose(frame["offline"], offline)
    assert show_by_rule(frame)["algorithm"].tolist() == ["FOCAL"] * 4


def test_training_and_tests_in_one_command_are_those_of_two(smoke_data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    running.run(SPEC.model_copy(update=ASKED), smoke_data, once, CPU)
    running.run(SPEC, smoke_data, twice, CPU)
    running.run(SPEC.model_copy(update=ASKED), smoke_data, twice, CPU)
    (ours,), (theirs,) = (list((there / "runs").iterdir()) for there in (once, twice))
    assert ours.name == theirs.name
    for name in ("online.csv", "online.random.csv", "online.best.csv", "returns.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_seeds_of_different_trainings_are_one_run_with_all_tests(tmp_path: Path) -> None:
    for seeds in ((0, 1), (4, 2)):
        add_run(tmp_path, GOALS, FOCAL, seeds=seeds)
    runs = [
        replace(run, card=run.card.model_copy(update={"settings_id": "same"}))
        for run in read_ledger(tmp_path).runs
    ]
    (whole,) = merge_seeds(runs)
    assert whole.shifted is not None and {*whole.shifted["seed"]} == {0, 1, 2, 4}
    assert {*whole.explored["prior"]["seed"]} == {0, 1, 2, 4} and {*whole.explored["best"]["seed"]} == {0, 4}
    frame = returns_by_rule(Ledger((whole,), ()))
    assert frame is not None and frame["seeds"].tolist() == [4, 2]
    offline = whole.returns.groupby("seed")["inside"].mean()
    np.testing.assert_allclose(frame["offline"], [offline.mean(), offline[[0, 4]].mean()])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--context online --explore bets", "unknown exploration rule 'bets'; did you mean 'best'?"),
        (
            "--context online --explore-steps 100",
            "explores 4 episodes of 20 steps at most, and whole ones; give 20, ",
        ),
        ("--context online --explore-steps 30", "--explore-steps 30: a trial of point-robot-wind explores 4"),
        ("--context online --explore best", "blind infers none; leave blind out, or give it another rule"),
        (
            "--explore-steps 20",
            "--explore-steps is for contexts of one's own; give --context online too, or leave it out",
        ),
        ("--explore best", "blind infers none; leave blind out, or give it another rule"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_a_sentence(
    options: str, sentence: str, smoke_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(smoke_data), "--results", str(tmp_path)]
    what = ["--env", "point-robot-wind", "--preset", "smoke", "--algo", "focal", "blind", "--seeds", "0"]
    assert main(["run", *what, *where, *options.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_refused_stops_no_other(
    smoke_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for algo in ("blind", "focal"):
        running.run(SPEC.model_copy(update={"algo": algo}), smoke_data, tmp_path, CPU)
    folders = sorted(map(str, (tmp_path / "runs").iterdir()))  # blind comes first
    command = f"test --data {smoke_data} --context online --explore best --run"
    assert main([*command.split(), *folders]) == 2
    done, said = capsys.readouterr()
    assert ".focal." in done and ".blind." not in done and "bench: --explore best chooses" in said
    assert [run.algo for run in read_ledger(tmp_path).runs if run.explored] == ["focal"]


def test_a_rule_adds_the_test_on_contexts_of_ones_own(smoke_data: Path, tmp_path: Path) -> None:
    running.run(SPEC, smoke_data, tmp_path, CPU)
    (folder,) = (tmp_path / "runs").iterdir()
    command = f"test --data {smoke_data} --context shifted --explore best --run {folder}"
    assert main(command.split()) == 0
    (run,) = read_ledger(tmp_path).runs
    assert run.shifted is not None and [*run.explored] == ["best"]


def test_speed_has_a_row_for_each_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "DEFAULT_PRESET", "smoke")
    monkeypatch.setattr(speed, "REPEATS", 1)
    rows = speed.exploration_rows(speed.plainest(), CPU)
    assert [str(row["what"]).split(",")[0] for row in rows] == [f"test exploring by {name}" for name in NAMES]
    assert all(float(str(row["over offline"])) > 0 for row in rows)
