"""The load on irreversible losses: the formula by hand, posteriors, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scipy import stats
from shadowprice.errors import ConfigError
from shadowprice.estimators.irreversible import Reviews, irreversible_load
from shadowprice.estimators.risk_mean import Interval

LOSS = Interval(value=2.0, lower=1.5, upper=2.7, clusters=50)
RATE = Interval(value=0.1, lower=0.08, upper=0.125, clusters=50)
REVIEWS = Reviews(bad=40, caught=36, good=400, passed=380, delay_usd=1.0, ask_usd=0.05)


def test_the_load_is_what_asking_first_would_have_saved() -> None:
    """Kills a lost term: 1 + (s E - (1 - p) (1 - P) V_delay - H) / E with Jeffreys posterior means."""
    s, p = 36.5 / 41, 380.5 / 401
    expected = 1 + (s * 2.0 - (1 - p) * 0.9 * 1.0 - 0.05) / 2.0
    found = irreversible_load(LOSS, RATE, REVIEWS, seed=0)
    assert isinstance(found, Interval)
    assert found.value == pytest.approx(expected, rel=2e-3)
    assert found.lower < found.value < found.upper


def test_more_reviews_narrow_the_interval_and_the_seed_fixes_it() -> None:
    """Kills posteriors that ignore counts, and draws without a seed."""
    many = Reviews(bad=4000, caught=3600, good=40_000, passed=38_000, delay_usd=1.0, ask_usd=0.05)
    few, more = (irreversible_load(LOSS, RATE, r, seed=0) for r in (REVIEWS, many))
    assert isinstance(few, Interval)
    assert isinstance(more, Interval)
    assert more.upper - more.lower < 0.5 * (few.upper - few.lower)
    assert irreversible_load(LOSS, RATE, REVIEWS, seed=0) == few


def test_the_interval_holds_the_middle_of_the_posterior_of_the_sensitivity() -> None:
    """Kills a normal approximation: with free questions and good actions never stopped, load = 1 + s."""
    free = Reviews(bad=20, caught=19, good=0, passed=0, delay_usd=0.0, ask_usd=0.0)
    low, high = stats.beta(19.5, 1.5).ppf([0.025, 0.975])
    found = irreversible_load(LOSS, RATE, free, seed=1)
    assert isinstance(found, Interval)
    assert found.lower == pytest.approx(1 + low, abs=0.01)
    assert found.upper == pytest.approx(1 + high, abs=0.005)


def test_asking_that_does_not_pay_has_no_negative_value() -> None:
    """Kills a load below 1: one need not ask."""
    dear = irreversible_load(LOSS, RATE, replace(REVIEWS, ask_usd=50.0), seed=0)
    assert isinstance(dear, Interval)
    assert (dear.value, dear.lower, dear.upper) == (1.0, 1.0, 1.0)


def test_few_reviewed_bad_actions_need_the_users_numbers() -> None:
    """Kills a sensitivity read off nine cases."""
    nine = replace(REVIEWS, bad=9, caught=9)
    refused = irreversible_load(LOSS, RATE, nine, seed=0)
    assert isinstance(refused, str)
    assert "9 bad actions were reviewed; 10 are needed" in refused
    stated = replace(nine, sensitivity=0.8, specificity=1.0, ask_usd=0.0)
    found = irreversible_load(LOSS, RATE, stated, seed=0)
    assert isinstance(found, Interval)
    assert found.value == pytest.approx(1.8)


def test_a_loss_that_may_be_0_has_no_load() -> None:
    """Kills a division by a loss that is not there."""
    nothing = Interval(value=0.5, lower=0.0, upper=2.0, clusters=5)
    assert isinstance(irreversible_load(nothing, RATE, REVIEWS, seed=0), str)


@pytest.mark.parametrize(
    "change",
    [{"caught": 41}, {"passed": -1}, {"sensitivity": 1.2}, {"delay_usd": float("nan")}, {"ask_usd": -1.0}],
)
def test_impossible_reviews_are_one_clear_error(change: dict[str, Any]) -> None:
    """Kills counts and shares that no review can have."""
    with pytest.raises(ConfigError, match="Reviews"):
        replace(REVIEWS, **change)
