"""The data sets: what is in them, where the states lie, and how the relabeled set is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    headline_split,
    paper,
    portraits,
    published,
    splits_in_order,
)
from comrl.benchmark.reporting.ledger import Ledger, Portrait
from comrl.benchmark.reporting.tables import NONE, missing, number, once, plain

SHOWN_TASKS = 20  # [focalpp Fig. 5a]
STATE_SPLIT = "expert"  # [focalpp Fig. 5a]


def dataset_table(ledger: Ledger) -> pd.DataFrame | None:
    """What each data set is and what it cost."""
    rows = []
    for portrait in portraits(ledger):
        card = portrait.card
        score = next(iter(portrait.scores))
        told = published("environments", portrait.env, "radius") and published("report", "nonsparse_share")
        for split in splits_in_order(portrait, score):
            rate = card.nonsparse_rate.get(split)
            most = card.transitions.get(split)
            rows.append(
                {
                    "data set": card.env_label,
                    "trainer": card.trainer,
                    "tasks": len(card.task_set.params),
                    "split": split,
                    "episodes": portrait.arrays[f"return_{split}_{score}"].shape[1],
                    "transitions": most,
                    "fewest_transitions": card.fewest_transitions.get(split, most),
                    "mean return": float(np.nanmean(portrait.arrays[f"return_{split}_{score}"])),
                    "radius": card.radius.get(split),
                    "nonsparse": rate,
                    "paper": told if rate is not None and split == headline_split() else None,
                    "other_radii": _at_radii(card.nonsparse_rate_at.get(split, ())),
                    "generation_seconds": card.generation_seconds,
                    "sha256": card.sha256[:12],
                }
            )
    return pd.DataFrame(rows) if rows else None


def _at_radii(rates: Iterable[tuple[float, float]]) -> str:
    """Shares under other readings of the goal radius."""
    return ", ".join(f"{number(rate)} (R = {plain(radius)})" for radius, rate in rates)


def show_datasets(frame: pd.DataFrame) -> pd.DataFrame:
    """The set's own facts above, a row per split."""
    facts = [
        f"{row['data set']}: {row['tasks']} tasks, trainer {row['trainer']}, "
        f"{_made_in(row['generation_seconds'])}sha256 {row['sha256']}"
        for _, row in frame.iterrows()
    ]
    counts = zip(frame["fewest_transitions"], frame["transitions"], strict=True)
    shown = {
        "data set": once(pd.Series(facts)),
        "split": frame["split"],
        "episodes per task": frame["episodes"].map(plain),
        "transitions per task": [_between(*pair) for pair in counts],
        "mean return": frame["mean return"].map(number),
        "non-sparse share": frame["nonsparse"].astype(float).map(number),
        "paper": [
            "–" if missing(share) else f"about {share:.0%}".replace("%", " %") for share in frame["paper"]
        ],
        "share at another radius": frame["other_radii"].replace("", NONE),
    }
    empty = [name for name in ("share at another radius",) if (shown[name] == NONE).all()]
    return pd.DataFrame(shown).drop(columns=empty)


def _made_in(seconds: float | None) -> str:
    return "" if missing(seconds) else f"generated in {seconds:.0f} s, "


def _between(fewest: float | None, most: float | None) -> str:
    """A count, or the range of it over tasks."""
    if missing(most):
        return NONE
    return f"{most:.0f}" if fewest == most else f"{fewest:.0f}–{most:.0f}"


def state_maps(ledger: Ledger) -> style.Drawing | None:
    """Where the states of single tasks lie, 20 tasks in colour. [focalpp Fig. 5a]"""
    found = [portrait for portrait in portraits(ledger) if f"states_{STATE_SPLIT}" in portrait.arrays]
    if not found:
        return None
    figure, axes = style.panels(len(found), columns=2, height=2.5)
    for axis, portrait in zip(axes, found, strict=True):
        states = portrait.arrays[f"states_{STATE_SPLIT}"]  # [T, n, 2]
        tasks = tasks_in_order(portrait)
        for shade, task in zip(style.task_shades(len(tasks)), tasks, strict=True):
            colour = style.task_colour(shade)
            axis.plot(*states[task].T, ".", color=colour, markersize=2, mew=0, alpha=0.7, rasterized=True)
            _mark_goal(axis, portrait, task, colour)
        style.square_map(axis)
        axis.set_title(portrait.card.env_label)
        axis.set_xlabel("first observation")
        axis.set_ylabel("second observation")
    style.task_key(figure, axes)
    return figure


