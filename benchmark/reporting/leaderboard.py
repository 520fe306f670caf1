"""The leaderboard: every algorithm on every environment, on one page that sorts and needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_scores,
    by_setting,
    entries,
    headline_split,
    nothing_held_out,
    of_role,
    paper,
    top_role,
)
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.reporting.tables import NONE, fixed, mean_std

OURS = "this ledger"


@dataclass(frozen=True)
class Cell:
    """What is printed, and the number it is sorted by; None stands last."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Standing:
    """One algorithm's row."""

    algorithm: str
    role: str
    origin: str
    score: Cell
    cells: tuple[Cell, ...]
    seeds: Cell
    code: str

    @property
    def numbers(self) -> tuple[Cell, ...]:
        """Score, returns and seeds, in the order of the page."""
        return (self.score, *self.cells, self.seeds)


def standings(ledger: Ledger) -> tuple[list[str], list[Standing]]:
    """The environments, and a row for every algorithm, the highest mean score first.

    The score is 0 at the lower yardstick and 1 at the upper, mean over the paper's environments where the
    upper is above the lower; who lacks one of these has none.
    """
    groups = list(by_setting(entries(ledger, split=headline_split())).values())
    top = top_role(entries(ledger))
    labels = list(dict.fromkeys(entry.label for group in groups for entry in group))
    scores: dict[str, list[float]] = {label: [] for label in labels}
    scored = [group for group in groups if _range(group, top) and group[0].env in paper()["environments"]]
    for group in scored:
        low, high = _range(group, top) or (0.0, 0.0)
        for entry in group:
            scores[entry.label].append(float(metrics.normalised(_mean(entry), low, high)))
    rows = []
    for label in labels:
        own = [next((entry for entry in group if entry.label == label), None) for group in groups]
        rows.append(_standing(own, scores[label] if len(scores[label]) == len(scored) else []))
    rows.sort(key=lambda row: (row.score.value is None, -(row.score.value or 0.0)))
    return [group[0].first.card.env_label for group in groups], rows


def page(ledger: Ledger, room: Any, generator: str) -> str:
    """The page, from its template."""
    environments, rows = standings(ledger)
    return room.get_template("leaderboard.html").render(
        generator=generator,
        environments=environments,
        rows=rows,
        preset=", ".join(ledger.protocols),
        split=headline_split(),
        held_out=nothing_held_out(ledger),
        about_scores=about_scores(ledger),
    )


def _standing(own: list[Entry | None], scores: list[float]) -> Standing:
    there = [entry for entry in own if entry is not None]
    first = there[0].first
    counts = [len(entry.seeds()) for entry in there]
    few, many = min(counts), max(counts)
    score = Cell(fixed(float(np.mean(scores))), float(np.mean(scores))) if scores else Cell(NONE)
    runs = (run for entry in there for run in entry.runs)
    codes = dict.fromkeys(card.provenance.git[:12] for run in runs for card in run.cards)
    return Standing(
        algorithm=first.variant,
        role=first.role,
        origin=first.origin or OURS,
        score=score,
        cells=tuple(_cell(entry) if entry else Cell(NONE) for entry in own),
        seeds=Cell(str(few) if few == many else f"{few}–{many}", few),
        code=", ".join(codes),
    )


def _cell(entry: Entry) -> Cell:
    seeds = entry.returns(entry.first.headline).mean(1)  # [S]
    return Cell(mean_std(float(seeds.mean()), metrics.std(seeds)), float(seeds.mean()))


def _mean(entry: Entry) -> float:
    return float(entry.returns(entry.first.headline).mean())


def _range(group: list[Entry], top: str) -> tuple[float, float] | None:
    """The means of the lower yardstick and of that role's; None where one lacks, or they measure nothing."""
    lows, tops = of_role(group, "lower"), of_role(group, top)
    if not lows or not tops:
        return None
    low, high = _mean(lows[0]), _mean(tops[0])
    return (low, high) if high > low else None
