"""How well the data's own policies behave: by split, over their training, and task by task."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    about_environments,
    portraits,
    return_label,
    splits_in_order,
)
from comrl.benchmark.reporting.ledger import Ledger, Portrait

SPLIT_COLOURS = ("#0072B2", "#E69F00", "#888888", "#CC79A7")
FEW = 5  # so many tasks stand side by side, more are a line


def behaviour(ledger: Ledger) -> style.Drawing | None:
    """Per data set: return by split, the behaviour agents' learning curves, their last checkpoints."""
    found = portraits(ledger)
    if not found:
        return None
    figure, axes = style.panels(3 * len(found), height=2.0 if len(found) < 4 else 1.6)
    for portrait, row in zip(found, np.array(axes).reshape(-1, 3), strict=True):
        _draw_returns(row[0], portrait)
        _draw_checkpoints(row[1], portrait)
        _draw_last(row[2], portrait)
        row[0].set_title(portrait.card.env_label)
    style.legend_below(figure, axes)
    return figure


def _draw_returns(axis: Axes, portrait: Portrait) -> None:
    score = next(iter(portrait.scores))
    splits = splits_in_order(portrait, score)
    tables = [portrait.arrays[f"return_{split}_{score}"] for split in splits]  # [T, E]
    values = [table[np.isfinite(table)] for table in tables]  # nan: a task of fewer episodes
    drawn = axis.violinplot(values, orientation="horizontal", widths=0.85, showextrema=False, points=200)
    for body in cast("list[PolyCollection]", drawn["bodies"]):  # matplotlib types it as a single one
        body.set(facecolor="#7f9fbf", alpha=0.7, edgecolor="#3f5f7f", linewidth=0.5)
    for row, sample in enumerate(values, start=1):
        low, middle, high = np.quantile(sample, [0.25, 0.5, 0.75])
        axis.plot([low, high], [row, row], color="#20364d", linewidth=2, solid_capstyle="butt")
        axis.plot(middle, row, "o", color="white", markersize=2.4, mec="#20364d", mew=0.7)
    if f"best_{score}" in portrait.arrays:
        axis.axvline(portrait.arrays[f"best_{score}"].mean(), **style.BEST)
    axis.set_yticks(range(1, len(splits) + 1), splits)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(f"episode's {return_label(portrait.scores[score])}")


def _draw_checkpoints(axis: Axes, portrait: Portrait) -> None:
    steps, returns = portrait.arrays["checkpoint_steps"], portrait.arrays["checkpoint_returns"]  # [C], [T, C]
    low, middle, high = np.nanquantile(returns, [0.1, 0.5, 0.9], axis=0)
    axis.fill_between(steps, low, high, color="#7f9fbf", alpha=0.4, linewidth=0, label="10–90 % of tasks")
    axis.plot(steps, middle, color="#20364d", label="median task")
    if "best_dense" in portrait.arrays:
        axis.axhline(portrait.arrays["best_dense"].mean(), label="best possible", **style.BEST)
    axis.set_xlabel("agent steps of a task's own agent")
    axis.set_ylabel("dense return")
    axis.grid(axis="y")


def _draw_last(axis: Axes, portrait: Portrait) -> None:
    """Every task's last checkpoint: its regret where the optimum is known, else its return."""
    last = np.array([row[np.isfinite(row)][-1] for row in portrait.arrays["checkpoint_returns"]])  # [T]
    known = "best_dense" in portrait.arrays
    values = portrait.arrays["best_dense"] - last if known else last
    tasks = portrait.card.task_set
    member = np.isin(np.arange(len(values)), tasks.test)
    apart = not set(tasks.test) & set(tasks.train)
    if known:
        axis.vlines(np.arange(len(values)), 0, values, color="#d0d0d0", linewidth=0.6)
    groups = ((~member, "training task", "#0072B2"), (member, "test task", "#D55E00"))
    for chosen, label, colour in groups if apart else ((member, "training and test task", "#0072B2"),):
        where = np.flatnonzero(chosen)
        axis.plot(where, values[chosen], "o", markersize=2.6, mew=0, color=colour, label=label)
    axis.margins(x=0.05 if len(values) > 5 else 0.5)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.locator_params(axis="x", integer=True)
    axis.set_xlabel("task")
    axis.set_ylabel("regret,\nlast checkpoint" if known else "dense return,\nlast checkpoint")


