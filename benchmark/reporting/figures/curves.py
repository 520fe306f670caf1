"""Learning curves: test return against gradient steps, on the headline split and on the relabeled one."""

from __future__ import annotations

from itertools import product

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    best_possible,
    by_setting,
    entries,
    headline_split,
    in_the_paper,
    of_role,
    paper,
    return_label,
)
from comrl.benchmark.reporting.ledger import Ledger


def headline_curves(ledger: Ledger) -> style.Drawing | None:
    """Learning curves on the headline split. [focalpp Fig. 4a]"""
    return _curves(ledger, headline_split())


def relabeled_curves(ledger: Ledger) -> style.Drawing | None:
    """Learning curves on the relabeled data. [focalpp Fig. 5b]"""
    return _curves(ledger, paper()["report"]["relabeled_split"])


def _curves(ledger: Ledger, split: str) -> style.Drawing | None:
    """A panel per environment for the paper's methods, and below them one each for any others, over the
    paper's in grey: the mean over seeds, every seed thinly, the yardsticks as lines.
    """
    groups = by_setting(entries(ledger, split=split))
    methods = [entry for group in groups.values() for entry in of_role(group, "method")]
    parts = [part for part in (True, False) if any(in_the_paper(one.first) == part for one in methods)]
    if not parts:
        return None
    figure, axes = style.panels(len(groups), height=2.0, times=len(parts))
    for axis, (part, group) in zip(axes, product(parts, groups.values()), strict=True):
        own = [entry for entry in of_role(group, "method") if in_the_paper(entry.first) == part]
        if own:
            _draw(axis, ledger, group, own)
        else:
            axis.axis("off")
    style.legend_below(figure, axes)
    return figure


def _draw(axis: Axes, ledger: Ledger, group: list[Entry], own: list[Entry]) -> None:
    """One panel: its own methods in colour, and what else there is of the paper's in grey."""
    score, first = group[0].first.headline, group[0].first
    colour, stroke = style.colours(ledger), style.strokes(ledger)
    for entry in of_role(group, "method"):
        curves = entry.curves(score)
        mean = curves.mean(axis=1)
        if entry in own:
            look = {"color": colour[entry.label], "linestyle": stroke[entry.label]}
            axis.plot(curves.index, curves, linewidth=0.5, alpha=0.45, **look)
            axis.plot(mean.index, mean, label=entry.label, **look)
        elif in_the_paper(entry.first):
            axis.plot(mean.index, mean, color=style.QUIET, linewidth=0.8, label=THE_PAPERS, zorder=1.6)
    for role, look in style.LINES.items():
        for entry in of_role(group, role):
            axis.axhline(entry.returns(score).mean(), label=entry.label, zorder=1.5, **look)
    best = best_possible(ledger, first.env, score)
    if best is not None:
        axis.axhline(best.mean(), label="best possible", zorder=1.5, **style.BEST)
    _cut_start(axis, group, own)
    axis.grid(axis="y")
    axis.set_title(group[0].setting)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.set_xlabel("gradient steps")
    axis.set_ylabel(return_label(first.scores[score]).replace(", ", ",\n"))


def _cut_start(axis: Axes, group: list[Entry], own: list[Entry]) -> None:
    """Cut off returns so far under the lower yardstick that they would flatten all that matters, but no
    method's last.
    """
    score = group[0].first.headline
    floor = [float(entry.returns(score).mean()) for entry in of_role(group, "lower")]
    low, high = axis.get_ylim()
    if floor:
        ends = [float(entry.curves(score).iloc[-1].min()) for entry in own]
        deep = min([floor[0] - 1.2 * (high - floor[0]), *ends])
        axis.set_ylim(bottom=max(low, deep - 0.02 * (high - deep)))


THE_PAPERS = "methods of the paper"
HOW = (
    "The paper's methods first; any others in panels of their own below, over those in grey. Bold: mean over "
    "seeds; thin: every seed; horizontal lines: the yardsticks' final return and the best possible. Offline "
    "context of the training split, on test tasks. What lies far under the lower yardstick is cut off. The "
    "paper's horizontal axis counts transitions copied into working buffers; here it counts gradient steps, "
    "as the whole data set is in memory."
)

FIGURES = (
    Figure(
        name="fig4a",
        title="Fig. 4a: learning curves",
        kind="figure",
        make=headline_curves,
        caption=HOW,
        note=about_environments,
        section="Learning",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="fig5b",
        title="Fig. 5b: learning curves on relabeled data",
        kind="figure",
        make=relabeled_curves,
        caption="States and actions say nothing about the task here: only the reward does. " + HOW,
        section="Sparse context",
        needs="bench run --env {relabeled_envs} --algo {algos} --split {relabeled}",
    ),
)
