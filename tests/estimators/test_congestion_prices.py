"""Prices per token from delays of single requests, by load, and the accounts of the tenants."""

from __future__ import annotations

import numpy as np
import pytest
from shadowprice.estimators.congestion.by_load import load_label
from shadowprice.estimators.congestion.deletions import BINS, load_bins
from shadowprice.estimators.congestion.token_prices import (
    Delays,
    Slopes,
    slopes,
    time_blocks,
    token_prices,
)

TRUE = np.array([3e-4, 2e-3, 5e-5])


def delays(
    n: int = 400, *, seed: int = 0, blocks: int = 20, noise: float = 0.2, true: np.ndarray = TRUE
) -> Delays:
    rng = np.random.default_rng(seed)
    tokens = np.column_stack(
        [rng.integers(100, 20_000, n), rng.integers(10, 600, n), rng.gamma(2.0, 20_000.0, n)]
    ).astype(float)
    block = rng.integers(blocks, size=n)
    luck = 1.0 + noise * rng.normal(size=blocks)[block]
    return Delays(tokens=tokens, delay_s=luck * (tokens @ true), weight=np.ones(n), block=block)


def test_seconds_per_token_are_recovered_exactly_without_noise() -> None:
    """Kills: a scaled solver that loses a small price, an intercept, tokens in another order."""
    found = slopes(delays(noise=0.0), rng=np.random.default_rng(0))
    assert found.value is not None
    assert found.value == pytest.approx(TRUE, rel=1e-6)


@pytest.mark.slow
def test_intervals_hold_the_true_prices_in_nineteen_of_twenty_worlds() -> None:
    """Kills: requests drawn one by one where those of a block share their luck.

    60 worlds of 20 blocks, whose percentile intervals are known to be a little short: 50 of 60 are asked.
    """
    held = np.zeros(3)
    for seed in range(60):
        found = slopes(delays(seed=seed), rng=np.random.default_rng(seed))
        assert found.lower is not None
        assert found.upper is not None
        held += (found.lower <= TRUE) & (found.upper >= TRUE)
    assert (held >= 50).all()


def test_weights_decide_as_copies_of_the_rows_would() -> None:
    """Kills: a stratum that was sampled thinly counted as thin."""
    once = delays(60, seed=3)
    some = np.arange(60) % 3 == 0
    weighted = Delays(
        tokens=once.tokens, delay_s=once.delay_s + some, weight=np.where(some, 3.0, 1.0), block=once.block
    )
    rows = np.concatenate([np.arange(60), np.flatnonzero(some), np.flatnonzero(some)])
    copied = Delays(
        tokens=once.tokens[rows],
        delay_s=weighted.delay_s[rows],
        weight=np.ones(rows.size),
        block=once.block[rows],
    )
    a, b = (slopes(d, rng=np.random.default_rng(0)).value for d in (weighted, copied))
    assert a == pytest.approx(b)


def test_a_price_at_the_boundary_is_0_with_an_upper_end_and_says_so() -> None:
    """Kills: a negative price, and an interval of no width around 0.

    In this world decode tokens have no price, so half of all draws would put it below 0.
    """
    true = np.array([3e-4, 0.0, 5e-5])
    ends = []
    for seed in range(12):
        found = slopes(delays(seed=seed, true=true), rng=np.random.default_rng(0))
        assert found.value is not None
        assert found.lower is not None
        assert found.upper is not None
        if found.value[1] == 0.0:
            assert found.lower[1] == 0.0
            ends.append(found.upper[1])
            row = token_prices(found, segment="all", latency_price=None, grade="B", method="m")[1]
            assert row.value == 0.0
            assert "boundary" in (row.reason or "")
    assert ends
    assert np.median(ends) > 0.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (delays(20), "20 requests replayed without; 30 are needed"),
        (delays(100, blocks=4), "requests from 4 stretches of time; 10 are needed"),
    ],
)
def test_too_few_requests_or_stretches_are_refused_in_words(given: Delays, said: str) -> None:
    """Kills: an interval from a handful of blocks."""
    found = slopes(given, rng=np.random.default_rng(0))
    assert found.value is None
    assert said in (found.reason or "")
    rows = token_prices(found, segment="load=1+", latency_price=0.01, grade="B", method="m")
    assert [r.name for r in rows] == [f"congestion_{t}_price" for t in ("prefill", "decode", "kv")]
    assert {(r.value, r.lower, r.grade) for r in rows} == {(None, None, "N")}
    assert all(said in (r.reason or "") for r in rows)


def test_seconds_become_dollars_by_the_price_of_a_second_and_stay_seconds_without_one() -> None:
    """Kills: a unit that does not fit its number, and a price of waiting assumed."""
    found = slopes(delays(), rng=np.random.default_rng(0))
    plain = token_prices(found, segment="all", latency_price=None, grade="B", method="m")
    priced = token_prices(found, segment="all", latency_price=0.004, grade="B", method="m")
    assert [p.unit for p in plain] == ["s/token", "s/token", "s/(token*s)"]
    assert [p.unit for p in priced] == ["USD/token", "USD/token", "USD/(token*s)"]
    assert [p.name for p in plain] == [
        "congestion_prefill_delay",
        "congestion_decode_delay",
        "congestion_kv_delay",
    ]
    for a, b in zip(plain, priced, strict=True):
        assert a.value is not None
        assert a.lower is not None
        assert b.value == pytest.approx(0.004 * a.value)
        assert b.lower == pytest.approx(0.004 * a.lower)
        assert (b.source, b.layer, b.decision_point, b.grade) == ("fitted", "serving", "admit", "B")


def test_one_token_may_be_unknown_beside_known_ones() -> None:
    """Kills: NaN in a price row."""
    value = np.array([1.0, np.nan, 2.0])
    found = Slopes(value=value, lower=value - 1, upper=value + 1, n=50, blocks=12, reason="moves together")
    rows = token_prices(found, segment="all", latency_price=None, grade="C", method="m")
    assert [r.value for r in rows] == [1.0, None, 2.0]
    assert [r.reason for r in rows] == [None, "moves together", None]
    assert [r.grade for r in rows] == ["C", "N", "C"]


def test_loads_fall_into_bins_with_readable_names() -> None:
    """Kills: a load at an edge in two bins or in none, a name that no one can filter by."""
    assert load_bins(np.array([0.0, 0.399, 0.4, 0.8, 1.0, 7.0])).tolist() == [0, 0, 1, 3, 4, 4]
    labels = [load_label(b) for b in range(len(BINS) - 1)]
    assert labels == ["load=0-.4", "load=.4-.6", "load=.6-.8", "load=.8-1", "load=1+"]


def test_blocks_are_hours_in_a_long_log_and_equal_parts_in_a_short_one() -> None:
    """Kills: a single block for a log of an hour, and blocks of days that leave too few."""
    long = np.arange(0, 50 * 3600, 60.0)
    assert np.unique(time_blocks(long)).size == 50
    assert np.bincount(time_blocks(long)).tolist() == [60] * 50
    short = np.arange(0, 1200, 1.0)
    assert np.bincount(time_blocks(short)).tolist() == [30] * 40
