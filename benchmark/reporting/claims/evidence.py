"""Three kinds of evidence, weighed in one unit: how often a run speaks for the claim."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from comrl.benchmark.reporting import metrics
from comrl.benchmark.reporting.claims import Weight

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Duel:
    """Two algorithms' seeds on the same tasks, [S, T] and [S', T]; larger speaks for ours."""

    ours: Array
    theirs: Array

    def weigh(self) -> Weight:
        """Probability of improvement, and the permutation of whole seeds."""
        return Weight(
            float(metrics.probability_of_improvement(self.ours, self.theirs)),
            metrics.improvement_interval(self.ours, self.theirs, whole_seeds=True),
            metrics.improvement_interval(self.ours, self.theirs),
            *metrics.chance_of_dealing(self.ours, self.theirs),
        )

    def least_seeds(self, level: float) -> int:
        """So many on either side have one deal in 1 / level or more."""
        return next(n for n in range(2, 100) if comb(2 * n, n) * level >= 1)


@dataclass(frozen=True, eq=False)
class Bar:
    """How far each seed lies on the claim's side of a bar, [S]."""

    margins: Array

    def weigh(self) -> Weight:
        """Share of the seeds above zero, ties half, and the sign test."""
        above = np.sign(self.margins)[:, None] / 2 + 0.5  # [S, 1]
        interval = metrics.bootstrap(above, metrics.mean_over_runs, whole_seeds=True)
        return Weight(float(above.mean()), interval, interval, *metrics.chance_of_signs(self.margins))

    def least_seeds(self, level: float) -> int:
        """So many fair coins fall alike with that chance or less."""
        return next(n for n in range(2, 100) if level * 2**n >= 1)


@dataclass(frozen=True, eq=False)
class Proof:
    """Whether a statement that must always hold does, seed by seed, [S]; one exception refutes it."""

    holds: NDArray[np.bool_]

    def weigh(self) -> Weight:
        """All or nothing: there is no chance in it."""
        share, always = float(self.holds.mean()), bool(self.holds.all())
        ends = (float(always), float(always))
        return Weight(share, ends, ends, 1.0 - always, float(always))

    def least_seeds(self, level: float) -> int:
        """One."""
        return 1
