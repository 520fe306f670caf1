"""claims.toml read as claims: which runs of a ledger each row compares, and what they lack."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Claim, Comparison, Evidence, Least, Need, Side
from comrl.benchmark.reporting.claims.evidence import Duel
from comrl.benchmark.reporting.figures.views import (
    Entry,
    entries,
    headline_split,
    paper,
    published,
    setting_label,
)
from comrl.benchmark.reporting.ledger import Ledger

Array = NDArray[np.float64]
Shelf = Mapping[tuple[str, str, str], Entry]
"""Entries by environment, split and algorithm."""


@dataclass(frozen=True)
class Asked:
    """A row of claims.toml."""

    name: str
    title: str
    sentence: str
    place: str
    measure: str
    least: Least
    environments: str | list[str]
    ours: list[str]
    theirs: list[str] = field(default_factory=list)
    yardsticks: list[str] = field(default_factory=list)
    """The lower and the upper."""
    split: str = ""
    """None given: the headline's."""
    splits: dict[str, list[str]] = field(default_factory=dict)
    """By environment, where there are several."""
    at_least: float | None = None
    at_most: float | None = None
    near: float | None = None
    within: float = 0.0
    printed: float | None = None
    """What the paper prints of it."""

    def settings(self) -> Iterator[tuple[str, str]]:
        """Environment and split of every comparison."""
        for env in self._environments():
            for split in self.splits.get(env, [self.split or headline_split()]):
                yield env, split

    def _environments(self) -> list[str]:
        told = paper()["environments"]
        if isinstance(self.environments, list):
            return self.environments
        return {"paper": [*told], "sparse": [env for env in told if "radius" in told[env]]}[self.environments]


class Measured(NamedTuple):
    """An algorithm's runs in one setting."""

    scores: Array
    """[S, T], larger is better."""
    values: Array
    """[S], what is printed."""


def not_printed(env: str, split: str, algo: str) -> float | None:
    """The paper has no such number."""
    return None


@dataclass(frozen=True)
class Measure:
    """What is measured of an algorithm's runs; None where they lack the test for it or do not allow it."""

    of: Callable[[Entry], Measured | None]
    printed: Callable[[str, str, str], float | None] = not_printed
    test: str = ""
    """The test beside the offline one that it needs."""
    lacks: str = ""
    """What they lack where no test would help."""


class Found(NamedTuple):
    """An algorithm in one setting: its side, what was measured, and without that what it needs or lacks."""

    side: Side
    measured: Measured | None = None
    needs: tuple[Need, ...] = ()
    why: str = ""


Finder = Callable[[Asked, Shelf], list[Comparison]]


def claims_of(finders: Mapping[str, Finder]) -> tuple[Claim, ...]:
    """The rows of claims.toml whose measure is one of these."""
    return tuple(claim_of(row, finders[row.measure]) for row in rows() if row.measure in finders)


def claim_of(row: Asked, finder: Finder) -> Claim:
    """A row as a claim that stands on what the finder compares."""
    told = (row.name, row.title, row.sentence, row.place, row.measure, row.least)
    return Claim(*told, compare=lambda ledger: finder(row, shelf(ledger)))


@cache
def rows() -> tuple[Asked, ...]:
    """Every row of claims.toml."""
    told = tomllib.loads((Path(__file__).parent / "claims.toml").read_text("utf-8"))["claims"]
    return tuple(Asked(**row) for row in told)


@lru_cache(maxsize=1)
def shelf(ledger: Ledger) -> Shelf:
    """The ledger's entries, but for those whose overrides make them another algorithm."""
    plain = [entry for entry in entries(ledger) if entry.label == entry.first.card.label]
    return {(entry.env, entry.split, entry.first.algo): entry for entry in plain}


def duels(measure: Measure) -> Finder:
    """Every algorithm of ours against every one of theirs, by a measure."""

    def found(row: Asked, there: Shelf) -> list[Comparison]:
        made = []
        for (env, split), our, their in product(row.settings(), row.ours, row.theirs):
            ours, theirs = (find(there, env, split, algo, measure) for algo in (our, their))
            mine, other = ours.measured, theirs.measured
            evidence = Duel(mine.scores, other.scores) if mine and other else None
            one = comparison(there, (env, split), (ours.side, theirs.side), evidence, (ours, theirs))
            made.append(one._replace(test=measure.test))
        return made

    return found


def find(there: Shelf, env: str, split: str, algo: str, measure: Measure) -> Found:
    """An algorithm in a setting, by a measure."""
    entry = there.get((env, split, algo))
    found = measure.of(entry) if entry else None
    label = entry.label if entry else _label(there, algo)
    printed = measure.printed(env, split, algo)
    if found:
        values = found.values
        return Found(
            Side(label, algo, len(values), float(values.mean()), metrics.std(values), printed), found
        )
    side = Side(label, algo, paper=printed)
    if entry and not measure.test:
        return Found(side, why=f"{label}: {measure.lacks}")
    return Found(side, needs=(Need(env, split, algo, measure.test),))


def _label(there: Shelf, algo: str) -> str:
    """An algorithm in print, from the paper or from its runs elsewhere."""
    elsewhere = (entry.label for (_, _, name), entry in there.items() if name == algo)
    return str(published("algorithms", algo) or next(elsewhere, algo))


def comparison(
    there: Shelf,
    setting: tuple[str, str],
    sides: tuple[Side, Side],
    evidence: Evidence | None,
    parts: Sequence[Found],
    why: str = "",
) -> Comparison:
    """A comparison with its setting in print, and without evidence what its parts need, or why not."""
    env, split = setting
    known = (entry.first.card.env_label for entry in there.values() if entry.env == env)
    label = str(published("environments", env, "label") or next(known, env))
    made = Comparison(env, split, setting_label(label, split), *sides, evidence)
    if evidence:
        return made
    needs = tuple(need for part in parts for need in part.needs)
    reasons = [why, *(part.why for part in parts)]
    return made._replace(needs=needs, why="" if needs else next(filter(None, reasons), ""))
