"""Test returns by the rule that a test task was explored with, the offline context's beside."""

from __future__ import annotations

import pandas as pd

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import Entry, about_environments, entries
from comrl.benchmark.reporting.ledger import EPISODES, Ledger
from comrl.benchmark.reporting.tables import Row, interval, mean_std, once


def returns_by_rule(ledger: Ledger) -> pd.DataFrame | None:
    """Headline score of the last episode after each exploration, and with offline contexts."""
    rows = [
        row
        for entry in entries(ledger)
        for exploration in entry.explorations
        if (table := entry.explored(exploration)) is not None
        for row in [_row(entry, exploration, table)]
    ]
    return pd.DataFrame(rows) if rows else None


def _row(entry: Entry, exploration: str, table: pd.DataFrame) -> Row:
    """One exploration of one entry; offline, the same seeds."""
    score, last = entry.first.headline, table[table["episode"] == table["episode"].max()]
    by_task = last.groupby(["seed", "task"])[score].mean().unstack()
    returns = by_task.to_numpy()  # [S, T]
    tested = [seed in by_task.index for _, _, seed in entry.seeds()]
    offline = entry.returns(score)[tested].mean(1)  # [S]
    low, high = metrics.bootstrap(returns)
    row: Row = {"environment": entry.setting, "algorithm": entry.label, "rule": rule_label(exploration)}
    row |= {"seeds": len(returns), "mean": returns.mean(), "std": metrics.std(returns.mean(1))}
    row |= {"low": low, "high": high, "offline": offline.mean(), "offline_std": metrics.std(offline)}
    return row


def rule_label(exploration: str) -> str:
    """A rule in print, with its episodes where they are not the usual ones."""
    rule, _, episodes = exploration.partition(".")
    return f"{rule}, {episodes} episode{'s' * (episodes != '1')}" if episodes else rule


def show_by_rule(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean (std) after each exploration, the interval of its IQM, and offline."""
    cells = {
        label: [mean_std(*pair) for pair in zip(frame[name], frame[deviation], strict=True)]
        for name, deviation, label in (
            ("mean", "std", "last episode"),
            ("offline", "offline_std", "offline context"),
        )
    }
    ends = zip(frame["low"], frame["high"], strict=True)
    return pd.DataFrame(
        {
            "environment": once(frame["environment"]),
            "algorithm": frame["algorithm"],
            "rule": frame["rule"],
            "last episode": cells["last episode"],
            "IQM 95 %": [interval(*pair) for pair in ends],
            "offline context": cells["offline context"],
        }
    )


FIGURES = (
    Figure(
        name="exploration",
        title="Test return by rule of exploration",
        kind="table",
        make=returns_by_rule,
        show=show_by_rule,
        caption=f"The last episode of trials on a test task, after {EPISODES - 1} episodes (or as many as a "
        "row says) that explored it by a rule. prior: half of them with embeddings of the prior, then with "
        "the task inferred. random: uniform actions in the first half of the steps, then with the task "
        "inferred (as CSRO tests). best: embeddings of training tasks far from those tried, the best episode "
        "kept as context, and its embedding in the last episode (as IDAQ tests). Beside it the same policies "
        "with offline contexts. Headline score, mean (standard deviation over seeds).",
        note=about_environments,
        section="Results",
        needs="bench run --env {envs} --algo {algos} --context online --explore prior random",
    ),
)
