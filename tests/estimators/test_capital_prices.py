"""All prices of tokens as capital on a simulated store, and the arithmetic that they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.capital import capital_prices
from shadowprice.estimators.capital.leave_out import leave_one_out, totals
from shadowprice.estimators.jackknife import cluster_sums, weighted_mean
from shadowprice.schemas.config import Config
from shadowprice.schemas.store import open_store

NAMES = {
    "speculation_threshold",
    "cache_decay",
    "cache_half_life",
    "reuse_value",
    "cache_write_value",
    "staleness",
    "stale_lag",
}


def test_a_store_has_every_price_or_the_reason_why_not(audited: Path) -> None:
    """Kills a price that is absent, 0 for unknown, without unit or source, or that moves with the row
    order."""
    frame = open_store(audited).decisions().collect()
    prices = capital_prices(frame, config=Config(), seed=0)
    assert {p.name for p in prices} == NAMES
    for price in prices:
        assert price.source == "fitted"
        assert price.value is not None or price.reason
        assert (price.value is None) == (price.grade in ("N", "D"))
        assert price.run_id is None
    assert capital_prices(frame.reverse(), config=Config(), seed=0) == prices


def test_a_log_of_one_layer_is_told_what_the_others_would_need() -> None:
    """Kills a crash on a frame with the required columns alone."""
    frame = pl.DataFrame(
        {"decision_id": ["a", "b"], "layer": "router", "decision_point": "model", "action": "m"}
    )
    prices = capital_prices(frame, config=Config(), seed=0)
    assert {p.name for p in prices} == NAMES
    assert all(p.value is None and p.reason for p in prices)


def test_a_frame_that_is_not_in_the_layout_is_one_clear_error() -> None:
    """Kills a KeyError from the middle of an estimator."""
    with pytest.raises(SchemaError, match="decision_id"):
        capital_prices(pl.DataFrame({"layer": ["serving"]}), config=Config(), seed=0)


def test_leaving_clusters_out_of_a_ratio_is_the_house_jackknife() -> None:
    """Kills another factor or other degrees of freedom than `weighted_mean` has."""
    rng = np.random.default_rng(1)
    cluster = rng.integers(0, 30, 500).astype(np.int64)
    d, h = rng.normal(size=500), rng.uniform(0.5, 2.0, 500)
    house = weighted_mean(cluster_sums(d[:, None], h, cluster, 30))
    sums = totals(np.column_stack([h * d, h]), cluster)
    ours = leave_one_out(sums, lambda t: t[:, :1] / t[:, 1:], weight=sums[:, 1])
    assert ours.theta == pytest.approx(house.theta)
    assert ours.cov == pytest.approx(house.cov)
    assert (ours.df, ours.clusters) == (pytest.approx(house.df), house.clusters)
    half = ours.span()
    assert half.upper - half.value == pytest.approx(half.value - half.lower)
