"""The data sets: who behaved how well, where the states lie, and how the relabeled set is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.figures import Figure, style
from benchmark.figures.views import paper, portraits, return_label, split_rank
from benchmark.ledger import Ledger, Portrait
from benchmark.tables import number, plain

SHOWN_TASKS = 20  # [focalpp Fig. 5a]
STATE_SPLIT = "expert"  # [focalpp Fig. 5a]


def dataset_table(ledger: Ledger) -> pd.DataFrame | None:
    """What each data set is and what it cost."""
    rows = []
    for portrait in portraits(ledger):
        info = portrait.info
        score = next(iter(portrait.scores))
        for split in _splits(portrait, score):
            rate = info.get("nonsparse_rate", {}).get(split)
            rows.append(
                {
                    "data set": info["env_label"],
                    "trainer": info["trainer"],
                    "tasks": len(info["task_set"]["train"]) + len(info["task_set"]["test"]),
                    "split": split,
                    "episodes per task": portrait.arrays[f"return_{split}_{score}"].shape[1],
                    "mean return": float(portrait.arrays[f"return_{split}_{score}"].mean()),
                    "non-sparse share": np.nan if rate is None else float(rate),
                    "generation, s": float(info["generation_seconds"]),
                    "sha256": info["sha256"][:12],
                }
            )
    return pd.DataFrame(rows) if rows else None


def show_datasets(frame: pd.DataFrame) -> pd.DataFrame:
    """The set's own facts once, then a row per split."""
    shown = frame.map(number)
    shown["tasks"] = frame["tasks"].map(plain)
    shown["generation, s"] = frame["generation, s"].map(lambda seconds: f"{seconds:.0f}")
    repeated = frame["sha256"] == frame["sha256"].shift()
    for column in ("data set", "trainer", "tasks", "generation, s", "sha256"):
        shown.loc[repeated, column] = ""
    return shown


def behaviour(ledger: Ledger) -> Any:
    """Per data set: return by split, the behaviour agents' learning curves, their regret."""
    found = portraits(ledger)
    if not found:
        return None
    figure, axes = style.panels(3 * len(found), height=2.0)
    for portrait, row in zip(found, np.array(axes).reshape(-1, 3), strict=True):
        _draw_returns(row[0], portrait)
        _draw_checkpoints(row[1], portrait)
        _draw_regret(row[2], portrait)
        row[0].set_title(portrait.info["env_label"])
    return figure


def _splits(portrait: Portrait, score: str) -> list[str]:
    return sorted(portrait.splits(score), key=split_rank)


def _draw_returns(axis: Any, portrait: Portrait) -> None:
    score = next(iter(portrait.scores))
    splits = _splits(portrait, score)
    values = [portrait.arrays[f"return_{split}_{score}"].ravel() for split in splits]
    drawn = axis.violinplot(values, orientation="horizontal", widths=0.85, showextrema=False, points=200)
    for body in drawn["bodies"]:
        body.set(facecolor="#7f9fbf", alpha=0.7, edgecolor="#3f5f7f", linewidth=0.5)
    for place, sample in enumerate(values, start=1):
        low, middle, high = np.quantile(sample, [0.25, 0.5, 0.75])
        axis.plot([low, high], [place, place], color="#20364d", linewidth=2, solid_capstyle="butt")
        axis.plot(middle, place, "o", color="white", markersize=2.4, mec="#20364d", mew=0.7)
    if f"best_{score}" in portrait.arrays:
        axis.axvline(portrait.arrays[f"best_{score}"].mean(), **style.BEST)
    axis.set_yticks(range(1, len(splits) + 1), splits)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(f"episode's {return_label(portrait.scores[score])}")


def _draw_checkpoints(axis: Any, portrait: Portrait) -> None:
    steps, returns = portrait.arrays["checkpoint_steps"], portrait.arrays["checkpoint_returns"]  # [C], [T, C]
    low, middle, high = np.quantile(returns, [0.1, 0.5, 0.9], axis=0)
    axis.fill_between(steps, low, high, color="#7f9fbf", alpha=0.4, linewidth=0, label="10–90 % of tasks")
    axis.plot(steps, middle, color="#20364d", label="median task")
    if "best_dense" in portrait.arrays:
        axis.axhline(portrait.arrays["best_dense"].mean(), label="best possible", **style.BEST)
    axis.set_xlabel("agent steps of a task's own agent")
    axis.set_ylabel("dense return")
    axis.grid(axis="y")
    axis.legend(loc="lower right", fontsize=6.5)


