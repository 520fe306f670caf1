"""Test returns with contexts that policies collect themselves, apart from those with offline contexts."""

from __future__ import annotations

import pandas as pd

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import about_environments, entries
from comrl.benchmark.reporting.ledger import EPISODES, FROM_PRIOR, Ledger
from comrl.benchmark.reporting.tables import interval, mean_std, once


def online_returns(ledger: Ledger) -> pd.DataFrame | None:
    """Headline score of trials: the episodes from the prior, and those of an inferred task."""
    rows = []
    for entry in entries(ledger):
        returns = entry.online(entry.first.headline)  # [S, T, episodes]
        if returns is None:
            continue
        before, after = returns[..., :FROM_PRIOR].mean(-1), returns[..., FROM_PRIOR:].mean(-1)  # [S, T]
        low, high = metrics.bootstrap(after)
        row = {"environment": entry.setting, "algorithm": entry.label, "seeds": len(returns)}
        row |= {"prior_mean": before.mean(), "prior_std": metrics.std(before.mean(1))}
        row |= {"mean": after.mean(), "std": metrics.std(after.mean(1))}
        row |= {"iqm": float(metrics.interquartile_mean(after)), "low": low, "high": high}
        rows.append(row)
    return pd.DataFrame(rows) if rows else None


def show_online(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean (std) before and after the task is inferred, IQM with its interval."""
    return pd.DataFrame(
        {
            "environment": once(frame["environment"]),
            "algorithm": frame["algorithm"],
            "from the prior": [
                mean_std(*x) for x in zip(frame["prior_mean"], frame["prior_std"], strict=True)
            ],
            "task inferred": [mean_std(*x) for x in zip(frame["mean"], frame["std"], strict=True)],
            "IQM 95 %": [interval(*ends) for ends in zip(frame["low"], frame["high"], strict=True)],
        }
    )


FIGURES = (
    Figure(
        name="online",
        title="Test return on self-collected contexts",
        kind="table",
        make=online_returns,
        show=show_online,
        caption=f"Every trial plays {EPISODES} episodes of a test task: {FROM_PRIOR} with embeddings of the "
        "prior (a standard normal where embeddings are Gaussian, else the embedding of a random training "
        "task), then with the task inferred from all that the trial has seen. Headline score, mean (standard "
        "deviation over seeds). Not comparable with tables of offline contexts.",
        note=about_environments,
        section="Results",
        needs="bench run --env {envs} --algo {algos} --context online",
    ),
)
