"""Every seed as a dot: final test returns, with their interquartile mean and its interval."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    best_possible,
    by_setting,
    entries,
    headline_split,
    return_label,
    split_rank,
)
from comrl.benchmark.reporting.ledger import Ledger

WIDEST = 26  # letters on one line: the names of algorithms leave a panel little room


def seed_dots(ledger: Ledger) -> style.Drawing | None:
    """A panel per environment and training split, a row per algorithm, a dot per seed."""
    report_splits = {headline_split(), *(entry.split for entry in entries(ledger, role="lower"))}
    groups = by_setting(entry for entry in entries(ledger) if entry.split in report_splits)
    if not groups:
        return None
    ordered = sorted(groups.items(), key=lambda item: split_rank(item[0][1])[0])
    rows = max(len(group) for _, group in ordered)
    figure, axes = style.panels(len(ordered), height=0.75 + 0.21 * rows)
    colour, marker = style.colours(ledger), style.markers(ledger)
    for axis, (_, group) in zip(axes, ordered, strict=True):
        score = group[0].first.headline
        for row, entry in enumerate(group):
            _draw_row(
                axis, row, entry, score, colour.get(entry.label, "#555555"), marker.get(entry.label, "|")
            )
        best = best_possible(ledger, group[0].env, score)
        if best is not None:
            axis.axvline(best.mean(), **style.BEST)
            axis.text(best.mean(), -0.62, "best ", ha="right", va="center", fontsize=6.5, color="#333333")
        axis.set_yticks(range(len(group)), [entry.label for entry in group])
        axis.set_ylim(len(group) - 0.5, -0.9)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        axis.set_title(style.on_lines(group[0].setting, WIDEST))
        axis.set_xlabel(style.on_lines(return_label(group[0].first.scores[score]), WIDEST))
    names = [[entry.label for entry in group] for _, group in ordered]
    for i, axis in enumerate(axes):
        cell = axis.get_subplotspec()
        across = cell.colspan.start if cell else 0
        if across and names[i] == names[i - across]:  # the row's first panel names them
            axis.set_yticklabels([])
    return figure


def _draw_row(axis: Axes, row: int, entry: Entry, score: str, colour: str, marker: str) -> None:
    """Seeds as dots, and beneath them the interquartile mean with its interval."""
    returns = entry.returns(score)  # [S, T]
    seeds = returns.mean(1)
    stratified, whole = metrics.bootstrap(returns), metrics.bootstrap(returns, whole_seeds=True)
    middle = float(metrics.interquartile_mean(returns))
    axis.plot(seeds, np.full(len(seeds), row - 0.2), "o", markersize=3.2, color=colour, alpha=0.75, mew=0)
    axis.plot(whole, [row + 0.17] * 2, color=colour, linewidth=0.9)
    axis.plot(stratified, [row + 0.17] * 2, color=colour, linewidth=4, solid_capstyle="butt", alpha=0.35)
    filled = colour if len(returns) > 1 else "white"  # one seed has no interval
    axis.plot(middle, row + 0.17, marker=marker, markersize=2.8, color=colour, mew=0.8, mfc=filled)


FIGURES = (
    Figure(
        name="seeds",
        title="Every seed",
        kind="figure",
        make=seed_dots,
        caption="Final test return. Upper marks: one dot per seed, mean over test tasks. Lower marks: "
        "interquartile mean over seeds × tasks, on its 95 % intervals (thick: stratified bootstrap; thin: "
        "whole seeds). The two can differ, as one averages all tasks and the other their middle half. "
        "Vertical line: best possible mean.",
        note=about_environments,
        needs="bench run --env {envs} --algo {algos}",
    ),
)
