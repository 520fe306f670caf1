"""Data of one's own: logged transitions become a data set of the suite, or a sentence says why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.logged import FAMILY, TASKS, Tasks, all_tasks, logged, put, train_blind

from comrl.benchmark.commands.cli import main
from comrl.benchmark.generation.generate import generate
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.job import Job, prepare_job
from comrl.benchmark.training.run import run
from comrl.benchmark.training.run import test_folder as again
from comrl.datasets import from_arrays
from comrl.datasets.logged import read_params
from comrl.datasets.store import Dataset, open_dataset
from comrl.datasets.verify import verify
from comrl.envs import find_family
from comrl.ground.errors import BadInput


def test_what_was_logged_is_read_back_with_the_familys_rewards(tmp_path: Path) -> None:
    tasks = all_tasks("expert", "medium", "random")
    dataset = put(tmp_path, tasks)
    assert dataset.task_set.test == (4,) and dataset.task_set.train == (0, 1, 2, 3)
    for task, qualities in tasks.items():
        for name, arrays in qualities.items():
            rows, lengths = dataset.read(task, name)
            np.testing.assert_array_equal(rows.obs, arrays["observations"].astype(np.float32))
            np.testing.assert_array_equal(rows.next_obs, arrays["next_observations"].astype(np.float32))
            np.testing.assert_array_equal(rows.action, arrays["actions"].astype(np.float32))
            np.testing.assert_array_equal(rows.terminated, arrays["terminations"])
            np.testing.assert_array_equal(lengths, arrays["episode_lengths"])
            goal = -np.linalg.norm(rows.next_obs.astype(np.float64) - TASKS.params[task], axis=-1)
            np.testing.assert_array_equal(rows.reward, goal.astype(np.float32))
    assert [row["problems"] for row in verify(dataset)] == [[]] * 5
    spec = RunSpec(env=FAMILY.name, split="mixed", preset="smoke", algo="blind", seeds=(0,), overrides={})
    assert run(spec, tmp_path, tmp_path / "results", torch.device("cpu"))["seeds"] == "0"
    too_many = spec.model_copy(update={"overrides": {"training.meta_batch": 5}})
    with pytest.raises(BadInput, match=r"meta_batch 5 exceeds the 4 training tasks of .*--set meta_batch=4"):
        run(too_many, tmp_path, tmp_path / "results", torch.device("cpu"))


def test_the_same_arrays_are_the_same_data_set_and_others_are_refused(tmp_path: Path) -> None:
    tasks = all_tasks("expert")
    first = put(tmp_path, tasks)
    (tmp_path / FAMILY.name / "task-002.hdf5").unlink()
    with pytest.raises(BadInput, match=r"task-002.* import the data again"):
        open_dataset(tmp_path, FAMILY.name)
    for own in tasks.values():
        del own["expert"]["rewards"]  # the family's are stored anyway
    assert put(tmp_path, tasks).sha256 == first.sha256
    tasks[3]["expert"]["actions"] = tasks[3]["expert"]["actions"] * 0.5
    with pytest.raises(BadInput, match="made otherwise"):
        put(tmp_path, tasks)
    with pytest.raises(BadInput, match="made otherwise"):
        how: dict[str, Any] = {"preset": "smoke", "overrides": {}, "trainer": "stacked"}
        generate(FAMILY.name, tmp_path, **how, device=torch.device("cpu"))


def test_episodes_end_where_lengths_terminations_or_truncations_say(tmp_path: Path) -> None:
    tasks = all_tasks("expert")
    wanted = put(tmp_path / "a", tasks).sha256
    for own in tasks.values():
        arrays = own["expert"]
        last = np.zeros(len(arrays["actions"]), dtype=bool)
        last[np.cumsum(arrays.pop("episode_lengths")) - 1] = True
        arrays["timeouts"] = last & ~arrays["terminations"]
        arrays["terminals"] = arrays.pop("terminations")
    assert put(tmp_path / "b", tasks).sha256 == wanted


def change(name: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tasks], None]:
    def apply(tasks: Tasks) -> None:
        tasks[2]["expert"][name] = how(tasks[2]["expert"][name].copy())

    return apply


def at(row: int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def put_there(values: np.ndarray) -> np.ndarray:
        values[row] = value
        return values

    return put_there


BAD: list[tuple[Callable[[Tasks], Any], str]] = [
    (change("rewards", at(5, 0.0)), r"task 2, expert: 1 of \d+ rewards are not the dense rewards.*row 5"),
    (change("actions", lambda a: 3 * a), "task 2, expert: actions reach .*scale them"),
    (change("actions", lambda a: a[:, :1]), r"actions have shape \(\d+, 1\)"),
    (change("observations", at(1, np.nan)), "observations are not all finite"),
    (
        change("observations", lambda a: a.astype(str)[:, :1] + "x"),
        "observations are not one array of numbers",
    ),
    (change("next_observations", lambda a: a[1:]), "next_observations have shape"),
    (change("terminations", lambda a: a.astype(float) + 0.5), "terminations have to be .* truth values"),
    (change("episode_lengths", lambda a: a + 1), "episode_lengths sum to"),
    (change("episode_lengths", lambda a: np.array(["a"])), "episode_lengths are not one array of numbers"),
    (change("episode_lengths", lambda a: a + 0.7), "episode_lengths are not all whole numbers"),
    (change("episode_lengths", lambda a: a * np.nan), "episode_lengths are not all whole numbers"),
    (change("rewards", at(1, np.nan)), "rewards are not all finite"),
    (
        change("episode_lengths", lambda a: np.array([a.sum()])),
        "an episode has .* steps and the horizon is 20",
    ),
    (change("terminations", at(0, True)), "the world ended in row 0, inside of an episode"),
    (lambda tasks: tasks[2]["expert"].pop("actions"), "task 2, expert: actions are missing"),
    (lambda tasks: tasks[2]["expert"].update(action=np.zeros(2)), "did you mean 'actions'"),
    (lambda tasks: tasks[2].update(exprt={}), "did you mean 'expert'"),
    (lambda tasks: tasks[2].update(random=logged(2, 1)), "tasks 0 and 2 differ in random data"),
    (lambda tasks: tasks.pop(3), r"task 3 is missing \(1 of 5 tasks are\)"),
    (lambda tasks: tasks.update({9: tasks[0]}), "there is no task 9"),
]


def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for break_it, words in BAD:
        with subtests.test(words):
            tasks = all_tasks("expert")
            break_it(tasks)
            with pytest.raises(BadInput, match=words):
                put(tmp_path, tasks)
            assert not list(tmp_path.iterdir())


def test_tasks_of_ones_own_are_told_apart(tmp_path: Path) -> None:
    tasks = all_tasks("expert")
    for params, test, words in [
        (None, None, r"task 5 is missing \(95 of 100"),
        (None, [1], "give their params too"),
        (TASKS.params, None, "which of the 5 tasks are held out"),
        (TASKS.params, [5], "give numbers from 0 to 4"),
        (TASKS.params, ["x"], "give numbers from 0 to 4"),
        (TASKS.params, [0.5], "give numbers from 0 to 4"),
        (TASKS.params, [[4]], "give numbers from 0 to 4"),
        (at(2, np.nan)(TASKS.params.copy()), [4], "params of task 2 are not all finite"),
        (TASKS.params, range(5), "leave some to train on"),
        (TASKS.params[:, :1], [4], r"shape \(5, 1\) where \[tasks, 2\] belong \(goal_x, goal_y\)"),
    ]:
        with pytest.raises(BadInput, match=words):
            from_arrays(tmp_path, FAMILY.name, tasks, params=params, test=test)


def test_parameters_in_a_file_without_numbers_are_refused(tmp_path: Path) -> None:
    for name in ("empty.npy", "empty.txt", "words.txt"):
        (tmp_path / name).write_text("goal\n" if name == "words.txt" else "")
        with pytest.raises(BadInput, match=f"{name} holds no table of numbers .*write a line for each task"):
            read_params(tmp_path / name)


def test_data_decide_how_many_tasks_a_batch_may_have(tmp_path: Path) -> None:
    """And not the declared family, which trains on two tasks, or on eighty."""

    def prepared(dataset: Dataset, meta_batch: int = 0) -> Job:
        env, overrides = dataset.family.name, {"training.meta_batch": meta_batch} if meta_batch else {}
        spec = RunSpec(env=env, split="expert", preset="lite", algo="focal", seeds=(0,), overrides=overrides)
        return prepare_job(spec, dataset.folder.parent, torch.device("cpu"))

    family = find_family("sparse-cheetah-dir")
    zeros = {name: np.zeros((1, family.obs_dim)) for name in ("observations", "next_observations")}
    rows = {**zeros, "actions": np.zeros((1, family.action_dim)), "terminations": np.zeros(1)}
    params = np.linspace(-1, 1, 10)[:, None]
    ten = {task: {"expert": rows} for task in range(10)}
    many = from_arrays(tmp_path, family.name, ten, params=params, test=[9])
    assert prepared(many, 4).training.meta_batch == 4
    few = put(tmp_path, all_tasks("expert"))
    assert prepared(few).training.meta_batch == 4  # lite asks for sixteen
    assert prepared(few).spec.overrides == prepared(few, 4).spec.overrides == {}
    with pytest.raises(BadInput, match=r"meta_batch 5 exceeds the 4 training tasks of .*--set meta_batch=4"):
        prepared(few, 5)
    two = {n: {"expert": logged(n, 0)} for n in range(2)}
    one = from_arrays(tmp_path / "one", FAMILY.name, two, params=TASKS.params[:2], test=[1])
    for size in (0, 2):
        with pytest.raises(BadInput, match="has one training task and a batch needs two or more"):
            prepared(one, size)


def test_a_parameter_that_all_training_tasks_share_says_nothing(tmp_path: Path) -> None:
    """A test task that has another is as far away as the parameter says, and not a million times as far."""
    family, params = FAMILY, TASKS.params.copy()
    params[:, 1] = [0.25, 0.25, 0.25, 0.25, 0.75]
    tasks = all_tasks("expert")
    for own in tasks.values():
        del own["expert"]["rewards"]
    from_arrays(tmp_path, family.name, tasks, params=params, test=[4])
    spec = RunSpec(env=family.name, split="expert", preset="smoke", algo="oracle", seeds=(0,), overrides={})
    job = prepare_job(spec, tmp_path, torch.device("cpu"))
    np.testing.assert_allclose(job.sampler(job.split).params[:, 1], [0, 0, 0, 0, 0.5], atol=1e-6)


def test_what_was_trained_on_fewer_tasks_than_a_presets_batch_is_tested_again(tmp_path: Path) -> None:
    from_arrays(tmp_path, FAMILY.name, all_tasks("expert"), params=TASKS.params, test=[2, 3, 4])
    assert train_blind(tmp_path, tmp_path / "results", "--split", "expert", "--set", "meta_batch=2") == 0
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    (row,) = again(folder, tmp_path, torch.device("cpu"), "offline", None)
    assert row["run"] == folder.name


def test_the_position_that_gymnasium_hides_is_asked_for() -> None:
    from comrl.datasets.arrays import checked_episodes

    ant = find_family("sparse-ant-dir")
    seen = np.zeros((4, ant.body_dim))
    arrays = {"observations": seen, "next_observations": seen, "actions": np.zeros((4, ant.action_dim))}
    with pytest.raises(BadInput, match=r"the last 2 say where the body is \(sees_position=True"):
        checked_episodes(ant, np.zeros(1), {**arrays, "terminations": np.zeros(4)}, "task 0")


def test_the_pages_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "your-data.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "your-data.md", "exec"), {})
    assert open_dataset(Path("data"), FAMILY.name).task_set.test == (2, 7)


# --- files


def put_files(folder: Path, suffix: str) -> None:
    folder.mkdir()
    for task, qualities in all_tasks("expert", "random").items():
        arrays = {f"{name}/{key}": v for name, own in qualities.items() for key, v in own.items()}
        arrays["params"] = TASKS.params[task]
        arrays["infos/velocity"] = np.zeros(3)
        if suffix == "npz":
            np.savez(folder / f"goal_{task}.npz", **arrays)  # type: ignore[arg-type]
            continue
        with h5py.File(folder / f"goal_{task}.{suffix}", "w") as file:
            for name, values in arrays.items():
                file[name] = values


@pytest.mark.parametrize("suffix", ["npz", "hdf5"])
def test_files_make_the_data_set_that_arrays_make(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_files(tmp_path / "files", suffix)
    given = ["--env", FAMILY.name, "--from", str(tmp_path / "files"), "--data", str(tmp_path / "data")]
    assert main(["import-data", *given]) == 2
    assert "which of the 5 tasks are held out" in capsys.readouterr().err
    assert main(["import-data", *given, "--test", "4"]) == 0
    found = open_dataset(tmp_path / "data", FAMILY.name)
    assert found.sha256[:8] in capsys.readouterr().out
    assert found.sha256 == put(tmp_path / "arrays", all_tasks("expert", "random")).sha256
    assert main(["verify", "--data", str(tmp_path / "data")]) == 0


def test_files_without_groups_are_of_the_quality_that_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for task, own in all_tasks("medium").items():
        np.savez(folder / f"task{task:02d}.npz", **own["medium"])  # type: ignore[arg-type]
    (tmp_path / "goals.csv").write_text("\n".join(f"{x!r},{y!r}" for x, y in TASKS.params.tolist()))
    given = ["--env", FAMILY.name, "--from", str(folder), "--data", str(tmp_path / "data")]
    given += ["--test", "4", "--params", str(tmp_path / "goals.csv")]
    assert main(["import-data", *given]) == 2
    assert main(["import-data", *given, "--quality", "medium"]) == 0
    found = open_dataset(tmp_path / "data", FAMILY.name)
    np.testing.assert_array_equal(found.task_set.params, TASKS.params)
    assert [*found.read_task(0).qualities] == ["medium"]


def test_a_file_that_reaches_elsewhere_or_holds_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_bytes(bytes(80))
    for name, words in [
        ("external", "lies in another file"),
        ("code", "cannot be read"),
        ("text", "as HDF5"),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        if name == "external":
            with h5py.File(folder / "task-0.h5", "w") as file:
                own: Any = [(str(tmp_path / "secret"), 0, 80)]
                file.create_dataset("expert/observations", (5, 2), "f8", external=own)
        elif name == "code":
            np.savez(folder / "task-0.npz", **{"expert/observations": np.array([{}], dtype=object)})
        else:
            (folder / "task-0.hdf5").write_text("no")
        given = ["--env", FAMILY.name, "--from", str(folder), "--data", str(tmp_path / "data")]
        assert main(["import-data", *given]) == 2
        assert words in capsys.readouterr().err
