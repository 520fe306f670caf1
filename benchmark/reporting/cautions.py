"""What a reader of a report must know before its tables: where yardsticks rank nobody, and doubtful runs."""

from __future__ import annotations

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.cards import RunCard
from comrl.benchmark.reporting.figures.views import Entry, by_setting, entries, of_role, top_role
from comrl.benchmark.reporting.ledger import Ledger


def cautions(ledger: Ledger) -> list[str]:
    """Sentences: of each setting where the yardsticks rank nobody, of each doubt of a run, and of seeds that
    were not trained alike.
    """
    every = entries(ledger)
    top = top_role(every)
    found = [said for group in by_setting(every).values() for said in _of_yardsticks(group, top)]
    for run in ledger.runs:
        found += [
            f"{run.card.env_label}, {run.split} data, {run.label}: {doubt}." for doubt in run.card.doubts
        ]
    return found + [said for entry in every if (said := _of_provenance(entry))]


def _of_provenance(entry: Entry) -> str:
    """With what the seeds of an entry were trained, where that was not the same for all; else nothing."""
    told: dict[tuple[str, ...], list[int]] = {}
    for card in (card for run in entry.runs for card in run.cards):
        told.setdefault(made_with(card), []).extend(card.spec.seeds)
    if len(told) < 2:
        return ""
    same = set.intersection(*map(set, told))
    parts = [
        f"seeds {' '.join(map(str, seeds))} with {', '.join(one for one in made if one not in same)}"
        for made, seeds in told.items()
    ]
    return (
        f"{entry.setting}, {entry.label}: not all seeds were trained alike: {'; '.join(parts)}. A difference "
        "between them may be the machine's or the code's."
    )


def made_with(card: RunCard) -> tuple[str, ...]:
    """What a training was made with and may owe its last digits to: code, device, processor, packages."""
    birth = card.provenance
    packages = sorted(f"{name} {version}" for name, version in birth.packages.items())
    processor = [f"processor {birth.processor}"] if birth.processor else []
    return (f"code {birth.git[:12]}", f"{birth.device} ({birth.precision})", *processor, *packages)


def _of_yardsticks(group: list[Entry], role: str) -> list[str]:
    """Where the top is no better than the lower yardstick, or worse than a method, whole seeds redrawn."""
    tops, lows = of_role(group, role), of_role(group, "lower")
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
    """Of the interquartile mean; nan of a single seed, which lies above and below nothing."""
    return metrics.bootstrap(entry.returns(entry.first.headline), whole_seeds=True)
