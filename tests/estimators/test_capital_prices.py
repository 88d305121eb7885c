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
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.simulator import SimulatedRun
from shadowprice.schemas.columns import DECISIONS
from shadowprice.schemas.config import Config
from shadowprice.schemas.tables import arrow_schema

NAMES = {
    "speculation_threshold",
    "cache_decay",
    "cache_half_life",
    "reuse_value",
    "cache_write_value",
    "staleness",
    "stale_lag",
}


NO_CONTRASTS = pl.from_arrow(arrow_schema("estimates").empty_table())


def every_kind() -> pl.DataFrame:
    """Drafting requests, calls with a prefix cache, lookups of a semantic one, and rollouts, 200 each."""
    n = 200
    rng = np.random.default_rng(0)
    base = pl.DataFrame({"session_id": [f"s{i % 20}" for i in range(n)], "action": "a", "ts": [None] * n})
    drafts = base.with_columns(
        layer=pl.lit("serving"),
        decision_point=pl.lit("admit"),
        spec_drafted=pl.Series(np.tile([40, 0], n // 2)),
        spec_accepted=pl.Series(np.tile([20, 0], n // 2)),
        tok_output=pl.lit(31),
        decode_s=pl.Series(rng.uniform(0.3, 0.4, n)),
        batch_size=pl.lit(8.0),
        replica=pl.lit("vllm-0"),
    )
    fresh, read = rng.integers(100, 900, n), rng.integers(0, 900, n)
    calls = base.with_columns(
        layer=pl.lit("router"),
        decision_point=pl.lit("model"),
        tok_input_uncached=pl.Series(fresh),
        tok_cache_read=pl.Series(read),
        tok_output=pl.lit(9),
        cost_usd=pl.Series(fresh * 3e-6 + read * 3e-7 + 9e-5),
        quality=pl.Series(rng.random(n).round()),
    )
    lookups = base.with_columns(
        layer=pl.lit("serving"),
        decision_point=pl.lit("reuse"),
        action=pl.lit("reuse"),
        cache_hit_kind=pl.lit("semantic"),
        cache_age_s=pl.Series(rng.uniform(0.0, 9e4, n)),
        source_request_id=pl.format("e{}", pl.int_range(n) % 90),
        quality=pl.Series((rng.random(n) < 0.7).astype(float)),
        incident=pl.lit(value=False),
    )
    lag = rng.integers(0, 9, n)
    rollouts = base.with_columns(
        layer=pl.lit("training"),
        decision_point=pl.lit("keep"),
        version_lag=pl.Series(lag),
        update_id=pl.format("u{}", pl.int_range(n) % 20),
        kept=pl.lit(value=True),
        x_learning_signal=pl.Series(0.9**lag + rng.normal(0.0, 0.1, n)),
        x_difficulty=pl.Series(rng.normal(size=n)),
    )
    parts = pl.concat([drafts, calls, lookups, rollouts], how="diagonal_relaxed")
    return parts.with_columns(decision_id=pl.format("d{}", pl.int_range(pl.len())))


def test_a_store_has_every_price_or_the_reason_why_not(world: SimulatedRun, tmp_path: Path) -> None:
    """Kills a price that is absent, 0 for unknown, without unit or source, or that moves with the row
    order."""
    store = ingest(world.logs, out=tmp_path, mapping=world.logs / "rollouts.mapping.toml")
    frame = store.decisions().collect()
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


@pytest.mark.parametrize("absent", [c.name for c in DECISIONS if c.nullable])
def test_a_column_that_a_log_does_not_have_is_no_crash(absent: str) -> None:
    """Kills a column taken for granted: lookups, calls, drafts and rollouts without it give prices or
    reasons."""
    frame = every_kind()
    prices = capital_prices(frame.drop(absent, strict=False), config=Config(), seed=0, contrasts=NO_CONTRASTS)
    assert {p.name for p in prices} == NAMES
    assert all(p.value is not None or p.reason for p in prices)


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


def test_an_estimate_that_hangs_on_one_cluster_says_so() -> None:
    """Kills NaN in a price: without cluster 0 the ratio is 0 / 0; with a tiny rest it has one effective
    cluster."""
    alone = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    with np.errstate(invalid="ignore"):
        nothing = leave_one_out(alone, lambda t: t[:, :1] / t[:, 1:], weight=np.ones(3))
    assert nothing.fault == "the estimate cannot be made without one of the clusters"
    heavy = np.column_stack([np.ones(30), np.append(np.ones(29), 1000.0)])
    few = leave_one_out(heavy, lambda t: t[:, :1] / t[:, 1:], weight=heavy[:, 1])
    assert few.fault is not None
    assert few.fault.startswith("1.1 effective clusters")
