"""Test returns beside the paper's: Table 1, other scores, other training splits, who beats whom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    about_scores,
    best_possible,
    by_setting,
    entries,
    headline_split,
    in_the_paper,
    of_role,
    portrait_of,
    published,
    split_rank,
    top_role,
)
from comrl.benchmark.reporting.ledger import Ledger, Portrait
from comrl.benchmark.reporting.tables import BESIDE, Row, beside, fixed, interval, mean_std, once

BEHAVIOUR = "behaviour data: "


def headline_returns(ledger: Ledger) -> pd.DataFrame | None:
    """Headline score of every algorithm trained on the headline split. [focalpp Table 1]"""
    found = by_setting(entries(ledger, split=headline_split()))
    rows = [row for group in found.values() for row in _block(ledger, group, group[0].first.headline)]
    return pd.DataFrame(rows) if rows else None


def summary(ledger: Ledger) -> pd.DataFrame | None:
    """Table 1 in the paper's own shape: algorithms down, environments across."""
    frame = headline_returns(ledger)
    return (
        None if frame is None else frame[~frame["algorithm"].str.startswith(BEHAVIOUR)].reset_index(drop=True)
    )


def show_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean (std) in every environment, and under it the paper's."""
    rows = []
    environments = frame["environment"].drop_duplicates()
    for algorithm, own in frame.groupby("algorithm", sort=False):
        cells = own.set_index("environment").reindex(environments)
        for name, mean, std in ((algorithm, "mean", "std"), (BESIDE + "paper", "paper_mean", "paper_std")):
            if cells[mean].notna().any():
                numbers = [mean_std(*row) for row in zip(cells[mean], cells[std], strict=True)]
                rows.append([name, *numbers])
    return pd.DataFrame(rows, columns=["algorithm", *environments])


def other_scores(ledger: Ledger) -> pd.DataFrame | None:
    """The scores beside the headline, where an environment has any."""
    rows = []
    for group in by_setting(entries(ledger, split=headline_split())).values():
        for score in list(group[0].first.scores)[1:]:
            rows += _block(ledger, group, score)
    return pd.DataFrame(rows) if rows else None


def other_splits(ledger: Ledger) -> pd.DataFrame | None:
    """Headline score of algorithms trained on any other split, tested with context of that same split."""
    rows = []
    for (_, split), group in by_setting(entries(ledger)).items():
        if split != headline_split():
            rows += _block(ledger, group, group[0].first.headline)
    return pd.DataFrame(rows) if rows else None


def improvements(ledger: Ledger) -> pd.DataFrame | None:
    """Probability that a run of each method beats a run of the first, on the same test task."""
    rows = []
    for group in by_setting(entries(ledger, role="method")).values():
        reference, score = group[0], group[0].first.headline
        for entry in group[1:]:
            ours, theirs = entry.returns(score), reference.returns(score)
            low, high = metrics.improvement_interval(ours, theirs)
            seeds_low, seeds_high = metrics.improvement_interval(ours, theirs, whole_seeds=True)
            rows.append(
                {
                    "environment": entry.setting,
                    "algorithm": entry.label,
                    "over": reference.label,
                    "probability": float(metrics.probability_of_improvement(ours, theirs)),
                    "low": low,
                    "high": high,
                    "seeds_low": seeds_low,
                    "seeds_high": seeds_high,
                }
            )
    return pd.DataFrame(rows) if rows else None


def _block(ledger: Ledger, group: list[Entry], score: str) -> list[Row]:
    """One environment's rows: algorithms, yardsticks, the best possible, and the data's own returns."""
    zero, one = _level(group, "lower", score), _level(group, top_role(entries(ledger)), score)
    rows = [_row(entry, score, zero, one) for entry in group]
    shared = {key: rows[0][key] for key in ("environment", "score", "split")}

    def bare(label: str, value: float) -> Row:
        return shared | {
            "algorithm": label,
            "mean": value,
            "normalised": float(metrics.normalised(value, zero, one)),
        }

    best = best_possible(ledger, group[0].env, score)
    if best is not None:
        rows.append(bare("best possible", float(best.mean())))
    portrait = portrait_of(ledger, group[0].env)
    if portrait is not None:
        test = list(portrait.card.task_set.test)
        for split in _behaviour_splits(portrait, score, group[0].split):
            rows.append(
                bare(BEHAVIOUR + split, float(np.nanmean(portrait.arrays[f"return_{split}_{score}"][test])))
            )
    return rows


def _behaviour_splits(portrait: Portrait, score: str, trained_on: str) -> list[str]:
    """The splits to show: all beside the headline split, else the one that was trained on."""
    known = [split for split in portrait.splits(score) if trained_on in (split, headline_split())]
    return sorted(known, key=split_rank)


