"""Rare rates: exact bounds against other libraries, and credibility against its textbook moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from shadowprice.estimators.confidence import exact_rate, one_sided, percentiles, upper_rate
from shadowprice.estimators.rates import credibility


@pytest.mark.parametrize(("events", "trials"), [(0, 40), (1, 40), (7, 300), (40, 40)])
def test_exact_intervals_are_those_of_scipy(events: int, trials: int) -> None:
    """Kills swapped beta parameters and a tail that is split twice."""
    other = stats.binomtest(events, trials).proportion_ci(0.95, method="exact")
    assert exact_rate(events, trials) == pytest.approx((other.low, other.high))
    one = stats.binomtest(events, trials, alternative="less").proportion_ci(0.95, method="exact")
    assert upper_rate(events, trials) == pytest.approx(one.high)


def test_without_events_the_bound_is_the_rule_of_three() -> None:
    """Kills a rate of 0 where nothing happened yet."""
    assert upper_rate(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert upper_rate(0, 300) == pytest.approx(3 / 300, rel=0.01)


def test_the_upper_end_at_the_one_sided_level_is_a_one_sided_bound() -> None:
    """Kills a one-sided bound at 97.5 %."""
    assert exact_rate(3, 50, level=one_sided(0.95))[1] == pytest.approx(upper_rate(3, 50, level=0.95))


def test_percentiles_leave_equal_tails() -> None:
    """Kills one tail that takes all of alpha."""
    assert percentiles(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_credibility_is_the_formula_of_buhlmann_and_straub() -> None:
    """Kills a wrong degree of freedom in the variance between groups: recomputed group by group."""
    events, trials = np.array([2.0, 30.0, 8.0]), np.array([100.0, 200.0, 400.0])
    common = 40 / 700
    within = common * (1 - common)
    scatter = sum(n * (x / n - common) ** 2 for x, n in zip(events, trials, strict=True))
    between = (scatter - 2 * within) / (700 - sum(n**2 for n in trials) / 700)
    k = within / between
    expected = [n / (n + k) * x / n + k / (n + k) * common for x, n in zip(events, trials, strict=True)]
    rates, found = credibility(events, trials)
    assert found == pytest.approx(k)
    np.testing.assert_allclose(rates, expected)


def test_groups_that_differ_by_chance_only_share_one_rate() -> None:
    """Kills a negative variance, which would push groups away from each other."""
    rates, k = credibility(np.array([5.0, 5.0]), np.array([100.0, 100.0]))
    assert math.isinf(k)
    np.testing.assert_allclose(rates, 0.05)


def test_pooled_rates_are_nearer_the_truth_than_single_ones() -> None:
    """Kills pooling that does not pay: 2,000 groups of 50 decisions, true rates around 5 %."""
    rng = np.random.default_rng(0)
    true = rng.beta(5, 95, 2000)
    trials = np.full(2000, 50.0)
    events = rng.binomial(50, true).astype(float)
    pooled, k = credibility(events, trials)
    assert ((pooled - true) ** 2).mean() < 0.5 * ((events / trials - true) ** 2).mean()
    assert 50 < k < 200  # a Beta(5, 95) law is worth 100 decisions
