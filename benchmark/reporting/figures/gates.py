"""What the batch-wise gate does with sparse context: its weights by reward, and the variance it saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import (
    Entry,
    by_setting,
    headline_split,
    paper,
    published,
    report_entries,
)
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import NONE, missing, once, plain

INFORMATIVE, EMPTY, OTHER = "#D55E00", "#0072B2", "#555555"


def weight_densities(ledger: Ledger) -> style.Drawing | None:
    """Density of the gate's weights for transitions with and without reward, with AUC. [focalpp Fig. 5c]"""
    chosen = sorted(report_entries(ledger, "gate_weight"), key=lambda entry: entry.split == headline_split())
    if not chosen:
        return None
    figure, axes = style.panels(len(chosen), columns=4 if len(chosen) > 6 else 3, height=1.8)
    for axis, entry in zip(axes, chosen, strict=True):
        _draw_density(axis, entry)
    style.legend_below(figure, axes)
    return figure


def gate_auc(entry: Entry, *, harsher: bool = False) -> list[float]:
    """AUC of the gate's weight as a sign of non-zero against absolutely zero reward, for every seed.

    harsher: against every zero reward, of those too that are zero for this task alone.
    """
    weight, nonzero, absolute = (entry.probe(f"gate_{name}") for name in ("weight", "nonzero", "absolute"))
    assert weight is not None and nonzero is not None and absolute is not None
    kept = np.ones_like(nonzero) if harsher else nonzero | absolute  # [S, n]
    return [metrics.auc(w[k], n[k]) for w, n, k in zip(weight, nonzero, kept, strict=True)]


def _draw_density(axis: Axes, entry: Entry) -> None:
    weight, nonzero, absolute = (entry.probe(f"gate_{name}") for name in ("weight", "nonzero", "absolute"))
    assert weight is not None and nonzero is not None and absolute is not None
    bins = np.linspace(0, max(np.quantile(weight, 0.998), 1.5), 41)
    classes = (  # from wide to thin: those on one another are all seen
        ("absolutely zero reward", absolute, EMPTY, 1.7),
        ("zero for this task, not for all", ~absolute & ~nonzero, OTHER, 1.1),
        ("non-zero reward", nonzero, INFORMATIVE, 0.6),
    )
    for label, member, colour, width in classes:
        if member.any():
            values = np.clip(weight[member], bins[0], bins[-1])
            look: dict[str, Any] = {"histtype": "step", "edgecolor": colour, "linewidth": width}
            axis.hist(values, bins.tolist(), density=True, label=label, **look)
    values = gate_auc(entry)
    spread = f" ({min(values):.3f}–{max(values):.3f})" if len(values) > 1 else ""
    axis.set_title(f"{entry.label}\n{entry.setting}", fontsize=7)
    told = f"AUC {np.mean(values):.3f}{spread}" if np.isfinite(values).all() else "no AUC: one class only"
    axis.text(0.98, 0.97, told, ha="right", va="top", transform=axis.transAxes, fontsize=6.5)
    axis.set_xlabel("weight (mean 1)")
    axis.set_ylabel("density")
    axis.set_xlim(bins[0], bins[-1])
    axis.set_ylim(top=1.2 * axis.get_ylim()[1])


def variance_against_sparsity(ledger: Ledger) -> style.Drawing | None:
    """Variance of z against the sparse share of the context, eq. 34's threshold. [focalpp Fig. 6]"""
    chosen = [e for e in report_entries(ledger, "sparsity_variance") if np.isfinite(thresholds(e)).any()]
    if not chosen:
        return None
    groups = by_setting(chosen)
    figure, axes = style.panels(len(groups), columns=3 if len(groups) > 4 else 2, height=2.2)
    looks, relabeled = style.looks(ledger), paper()["report"]["relabeled_split"]
    for axis, group in zip(axes, groups.values(), strict=True):
        for entry in group:
            _draw_variance(axis, entry, looks[entry.label])
        if group[0].split == relabeled:  # the paper's data
            axis.axvline(published("report", "sparsity_threshold"), color=style.QUIET, linewidth=3, zorder=0)
        axis.set_yscale("log")
        axis.set_xlim(0, 1)
        axis.set_title(group[0].setting)
        axis.set_xlabel("absolutely sparse share")
        axis.set_ylabel("variance of z")
        axis.grid(axis="y")
    style.legend_below(figure, axes)
    return figure


