"""Contexts from other tasks' agents: exact rewards, no dynamics, and a table and figure of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import CPU, TOY, begin, toy_goals, toy_sampler

from comrl.algorithms.algorithm import Space, find_algorithm
from comrl.benchmark.generation import generate as generation
from comrl.benchmark.generation.generate import generate
from comrl.benchmark.reporting.figures import style
from comrl.benchmark.reporting.figures.shifted import (
    rank_of,
    returns_by_behaviour,
    shift_by_distance,
    show_shifted,
)
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training import run as running
from comrl.benchmark.training.shifted import relabelled
from comrl.datasets.splits import find_split
from comrl.datasets.store import open_dataset
from comrl.datasets.taskfile import Quality, Visits
from comrl.datasets.verify import verify
from comrl.datasets.visits import BEHAVIOURS, Pairs, behaviours_of, hosts_of, load_visits, pairs_of
from comrl.envs import TaskSet
from comrl.envs.family import sparsify
from comrl.envs.point_robot import STEP
from comrl.envs.rollout import Episodes
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

SPEC = RunSpec(
    env="sparse-point-robot", split="mixed", preset="smoke", algo="focal", seeds=(0, 1), overrides={}
)
TASKS = TaskSet("toy", 0, toy_goals(), (0, 1, 2, 4, 6, 7), (3, 5))


def test_rewards_are_the_test_tasks_and_all_else_the_behaviours() -> None:
    _, sampler = begin(find_algorithm("focal"), Space(2, 2, 2, False, TASKS.train)), toy_sampler(8)
    pairs = Pairs((3, 3, 5), (3, 0, 1))
    context = relabelled(sampler, TOY, TASKS, -0.5, pairs, 16, Stream([4, 2]))
    rows = sampler.packed.unflatten(0, (8, -1)).numpy()
    for s in range(2):
        for n, (task, behaviour) in enumerate(zip(*pairs, strict=True)):
            theirs = {tuple(row[:4]) for row in rows[behaviour]}  # observation and action
            shown = torch.cat([context.obs, context.action], -1)[s, n].numpy()
            assert {*map(tuple, shown)} <= theirs
            where = {tuple(row[:4]): row[5:7] for row in rows[behaviour]}  # the next observation
            moved = np.array([where[tuple(row)] for row in shown], dtype=np.float64)
            paid = sparsify(-np.linalg.norm(moved - toy_goals()[task], axis=-1), -0.5)
            np.testing.assert_allclose(context.reward[s, n, :, 0], paid, atol=1e-6)


def test_its_own_behaviour_is_the_offline_context() -> None:
    """Rewards that are computed again are those that were stored."""
    sampler = toy_sampler(8)
    shifted = relabelled(sampler, TOY, TASKS, None, Pairs((3, 5), (3, 5)), 16, Stream([4, 2]))
    own = sampler.context(torch.tensor([[3, 5], [3, 5]]), Stream([4, 2]).uniform(2, 16))
    for ours, theirs in zip(shifted.fields, own.fields, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_behaviours_go_from_the_task_itself_to_the_farthest() -> None:
    many = TaskSet("toy", 0, np.arange(40.0)[:, None], tuple(range(30)), tuple(range(30, 40)))
    found = behaviours_of(35, many)
    assert len(found) == BEHAVIOURS == len({*found.tolist()})
    apart = np.abs(found - 35)
    assert found[0] == 35 and apart[1] == 1 and apart[-1] == 35 and (np.diff(apart) > 0).all()
    few = TaskSet("two", 0, np.array([[-1.0], [1.0]]), (0, 1), (0, 1))
    assert behaviours_of(1, few).tolist() == [1, 0]
    some = TaskSet("toy", 0, np.arange(8.0)[:, None], tuple(range(8)), (3,))
    assert behaviours_of(0, some).tolist() == list(range(8))


def test_whom_an_agent_visits_is_who_draws_by_it() -> None:
    many = TaskSet("toy", 0, np.arange(40.0)[:, None], tuple(range(30)), tuple(range(30, 40)))
    hosts = hosts_of(range(40), many)
    pairs = {(host, guest) for guest, visited in enumerate(hosts) for host in visited}
    asked = {(host, int(guest)) for host in many.test for guest in behaviours_of(host, many)}
    assert pairs == {(host, guest) for host, guest in asked if host != guest}


def test_visits_are_episodes_in_the_test_tasks(smoke_data: Path) -> None:
    """Every row is moved by the test task's wind, whoever acts."""
    dataset = open_dataset(smoke_data, "point-robot-wind")
    pairs, visits = pairs_of(dataset.task_set), load_visits(dataset, find_split("mixed"), None)
    assert not verify(dataset)[0]["problems"] and len(visits.count) == len(pairs.task)
    rows = visits.transitions
    drift = rows.next_obs - rows.obs - STEP * rows.action  # [N, rows, 2]
    for n, host in enumerate(pairs.task):
        np.testing.assert_allclose(drift[n, : visits.count[n]] - dataset.task_set.params[host], 0, atol=1e-6)
    assert (visits.count >= 3 * dataset.family.horizon).all()


