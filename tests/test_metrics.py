"""The report's statistics against numbers found by other means: by hand, with scipy, with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from comrl.benchmark.reporting import metrics


def test_interquartile_mean_by_hand() -> None:
    # sorted: -50 1 2 | 3 4 5 6 7 8 | 90 100 200
    scores = np.array([[1, 90, 3, 4], [100, 6, 7, 8], [5, 2, -50, 200]], dtype=float)
    by_hand = np.mean([3, 4, 5, 6, 7, 8])
    assert metrics.interquartile_mean(scores) == pytest.approx(by_hand)


@pytest.mark.parametrize("shape", [(3, 20), (3, 5), (1, 7), (10, 1)])
def test_interquartile_mean_is_the_trimmed_mean_of_scipy(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(1).standard_cauchy(shape)
    expected = stats.trim_mean(scores, 0.25, axis=None)
    assert metrics.interquartile_mean(scores) == pytest.approx(expected)
    stacked = np.stack([scores, scores + 1])
    np.testing.assert_allclose(metrics.interquartile_mean(stacked), [expected, expected + 1])


def test_spread_is_the_sample_standard_deviation() -> None:
    assert metrics.std([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(np.sqrt(32 / 7))
    assert np.isnan(metrics.std([3.0]))  # which is not the same as no spread


def test_bootstrap_of_one_task_is_scipys_percentile_interval() -> None:
    seeds = np.random.default_rng(2).normal(size=(30, 1))
    low, high = metrics.bootstrap(seeds, metrics.mean_over_runs)
    other = stats.bootstrap((seeds[:, 0],), np.mean, n_resamples=2_000, method="percentile", random_state=7)
    assert low == pytest.approx(other.confidence_interval.low, abs=0.03)
    assert high == pytest.approx(other.confidence_interval.high, abs=0.03)


def test_bootstrap_is_stratified() -> None:
    """Seeds that agree on every task leave nothing uncertain, however much the tasks differ."""
    scores = np.tile(np.arange(20.0) * 100, (3, 1))
    assert metrics.bootstrap(scores) == (950.0, 950.0)


def test_whole_seeds_keep_the_luck_that_a_seeds_tasks_share() -> None:
    """Seeds that are lucky on every task alike: only whole seeds show how much the mean can move."""
    luck = np.array([[-1.0], [0.0], [1.0]]) + np.zeros((3, 20))
    assert metrics.bootstrap(luck, metrics.mean_over_runs, whole_seeds=True) == (-1.0, 1.0)
    low, high = metrics.bootstrap(luck, metrics.mean_over_runs)
    assert high - low < 0.5
    low, high = metrics.improvement_interval(luck, luck, whole_seeds=True)
    assert low < 0.1 and high > 0.9


def test_one_seed_has_no_interval() -> None:
    """Of one seed nothing can be redrawn: an interval of no width would exclude whatever it does not hit."""
    one, three = np.ones((1, 4)), np.zeros((3, 4))
    for whole in (True, False):
        assert np.isnan(metrics.bootstrap(one, whole_seeds=whole)).all()
        for sides in ((one, three), (three, one)):
            assert np.isnan(metrics.improvement_interval(*sides, whole_seeds=whole)).all()


def test_bootstrap_of_three_seeds_by_enumeration() -> None:
    """Three seeds, one task: all 27 resamples are equally likely, so the quantiles are known."""
    seeds = np.array([[0.0], [1.0], [5.0]])
    every = [np.mean([a, b, c]) for a in seeds for b in seeds for c in seeds]
    low, high = metrics.bootstrap(seeds, metrics.mean_over_runs)
    assert (low, high) == pytest.approx((min(every), max(every)))  # each end has probability 1/27 > 2.5 %
    assert (low, high) == (0.0, 5.0)


def test_bootstrap_repeats() -> None:
    scores = np.random.default_rng(3).normal(size=(3, 20))
    assert metrics.bootstrap(scores) == metrics.bootstrap(scores)
    assert metrics.bootstrap(scores) != metrics.bootstrap(scores, seed=1)


def test_probability_of_improvement_is_mann_whitney() -> None:
    draw = np.random.default_rng(4)
    ours, theirs = draw.integers(0, 6, (5, 8)), draw.integers(0, 5, (4, 8))
    per_task = [stats.mannwhitneyu(ours[:, t], theirs[:, t]).statistic / 20 for t in range(8)]
    assert metrics.probability_of_improvement(ours, theirs) == pytest.approx(np.mean(per_task))
    assert metrics.probability_of_improvement(theirs, ours) == pytest.approx(1 - np.mean(per_task))
    low, high = metrics.improvement_interval(ours, theirs)
    assert 0 <= low < np.mean(per_task) < high <= 1


def test_auc_is_scikit_learns() -> None:
    draw = np.random.default_rng(5)
    label = draw.random(500) < 0.3
    score = np.round(draw.normal(size=500) + label, 1)  # rounded: many ties
    assert metrics.auc(score, label) == pytest.approx(roc_auc_score(label, score))
    assert metrics.auc([1, 2, 3, 4], [False, False, True, True]) == 1.0
    assert np.isnan(metrics.auc([1, 2], [True, True]))


def test_normalised_between_the_yardsticks() -> None:
    value = metrics.normalised([-5.5, -5.0, -5.25], lower=-5.5, upper=-5.0)
    np.testing.assert_allclose(value, [0.0, 1.0, 0.5])
    assert np.isnan(metrics.normalised(1.0, lower=2.0, upper=2.0))
    assert np.isnan(metrics.normalised(1.0, lower=2.0, upper=1.5))  # yardsticks that measure nothing


def test_linear_r2_is_that_of_scikit_learn_and_needs_tasks_of_its_own() -> None:
    from sklearn.linear_model import LinearRegression

    draw = np.random.default_rng(8)
    params = np.concatenate(
        [draw.normal(size=(30, 2)), np.full((30, 1), 3.0)], 1
    )  # the last tells no task apart
    z = np.tanh(params[:, :2] @ draw.normal(size=(2, 4)))[:, None] + 0.1 * draw.normal(size=(30, 7, 4))
    train, test = range(20), range(20, 30)
    mean = z.mean(1)
    fits = [
        LinearRegression().fit(mean[:20], params[:20, p]).score(mean[20:], params[20:, p]) for p in (0, 1)
    ]
    assert metrics.linear_r2(z, params, train, test) == pytest.approx(np.mean(fits))
    assert metrics.linear_r2(params[:, None, :2], params, train, test) == pytest.approx(1.0)
    assert np.isnan(metrics.linear_r2(z, params, range(20), range(19, 30)))  # a test task that was trained on
    assert np.isnan(metrics.linear_r2(z, params, range(9), test))  # five coefficients
    assert np.isnan(metrics.linear_r2(z, params, train, range(20, 21)))  # one task does not vary
    assert np.isnan(metrics.linear_r2(np.where(z > 0, z, np.nan), params, train, test))


def test_variances_against_literal_loops() -> None:
    z = np.random.default_rng(6).normal(size=(4, 6, 3))  # [T, D, Z]
    within = [np.var([z[t, d, k] for d in range(6)]) * 6 / 5 for t in range(4) for k in range(3)]
    assert metrics.embedding_variance(z) == pytest.approx(np.mean(within))
    centre = [[sum(z[t, d, k] for d in range(6)) / 6 for k in range(3)] for t in range(4)]
    between = [np.var([centre[t][k] for t in range(4)]) * 4 / 3 for k in range(3)]
    assert metrics.between_task_variance(z) == pytest.approx(np.mean(between))


def test_threshold_is_where_equation_32_closes() -> None:
    """At the threshold the interval of p' in eq. 32 is empty: its right end equals p = 1 - p_s."""
    nonsparse, sparse = 0.3, 0.2
    p = 1 - metrics.sparsity_threshold(nonsparse, sparse)
    assert ((2 - p) * sparse - p * nonsparse) / (nonsparse + sparse) == pytest.approx(p)
    assert metrics.sparsity_threshold(0.3, 0.2) == pytest.approx(0.6)


