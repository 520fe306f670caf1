"""The few statistics of the report, numpy only: location, spread, uncertainty and comparison of returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

RESAMPLES = 2000


def spread(values: ArrayLike) -> float:
    """Sample standard deviation (one degree of freedom lost); 0 for a single value."""
    sample = np.asarray(values, dtype=np.float64)
    return float(sample.std(ddof=1)) if sample.size > 1 else 0.0


def interquartile_mean(values: ArrayLike) -> Array:
    """Mean of the values left after a quarter is cut off either end, rounded down.  [..., S, T] -> [...]."""
    scores = np.asarray(values, dtype=np.float64)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)  # [..., S * T]
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean_over_runs(values: ArrayLike) -> Array:
    """Mean over seeds and tasks.  [..., S, T] -> [...]."""
    return np.asarray(values, dtype=np.float64).mean((-2, -1))


def stratified_bootstrap(
    scores: ArrayLike, statistic: Statistic = interquartile_mean, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of a statistic when every task's seeds are drawn again.  scores: [S, T]."""
    table = np.asarray(scores, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(len(table), size=(resamples, *table.shape))
    again = np.take_along_axis(table[None], draws, axis=1)  # [resamples, S, T]
    low, high = np.quantile(statistic(again), [0.025, 0.975])
    return float(low), float(high)


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> Array:
    """How often ours beats theirs on one task, ties half, mean over tasks.  [..., S, T] -> [...]."""
    gap = np.asarray(ours)[..., :, None, :] - np.asarray(theirs)[..., None, :, :]  # [..., S, S', T]
    return (np.sign(gap) / 2 + 0.5).mean((-3, -2, -1))


def improvement_interval(
    ours: ArrayLike, theirs: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % stratified bootstrap interval of the probability of improvement.  [S, T], [S', T]."""
    draw = np.random.default_rng(seed)
    again = []
    for table in (np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)):
        rows = draw.integers(len(table), size=(resamples, *table.shape))
        again.append(np.take_along_axis(table[None], rows, axis=1))
    low, high = np.quantile(probability_of_improvement(*again), [0.025, 0.975])
    return float(low), float(high)


def auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties half (Mann-Whitney); nan without both classes."""
    values, label = np.asarray(score, dtype=np.float64), np.asarray(positive, dtype=bool)
    yes, no = int(label.sum()), int((~label).sum())
    if not yes or not no:
        return float("nan")
    _, where, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[where]  # ties share their mean rank
    return float((rank[label].sum() - yes * (yes + 1) / 2) / (yes * no))


def normalised(value: ArrayLike, lower: float, upper: float) -> Any:
    """0 at the lower yardstick, 1 at the upper; nan where the two coincide."""
    return (np.asarray(value) - lower) / (upper - lower) if upper != lower else np.full_like(value, np.nan)


def embedding_variance(z: ArrayLike) -> float:
    """Variance over context draws, mean over tasks and latent dims. [focalpp Table 2]  z: [T, D, Z]."""
    return float(np.asarray(z, dtype=np.float64).var(axis=-2, ddof=1).mean())


def between_task_variance(z: ArrayLike) -> float:
    """Variance over tasks of the mean embedding, averaged over latent dimensions.  z: [T, D, Z]."""
    return float(np.asarray(z, dtype=np.float64).mean(-2).var(axis=0, ddof=1).mean())


def sparsity_threshold(var_nonsparse: ArrayLike, var_sparse: ArrayLike) -> Any:
    """Share of absolutely sparse transitions above which a gate lowers variance. [focalpp eq. 34]"""
    nonsparse = np.asarray(var_nonsparse, dtype=np.float64)
    return nonsparse / (nonsparse + np.asarray(var_sparse, dtype=np.float64))
