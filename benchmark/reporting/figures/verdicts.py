"""The claims at a glance: what holds, what does not, what is open, and the comparisons behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from comrl.benchmark.reporting.claims import Side
from comrl.benchmark.reporting.claims.rules import LEVEL, Judged, Mark, Verdict, Word, remedies, verdicts
from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import NONE, SMALL, Cell, beside, fixed, mean_std, missing, number, once

COLOUR: dict[Word, str] = {"supported": "#00795c", "refuted": "#c04a00", "undecided": "#767676"}
LOOK: dict[Mark, dict[str, Any]] = {
    "for": {"marker": "o", "color": COLOUR["supported"]},
    "against": {"marker": "X", "color": COLOUR["refuted"]},
    "open": {"marker": "o", "color": COLOUR["undecided"], "mfc": "white"},
}
SAYS: dict[Mark, str] = {"for": "holds", "against": "fails", "open": "open", "missing": "not run"}
LINE: dict[str, Any] = {"color": "#dddddd", "linewidth": 0.5, "zorder": 0}
ROW, STEP, ROOM = 0.27, 0.046, 0.08  # inches: the least of a claim, from mark to mark, and around its marks
ENDS = 0.7  # inches: of what stands above and below all claims
LEFT, MIDDLE = 0.37, 0.34  # of the width: before the axis, and its own


def verdict_figure(ledger: Ledger) -> style.Drawing | None:
    """A row for every claim: its comparisons on one axis, and its verdict."""
    if not ledger.runs:
        return None
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    rows = verdicts(ledger)
    bounds = np.cumsum([0.0, *(_height(verdict) for verdict in rows)])  # inches from the top
    height = bounds[-1] + ENDS
    by_hand = PlaceHolderLayoutEngine(True, False)  # a layout of "none" would not survive the first saving
    figure = plt.figure(figsize=(style.PAGE, height), layout=by_hand)
    axis = figure.add_axes((LEFT, 0.38 / height, MIDDLE, bounds[-1] / height))
    for row, verdict in enumerate(rows):
        _draw_claim(axis, bounds[row : row + 2].mean(), verdict)
        if row and _group(verdict) != _group(rows[row - 1]):
            axis.axhline(bounds[row], xmin=-LEFT / MIDDLE, xmax=(1 - LEFT) / MIDDLE, clip_on=False, **LINE)
    axis.axvline(0.5, color=style.QUIET, linewidth=0.8, zorder=0)
    axis.set_yticks([])
    axis.set_ylim(bounds[-1], 0)
    axis.set_xlim(-0.03, 1.03)
    axis.set_xticks([0, 0.5, 1])
    axis.set_xlabel("how often a run speaks for the claim")
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    for mark, look in LOOK.items():
        axis.plot([], [], linestyle="", markersize=4, mew=0.8, label=SAYS[mark], **look)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.2, columnspacing=1.2)
    return figure


def _group(verdict: Verdict) -> str:
    """The claim's number, without the letter of its part."""
    return verdict.claim.name.rstrip("abcdefghijklmnopqrstuvwxyz")


def _weighed(verdict: Verdict) -> list[Judged]:
    return [one for one in verdict.judged if one.weight is not None]


def _height(verdict: Verdict) -> float:
    """Of a claim's row, in inches: no two of its marks touch."""
    return max(ROW, STEP * len(_weighed(verdict)) + ROOM)


def _draw_claim(axis: Axes, place: float, verdict: Verdict) -> None:
    """The comparisons one under another about the middle of the claim's row, and its verdict to the right."""
    weighed = _weighed(verdict)
    heights = place + STEP * (np.arange(len(weighed)) - (len(weighed) - 1) / 2)
    for one, height in zip(weighed, heights, strict=True):
        assert one.weight is not None
        look = LOOK[one.mark]
        axis.plot(one.weight.whole, [height] * 2, color=look["color"], linewidth=0.7, alpha=0.5)
        axis.plot(one.weight.probability, height, markersize=2.6, mew=0.6, clip_on=False, **look)
    across = axis.get_yaxis_transform()
    box: dict[str, Any] = {"boxstyle": "round,pad=0.28", "fc": COLOUR[verdict.word], "ec": "none"}
    text: dict[str, Any] = {"transform": across, "va": "center"}
    axis.text(-LEFT / MIDDLE + 0.02, place, verdict.claim.name, weight="bold", **text)
    axis.text(-LEFT / MIDDLE + 0.13, place, verdict.claim.title, **text)
    axis.text(1.15, place, verdict.word, color="white", ha="center", fontsize=6.5, bbox=box, **text)
    axis.text(1.3, place, _tally(verdict), color="#444444", fontsize=6.5, **text)


