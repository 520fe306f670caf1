"""What losses report besides their value, over the training: the price of divergence, mean Q, accuracy."""

from __future__ import annotations

from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import Entry, by_setting, entries, headline_split
from comrl.benchmark.reporting.ledger import Ledger

LABELS = {
    "mean_q": "mean Q",
    "log_prob": "log π(a|s), nats",
    "mean_strength": "BRAC strength",
    "mean_divergence": "divergence, nats",
    "accuracy": "contrast accuracy",
    "over_constant": "exp(loss − constant's)",
    "prior_nats": "KL to prior, nats",
    "triplet": "triplet loss",
}
"""Of the metrics that this package reports; others are shown by their name."""
WIDE = ("mean_strength",)
"""Metrics that go over orders of magnitude."""


def metrics_of(entry: Entry) -> list[str]:
    """The columns of an entry's curves that are neither losses nor returns."""
    known = {"seed", "step", *entry.first.scores}
    return [name for name in entry.first.curves if name not in known and not name.startswith("loss_")]


def diagnostics(ledger: Ledger) -> style.Drawing | None:
    """A row for every metric, a column for every environment; the mean over seeds in their range."""
    import matplotlib.pyplot as plt

    groups = by_setting(entries(ledger, split=headline_split()))
    found = {name: None for group in groups.values() for entry in group for name in metrics_of(entry)}
    shown = [*(name for name in LABELS if name in found), *(name for name in found if name not in LABELS)]
    if not shown:
        return None
    groups = {key: group for key, group in groups.items() if any(map(metrics_of, group))}
    size = (style.PAGE if len(groups) > 2 else style.COLUMN * 1.25 * len(groups), 1.25 * len(shown))
    figure, axes = plt.subplots(len(shown), len(groups), figsize=size, sharex="col", squeeze=False)
    colour = style.colours(ledger)
    for down, name in enumerate(shown):
        for across, group in enumerate(groups.values()):
            axis = axes[down, across]
            for entry in (entry for entry in group if name in metrics_of(entry)):
                curves = entry.curves(name).dropna()
                shade = colour.get(entry.label, style.YARDSTICK.get(entry.first.role, style.QUIET))
                axis.plot(curves.index, curves.mean(axis=1), color=shade, linewidth=1.0, label=entry.label)
                low, high = curves.min(axis=1), curves.max(axis=1)
                axis.fill_between(curves.index, low, high, color=shade, alpha=0.2, linewidth=0)
            if name in WIDE and axis.lines and min(map(min, (line.get_ydata() for line in axis.lines))) > 0:
                axis.set_yscale("log")
            if not axis.lines:
                axis.axis("off")
            axis.grid(axis="y")
        axes[down, 0].set_ylabel(LABELS.get(name, name.replace("_", " ")))
    for axis, group in zip(axes[0], groups.values(), strict=True):
        axis.set_title(group[0].setting, fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("gradient steps")
    figure.align_ylabels(list(axes[:, 0]))
    style.legend_below(figure, list(axes.flat))
    return figure


FIGURES = (
    Figure(
        name="diagnostics",
        title="Metrics of the training",
        kind="figure",
        make=diagnostics,
        caption="Lines: mean over seeds, each point the mean since the test before; bands: the range of the "
        "seeds. A strength at its largest or a mean Q that leaves the scale of the returns says that control "
        "does not hold; a contrast accuracy of 1 that the encoder tells the tasks of a batch apart. exp(loss "
        "− constant's) sets the loss of UNICORN's classifier or decoder, of CSRO's estimator and of CORRO's "
        "contrast beside that of the best constant: below 1 it reads something from its input.",
        section="Learning",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
