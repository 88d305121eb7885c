"""The task value at which an action pays: the paper's numbers, and Fieller against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.prices.break_even import break_even_value, fieller

PAPER = np.array([0.05, 1.0, 0.0, -0.01])
"""(dQ, dC, dL, dR) of the worked example in section 2 of the paper."""
NO_NOISE = np.zeros((4, 4))


@pytest.mark.parametrize(("risk_price", "expected"), [(0.0, 20.0), (50.0, 10.0)])
def test_the_papers_example_breaks_even_at_20_and_at_10_once_risk_is_priced(
    risk_price: float, expected: float
) -> None:
    """Kills a wrong sign or a forgotten term in Eq. 1 set to zero."""
    ratio = break_even_value(PAPER, NO_NOISE, math.inf, risk_price=risk_price)
    assert ratio.value == pytest.approx(expected)
    assert (ratio.lower, ratio.upper) == (pytest.approx(expected), pytest.approx(expected))


def test_latency_is_part_of_the_load_when_it_is_priced() -> None:
    """Kills pricing seconds at zero."""
    theta = np.array([0.05, 1.0, 4.0, 0.0])
    assert break_even_value(theta, NO_NOISE, math.inf, latency_price=0.25).value == pytest.approx(40.0)


@given(
    numerator=st.floats(-3, 3),
    denominator=st.floats(0.5, 3),
    sds=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 0.15)),
    correlation=st.floats(-0.95, 0.95),
)
def test_the_interval_is_the_set_of_ratios_that_a_t_test_does_not_reject(
    numerator: float, denominator: float, sds: tuple[float, float], correlation: float
) -> None:
    """Kills a delta-method interval, a dropped covariance and a wrong root."""
    v_nn, v_dd = sds[0] ** 2, sds[1] ** 2
    v_nd = correlation * sds[0] * sds[1]
    critical = critical_t(20.0)

    def statistic(ratio: float) -> float:
        variance = v_nn - 2 * ratio * v_nd + ratio**2 * v_dd
        return abs(numerator - ratio * denominator) - critical * math.sqrt(variance)

    found = fieller(numerator, denominator, v_nn, v_nd, v_dd, critical, level=0.95)
    assert found.lower is not None
    assert found.upper is not None
    centre = numerator / denominator
    assert found.value == pytest.approx(centre)
    assert found.lower == pytest.approx(brentq(statistic, centre - 1e4, centre), abs=1e-6, rel=1e-6)
    assert found.upper == pytest.approx(brentq(statistic, centre, centre + 1e4), abs=1e-6, rel=1e-6)


def test_the_whole_vector_gives_the_same_interval_as_its_two_parts() -> None:
    """Kills a covariance of the load that forgets a price or a cross term."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4)) * np.array([0.003, 0.1, 0.1, 0.003])[:, None]
    cov = root @ root.T
    load = np.array([0.0, 1.0, 0.2, 30.0])
    whole = break_even_value(PAPER, cov, 15.0, latency_price=0.2, risk_price=30.0)
    parts = fieller(
        load @ PAPER, 0.05, load @ cov @ load, load @ cov[:, 0], cov[0, 0], critical_t(15.0), level=0.95
    )
    assert whole.lower == pytest.approx(parts.lower)
    assert whole.upper == pytest.approx(parts.upper)


def test_a_quality_gain_that_may_be_zero_has_no_break_even() -> None:
    """Kills reporting a finite interval for an unbounded ratio."""
    cov = np.diag([0.03**2, 0.01, 0.0, 0.0])
    ratio = break_even_value(PAPER, cov, 30.0)
    assert (ratio.value, ratio.lower, ratio.upper) == (None, None, None)
    assert "covers 0" in str(ratio.reason)


def test_the_gain_becomes_usable_exactly_where_its_own_interval_leaves_zero() -> None:
    """Kills another threshold than the interval of dQ."""
    edge = 0.05 / critical_t(30.0)
    for sd, usable in ((edge * 0.999, True), (edge * 1.001, False)):
        ratio = break_even_value(PAPER, np.diag([sd**2, 0.01, 0.0, 0.0]), 30.0)
        assert (ratio.value is not None) is usable


def test_an_unknown_term_matters_only_when_it_is_priced() -> None:
    """Kills both a NaN that spreads from an unpriced term and a priced unknown taken as 0."""
    theta = np.array([0.05, 1.0, np.nan, -0.01])
    cov = np.full((4, 4), np.nan)
    cov[np.ix_([0, 1], [0, 1])] = np.diag([1e-6, 1e-4])
    assert break_even_value(theta, cov, 30.0).value == pytest.approx(20.0)
    unknown = break_even_value(theta, cov, 30.0, latency_price=0.1)
    assert unknown.value is None
    assert unknown.reason == "a priced term is not identified"


def test_an_action_that_is_better_and_cheaper_has_a_negative_break_even() -> None:
    """Kills clipping: the sign says that it pays at any value."""
    assert break_even_value(np.array([0.05, -1.0, 0.0, 0.0]), NO_NOISE, math.inf).value == pytest.approx(
        -20.0
    )


def test_dollars_scale_the_break_even_and_its_ends() -> None:
    """Kills a unit inside the formula."""
    cov = np.diag([0.01**2, 0.2**2, 0.0, 0.001**2])
    cents = np.diag([1.0, 100.0, 1.0, 1.0])
    base = break_even_value(PAPER, cov, 30.0)
    scaled = break_even_value(cents @ PAPER, cents @ cov @ cents, 30.0)
    for name in ("value", "lower", "upper"):
        assert getattr(scaled, name) == pytest.approx(100 * getattr(base, name))