def _tally(verdict: Verdict) -> str:
    """How many comparisons hold, and under it what of the rest."""
    counts = (
        (verdict.count("against"), "fail"),
        (verdict.unmeasurable, "not measurable"),
        (verdict.count("missing"), "not run"),
    )
    rest = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{verdict.count('for')} of {len(verdict.judged)} hold" + f"\n{rest}" * bool(rest)


def verdict_table(ledger: Ledger) -> pd.DataFrame | None:
    """Every claim with its verdict, and where it is open the command that would decide it."""
    if not ledger.runs:
        return None
    rows = []
    for one in verdicts(ledger):
        row: dict[str, Any] = {"claim": one.claim.name, "says": one.claim.sentence, "place": one.claim.place}
        row |= {"verdict": one.word, "comparisons": len(one.judged), "wanted": one.wanted}
        row |= {"hold": one.count("for"), "fail": one.count("against")}
        row |= {
            "open": one.count("open"),
            "not_measurable": one.unmeasurable,
            "not_run": one.count("missing"),
        }
        rows.append(row | {"decides": " && ".join(remedies(one, ledger))})
    return pd.DataFrame(rows)


def show_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Verdict, how many comparisons of how many hold, fail or are open, and the remedy."""
    counts = zip(frame["hold"], frame["comparisons"], frame["wanted"], strict=True)
    left = zip(frame["open"], frame["not_measurable"], strict=True)
    return pd.DataFrame(
        {
            "claim": frame["claim"],
            "says": frame["says"],
            "place": frame["place"],
            "verdict": frame["verdict"],
            "hold": [f"{hold} of {count}, needs {wanted}" for hold, count, wanted in counts],
            "fail": frame["fail"].astype(str),
            "open": [f"{count}" + f" ({never} not measurable)" * bool(never) for count, never in left],
            "not run": frame["not_run"].astype(str),
            "would decide it": frame["decides"].where(frame["decides"] != "", NONE),
        }
    )


def comparison_table(ledger: Ledger) -> pd.DataFrame | None:
    """Every comparison of every claim: both sides' numbers, the paper's, and what they weigh."""
    if not ledger.runs:
        return None
    return pd.DataFrame([_row(verdict, one) for verdict in verdicts(ledger) for one in verdict.judged])


def _row(verdict: Verdict, judged: Judged) -> dict[str, Any]:
    one, weight = judged.comparison, judged.weight
    row: dict[str, Any] = {"claim": verdict.claim.name, "measure": verdict.claim.measure}
    row |= {"setting": one.setting}
    for name, side in (("ours", one.ours), ("theirs", one.theirs)):
        row |= {name: side.label, f"{name}_seeds": side.seeds, f"{name}_mean": side.value}
        row |= {f"{name}_std": side.std, f"{name}_paper": side.paper}
    row |= {"deviations": _in_deviations(one.ours, one.theirs)}
    nothing = (np.nan, np.nan)
    row["probability"] = weight.probability if weight else np.nan
    row["low"], row["high"] = weight.whole if weight else nothing
    row["stratified_low"], row["stratified_high"] = weight.stratified if weight else nothing
    row |= {"p_for": judged.corrected_for if weight else np.nan}
    row |= {"p_against": judged.corrected_against if weight else np.nan}
    return row | {"says": judged.mark, "why": "" if weight else one.why}


def _in_deviations(ours: Side, theirs: Side) -> float:
    """The difference of two means in standard deviations over seeds, pooled; nan for other than two sides."""
    if ours.value is None or theirs.value is None or ours.std is None or theirs.std is None:
        return float("nan")
    free = ours.seeds + theirs.seeds - 2
    squares = sum((side.seeds - 1) * (side.std or 0.0) ** 2 for side in (ours, theirs) if side.seeds > 1)
    return (ours.value - theirs.value) / float(np.sqrt(squares / free)) if squares else float("nan")


def show_comparisons(frame: pd.DataFrame) -> pd.DataFrame:
    """Means with deviations, the paper's, the probability with both intervals, and the smaller p-value."""
    shown: dict[str, Any] = {
        "claim": once(frame["claim"] + ", " + frame["measure"]),
        "setting": frame["setting"],
    }
    for name, head in (("ours", "claimed better"), ("theirs", "than")):
        shown[head] = frame[name]
        pairs = zip(frame[f"{name}_mean"], frame[f"{name}_std"], strict=True)
        shown[f"{head}: mean (std)"] = [_mean_std(*pair) for pair in pairs]
        shown[f"{head}: paper"] = frame[f"{name}_paper"].map(_finely)
    seeds = zip(frame["ours_seeds"], frame["theirs_seeds"], strict=True)
    shown["seeds"] = [" / ".join(str(count) for count in pair if count) or NONE for pair in seeds]
    shown["difference in deviations"] = frame["deviations"].map(fixed)
    shown["probability"] = frame["probability"].map(beside)
    for head, low, high in (
        ("whole seeds", "low", "high"),
        ("stratified", "stratified_low", "stratified_high"),
    ):
        ends = zip(frame[low].map(beside), frame[high].map(beside), strict=True)
        shown[f"{head} 95 %"] = [f"[{', '.join(pair)}]" if NONE not in pair else NONE for pair in ends]
    shown["p, corrected"] = frame[["p_for", "p_against"]].min(axis=1).map(_chance)
    never = "not measurable here: " + frame["why"]
    says = frame["says"].map(SAYS)
    return pd.DataFrame(shown | {"says": says.where(frame["why"] == "", says + ", " + never)})


