"""Claims: hypotheses that were declared before their results, each with the comparisons that it stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from comrl.benchmark.reporting.ledger import Ledger

Least = Literal["all", "almost all", "most"]
"""Of how many comparisons a claim must hold: of all, of all but one in six, or of more than half."""


class Weight(NamedTuple):
    """How much one comparison speaks for its claim."""

    probability: float
    """How often a run speaks for the claim; 0.5: as often as not."""
    whole: tuple[float, float]
    """Its 95 % interval with whole seeds drawn again, which the verdict goes by."""
    stratified: tuple[float, float]
    """The narrower one, where every task draws its own seeds."""
    chance_for: float
    chance_against: float
    """One-sided p-values: how likely so much for the claim, or against it, is where there is nothing."""


class Evidence(Protocol):
    """What a comparison found: two sides, seeds on either side of a bar, or a statement that has to hold."""

    def weigh(self) -> Weight:
        """How much it speaks for the claim."""
        ...

    def least_seeds(self, level: float) -> int:
        """With fewer seeds than these no result could be so unlikely."""
        ...


class Side(NamedTuple):
    """One side of a comparison in print: an algorithm, or a bar.

    A bar that hangs on an algorithm's runs names it too.
    """

    label: str
    algo: str = ""
    seeds: int = 0
    value: float | None = None
    """Mean over seeds."""
    std: float | None = None
    paper: float | None = None


class Need(NamedTuple):
    """What a comparison lacks: an algorithm's runs, or a test of them."""

    env: str
    split: str
    algo: str
    test: str = ""


class Comparison(NamedTuple):
    """One setting of a claim; without evidence, what it needs, or why nothing can be measured."""

    env: str
    split: str
    setting: str
    ours: Side
    theirs: Side
    evidence: Evidence | None
    needs: tuple[Need, ...] = ()
    test: str = ""
    """The test beside the offline one that it stands on."""
    why: str = ""
    """Why nothing can be measured, though all was run."""


@dataclass(frozen=True)
class Claim:
    """A hypothesis: what it says, where, and which comparisons of a ledger it stands on."""

    name: str
    title: str
    """In a figure."""
    sentence: str
    place: str
    """Where the paper says so."""
    measure: str
    """What is compared, in words."""
    least: Least
    compare: Callable[[Ledger], list[Comparison]]

    def wanted(self, count: int) -> int:
        """Of so many comparisons, how many must hold."""
        return {"all": count, "almost all": count - count // 6, "most": count // 2 + 1}[self.least]
