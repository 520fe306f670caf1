"""A table of its own: how well the last rewards were foretold."""

from __future__ import annotations

import pandas as pd

from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.ledger import Ledger


def reward_errors(ledger: Ledger) -> pd.DataFrame | None:
    """The last reward error of every run that has one."""
    rows = [
        {"algorithm": run.label, "error": run.curves["reward_error"].dropna().iloc[-1]}
        for run in ledger.runs
        if "reward_error" in run.curves
    ]
    return pd.DataFrame(rows) if rows else None


FIGURES = (
    Figure("reward-errors", "Reward errors", "table", reward_errors, "Last error.", needs="bench run"),
)