def _mean_std(mean: float, std: float) -> str:
    if missing(mean):
        return NONE
    return mean_std(mean, std, _finely if abs(mean) < 1 else number)


def _finely(value: Cell) -> str:
    """As any number, but a share, an AUC or a crossing with three decimals, as its bar has."""
    return f"{value:.3f}" if isinstance(value, float) and SMALL <= value < 1 else number(value)


def _chance(value: float) -> str:
    return "< 0.0001" if 0 < value < 0.0001 else beside(value, LEVEL, 4)


RULES = (
    "One unit serves all measures: how often a run speaks for the claim, 1 always, 0.5 as often as not. For "
    "two algorithms it is the probability of improvement on the same task; against a number, the share of "
    "seeds on the claim's side of it. A comparison holds, or fails, where its 95 % interval (whole seeds) "
    "lies above, or below, 0.5 and the p-value, corrected for the number of comparisons of the claim, "
    "is at most 0.025; else it is open, as is what these runs cannot measure. The rules were written before "
    "the results (docs/claims.md)."
)

FIGURES = (
    Figure(
        name="verdicts",
        title="Every claim at a glance",
        kind="figure",
        make=verdict_figure,
        caption="Each mark is one comparison of a claim, an environment or a pair of algorithms in one, on "
        "its 95 % interval. " + RULES,
        section="Claims",
    ),
    Figure(
        name="claims",
        title="Claims and verdicts",
        kind="table",
        make=verdict_table,
        show=show_verdicts,
        caption="Supported: as many comparisons hold as the claim needs. Refuted: so many fail that as many "
        "cannot. Undecided: neither; the last column has the command that would decide it, where runs can.",
        section="Claims",
    ),
    Figure(
        name="comparisons",
        title="The comparisons behind the verdicts",
        kind="table",
        make=comparison_table,
        show=show_comparisons,
        caption="Mean (standard deviation over seeds) of both sides, the paper's means beside them, and the "
        "difference in pooled standard deviations over seeds. Of drops and variances the smaller is the "
        "better. p: the smaller of the two one-sided p-values, corrected.",
        section="Claims",
    ),
)