def _row(entry: Entry, score: str, zero: float, one: float) -> Row:
    returns = entry.returns(score)  # [S, T]
    seeds = returns.mean(1)
    low, high = metrics.bootstrap(returns)
    seeds_low, seeds_high = metrics.bootstrap(returns, whole_seeds=True)
    told = published("table1", entry.env, entry.first.algo) if in_the_paper(entry.first) else None
    printed = score == entry.first.headline and entry.split == headline_split()
    mean, std = told if told and printed else (np.nan, np.nan)
    return {
        "environment": entry.setting,
        "score": entry.first.scores[score],
        "split": entry.split,
        "algorithm": entry.label,
        "seeds": len(returns),
        "mean": float(seeds.mean()),
        "std": metrics.std(seeds),
        "iqm": float(metrics.interquartile_mean(returns)),
        "low": low,
        "high": high,
        "seeds_low": seeds_low,
        "seeds_high": seeds_high,
        "normalised": float(metrics.normalised(seeds.mean(), zero, one)),
        "paper_mean": mean,
        "paper_std": std,
    }


def _level(group: list[Entry], role: str, score: str) -> float:
    """The mean return of a yardstick; nan without one."""
    found = of_role(group, role)
    return float(found[0].returns(score).mean()) if found else float("nan")


def show_returns(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean (std), IQM with its interval, the normalised score, and the paper's mean (std)."""
    title = frame["environment"] + ", " + frame["score"]
    cells = {
        "environment, score": once(title),
        "algorithm": frame["algorithm"],
        "mean (std)": [mean_std(m, s) for m, s in zip(frame["mean"], frame["std"], strict=True)],
        "IQM": frame["iqm"].map(fixed),
        **_intervals(frame),
        "normalised": frame["normalised"].map(fixed),
        "paper": [mean_std(m, s) for m, s in zip(frame["paper_mean"], frame["paper_std"], strict=True)],
    }
    return pd.DataFrame(cells).drop(columns=[] if frame["paper_mean"].notna().any() else ["paper"])


def show_improvements(frame: pd.DataFrame) -> pd.DataFrame:
    """Probability with its interval."""
    return pd.DataFrame(
        {
            "environment": once(frame["environment"]),
            "algorithm": frame["algorithm"],
            "over": frame["over"],
            "probability": frame["probability"].map(beside),
            **_intervals(frame, beside),
        }
    )


def _intervals(frame: pd.DataFrame, show: Callable[[float | None], str] = fixed) -> dict[str, list[str]]:
    """The two intervals: stratified by task, and with seeds kept whole."""
    named = (("stratified 95 %", "low", "high"), ("whole seeds 95 %", "seeds_low", "seeds_high"))
    return {
        name: [interval(*ends, show) for ends in zip(frame[low], frame[high], strict=True)]
        for name, low, high in named
    }


STATISTICS = (
    "Mean over test tasks (standard deviation over seeds, n − 1) at the last checkpoint. IQM: "
    "interquartile mean over seeds × tasks, with two bootstrap intervals: stratified, where every task "
    "draws its own seeds, and with whole seeds, which keeps together what the tasks of a seed share (with "
    "three seeds about the range of the seeds). Normalised: 0 is the lower yardstick (no task "
    "information), 1 a yardstick that knows the task, in all tables the same: the one that trains on the "
    "test tasks' data too where it is there wherever either is, else the other. A dash where the one is not "
    "above the lower, and there is nothing to measure between them."
)


def _about(ledger: Ledger) -> str:
    """What to know of the environments, and which yardsticks score 0 and 1."""
    return f"{about_scores(ledger)} {about_environments(ledger)}".strip()


FIGURES = (
    Figure(
        name="summary",
        title="Test return at a glance",
        kind="table",
        make=summary,
        show=show_summary,
        caption="Headline score on test tasks, mean (standard deviation over seeds), the paper's "
        "Table 1 under it. The upper yardstick knows the task, the lower one nothing of it: what inference "
        "is worth lies between.",
        note=about_environments,
        section="Summary",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="table1",
        title="Table 1: test return",
        kind="table",
        make=headline_returns,
        show=show_returns,
        caption=STATISTICS + " Best possible: the exact optimum of the same test tasks. Behaviour data: "
        "the return of the episodes that the context is drawn from. The paper's column is its Table 1.",
        note=_about,
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="table1-scores",
        title="Table 1, other scores",
        kind="table",
        make=other_scores,
        show=show_returns,
        caption="The runs of Table 1 under every other score of their environment; columns as there.",
        note=about_scores,
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="table1-splits",
        title="Test return on other training splits",
        kind="table",
        make=other_splits,
        show=show_returns,
        caption=(
            "Trained on another split and tested with context from that same split; columns as in Table 1."
        ),
        note=about_scores,
        section="Distribution shift",
        needs="bench run --env {relabeled_envs} --algo {algos} --split {relabeled}",
    ),
    Figure(
        name="improvement",
        title="Probability of improvement",
        kind="table",
        make=improvements,
        show=show_improvements,
        caption="How often a run of the algorithm beats a run of the reference on the same test task (ties "
        "count half), mean over test tasks, with the two bootstrap intervals of Table 1. An interval that "
        "contains 0.5 leaves the ordering open.",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