def _draw_variance(axis: Axes, entry: Entry, look: dict[str, Any]) -> None:
    """Mean over seeds, every seed thinly; a gated encoder with its own threshold."""
    ratio, variance = entry.first.probe["sparsity_ratio"], entry.probe("sparsity_variance")  # [R], [S, R]
    assert variance is not None
    if entry.probe("gate_weight") is not None:
        axis.axvline(
            float(np.nanmean(thresholds(entry))),
            color=look["color"],
            linewidth=0.9,
            linestyle=(0, (4, 2)),
            zorder=1,
        )
    axis.plot(ratio, variance.T, linewidth=0.5, alpha=0.4, **look | {"marker": ""})
    axis.plot(ratio, variance.mean(0), label=entry.label, markersize=2.6, **look)


def thresholds(entry: Entry) -> list[float]:
    """Eq. 34's threshold for every seed, from the variances that the probe measured; nan without either."""
    nonsparse, sparse = entry.probe("var_nonsparse"), entry.probe("var_sparse")
    assert nonsparse is not None and sparse is not None
    both = (nonsparse > 0) & (sparse > 0)  # the variance of no transitions is zero
    found = metrics.sparsity_threshold(np.where(both, nonsparse, np.nan), sparse)
    return [float(value) for value in found]


def gate_table(ledger: Ledger) -> pd.DataFrame | None:
    """Figs. 5c and 6 in numbers: AUC and threshold of every gated encoder, mean and range over seeds."""
    rows = []
    for entry in report_entries(ledger, "gate_weight"):
        row: dict[str, Any] = {"environment": entry.setting, "algorithm": entry.label}
        for name, values in (("auc", gate_auc(entry)), ("threshold", thresholds(entry))):
            row |= {name: np.mean(values), f"{name}_low": min(values), f"{name}_high": max(values)}
        told = paper()["report"] if entry.split == paper()["report"]["relabeled_split"] else {}
        rows.append(
            row | {"paper_auc": told.get("gate_auc"), "paper_threshold": told.get("sparsity_threshold")}
        )
    return pd.DataFrame(rows) if rows else None


def show_gates(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean with its range, the paper's beside."""
    shown: dict[str, Any] = {"environment": once(frame["environment"]), "algorithm": frame["algorithm"]}
    for name, title in (("auc", "AUC"), ("threshold", "eq. 34's threshold")):
        columns = [frame[name], frame[f"{name}_low"], frame[f"{name}_high"]]
        shown[f"{title} (range)"] = [_ranged(*row) for row in zip(*columns, strict=True)]
        shown[f"paper's {title.split()[-1]}"] = frame[f"paper_{name}"].map(plain)
    return pd.DataFrame(shown)


def _ranged(mean: float, low: float, high: float) -> str:
    return NONE if missing(mean) else f"{mean:.3f} ({low:.3f}–{high:.3f})"


FIGURES = (
    Figure(
        name="fig5c",
        title="Fig. 5c: batch-wise attention weights",
        kind="figure",
        make=weight_densities,
        caption="Weight that the batch-wise gate gives to transitions with non-zero reward, with zero "
        "reward for this task but not for every task, and with zero reward for every task (absolutely "
        "sparse); all seeds pooled, the last bin holds what lies beyond. AUC: mean (range) over seeds of "
        "telling non-zero from absolutely zero by the weight alone; the paper reports "
        f"{paper()['report']['gate_auc']} on relabeled data.",
        section="Sparse context",
        needs="bench run --env {relabeled_envs} --algo {algos} --split {relabeled}",
    ),
    Figure(
        name="fig6",
        title="Fig. 6: variance against sparsity",
        kind="figure",
        make=variance_against_sparsity,
        caption="Variance of the mean embedding over context draws that hold a given share of absolutely "
        "sparse transitions, averaged over tasks and latent dimensions; bold: mean over seeds. Dashed: the "
        "share above which eq. 34 promises that a learned gate lowers the variance, estimated from the "
        "same encoder's embeddings of sparse and non-sparse transitions. Grey band, on relabeled data "
        f"alone: where the paper's curves cross (about {paper()['report']['sparsity_threshold']}). "
        "Environments where every transition is sparse, or none, have no panel.",
        section="Sparse context",
        needs="bench run --env {relabeled_envs} --algo {algos} --split {relabeled}",
    ),
    Figure(
        name="gates",
        title="Figs. 5c and 6 in numbers",
        kind="table",
        make=gate_table,
        show=show_gates,
        caption="AUC of the gate's weights and the threshold of eq. 34: mean (range over seeds) for every "
        "encoder with a batch-wise gate. The paper gives one number for each, on relabeled data.",
        section="Sparse context",
        needs="bench run --env {relabeled_envs} --algo {algos} --split {relabeled}",
    ),
)