def returns_by_task(ledger: Ledger) -> style.Drawing | None:
    """Median and quartiles of the episodes' returns, task by task and split by split."""
    found = portraits(ledger)
    if not found:
        return None
    figure, axes = style.panels(len(found), height=2.0)
    for axis, portrait in zip(axes, found, strict=True):
        _draw_tasks(axis, portrait)
    style.legend_below(figure, axes)
    return figure


def _draw_tasks(axis: Axes, portrait: Portrait) -> None:
    score = next(iter(portrait.scores))
    tasks = portrait.card.task_set
    first = tasks.array[:, 0]
    order = np.argsort(first, kind="stable")
    at = np.arange(len(order))
    shown = _own_splits(portrait, score)
    for i, (split, colour) in enumerate(zip(shown, SPLIT_COLOURS, strict=False)):
        returns = portrait.arrays[f"return_{split}_{score}"][order]  # [T, E]
        low, middle, high = np.nanquantile(returns, [0.25, 0.5, 0.75], axis=1)
        if len(order) <= FEW:
            beside = at + 0.18 * (i - (len(shown) - 1) / 2)
            axis.vlines(beside, low, high, color=colour, linewidth=5, alpha=0.35)
            axis.plot(beside, middle, "o", color=colour, markersize=3, mew=0, label=split)
            continue
        axis.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
        axis.plot(at, middle, color=colour, linewidth=1.0, label=split)
    if f"best_{score}" in portrait.arrays:
        axis.plot(at, portrait.arrays[f"best_{score}"][order], label="best possible", **style.BEST)
    test = np.isin(order, tasks.test)
    if not test.all():
        axis.plot(
            at[test], np.full(test.sum(), 0.02), "|", color="#333333", markersize=4, mew=0.7,
            transform=axis.get_xaxis_transform(), label="test task",
        )  # fmt: skip
    if len(order) <= FEW:
        axis.set_xticks(at, [f"{value:+g}".replace("-", "−") for value in first[order]])
        axis.set_xlim(-0.6, len(order) - 0.4)
    axis.set_xlabel("task, by its first parameter")
    axis.set_ylabel(return_label(portrait.scores[score]).replace(", ", ",\n"))
    axis.set_title(portrait.card.env_label)
    axis.grid(axis="y")


def _own_splits(portrait: Portrait, score: str) -> list[str]:
    """The splits, less one that has as many episodes as all others together: it is made of them."""
    count = {s: portrait.arrays[f"return_{s}_{score}"].shape[1] for s in splits_in_order(portrait, score)}
    total = sum(count.values())
    return [split for split, own in count.items() if 2 * own != total or len(count) < 3]


FIGURES = (
    Figure(
        name="behaviour",
        title="Behaviour policies",
        kind="figure",
        make=behaviour,
        caption="Left: return of every episode by split, all tasks (bar: quartiles, dot: median, line: "
        "best possible mean). Middle: deterministic return of the tasks' own agents over their training. "
        "Right: what the last checkpoint of each task falls short of the exact optimum, or its return where "
        "no optimum is known.",
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
    Figure(
        name="returns-by-task",
        title="Return by task",
        kind="figure",
        make=returns_by_task,
        caption="Return of the data's episodes under the headline score, tasks in the order of their first "
        "parameter: median and quartiles over the episodes of every task. A split that is made of the "
        "others is left out. Marks below: test tasks.",
        note=about_environments,
        section="Data",
        needs="bench generate-data --env {envs}",
    ),
)