def test_dealing_seeds_is_scipys_exact_permutation_test() -> None:
    draw = np.random.default_rng(7)
    table = np.concatenate([draw.integers(0, 9, (4, 6)) + 1, draw.integers(0, 9, (3, 6))])
    found = metrics.chance_of_dealing(table[:4], table[4:])
    for alternative, chance in zip(("greater", "less"), found, strict=True):
        other = stats.permutation_test(
            (np.arange(4), np.arange(4, 7)),
            lambda ours, theirs: float(metrics.probability_of_improvement(table[ours], table[theirs])),
            alternative=alternative,
            vectorized=False,
            n_resamples=np.inf,
        )
        assert chance == pytest.approx(other.pvalue)


@pytest.mark.parametrize(("count", "chance"), [(3, 1 / 20), (5, 1 / 252), (10, 1 / 184756)])
def test_seeds_that_lie_apart_are_one_deal_of_all(count: int, chance: float) -> None:
    scores = np.arange(count)[:, None] + np.zeros(4)
    assert metrics.chance_of_dealing(scores + 100, scores) == pytest.approx((chance, 1.0))


def test_what_is_not_a_number_has_no_small_chance() -> None:
    assert metrics.chance_of_dealing([[1], [np.nan]], [[0], [0]]) == (1.0, 1.0)
    assert metrics.chance_of_signs([np.nan] * 8) == (1.0, 1.0)


