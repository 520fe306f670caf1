"""Contexts that other tasks' agents drew: what each method loses by them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures import Figure, style
from comrl.benchmark.reporting.figures.views import Entry, by_setting, entries, return_label
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import Row, fixed, mean_std, once


def tested(ledger: Ledger) -> dict[tuple[str, str], list[tuple[Entry, pd.DataFrame]]]:
    """Entries with such a test, by environment and split, and the test's table."""
    groups = by_setting(entry for entry in entries(ledger) if entry.shifted() is not None)
    return {
        key: [(entry, table) for entry in group if (table := entry.shifted()) is not None]
        for key, group in groups.items()
    }


def returns_by_behaviour(ledger: Ledger) -> pd.DataFrame | None:
    """Headline score with contexts of the task's own agent, and of other tasks' agents."""
    rows: list[Row] = []
    for group in tested(ledger).values():
        for entry, table in group:
            own = table["behaviour"] == table["task"]
            (mean, std), (other, other_std) = (
                _mean_std(part, entry.first.headline) for part in (table[own], table[~own])
            )
            row: Row = {"environment": entry.setting, "algorithm": entry.label, "own": mean, "own_std": std}
            rows.append(row | {"others": other, "others_std": other_std, "lost": mean - other})
    return pd.DataFrame(rows) if rows else None


def _mean_std(table: pd.DataFrame, score: str) -> tuple[float, float]:
    """Of the seeds' means."""
    means = table.groupby("seed")[score].mean().to_numpy()
    return float(means.mean()), metrics.std(means)


def show_shifted(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean (std) of both, and the difference."""
    cells = {
        label: [mean_std(*pair) for pair in zip(frame[name], frame[f"{name}_std"], strict=True)]
        for name, label in (("own", "own agent's context"), ("others", "other agents' contexts"))
    }
    return pd.DataFrame(
        {"environment": once(frame["environment"]), "algorithm": frame["algorithm"], **cells}
        | {"lost": frame["lost"].map(fixed)}
    )


def shift_by_distance(ledger: Ledger) -> style.Drawing | None:
    """A panel per environment: return against how far the behaviour's task is from the test task."""
    groups = {key: group for key, group in tested(ledger).items() if len(ranks_of(group[0][1])) > 2}
    if not groups:
        return None
    figure, axes = style.panels(len(groups), height=2.0)
    looks = style.looks(ledger)
    for axis, group in zip(axes, groups.values(), strict=True):
        for entry, table in group:
            by_rank = table.assign(rank=rank_of(table)).groupby("rank")
            distance, scores = by_rank["distance"].mean(), by_rank[entry.first.headline].mean()
            axis.plot(distance, scores, markersize=3, label=entry.label, **looks[entry.label])
        first = group[0][0]
        axis.set_title(first.setting)
        axis.set_xlabel("distance of the behaviour's task")
        axis.set_ylabel(return_label(first.first.scores[first.first.headline]).replace(", ", ",\n"))
        axis.grid(axis="y")
    style.legend_below(figure, axes)
    return figure


def rank_of(table: pd.DataFrame) -> pd.Series:
    """The rank of each row's behaviour by its distance from the row's test task; 0 is the task itself."""
    return table.groupby(["seed", "task"])["distance"].rank(method="first").astype(int) - 1


def ranks_of(table: pd.DataFrame) -> list[int]:
    """The ranks there are."""
    return sorted(np.unique(rank_of(table)).tolist())


NEEDS = "bench test --context shifted --run results/runs/*"
FIGURES = (
    Figure(
        name="behaviour_shift",
        title="Contexts that other tasks' agents drew",
        kind="table",
        make=returns_by_behaviour,
        show=show_shifted,
        caption="The test task's context is made of rows that another task's agent left, with the rewards "
        "that the test task gives them. Ten other tasks stand in, from the nearest to the farthest. Headline "
        "score, mean (standard deviation over seeds); lost: the difference. Not comparable with tables of "
        "other contexts.",
        section="Distribution shift",
        needs=NEEDS,
    ),
    Figure(
        name="shift_by_distance",
        title="Return by distance of the behaviour's task",
        kind="figure",
        make=shift_by_distance,
        caption="From the task's own agent (left) to those of far tasks: mean over seeds and test tasks. A "
        "method that infers the task and not the behaviour has a level line. Environments of two tasks are "
        "in the table alone.",
        section="Distribution shift",
        needs=NEEDS,
    ),
)
