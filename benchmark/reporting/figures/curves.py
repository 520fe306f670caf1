"""Learning curves: test return against gradient steps, on the headline split and on the relabeled one."""

from __future__ import annotations

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
    """A panel per environment: the mean over seeds, every seed thinly, the yardsticks as lines."""
    groups = by_setting(entries(ledger, split=split))
    if not any(of_role(group, "method") for group in groups.values()):
        return None
    figure, axes = style.panels(len(groups), height=2.0)
    colour = style.colours(ledger)
    for axis, ((env, _), group) in zip(axes, groups.items(), strict=True):
        score = group[0].first.headline
        for entry in of_role(group, "method"):
            curves = entry.curves(score)
            axis.plot(curves.index, curves, color=colour[entry.label], linewidth=0.5, alpha=0.45)
            axis.plot(curves.index, curves.mean(axis=1), color=colour[entry.label], label=entry.label)
        for role, look in style.LINES.items():
            for entry in of_role(group, role):
                axis.axhline(entry.returns(score).mean(), label=entry.label, zorder=1.5, **look)
        best = best_possible(ledger, env, score)
        if best is not None:
            axis.axhline(best.mean(), label="best possible", zorder=1.5, **style.BEST)
        _cut_start(axis, group, score)
        axis.grid(axis="y")
        axis.set_title(group[0].setting)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.set_xlabel("gradient steps")
        axis.set_ylabel(return_label(group[0].first.scores[score]).replace(", ", ",\n"))
    style.legend_below(figure, axes)
    return figure


def _cut_start(axis: Axes, group: list[Entry], score: str) -> None:
    """Cut off returns so far under the lower yardstick that they would flatten all that matters, but no
    method's last.
    """
    floor = [float(entry.returns(score).mean()) for entry in of_role(group, "lower")]
    low, high = axis.get_ylim()
    if floor:
        ends = [float(entry.curves(score).iloc[-1].min()) for entry in of_role(group, "method")]
        deep = min([floor[0] - 1.2 * (high - floor[0]), *ends])
        axis.set_ylim(bottom=max(low, deep - 0.02 * (high - deep)))


HOW = (
    "Bold: mean over seeds; thin: every seed; horizontal lines: the yardsticks' final return and the best "
    "possible. Offline context of the training split, on test tasks. What lies far under the lower "
    "yardstick is cut off. The paper's horizontal axis counts transitions copied into working buffers; "
    "here it counts gradient steps, as the whole data set is in memory."
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
