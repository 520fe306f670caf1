"""What losses report besides their value, over the training: the price of divergence, mean Q, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import Entry, by_setting, entries, headline_split
from comrl.benchmark.reporting.ledger import Ledger

CONTROL = {
    "mean_q": "mean Q",
    "log_prob": "log π(a|s), nats",
    "mean_strength": "BRAC strength",
    "strength_at_largest": "share at its largest",
    "mean_divergence": "divergence, nats",
}
"""The metrics of control, in print."""
INFERENCE = {
    "accuracy": "accuracy",
    "over_constant": "exp(loss − constant's)",
    "prior_nats": "KL to prior, nats",
    "triplet": "triplet loss",
    "club": "CLUB",
}
"""The metrics of task inference in this package; those that others report are shown by their name."""
LABELS = CONTROL | INFERENCE
WIDE = ("mean_strength",)
"""Metrics that go over orders of magnitude."""
ACROSS = 5  # panels that are still legible side by side
WIDEST = 16  # letters of an environment's name on one line


def metrics_of(entry: Entry) -> list[str]:
    """The columns of an entry's curves that are neither losses nor returns."""
    known = {"seed", "step", *entry.first.scores}
    return [name for name in entry.first.curves if name not in known and not name.startswith("loss_")]


def control_metrics(ledger: Ledger) -> style.Drawing | None:
    """The metrics of control, environments down and metrics across."""
    found = _reported(ledger)
    return _grid(ledger, [name for name in CONTROL if name in found])


def inference_metrics(ledger: Ledger) -> style.Drawing | None:
    """All other metrics, in the same way."""
    found = [name for name in _reported(ledger) if name not in CONTROL]
    known = [name for name in INFERENCE if name in found]
    return _grid(ledger, [*known, *(name for name in found if name not in INFERENCE)])


def _reported(ledger: Ledger) -> list[str]:
    """Every metric that some run on the headline split has."""
    found = (metrics_of(entry) for entry in entries(ledger, split=headline_split()))
    return list(dict.fromkeys(name for names in found for name in names))


def _grid(ledger: Ledger, names: Sequence[str]) -> style.Drawing | None:
    """A row for every environment, a column for every metric; many metrics stand in several such blocks."""
    if not names:
        return None
    import matplotlib.pyplot as plt

    blocks = [names[i : i + ACROSS] for i in range(0, len(names), ACROSS)]
    groups = by_setting(entries(ledger, split=headline_split())).values()
    rows = [
        (block, group) for block in blocks for group in groups if any(_having(group, name) for name in block)
    ]
    across, titled = len(blocks[0]), None
    size = (style.PAGE * min(1.0, 0.3 + 0.2 * across), 0.2 + 1.15 * len(rows))
    figure, axes = plt.subplots(len(rows), across, figsize=size, squeeze=False)
    looks = style.looks(ledger)
    for line, (block, group) in zip(axes, rows, strict=True):
        for axis, name in zip(line, block, strict=False):
            _draw(axis, name, _having(group, name), looks)
            if block is not titled:
                axis.set_title(LABELS.get(name, name.replace("_", " ")), fontsize=7)
        titled = block
        drawn = [axis for axis in line if axis.lines]
        drawn[0].set_ylabel(style.on_lines(group[0].setting, WIDEST), fontsize=7)
        for axis in set(line).difference(drawn):
            axis.axis("off")
    for column in axes.T:
        [axis for axis in column if axis.lines][-1].set_xlabel("gradient steps", fontsize=7)
    style.legend_below(figure, list(axes.flat))
    return figure


def _having(group: Sequence[Entry], name: str) -> list[Entry]:
    """The entries with a metric."""
    return [entry for entry in group if name in metrics_of(entry)]


def _draw(axis: Axes, name: str, group: Sequence[Entry], looks: dict[str, dict[str, Any]]) -> None:
    """One panel: the mean over seeds with a mark at its end, in the range of the seeds."""
    for entry in group:
        curves = entry.curves(name).dropna()
        look: dict[str, Any] = {"linewidth": 1.0, "marker": "|"} | looks[entry.label]
        look |= {"markersize": 3, "markevery": slice(-1, None)}  # of a single test it is all there is
        axis.plot(curves.index, curves.mean(axis=1), label=entry.label, **look)
        low, high = curves.min(axis=1), curves.max(axis=1)
        fill, edge = ((look["color"], alpha) for alpha in (0.1, 0.3))
        axis.fill_between(curves.index, low, high, facecolor=fill, edgecolor=edge, linewidth=0.4)
    if name in WIDE and _decades(axis) > 1:
        axis.set_yscale("log")
    else:
        axis.yaxis.set_major_locator(MaxNLocator(4))
        axis.ticklabel_format(axis="y", useOffset=False)
    axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.tick_params(labelsize=6)
    axis.grid(axis="y")


def _decades(axis: Axes) -> float:
    """Over how many powers of ten the lines go; none where one is not positive."""
    values = [value for line in axis.lines for value in np.asarray(line.get_ydata(), dtype=float)]
    return float(np.log10(max(values) / min(values))) if values and min(values) > 0 else 0.0


HOW = (
    "Lines: mean over seeds, each point the mean since the test before, with a mark at the last; bands: the "
    "range of the seeds. "
)
FIGURES = (
    Figure(
        name="diagnostics",
        title="Metrics of control",
        kind="figure",
        make=control_metrics,
        caption=HOW + "A strength at its largest or a mean Q that leaves the scale of the returns says that "
        "control does not hold. Share at its largest: of the strengths, in the steps since the test before.",
        section="Learning",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="diagnostics-inference",
        title="Metrics of task inference",
        kind="figure",
        make=inference_metrics,
        caption=HOW + "An accuracy of 1, of the contrast or of UNICORN's classifier, says that the encoder "
        "tells the tasks of a batch apart. exp(loss − constant's) sets the loss of UNICORN's classifier or "
        "decoder, of CSRO's estimator and of CORRO's contrast beside that of the best constant: below 1 it "
        "reads something from its input.",
        section="Learning",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
