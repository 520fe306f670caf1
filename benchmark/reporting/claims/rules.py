"""The verdicts: what the comparisons of a claim say together, and what would decide it (docs/claims.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Claim, Comparison, Weight
from comrl.benchmark.reporting.ledger import Ledger
from comrl.benchmark.suite import Key, protocol_flags, seeds_for, training_commands
from comrl.ground.discovery import declared

LEVEL = 0.025
"""The chance of a wrong verdict on either side, where all seeds have one distribution (docs/claims.md)."""
Mark = Literal["for", "against", "open", "missing"]
Word = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class Judged:
    """A comparison with what it weighs, its corrected p-values, and what that says."""

    comparison: Comparison
    weight: Weight | None
    corrected_for: float
    corrected_against: float

    @property
    def mark(self) -> Mark:
        """For or against where the corrected p-value is small and the interval on that side; else open.

        Missing is what lacks runs alone: what they cannot measure stays open.
        """
        if self.weight is None:
            return "missing" if self.comparison.needs else "open"
        low, high = self.weight.whole
        if self.corrected_for <= LEVEL and low > 0.5:
            return "for"
        return "against" if self.corrected_against <= LEVEL and high < 0.5 else "open"


@dataclass(frozen=True)
class Verdict:
    """A claim, judged."""

    claim: Claim
    judged: tuple[Judged, ...]

    def count(self, mark: Mark) -> int:
        """How many comparisons have this mark."""
        return sum(one.mark == mark for one in self.judged)

    @property
    def unmeasurable(self) -> int:
        """How many of the open ones no run here can measure."""
        return sum(one.weight is None and one.mark == "open" for one in self.judged)

    @property
    def wanted(self) -> int:
        """How many must hold."""
        return self.claim.wanted(len(self.judged))

    @property
    def word(self) -> Word:
        """Supported where enough hold, refuted where so many fail that enough cannot, else undecided."""
        if self.judged and self.count("for") >= self.wanted:
            return "supported"
        left = len(self.judged) - self.wanted
        return "refuted" if self.count("against") > left else "undecided"


@lru_cache(maxsize=1)
def verdicts(ledger: Ledger) -> tuple[Verdict, ...]:
    """Every declared claim, judged by a ledger, in the order of their names."""
    claims = declared("comrl.benchmark.reporting.claims", "CLAIMS")
    return tuple(judge(claim, ledger) for claim in sorted(claims, key=lambda claim: _natural(claim.name)))


def _natural(name: str) -> list[tuple[int, str]]:
    """C2 before C10."""
    return [(int(digits or 0), letters) for digits, letters in re.findall(r"(\d+)|(\D+)", name)]


def judge(claim: Claim, ledger: Ledger) -> Verdict:
    """Weigh the comparisons of a claim, and correct for their number; those without runs count too."""
    found = claim.compare(ledger)
    weights = [one.evidence.weigh() if one.evidence else None for one in found]
    favour = metrics.step_up([weight.chance_for if weight else 1.0 for weight in weights])
    contra = metrics.step_up([weight.chance_against if weight else 1.0 for weight in weights])
    rows = zip(found, weights, favour.tolist(), contra.tolist(), strict=True)
    return Verdict(claim, tuple(Judged(*row) for row in rows))


def remedies(verdict: Verdict, ledger: Ledger) -> list[str]:
    """The commands that would decide a claim: runs and tests that are missing, or else more seeds.

    None where all that is open cannot be measured here.  They are for results in `results`, wherever these
    lie: the same ledger gives the same words.
    """
    if verdict.word != "undecided":
        return []
    lacking = [need for one in verdict.judged if one.mark == "missing" for need in one.comparison.needs]
    protocol = ledger.runs[0].protocol
    preset, flags = protocol.partition(",")[0], protocol_flags(protocol)
    if lacking:
        trained = {(run.env, run.split, run.algo) for run in ledger.own.runs}
        asked = {(need.env, need.split, need.algo): need.test for need in lacking}
        tested = {key: test for key, test in asked.items() if test}
        untrained = [key for key in asked if key not in tested or key not in trained]
        wanted = {key: seeds_for(*key, preset) for key in untrained}
        return [*training_commands(wanted, flags), *_tests(tested, preset)]
    wanted, tested = {}, {}
    for one in verdict.judged:
        if one.mark == "open":
            for key, seeds in _more_seeds(one.comparison, LEVEL / len(verdict.judged)):
                wanted[key] = max(seeds, wanted.get(key, 0))
                tested |= {key: one.comparison.test} if one.comparison.test else {}
    return [*training_commands(wanted, flags), *_tests(tested, preset)]


def _more_seeds(one: Comparison, level: float) -> list[tuple[Key, int]]:
    """So many that the level can be reached; where it could be already, twice as many."""
    if one.evidence is None:
        return []
    sides = [side for side in (one.ours, one.theirs) if side.seeds]
    least, fewest = one.evidence.least_seeds(level), min(side.seeds for side in sides)
    seeds = least if fewest < least else 2 * fewest
    return [((one.env, one.split, side.algo), seeds) for side in sides if side.seeds < seeds]


def _tests(tests: Mapping[Key, str], preset: str) -> list[str]:
    """The commands that test what is trained in other ways too."""
    return [
        f"bench test --context {test} --run "
        + " ".join(f"results/runs/{env}.{split}.{preset}.{algo}.*" for env, split, algo in keys)
        for test in sorted(set(tests.values()))
        if (keys := sorted(key for key in tests if tests[key] == test))
    ]