def test_dealing_many_seeds_is_drawn_and_repeats() -> None:
    draw = np.random.default_rng(8)
    ours, theirs = draw.normal(0.4, 1, (14, 1)), draw.normal(0, 1, (14, 1))
    found = metrics.chance_of_dealing(ours, theirs)[0]
    exact = stats.mannwhitneyu(ours[:, 0], theirs[:, 0], alternative="greater", method="exact").pvalue
    assert found == pytest.approx(exact, abs=0.005)


def test_dealing_seeds_is_right_where_tasks_share_their_luck() -> None:
    """Two algorithms alike, all tasks of a seed lucky together: one side wins in no more than its share."""
    draw = np.random.default_rng(9)
    luck, noise = draw.normal(size=(400, 10, 1)), 0.1 * draw.normal(size=(400, 10, 20))
    trials = luck + noise  # [400, S + S', T]
    chances = np.array([metrics.chance_of_dealing(x[:5], x[5:])[0] for x in trials])
    assert (chances <= 0.05).mean() < 0.08 and (chances <= 0.5).mean() > 0.4
    stratified = [metrics.improvement_interval(x[:5], x[5:])[0] > 0.5 for x in trials[:60]]
    assert np.mean(stratified) > 0.15  # what the narrower interval would have found in nothing


def test_signs_are_scipys_binomial_test() -> None:
    margins = np.array([0.3, 0.1, -0.2, 0.4, 0.5, 0.6])
    expected = [
        stats.binomtest(5, 6, alternative="greater").pvalue,
        stats.binomtest(1, 6, alternative="greater").pvalue,
    ]
    assert metrics.chance_of_signs(margins) == pytest.approx(tuple(expected))


def test_step_up_by_hand() -> None:
    np.testing.assert_allclose(metrics.step_up([0.01, 0.04, 0.03, 0.5]), [0.04, 0.08, 0.08, 0.5])
    np.testing.assert_allclose(metrics.step_up([0.02] * 6), [0.02] * 6)  # all hold: nothing to correct
    np.testing.assert_allclose(metrics.step_up([0.02, 0.9]), [0.04, 0.9])
