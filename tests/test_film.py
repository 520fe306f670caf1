"""A policy to look at: pictures from gymnasium, and films of a run's policies in chosen tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.logged import FAMILY, all_tasks, put, train_blind
from support.runs import TOY

from comrl.benchmark.commands.checkup import drawing
from comrl.benchmark.commands.cli import main
from comrl.envs.gym import SingleTask, single_task
from comrl.envs.plane import POINT, SIZE, SPAN
from comrl.ground.errors import BadInput

ROOT = Path(__file__).parent.parent
BODIES = """
import gymnasium, numpy as np
import comrl.envs.gym
world = gymnasium.make("comrl/Walker2dParams-v0", task=1, render_mode="rgb_array")
world.reset(seed=0)
first = world.render()
for _ in range(9):
    world.step(world.action_space.sample())
last = world.render()
assert first.shape == last.shape == (210, 280, 3) and first.dtype == np.uint8
assert (first != last).any() and len(np.unique(first)) > 10
"""


def where(frame: np.ndarray) -> np.ndarray:
    """The middle of the point in a picture, in metres."""
    rows, columns = np.nonzero((frame == POINT).all(-1))
    metres = 2 * SPAN / SIZE[0]
    x, y = columns.mean() + 0.5 - SIZE[1] / 2, SIZE[0] / 2 - rows.mean() - 0.5
    return np.array([x, y]) * metres


def test_a_point_is_drawn_where_it_is() -> None:
    world = single_task(FAMILY.name, 30, render_mode="rgb_array")
    world.reset(seed=0)
    for _ in range(6):
        obs, *_ = world.step(np.array([1.0, 0.4], dtype=np.float32))
        picture = world.render()
        assert picture is not None and picture.shape == (*SIZE, 3)
        np.testing.assert_allclose(where(picture), obs, atol=2 * SPAN / SIZE[0])
    assert single_task(FAMILY.name, 30).render() is None


def test_what_cannot_be_drawn_is_refused_at_the_door() -> None:
    with pytest.raises(BadInput, match="leave it out: there is nothing to draw"):
        SingleTask(TOY, 0, TOY.sample_params()[0], render_mode="rgb_array")
    with pytest.raises(BadInput, match="no render_mode 'human'; there is rgb_array"):
        single_task(FAMILY.name, render_mode="human")


def test_gymnasium_records_videos(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="the extra [film] is not installed")
    world = gymnasium.make("comrl.envs.gym:" + FAMILY.gym_id(), task=3, render_mode="rgb_array")
    recorded = gymnasium.wrappers.RecordVideo(world, str(tmp_path), disable_logger=True)
    recorded.reset(seed=0)
    done = False
    while not done:
        *_, fell, late, _ = recorded.step(recorded.action_space.sample())
        done = fell or late
    recorded.close()
    (film,) = tmp_path.glob("*.mp4")
    assert film.stat().st_size > 1000


def test_bodies_are_drawn_where_there_is_something_to_draw_with() -> None:
    if "works" not in drawing():
        pytest.skip(drawing())
    for choice in ("egl", "osmesa"):
        surroundings = {**os.environ, "MUJOCO_GL": choice, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", BODIES], env=surroundings, capture_output=True, text=True
        )
        if done.returncode == 0:
            return
    pytest.fail(done.stderr)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trained run and its data."""
    home = tmp_path_factory.mktemp("film")
    put(home / "data", all_tasks("expert", "medium", "random"))
    assert train_blind(home / "data", home / "results", "--seeds", "5", "3") == 0
    (folder,) = (home / "results" / "runs").iterdir()
    return folder, home / "data"


def filmed(run: tuple[Path, Path], *options: str) -> int:
    return main(["film", "--run", str(run[0]), "--data", str(run[1]), "--threads", "1", *options])


def test_a_film_shows_the_episode_by_which_the_run_was_tested(
    run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert filmed(run, "--task", "4", "1", "--seed", "3") == 0
    told = capsys.readouterr().out
    returns = pd.read_csv(run[0] / "returns.csv")
    own = returns[(returns["context"] == "mixed") & (returns["episode"] == 0)]
    tested = own[(own["seed"] == 3) & (own["task"] == 4)]["inside"].item()
    assert f"{round(tested, 3)}" in told
    films = sorted((run[0].parents[1] / "films").iterdir())
    assert [path.name.removeprefix(run[0].name) for path in films] == [
        ".task-001.seed-3.gif",
        ".task-004.seed-3.gif",
    ]
    with Image.open(films[1]) as film:
        assert film.size == SIZE[::-1] and film.n_frames > 1
        first = np.asarray(film.convert("RGB"))
    assert np.abs(first.astype(int) - POINT).sum(-1).min() < 30


def test_a_film_may_be_mp4(run: tuple[Path, Path], tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra [film] is not installed")
    assert filmed(run, "--task", "0", "--format", "mp4", "--out", str(tmp_path)) == 0
    (film,) = tmp_path.iterdir()
    frames, seconds = ffmpeg.count_frames_and_secs(str(film))
    assert frames == FAMILY.horizon + 1 and seconds == pytest.approx(frames / 5, abs=0.2)


def test_what_cannot_be_filmed_is_a_sentence(
    run: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filmed(run, "--task", "9") == 2
    assert "there is no task 9; tasks go from 0 to 4" in capsys.readouterr().err
    assert filmed(run, "--task", "0", "--seed", "1") == 2
    assert "has no seed 1; it has 5, 3" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert filmed(run, "--task", "0", "--format", "mp4") == 2
    assert "or give --format gif" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["film", "--run", "/tmp", "--task", "0"]) == 2
    assert "run.json is missing" in capsys.readouterr().err
