"""The few statistics of the report, numpy only: location, spread, uncertainty and comparison of returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from math import comb, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

RESAMPLES = 2000
DEALS = 200_000
"""So many ways of dealing seeds to two sides are all tried; of more, so many are drawn."""
TIE = 1e-9  # below which two sums of ranks are one
UNKNOWN = (float("nan"), float("nan"))
"""The interval of fewer than two seeds."""


def std(values: ArrayLike) -> float:
    """Sample standard deviation (one degree of freedom lost); nan for a single value, which has none."""
    sample = np.asarray(values, dtype=np.float64)
    return float(sample.std(ddof=1)) if sample.size > 1 else nan


def interquartile_mean(values: ArrayLike) -> Array:
    """Mean of the values left after a quarter is cut off either end, rounded down.  [..., S, T] -> [...]."""
    scores = np.asarray(values, dtype=np.float64)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)  # [..., S * T]
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean_over_runs(values: ArrayLike) -> Array:
    """Mean over seeds and tasks.  [..., S, T] -> [...]."""
    return np.asarray(values, dtype=np.float64).mean((-2, -1))


def bootstrap(
    scores: ArrayLike, statistic: Statistic = interquartile_mean, *, whole_seeds: bool = False, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic when seeds are drawn again.  scores: [S, T].

    Stratified, as is usual, every task draws its own seeds. But the tasks of one seed share one policy and
    its luck: drawing `whole_seeds` keeps that together, and is the wider and safer interval of the two.
    One seed says nothing of others: nan.
    """
    if len(np.asarray(scores)) < 2:
        return UNKNOWN
    return _interval(statistic(_redrawn(scores, np.random.default_rng(seed), whole_seeds)))


def _redrawn(scores: ArrayLike, draw: np.random.Generator, whole_seeds: bool) -> Array:
    """The table again and again, its seeds redrawn: [S, T] -> [RESAMPLES, S, T]."""
    table = np.asarray(scores, dtype=np.float64)
    rows = draw.integers(len(table), size=(RESAMPLES, len(table), 1 if whole_seeds else table.shape[1]))
    return np.take_along_axis(table[None], np.broadcast_to(rows, (RESAMPLES, *table.shape)), axis=1)


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> Array:
    """How often ours beats theirs on one task, ties half, mean over tasks.  [..., S, T] -> [...]."""
    gap = np.asarray(ours)[..., :, None, :] - np.asarray(theirs)[..., None, :, :]  # [..., S, S', T]
    return (np.sign(gap) / 2 + 0.5).mean((-3, -2, -1))


