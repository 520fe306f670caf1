"""What a reader of a report must know before its tables: where yardsticks rank nobody, and doubtful runs."""

from __future__ import annotations

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures.views import Entry, by_setting, entries, of_role, top_role
from comrl.benchmark.reporting.ledger import Ledger


def cautions(ledger: Ledger) -> list[str]:
    """Sentences: of each setting where the yardsticks rank nobody, and of each doubt of a run."""
    found = [said for group in by_setting(entries(ledger)).values() for said in _of_yardsticks(group)]
    for run in ledger.runs:
        found += [
            f"{run.card.env_label}, {run.split} data, {run.label}: {doubt}." for doubt in run.card.doubts
        ]
    return found


def _of_yardsticks(group: list[Entry]) -> list[str]:
    """Where the top is no better than the lower yardstick, or worse than a method, whole seeds redrawn."""
    tops, lows = of_role(group, top_role(group)), of_role(group, "lower")
    if not tops:
        return []
    top, where, found = tops[0], group[0].setting, []
    if lows and _interval(top)[0] <= _interval(lows[0])[1]:
        found.append(
            f"{where}: {top.label} and {lows[0].label} cannot be told apart (their intervals overlap), so no "
            "order of methods there is evidence of inference."
        )
    above = [entry.label for entry in of_role(group, "method") if _interval(entry)[0] > _interval(top)[1]]
    if above:
        found.append(
            f"{where}: above the {top.label}, who knows the task: {', '.join(above)}. There control is what "
            "differs, not inference."
        )
    return found


def _interval(entry: Entry) -> tuple[float, float]:
    return metrics.bootstrap(entry.returns(entry.first.headline), whole_seeds=True)