def relabelling(ledger: Ledger) -> style.Drawing | None:
    """How the relabeled data are made: single tasks, one pool, single rewards. [focalpp Fig. 7]"""
    found = next((portrait for portrait in portraits(ledger) if "pool_states" in portrait.arrays), None)
    if found is None:
        return None
    import matplotlib.pyplot as plt

    tasks = found.arrays["pool_tasks"]
    figure = plt.figure(figsize=(style.PAGE, 3.3))
    halves: Any = figure.subfigures(2, 1, height_ratios=[1.45, 1])
    upper, lower = halves
    top, bottom = upper.subplots(1, 3), lower.subplots(1, len(tasks), squeeze=False)[0]
    _draw_pool(top, found)
    for axis, task, reward in zip(bottom, tasks, found.arrays["pool_reward"], strict=True):
        drawn = _draw_reward(axis, found.arrays["pool_states"], reward)
        _mark_goal(axis, found, task, "white")
        axis.set_title(f"task {task}", fontsize=7)
    most = np.quantile(found.arrays["pool_states"], [0.003, 0.997], axis=0)
    shown = np.concatenate([most, _goals(found, tasks)])
    low, high = shown.min(0), shown.max(0)
    margin = 0.08 * (high - low)
    for axis in (*top, *bottom):
        axis.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1])
        )
        axis.set(aspect="equal", xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(visible=True, color=style.QUIET)
    lower.colorbar(drawn, ax=list(bottom), location="right", aspect=14, pad=0.01).set_label(
        "(d) relabelled reward"
    )
    return figure


def _draw_pool(axes: Sequence[Axes], portrait: Portrait) -> None:
    """Single tasks' states, all states, and which of them are empty of reward for every task."""
    tasks, pool, absolute = (portrait.arrays[f"pool_{name}"] for name in ("tasks", "states", "absolute"))
    source = portrait.arrays[f"states_{paper()['report']['headline_split']}"]
    dots: dict[str, Any] = {"mew": 0, "rasterized": True}
    for shade, task in zip(np.linspace(0, 1, len(tasks)), tasks, strict=True):
        axes[0].plot(*source[task].T, ".", color=style.task_colour(shade), markersize=2.2, **dots)
        _mark_goal(axes[0], portrait, task, style.task_colour(shade))
    axes[1].plot(*pool.T, ".", color="#555555", markersize=1.4, alpha=0.5, **dots)
    for member, colour, label in (
        (absolute, "#b0b0b0", "zero for every task"),
        (~absolute, "#009E73", "the rest"),
    ):
        axes[2].plot(*pool[member].T, ".", color=colour, markersize=1.4, alpha=0.7, label=label, **dots)
    axes[2].legend(
        loc="lower center", markerscale=6, fontsize=6.5, handletextpad=0.0, ncols=2, columnspacing=0.8
    )
    titles = (f"{len(tasks)} tasks' own states", "merged into one pool", "absolutely sparse or not")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
    style.letter(axes)


def _draw_reward(axis: Axes, states: NDArray[np.float32], reward: NDArray[np.float32]) -> PathCollection:
    """The pool in grey, and in colour where this task has reward."""
    some = reward > 0
    axis.plot(*states[~some].T, ".", color="#d9d9d9", markersize=1.2, mew=0, rasterized=True)
    x, y = states[some].T
    return axis.scatter(
        x, y, c=reward[some], cmap="magma_r", vmin=0, vmax=1, s=1.4, linewidths=0, rasterized=True
    )


def tasks_in_order(portrait: Portrait, count: int = SHOWN_TASKS) -> list[int]:
    """Tasks at equal distances along their first parameter."""
    order = np.argsort(portrait.card.task_set.array[:, 0], kind="stable")
    return [int(task) for task in order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))]]


def _goals(portrait: Portrait, tasks: Iterable[int]) -> NDArray[np.float64]:
    """Where tasks have their goals, if that is known.  -> [T, 2] or [0, 2]."""
    known = portrait.arrays.get("heading")
    return np.zeros((0, 2)) if known is None else known[list(tasks)]


def _mark_goal(axis: Axes, portrait: Portrait, task: int, colour: style.Colour) -> None:
    for goal in _goals(portrait, [task]):
        axis.plot(*goal, "*", color=colour, markersize=6, mec="black", mew=0.4, zorder=3)


FIGURES = (
    Figure(
        name="datasets",
        title="Data sets",
        kind="table",
        make=dataset_table,
        show=show_datasets,
        caption="Return is that of the episodes in the data, under the headline score; the non-sparse "
        "share is that of transitions whose context reward is not zero; the paper sets its goal radii for "
        "the share beside it (App. D; none where its context is dense). Transitions: fewest and most of any "
        "task, where episodes that end by a fall make them differ.",
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
    Figure(
        name="fig5a",
        title="Fig. 5a: states of single tasks",
        kind="figure",
        make=state_maps,
        caption="States of the expert episodes of 20 tasks at equal distances along the first task "
        "parameter, of environments whose observations are a map; stars are goals. Where tasks' states lie "
        "apart, states alone betray the task.",
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
    Figure(
        name="fig7",
        title="Fig. 7: how the relabeled data are made",
        kind="figure",
        make=relabelling,
        caption="(a) States of five example tasks, stars are their goals. (b) The pool of all tasks' "
        "transitions, which every task gets. (c) Transitions whose reward is zero for every task. (d) The "
        "same pool with the sparse reward of each of the five tasks.",
        section="Sparse context",
        needs="bench generate-data --env {relabeled_envs}",
    ),
)
