"""One critical value for many comparisons: against exact values, a naive bootstrap, and as a statistic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.simultaneous import holm, sup_t
from statsmodels.stats.multitest import multipletests


def rng(seed: int = 0) -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(seed)


def test_one_comparison_has_the_critical_value_of_one_interval() -> None:
    """Kills: widening an interval that stands alone."""
    assert sup_t(rng().normal(size=(50, 1)), 12.0, rng=rng()) == critical_t(12.0)


def test_independent_comparisons_have_sidaks_value() -> None:
    """Kills: taking a quantile of one column, or halving the level. Tolerance: 20,000 draws, sd 0.012."""
    influence = np.repeat(np.eye(8), 10, axis=0)
    assert sup_t(influence, np.inf, rng=rng()) == pytest.approx(
        stats.norm.isf((1 - 0.95 ** (1 / 8)) / 2), abs=0.04
    )


def test_equal_comparisons_cost_nothing() -> None:
    """Kills: a Bonferroni or Sidak value that ignores that all columns move together."""
    column = rng().normal(size=(60, 1))
    assert sup_t(np.hstack([column] * 5), np.inf, rng=rng()) == pytest.approx(critical_t(np.inf), abs=0.03)


def test_correlated_comparisons_agree_with_a_naive_multiplier_bootstrap() -> None:
    """Kills: drawing from another covariance than that of the cluster sums."""
    influence = rng(1).normal(size=(80, 4)) @ rng(2).normal(size=(4, 4))
    weights = rng(3).normal(size=(20_000, 80))
    naive = np.abs(weights @ influence / np.sqrt((influence**2).sum(axis=0))).max(axis=1)
    assert sup_t(influence, np.inf, rng=rng(4)) == pytest.approx(np.quantile(naive, 0.95), abs=0.04)


def test_the_units_of_a_comparison_do_not_matter() -> None:
    """Kills: a maximum over columns that were not divided by their own deviation."""
    influence = rng(5).normal(size=(40, 3))
    assert sup_t(influence * [1.0, 1e-6, 1e6], 20.0, rng=rng(6)) == pytest.approx(
        sup_t(influence, 20.0, rng=rng(6)), rel=1e-6
    )


def test_comparisons_without_an_interval_are_left_out() -> None:
    """Kills: a NaN or a division by zero where a column is empty."""
    influence = np.column_stack([rng().normal(size=40), np.zeros(40), np.full(40, np.nan)])
    assert sup_t(influence, 9.0, rng=rng()) == critical_t(9.0)


def test_few_clusters_widen_within_the_bounds() -> None:
    """Kills: Webb multipliers that leave the range from one interval to Sidak's."""
    influence = rng(7).normal(size=(12, 6))
    value = sup_t(influence, 11.0, rng=rng(8))
    assert critical_t(11.0) < value <= critical_t(11.0, level=0.95 ** (1 / 6))


def test_all_intervals_hold_together_as_often_as_they_claim() -> None:
    """Kills: pointwise intervals where simultaneous ones were asked for.

    400 samples of 40 clusters and 10 correlated means: fewer than 364 joint hits of 95 % has probability
    0.1 %; pointwise intervals hold together in about 70 %.
    """
    mix = np.eye(10) + 0.5
    hits = pointwise = 0
    for seed in range(400):
        x = rng(100 + seed).normal(size=(40, 10)) @ mix
        mean, se = x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(40)
        hits += bool((np.abs(mean / se) <= sup_t(x - mean, 39.0, rng=rng(seed), draws=2_000)).all())
        pointwise += bool((np.abs(mean / se) <= critical_t(39.0)).all())
    assert 364 <= hits <= 396
    assert pointwise < 350


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    """Kills: Bonferroni, a step-up in place of a step-down, and adjusted values out of order."""
    p = [0.03, 0.001, 0.2, 0.02, 0.9]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([]) == []