def _draw_regret(axis: Any, portrait: Portrait) -> None:
    if "best_dense" not in portrait.arrays:
        axis.axis("off")
        return
    regret = portrait.arrays["best_dense"] - portrait.arrays["checkpoint_returns"][:, -1]
    test = np.isin(np.arange(len(regret)), portrait.info["task_set"]["test"])
    axis.vlines(np.arange(len(regret)), 0, regret, color="#d0d0d0", linewidth=0.6)
    for member, label, colour in ((~test, "training task", "#0072B2"), (test, "test task", "#D55E00")):
        axis.plot(
            np.flatnonzero(member), regret[member], "o", markersize=2.2, mew=0, color=colour, label=label
        )
    axis.set_ylim(min(0.0, regret.min()), 1.3 * regret.max())
    axis.set_xlabel("task")
    axis.set_ylabel("regret, last checkpoint")
    axis.legend(loc="upper right", fontsize=6.5, handletextpad=0.1, ncols=2, columnspacing=0.8)


def state_maps(ledger: Ledger) -> Any:
    """Where the states of single tasks lie, 20 tasks in colour. [focalpp Fig. 5a]"""
    found = [portrait for portrait in portraits(ledger) if f"states_{STATE_SPLIT}" in portrait.arrays]
    if not found:
        return None
    figure, axes = style.panels(len(found), columns=2, height=2.5)
    for axis, portrait in zip(axes, found, strict=True):
        states = portrait.arrays[f"states_{STATE_SPLIT}"]  # [T, n, 2]
        for place, task in zip(np.linspace(0, 1, SHOWN_TASKS), tasks_in_order(portrait), strict=False):
            colour = _task_colour(place)
            axis.plot(*states[task].T, ".", color=colour, markersize=2, mew=0, alpha=0.7, rasterized=True)
            _mark_goal(axis, portrait, task, colour)
        style.square_map(axis)
        axis.set_title(portrait.info["env_label"])
        axis.set_xlabel("first observation")
        axis.set_ylabel("second observation")
    return figure


def relabelling(ledger: Ledger) -> Any:
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
    low, high = np.quantile(found.arrays["pool_states"], [0.003, 0.997], axis=0)
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


def _draw_pool(axes: Any, portrait: Portrait) -> None:
    """Single tasks' states, all states, and which of them are empty of reward for every task."""
    tasks, pool, absolute = (portrait.arrays[f"pool_{name}"] for name in ("tasks", "states", "absolute"))
    source = portrait.arrays[f"states_{paper()['report']['headline_split']}"]
    dots: dict[str, Any] = {"mew": 0, "rasterized": True}
    for place, task in zip(np.linspace(0, 1, len(tasks)), tasks, strict=True):
        axes[0].plot(*source[task].T, ".", color=_task_colour(place), markersize=2.2, **dots)
        _mark_goal(axes[0], portrait, task, _task_colour(place))
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


def _draw_reward(axis: Any, states: Any, reward: Any) -> Any:
    """The pool in grey, and in colour where this task has reward."""
    some = reward > 0
    axis.plot(*states[~some].T, ".", color="#d9d9d9", markersize=1.2, mew=0, rasterized=True)
    shades = {"cmap": "magma_r", "vmin": 0, "vmax": 1, "s": 1.4, "linewidths": 0, "rasterized": True}
    return axis.scatter(*states[some].T, c=reward[some], **shades)


def tasks_in_order(portrait: Portrait, count: int = SHOWN_TASKS) -> list[int]:
    """Tasks at equal distances along their first parameter."""
    order = np.argsort(np.array(portrait.info["task_set"]["params"])[:, 0], kind="stable")
    return [int(task) for task in order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))]]


def _task_colour(place: float) -> Any:
    import matplotlib as mpl

    return mpl.colormaps[style.TASKS](place)


def _mark_goal(axis: Any, portrait: Portrait, task: int, colour: Any) -> None:
    if "heading" in portrait.arrays:
        goal = portrait.arrays["heading"][task]
        axis.plot(*goal, "*", color=colour, markersize=6, mec="black", mew=0.4, zorder=3)


FIGURES = (
    Figure(
        name="datasets",
        title="Data sets",
        kind="table",
        make=dataset_table,
        show=show_datasets,
        caption="Return is that of the episodes in the data, under the headline score; the non-sparse "
        "share is that of transitions whose context reward is not zero.",
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
    Figure(
        name="behaviour",
        title="Behaviour policies",
        kind="figure",
        make=behaviour,
        caption="Left: return of every episode by split, all tasks (bar: quartiles, dot: median, line: "
        "best possible mean). Middle: deterministic return of the tasks' own agents over their training. "
        "Right: what the last checkpoint of each task falls short of the exact optimum.",
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
    Figure(
        name="fig5a",
        title="Fig. 5a: states of single tasks",
        kind="figure",
        make=state_maps,
        caption="States of the expert episodes of 20 tasks at equal distances along the first task "
        "parameter; stars are goals. Where tasks' states lie apart, states alone betray the task.",
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
