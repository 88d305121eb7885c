"""The value of the marginal dollar: ratios with Fieller intervals, and the test of one price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from shadowprice.estimators.prices.equimarginal import equimarginal
from shadowprice.estimators.prices.market import Market


def market(seed: int, ratio: float, *, point: str = "model", n: int = 400, cost: float = 0.5) -> Market:
    """One point with two actions whose effects are value ratio * cost and cost, with noise per cluster."""
    rng = np.random.default_rng(seed)
    score = np.zeros((n, 2, 4))
    score[:, 1, 1] = cost + rng.normal(0, 0.1, n)
    score[:, 1, 0] = ratio * cost + rng.normal(0, 0.3, n)
    return Market(
        points=(("router", point),),
        actions=(("cheap", "dear"),),
        predicted=score,
        score=score,
        share=np.full((n, 2), 0.5),
        open=np.ones((n, 2), dtype=bool),
        task_value=np.ones(n),
        risk_usd=0.0,
        known=np.ones(4, dtype=bool),
        weight=np.ones(n),
        cluster=np.arange(n) % 80,
        cluster_ids=tuple(f"s{i}" for i in range(80)),
        point=np.zeros(n, dtype=np.int64),
        grade="A",
        notes=(),
    )


def test_value_per_dollar_is_the_ratio_of_means_with_a_jackknife_fieller_interval() -> None:
    """Kills an inverted ratio, and an interval that treats rows of a cluster as independent."""
    made = market(0, 2.0)
    (margin,) = equimarginal([made], latency_price=0.0, risk_price=0.0).margins
    gain = made.score[:, 1] - made.score[:, 0]
    assert (margin.action, margin.baseline, margin.clusters) == ("dear", "cheap", 80)
    assert margin.ratio.value == pytest.approx(gain[:, 0].mean() / gain[:, 1].mean())
    sums = np.array([[gain[made.cluster == g, j].mean() for j in (0, 1)] for g in range(80)])
    cov = np.cov(sums.T) / 80
    r, d = float(margin.ratio.value or 0.0), gain[:, 1].mean()
    delta = np.sqrt(np.array([1, -r]) @ cov @ np.array([1, -r])) / d
    half = stats.t.isf(0.025, 79) * delta
    assert margin.ratio.lower == pytest.approx(r - half, rel=0.02)
    assert margin.ratio.upper == pytest.approx(r + half, rel=0.02)


def test_margins_that_pay_the_same_share_one_value() -> None:
    """Kills a test that rejects equal margins, and a common value away from them."""
    found = equimarginal([market(1, 1.5), market(2, 1.5, point="verify")], latency_price=0.0, risk_price=0.0)
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert found.common.value == pytest.approx(1.5, abs=0.1)
    assert found.common.lower is not None
    assert found.common.upper is not None
    assert found.common.lower < 1.5 < found.common.upper


def test_margins_that_pay_differently_have_no_common_value() -> None:
    """Kills a common value that averages over layers which price a dollar differently."""
    found = equimarginal([market(1, 1.0), market(2, 3.0, point="verify")], latency_price=0.0, risk_price=0.0)
    assert found.common.value is None
    assert "the margins differ" in (found.common.reason or "")


def test_the_test_of_one_price_holds_its_level() -> None:
    """Kills a covariance that forgets shared clusters, or wrong degrees of freedom: 5 % of 300, +- 2.6 sd."""
    rejected = 0
    for seed in range(300):
        pair = [market(2 * seed, 1.0, n=160), market(2 * seed + 1, 1.0, n=160, point="verify", cost=1.0)]
        p_value = equimarginal(pair, latency_price=0.0, risk_price=0.0).p_value
        assert p_value is not None
        rejected += p_value < 0.05
    assert 5 <= rejected <= 26


def test_an_effect_on_cost_that_may_be_0_has_no_ratio() -> None:
    """Kills a value per dollar divided by noise."""
    found = equimarginal([market(3, 2.0, cost=0.001)], latency_price=0.0, risk_price=0.0)
    assert found.margins[0].ratio.value is None
    assert "covers 0" in (found.margins[0].ratio.reason or "")
    assert found.common.value is None


def test_latency_counts_at_its_price_only_where_it_is_known() -> None:
    """Kills a NaN latency that spoils the ratio, and a latency price that is ignored."""
    made = market(4, 2.0)
    slow = made.score.copy()
    slow[:, 1, 2] = 10.0
    (priced,) = equimarginal([replace(made, score=slow)], latency_price=0.01, risk_price=0.0).margins
    (free,) = equimarginal([made], latency_price=0.01, risk_price=0.0).margins
    assert (free.ratio.value or 0.0) - (priced.ratio.value or 0.0) == pytest.approx(0.1 / 0.5, rel=0.1)
    blind = replace(made, score=np.where(np.arange(4) == 2, np.nan, slow), known=np.arange(4) != 2)
    (unknown,) = equimarginal([blind], latency_price=0.01, risk_price=0.0).margins
    assert unknown.ratio.value == pytest.approx(free.ratio.value)