def improvement_interval(
    ours: ArrayLike, theirs: ArrayLike, *, whole_seeds: bool = False, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of the probability of improvement, seeds redrawn.  [S, T], [S', T].

    nan where a side has one seed, of which nothing can be redrawn.
    """
    if min(len(np.asarray(ours)), len(np.asarray(theirs))) < 2:
        return UNKNOWN
    draw = np.random.default_rng(seed)
    again = [_redrawn(table, draw, whole_seeds) for table in (ours, theirs)]
    return _interval(probability_of_improvement(*again))


def chance_of_dealing(ours: ArrayLike, theirs: ArrayLike) -> tuple[float, float]:
    """How often seeds that are dealt to the two sides anew improve as much, and as little.  [S, T], [S', T].

    These are the one-sided p-values of the permutation test whose statistic is the probability of improvement
    and whose unit is the whole seed: exact for any number of seeds where both sides draw from one
    distribution (docs/claims.md says how far off where they do not). What is not a number decides nothing: 1.
    """
    table = np.concatenate([np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)])
    if np.isnan(table).any():
        return 1.0, 1.0
    gap = table[:, None] - table[None]  # [N, N, T]
    rank = (np.sign(gap) / 2 + 0.5).mean(-1).sum(-1)  # [N]; the probability grows with our side's sum of it
    mine = np.arange(len(np.asarray(ours)))
    dealt = rank[_deals(len(table), len(mine))].sum(-1)
    own = rank[mine].sum()
    return float((dealt >= own - TIE).mean()), float((dealt <= own + TIE).mean())


@lru_cache(maxsize=32)
def _deals(count: int, ours: int) -> NDArray[np.intp]:
    """The members of our side in every deal, or in many that are drawn and the true one: [D, ours]."""
    if comb(count, ours) <= DEALS:
        return np.array(list(combinations(range(count), ours)))
    drawn = np.argsort(np.random.default_rng(0).random((DEALS, count)), axis=1)[:, :ours]
    return np.concatenate([np.arange(ours)[None], drawn])


def chance_of_signs(margins: ArrayLike) -> tuple[float, float]:
    """How often fair coins, one a seed, are as often above zero, and as often below.  [S]."""
    values = np.asarray(margins, dtype=np.float64)

    def at_least(count: int) -> float:
        return sum(comb(values.size, k) for k in range(count, values.size + 1)) / 2**values.size

    return at_least(int((values > 0).sum())), at_least(int((values < 0).sum()))


def step_up(chances: Sequence[float]) -> Array:
    """p-values corrected for their number: Holm's levels, from the largest p down (Hochberg, 1988).  [n]."""
    given = np.asarray(chances, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    corrected = np.empty_like(given)
    corrected[order] = np.minimum.accumulate(given[order] * np.arange(1, given.size + 1))
    return corrected


def auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties half (Mann-Whitney); nan without both classes."""
    values, label = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    yes, no = int(label.sum()), int((~label).sum())
    if not yes or not no:
        return float("nan")
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[where]  # ties share their mean rank
    return float((rank[label].sum() - yes * (yes + 1) / 2) / (yes * no))


def normalised(value: ArrayLike, lower: float, upper: float) -> Array:
    """0 at the lower yardstick, 1 at the upper; nan where the upper is not above the lower."""
    known = np.asarray(value, dtype=np.float64)
    return (known - lower) / (upper - lower) if upper > lower else np.full_like(known, np.nan)


def embedding_variance(z: ArrayLike) -> float:
    """Variance over context draws, mean over tasks and latent dims. [focalpp Table 2]  z: [T, D, Z]."""
    return float(np.asarray(z, dtype=np.float64).var(axis=-2, ddof=1).mean())


def between_task_variance(z: ArrayLike) -> float:
    """Variance over tasks of the mean embedding, averaged over latent dimensions.  z: [T, D, Z]."""
    return float(np.asarray(z, dtype=np.float64).mean(-2).var(axis=0, ddof=1).mean())


def linear_r2(z: ArrayLike, params: ArrayLike, train: Sequence[int], test: Sequence[int]) -> float:
    """R² of the affine map from mean embeddings to task parameters, fitted on training and scored on test
    tasks; mean over the parameters that vary.  z: [T, D, Z], params: [T, P].

    nan where test tasks are training tasks, training tasks fewer than twice the map's coefficients, test
    tasks all alike, or embeddings not finite.
    """
    mean, true = np.asarray(z, dtype=np.float64).mean(-2), np.asarray(params, dtype=np.float64)
    known = np.concatenate([mean, np.ones_like(mean[:, :1])], 1)  # [T, Z + 1]
    train, test = list(train), list(test)
    if {*train} & {*test} or len(train) < 2 * known.shape[1] or not np.isfinite(mean).all():
        return nan
    true = true[:, np.ptp(true[test], axis=0) > 0]
    if not true.size:
        return nan
    fitted = np.linalg.lstsq(known[train], true[train], rcond=None)[0]  # [Z + 1, P]
    missed = np.square(true[test] - known[test] @ fitted).mean(0)  # [P]
    return float((1 - missed / true[test].var(0)).mean())


def sparsity_threshold(var_nonsparse: ArrayLike, var_sparse: ArrayLike) -> Array:
    """Share of absolutely sparse transitions above which a gate lowers variance. [focalpp eq. 34]"""
    nonsparse = np.asarray(var_nonsparse, dtype=np.float64)
    return nonsparse / (nonsparse + np.asarray(var_sparse, dtype=np.float64))
