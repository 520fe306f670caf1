"""Distribution shift: test return when the test context comes from another split than the training data."""

from __future__ import annotations

import pandas as pd

from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    entries,
    headline_split,
    in_the_paper,
    published,
)
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import Row, mean_std, once


def shifted_returns(ledger: Ledger) -> pd.DataFrame | None:
    """Training split × context split, with the drop against the context of training. [focalpp Tables 3, 4]"""
    shifted = [entry for entry in entries(ledger, role="method") if len(entry.contexts) > 1]
    elsewhere = {entry.label for entry in shifted if entry.split != headline_split()}
    chosen = [entry for entry in shifted if entry.label in elsewhere or not elsewhere]
    return pd.DataFrame([row for entry in chosen for row in _rows(entry)]) if chosen else None


def _rows(entry: Entry) -> list[Row]:
    score, rows = entry.first.headline, []
    told = (published("table3", entry.env, entry.split) or {}) if in_the_paper(entry.first) else {}
    own, own_told = float(entry.returns(score).mean()), told.get(entry.split, {}).get(entry.first.algo)
    for context in entry.contexts:
        mean, paper = float(entry.returns(score, context).mean()), told.get(context, {}).get(entry.first.algo)
        shifted = context != entry.split
        rows.append(
            {
                "environment": entry.first.card.env_label,
                "training": entry.split,
                "context": context,
                "algorithm": entry.label,
                "mean": mean,
                "drop": own - mean if shifted else None,
                "paper_mean": paper,
                "paper_drop": own_told - paper if shifted and paper is not None else None,
            }
        )
    return rows


def show_shift(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per training and context split, two columns per algorithm: ours and the paper's."""
    keys = ["environment", "training", "context"]
    wide = frame[keys].drop_duplicates().reset_index(drop=True)
    for algorithm, own in frame.groupby("algorithm", sort=False):
        cells = own.set_index(keys).reindex(pd.MultiIndex.from_frame(wide[keys]))
        for name, mean, drop in (
            (algorithm, "mean", "drop"),
            (f"{algorithm}, paper", "paper_mean", "paper_drop"),
        ):
            if own[mean].notna().any():
                wide[name] = [mean_std(*row) for row in cells[[mean, drop]].to_numpy(dtype=float).tolist()]
    wide.insert(0, "environment, training split", once(wide["environment"] + ", " + wide["training"]))
    return wide.drop(columns=["environment", "training"]).rename(columns={"context": "test context"})


FIGURES = (
    Figure(
        name="table3",
        title="Table 3: distribution shift",
        kind="table",
        make=shifted_returns,
        show=show_shift,
        caption="Test return when the context of the test tasks is drawn from another split than the one "
        "trained on; in parentheses the drop against the training split's own context (negative: a gain). "
        f"The paper's Tables 3 and 4 beside ours; rows trained on {headline_split()} data are those of "
        "Table 1.",
        note=about_environments,
        section="Distribution shift",
        needs="{shift_commands}",
    ),
)
