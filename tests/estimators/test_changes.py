"""The change between two runs: its interval is its own, and what both runs share cancels."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.changes import Reported, paired_shift, separate_shift
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.gains import total_gain

PLACE = {
    "layer": "router",
    "decision_point": "model",
    "segment": "all",
    "action": "big",
    "baseline": "small",
    "direction": "over",
}


def gains(usd: np.ndarray, decisions: np.ndarray, *, name: str = "t") -> pl.DataFrame:
    """Rows of Estimates.gains, one per cluster."""
    clusters = [f"{name}{g}" for g in range(usd.size)]
    frame = pl.DataFrame({"cluster": clusters, "usd": usd, "decisions": decisions})
    return frame.with_columns(pl.lit(v).alias(k) for k, v in PLACE.items())


def drawn(rng: np.random.Generator, luck: np.ndarray, noise: float = 1.0) -> np.ndarray:
    """Dollars of each cluster: what it always has, and chance."""
    return luck + noise * rng.normal(size=luck.size)


def test_symmetric_intervals_add_their_variances() -> None:
    """Kills: half-widths that are added, or the ends of the wrong side."""
    c = critical_t(math.inf)
    found = separate_shift(
        Reported(value=1.0, lower=1.0 - 3 * c, upper=1.0 + 3 * c),
        Reported(value=2.0, lower=2.0 - 4 * c, upper=2.0 + 4 * c),
    )
    assert (found.value, found.lower, found.upper) == pytest.approx((1.0, 1.0 - 5 * c, 1.0 + 5 * c))
    assert found.p_value == pytest.approx(0.8414806, abs=1e-6)  # 2 (1 - Phi(1 / 5))


def test_a_skewed_interval_keeps_its_skew() -> None:
    """Kills: one standard error read off a Fieller interval; ends by hand from Zou & Donner's formula."""
    found = separate_shift(
        Reported(value=3.0, lower=2.0, upper=7.0), Reported(value=4.0, lower=1.0, upper=5.0)
    )
    assert found.lower == pytest.approx(1.0 - math.hypot(3.0, 4.0))
    assert found.upper == pytest.approx(1.0 + math.hypot(1.0, 1.0))


def test_a_run_has_not_changed_against_itself() -> None:
    """Kills: noise where both sides are the same rows."""
    rng = np.random.default_rng(0)
    rows = gains(rng.normal(size=20), rng.uniform(1, 3, size=20))
    found = paired_shift(rows, rows)
    assert found is not None
    assert (found.value, found.lower, found.upper, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert found.shared == 20


def test_without_a_shared_cluster_the_variances_add() -> None:
    """Kills: pairing by position, and clusters of one run that are left out."""
    rng = np.random.default_rng(1)
    sides = [
        gains(rng.normal(size=n), rng.uniform(1, 3, size=n), name=name) for n, name in ((30, "a"), (30, "b"))
    ]
    found, totals = paired_shift(*sides), [total_gain(side) for side in sides]
    assert found is not None
    assert found.shared == 0
    variance = sum((t.se / t.decisions) ** 2 * 30 / 29 for t in totals if t) * 59 / 60
    assert found.value == pytest.approx(
        sum(s * t.usd / t.decisions for s, t in zip((-1, 1), totals, strict=True) if t)
    )
    df = (
        1 / float((np.concatenate([s["decisions"] / s["decisions"].sum() for s in sides]) ** 2).sum() / 4) - 1
    )
    assert (found.upper - found.value) / critical_t(df) == pytest.approx(math.sqrt(variance))


def test_pairing_rejects_at_its_level_and_sees_what_two_intervals_cannot() -> None:
    """Kills: a standard error that forgets the covariance (it would reject nothing), or counts it twice.

    400 pairs of logs over the same 40 clusters; at level .05 binomial tolerance is .028 to .075.
    """
    rng = np.random.default_rng(2)
    rejected, seen, apart = 0, 0, 0
    decisions = np.full(40, 10.0)
    for _ in range(400):
        luck = 20.0 * rng.normal(size=40)
        before = gains(drawn(rng, luck), decisions)
        after = gains(drawn(rng, luck), decisions)
        more = gains(drawn(rng, luck) + 1.5, decisions)
        null, shifted = paired_shift(before, after), paired_shift(before, more)
        assert null is not None
        assert shifted is not None
        rejected += null.p_value <= 0.05
        seen += shifted.p_value <= 0.05
        totals = [total_gain(side) for side in (before, more)]
        ends = [Reported(value=t.usd, lower=t.lower, upper=t.upper, df=t.df) for t in totals if t]
        apart += separate_shift(*ends).p_value <= 0.05
    assert 0.028 <= rejected / 400 <= 0.075
    assert seen / 400 > 0.95
    assert apart == 0


def test_one_cluster_has_no_interval() -> None:
    """Kills: a standard error of 0 from a single cluster."""
    one = gains(np.ones(1), np.ones(1))
    many = gains(np.arange(5.0), np.ones(5))
    assert paired_shift(one, many) is None
    assert paired_shift(many, one) is None
