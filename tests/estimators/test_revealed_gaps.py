"""Gaps between layers: level and power of the test of one price, shared clusters, and what the table says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from choosing import BENCH, influence, known_behaviour
from shadowprice.estimators.prices.behaviour import Behaviour
from shadowprice.estimators.prices.gaps import GAPS, revealed_gaps

WEIGHT = np.array([4.0, 2.0, 0.6, 8.0])
SD = np.array([0.4, 0.2, 0.06, 0.8])
LATENCY = pl.col("price") == "revealed_latency_price"


def drawn(seed: int, *, times: float = 1.0, scale: float = 3.0) -> list[Behaviour]:
    """Two layers with estimated weights; the second prices a second `times` as high, and all its weights are
    `scale` times as large, which no price may see."""
    rng = np.random.default_rng(seed)
    out: list[Behaviour] = []
    for point, factor, size in ((("router", "model"), 1.0, 1.0), (("serving", "tier"), times, scale)):
        noise = influence(rng, SD * size, clusters=200)
        truth = WEIGHT * size * [1, 1, factor, 1]
        out.append(known_behaviour(truth + noise.sum(axis=0), noise, point=point))
    return out


def test_layers_that_agree_are_told_apart_in_one_of_twenty_worlds() -> None:
    """Kills a test of weights instead of prices, a wrong number of degrees of freedom and a covariance that
    ignores the dollar's: 200 worlds, 0.4 % to 10 % is three standard errors around 5 %."""
    rows = [revealed_gaps(drawn(s)) for s in range(200)]
    alone = np.array([r.filter(LATENCY)["p_value"][0] for r in rows])
    together = np.array(
        [r.filter(pl.col("price") == "all revealed prices")["joint_p_value"][0] for r in rows]
    )
    assert 0.004 < (alone <= 0.05).mean() < 0.1
    assert 0.004 < (together <= 0.05).mean() < 0.1


def test_a_layer_that_prices_a_second_at_four_times_another_is_seen_and_the_ratio_covered() -> None:
    """Kills a ratio upside down and an interval of another width."""
    rows = [revealed_gaps(drawn(1000 + s, times=4.0)).filter(LATENCY).row(0, named=True) for s in range(80)]
    assert np.mean([r["p_value"] <= 0.05 for r in rows]) > 0.95
    held = [r["ratio_lower"] <= 4.0 <= r["ratio_upper"] for r in rows if r["ratio"] is not None]
    assert 0.87 < np.mean(held) <= 1.0
    one = rows[0]
    assert (one["layer"], one["other_layer"]) == ("serving", "router")
    assert one["reading"].startswith("serving.tier prices a second at ")
    assert one["reading"].endswith(" times router.model")


def test_requests_that_pass_both_layers_are_not_counted_as_independent() -> None:
    """Kills a covariance without the shared clusters: what moves both prices alike cannot move them apart."""
    noise = influence(np.random.default_rng(5), SD, clusters=200)
    nearly = noise + 0.1 * influence(np.random.default_rng(6), SD, clusters=200)
    ids = tuple(f"t{i}" for i in range(200))
    first = known_behaviour(WEIGHT, noise)
    shared, apart = (
        [first, known_behaviour(WEIGHT * [1, 1, 1.15, 1], nearly, point=("serving", "tier"), ids=names)]
        for names in (None, ids)
    )
    p_shared, p_apart = (revealed_gaps(f).filter(LATENCY)["p_value"][0] for f in (shared, apart))
    assert p_shared < 0.001 < 0.1 < p_apart, (p_shared, p_apart)


def test_three_layers_have_three_pairs_and_adjusted_p_values() -> None:
    """Kills pairs without correction for looking at many, and Holm steps that fall."""
    two = drawn(7)
    third = known_behaviour(
        WEIGHT * [1, 1, 3, 1],
        influence(np.random.default_rng(8), SD, clusters=200),
        point=("agent", "verify"),
    )
    rows = revealed_gaps([*two, third]).filter(LATENCY)
    p, adjusted = rows["p_value"].to_numpy(), rows["p_adjusted"].to_numpy()
    order = np.argsort(p)
    expected = np.maximum.accumulate(np.minimum(1.0, np.array([3, 2, 1]) * p[order]))
    assert rows.height == 3
    np.testing.assert_allclose(adjusted[order], expected)
    assert rows["joint_p_value"].n_unique() == 1
    assert rows["joint_p_value"][0] < 0.01


def test_a_price_that_may_be_0_has_no_ratio_but_still_a_test() -> None:
    """Kills the logarithm of a price that may be 0."""
    first, second = drawn(9)
    vague = known_behaviour(WEIGHT * [1, 1, 0.1, 1], second.influence / 3, point=("serving", "tier"))
    row = revealed_gaps([first, vague]).filter(LATENCY).row(0, named=True)
    assert row["ratio"] is None
    assert "may be 0" in row["reason"]
    assert row["p_value"] < 0.001


def test_one_layer_alone_has_no_gap_and_the_table_keeps_its_columns() -> None:
    """Kills a frame whose columns depend on its content."""
    found = revealed_gaps(drawn(10)[:1])
    assert found.is_empty()
    assert list(found.columns) == list(GAPS)


def test_risk_in_events_and_risk_in_dollars_are_not_compared() -> None:
    """Kills a ratio of USD per event and USD per USD."""
    first, second = drawn(11)
    other = known_behaviour(second.weight, second.influence, point=("serving", "tier"), risk_unit="USD/USD")
    assert revealed_gaps([first, other]).filter(pl.col("price") == "revealed_risk_price").is_empty()


def test_layers_that_refuse_a_price_are_left_out_of_it() -> None:
    """Kills a comparison with a price that does not exist."""
    first, second = drawn(12)
    blind = known_behaviour(second.weight * [1, 0, 1, 1], second.influence, point=("serving", "tier"))
    assert revealed_gaps([first, blind]).is_empty()


@pytest.mark.slow
def test_two_logs_show_the_gap_between_their_layers() -> None:
    """Kills a gap that only exists for made-up weights: from logs to the table."""
    logs = [
        BENCH.log(1, n=3000, sharp=1.5, sessions=1500),
        BENCH.log(2, n=3000, sharp=1.5, latency_price=1.2, point=("serving", "tier"), sessions=1500),
    ]
    found = [BENCH.read(f) for f in logs]
    row = revealed_gaps(found).filter(LATENCY).row(0, named=True)
    assert row["layer"] == "serving"
    assert row["p_value"] < 0.05
    assert row["ratio_lower"] < 4.0 < row["ratio_upper"]
    assert row["clusters"] == 1500