def test_without_visits_the_data_are_the_same_and_the_test_is_refused(
    smoke_data: Path, tmp_path: Path
) -> None:
    order = {"preset": "smoke", "trainer": "stacked", "device": CPU}
    generate("point-robot-wind", tmp_path, overrides={"data.visits": 0}, **order)
    bare, rich = (open_dataset(data, "point-robot-wind") for data in (tmp_path, smoke_data))
    for task in bare.tasks:
        for name, quality in bare.read_task(task).qualities.items():
            theirs = rich.read_task(task).qualities[name]
            assert quality.visits is None
            assert all(map(np.array_equal, quality.transitions, theirs.transitions))
    with pytest.raises(BadInput, match=r"holds no episodes of other tasks' agents.*--set data\.visits=4"):
        load_visits(bare, find_split("mixed"), None)
    with pytest.raises(BadInput, match=r"data\.visits = 1 changes nothing: tasks of sparse-point-robot"):
        generate("sparse-point-robot", tmp_path / "no", overrides={"data.visits": 1}, **order)


def played(hosts: tuple[int, ...], lost: tuple[int, ...] = ()) -> Visits:
    """One agent's visits of two steps, some of which diverged."""
    reward = np.zeros((len(hosts), 2))
    reward[list(lost), 1] = np.nan
    rows, flags = np.zeros((len(hosts), 2, 1)), np.zeros((len(hosts), 2), dtype=bool)
    return Visits(np.array(hosts), Episodes(rows, rows, reward, rows, flags, ~flags))


def test_visits_whose_physics_diverged_are_left_out() -> None:
    """And where a test task has none left, it is known to lack some."""
    few = TaskSet("toy", 0, np.arange(4.0)[:, None], (0, 1), (2, 3))
    hosts = (2, 2, 3, 3, 0)
    for lost, left, unmet in [((), (2, 2, 3, 3), []), ((0,), (2, 3, 3), []), ((0, 1), (3, 3), [2])]:
        kept = generation._trips(played(hosts, lost), 0, 1, home=0)
        assert kept is not None and tuple(kept.hosts) == left and np.isfinite(kept.episodes.reward).all()
        quality = Quality(0, kept.episodes, kept)
        assert generation._unmet({"expert": quality}, 0, few) == unmet
    assert generation._trips(played(hosts, (0, 1, 2, 3)), 0, 1, home=0) is None
    assert generation._unmet({"expert": quality._replace(visits=None)}, 0, few) == [2, 3]


@pytest.mark.parametrize("env", ["sparse-point-robot", "point-robot-wind"])
def test_the_test_is_kept_and_shown_apart(smoke_data: Path, tmp_path: Path, env: str) -> None:
    running.run(SPEC.model_copy(update={"env": env}), smoke_data, tmp_path, CPU)
    assert returns_by_behaviour(read_ledger(tmp_path).select()) is None
    (folder,) = (tmp_path / "runs").iterdir()
    (row,) = running.test_folder(folder, smoke_data, CPU, "shifted", None)
    ledger = read_ledger(tmp_path).select()
    (done,) = ledger.runs
    table = done.shifted
    assert table is not None and len(table) == 2 * len(done.card.task_set.test) * BEHAVIOURS
    assert (table.groupby(["seed", "task"])["distance"].min() == 0).all()
    assert sorted(set(rank_of(table))) == list(range(BEHAVIOURS))
    others = table[table["behaviour"] != table["task"]][row["score"]].mean()
    assert row["mean"] == pytest.approx(others, abs=1e-3)
    frame = returns_by_behaviour(ledger)
    assert frame is not None and frame["others"].item() == pytest.approx(others)
    assert show_shifted(frame)["algorithm"].tolist() == ["FOCAL"]
    with style.styled():
        assert shift_by_distance(ledger) is not None
