"""Figures as they are drawn: no two methods look alike, no name is lost, and nothing lies on another."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Polygon
from PIL import Image
from support.ledgers import BLIND, EVERY, FOCAL, GOALS, MUJOCO, ORACLE, WIND, Algo, add_run, portrait

from comrl.benchmark.reporting.figures import embeddings, style
from comrl.benchmark.reporting.figures.data import relabelling
from comrl.benchmark.reporting.figures.data_behaviour import behaviour
from comrl.benchmark.reporting.figures.dots import seed_dots
from comrl.benchmark.reporting.figures.gates import variance_against_sparsity, weight_densities
from comrl.benchmark.reporting.figures.shifted import shift_by_distance, show_shifted
from comrl.benchmark.reporting.ledger import Ledger, Portrait, read_ledger

MANY = tuple(Algo(f"own-{i}", f"FOCAL++ (kind {i})", 0.1 * i) for i in range(13))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Thirteen methods and two yardsticks in one environment."""
    results = tmp_path_factory.mktemp("many")
    for algo in (*MANY, ORACLE, BLIND):
        add_run(results, GOALS, algo)
    return read_ledger(results).select()


@pytest.mark.parametrize("make", [variance_against_sparsity, shift_by_distance])
def test_no_two_methods_look_alike_and_yardsticks_have_their_own(make, many: Ledger) -> None:
    with style.styled():
        (axis,) = make(many).axes
    named = {line.get_label(): line for line in axis.lines if not str(line.get_label()).startswith("_")}
    looks = style.looks(many)
    for second in ("linestyle", "marker"):  # each tells apart those of one colour
        found = {(looks[algo.label]["color"], str(looks[algo.label][second])) for algo in MANY}
        assert len(found) == len(MANY)
    for label, line in named.items():
        assert line.get_color() == looks[label]["color"] and line.get_linestyle() == "--"
        assert line.get_marker() == looks[label].get("marker", "None")
    assert {algo.label for algo in MANY} <= {*named} <= {*looks}


def test_names_of_thirteen_maps_do_not_touch(many: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "project", lambda points: points[:, :2])
    with style.styled():
        figure = embeddings.embedding_maps(many)
        figure.draw_without_rendering()
        maps = [axis for axis in figure.axes if axis.get_title()]
        boxes = [axis.title.get_window_extent() for axis in maps]
        labels = [axis.yaxis.label.get_window_extent() for axis in maps if axis.get_ylabel()]
    assert len(maps) == len(MANY) and all(axis.get_subplotspec().colspan.start < 7 for axis in maps)
    rows = {axis.get_subplotspec().rowspan.start for axis in maps}
    assert len(rows) == len(labels) == 2 and not labels[0].overlaps(labels[1])
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_four_panels_of_seeds_name_the_rows_of_both_columns(tmp_path: Path) -> None:
    for env in (GOALS, WIND, *MUJOCO[:2]):
        add_run(tmp_path, env, FOCAL)
    with style.styled():
        axes = seed_dots(read_ledger(tmp_path).select()).axes
    names = [[label.get_text() for label in axis.get_yticklabels()] for axis in axes]
    assert [[name for name in row if name] for row in names] == [[FOCAL.label], []] * 2


def test_what_is_lost_prints_as_other_numbers_do() -> None:
    frame = pd.DataFrame({"environment": ["x"] * 3, "algorithm": ["y"] * 3, "lost": [-0.001, -2.5, 183.32]})
    frame = frame.assign(own=1.0, own_std=0.1, others=1.0, others_std=0.1)
    assert show_shifted(frame)["lost"].tolist() == ["0.00", "−2.50", "183.3"]


def test_goals_lie_inside_the_maps_of_the_pool() -> None:
    card, arrays = portrait(GOALS)
    far = arrays | {"pool_states": 0.3 * arrays["pool_states"]}
    with style.styled():
        figure = relabelling(Ledger((), (Portrait(Path(), card, far),)))
    goals = far["heading"][far["pool_tasks"]]
    maps = [axis for axis in figure.axes if axis.get_aspect() == 1.0]
    assert len(maps) == 3 + len(goals)
    for axis in maps:
        low, high = np.array([axis.get_xlim(), axis.get_ylim()]).T
        assert (goals > low).all() and (goals < high).all()


def test_the_legend_of_behaviour_lies_below_its_panels() -> None:
    found = [Portrait(Path(), *portrait(env)) for env in (GOALS, MUJOCO[0])]
    with style.styled():
        figure = behaviour(Ledger((), tuple(found)))
    assert not any(axis.get_legend() for axis in figure.axes)
    (legend,) = figure.legends
    told = {text.get_text() for text in legend.get_texts()}
    assert {"best possible", "median task", "training task", "test task", "training and test task"} <= told


def test_the_papers_crossing_is_drawn_on_its_own_data_alone(tmp_path: Path) -> None:
    for split in ("mixed", "relabeled"):
        add_run(tmp_path, GOALS, FOCAL, split=split)
    with style.styled():
        axes = variance_against_sparsity(read_ledger(tmp_path).select()).axes
    bands = {
        axis.get_title(loc="left"): sum(line.get_color() == style.QUIET for line in axis.lines)
        for axis in axes
    }
    assert bands == {GOALS.label: 0, f"{GOALS.label} (relabeled)": 1}


def test_all_classes_of_a_flat_gate_are_seen(tmp_path: Path) -> None:
    add_run(tmp_path, GOALS, next(algo for algo in EVERY if algo.gate))
    (run,) = read_ledger(tmp_path).select().runs
    run.probe["gate_weight"][:] = 1
    with style.styled():
        (axis,) = weight_densities(Ledger((run,), ())).axes
    drawn = [patch for patch in axis.patches if isinstance(patch, Polygon)]
    assert len(drawn) == 3 and not any(patch.get_fill() for patch in drawn)
    widths = [patch.get_linewidth() for patch in drawn]
    assert widths == sorted(widths, reverse=True) and len({*widths}) == 3


def test_a_picture_of_few_colours_keeps_those_of_the_algorithms() -> None:
    figure, (axis,) = style.panels(1)
    axis.imshow(np.linspace(0, 1, 64).reshape(8, 8), cmap="viridis", interpolation="bilinear")
    for i, colour in enumerate(style.PALETTE):
        axis.plot(i, 0, "o", markersize=3, color=colour)
    (png,) = style.rendered(figure, "png")
    with Image.open(io.BytesIO(png)) as image:
        seen = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in style.PALETTE:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.abs(seen - wanted).max(-1).min() <= 3, colour
