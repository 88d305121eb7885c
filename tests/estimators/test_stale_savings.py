"""Dollars of stale rollouts: the sum by hand, the simulated trainer's truth, sampling, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.stale_savings import MAX_CLUSTERS, lag_labels, stale_savings
from shadowprice.estimators.gains import Total, total_gain
from shadowprice.ingest.simulator.training import TrainSettings, train_path
from shadowprice.schemas.records import SAVINGS

from tests.estimators.test_capital_staleness import log

WORLD = TrainSettings(runs=2, updates=28, rollouts=32)
PRICES = {"signal_usd": 2.0, "keep_usd": 0.9}
STALE = "version_lag=8-15"


def saved(frame: pl.DataFrame, segment: str = STALE, **prices: float) -> Total:
    """The total of one bin, which must exist."""
    found = total_gain(stale_savings(frame, **(prices or PRICES)).filter(segment=segment))
    assert found is not None
    return found


def truth(settings: TrainSettings, seed: int, low: int, high: int) -> float:
    """USD that dropping the kept rollouts from lag `low` to `high` would have saved, by what they teach."""
    path = train_path(settings, seed=seed)
    rows = path.rollouts.with_columns(mean=path.mean_signal).filter("kept")
    rows = rows.filter(pl.col("version_lag").is_between(low, high))
    return float((0.9 - 2.0 * rows["mean"]).sum())


def test_dollars_are_cost_less_worth_of_the_kept_rollouts_of_each_lag() -> None:
    """Kills counting dropped rollouts, an edge in the wrong bin, and cost or worth with the wrong sign."""
    frame = log(WORLD, 3)
    kept = frame.filter("kept")
    for low, high, label in ((0, 1, "0-1"), (4, 7, "4-7"), (8, 15, "8-15")):
        mine = kept.filter(pl.col("version_lag").is_between(low, high))
        by_hand = float((0.9 - 2.0 * mine["x_learning_signal"]).sum())
        found = saved(frame, f"version_lag={label}")
        assert (found.usd, found.decisions) == (pytest.approx(by_hand), pytest.approx(mine.height))


def test_rollouts_kept_without_a_signal_count_like_the_measured_ones_of_their_lag() -> None:
    """Kills dollars of the measured rollouts alone."""
    frame = log(WORLD, 3)
    blind = frame.with_columns(
        x_learning_signal=pl.when(pl.int_range(pl.len()) % 2 == 0).then("x_learning_signal")
    )
    whole, half = saved(frame), saved(blind)
    assert half.decisions == pytest.approx(whole.decisions)
    assert half.usd == pytest.approx(whole.usd, rel=0.3)
    assert half.se > whole.se


def test_a_sampled_log_stands_for_all_rollouts() -> None:
    """Kills keep_prob that is forgotten: a tenth of the log would save a tenth of the dollars."""
    frame = log(WORLD, 3)
    assert saved(frame.with_columns(keep_prob=pl.lit(0.1))).usd == pytest.approx(10 * saved(frame).usd)


def test_many_updates_are_put_into_blocks_and_none_is_lost() -> None:
    """Kills a file that grows with the training, and blocks that drop what is left over."""
    many = replace(WORLD, runs=3, updates=101, rollouts=8)
    frame = log(many, 3)
    rows = stale_savings(frame, **PRICES).filter(segment="version_lag=4-7")
    kept = frame.filter("kept").filter(pl.col("version_lag").is_between(4, 7))
    assert rows["cluster"].n_unique() == rows.height <= MAX_CLUSTERS
    assert rows["decisions"].sum() == pytest.approx(kept.height)


def test_a_bin_in_which_nothing_was_kept_has_no_row_and_a_small_one_says_so() -> None:
    """Kills a saving of 0 where nothing was kept, and an interval from a handful of signals."""
    frame = log(WORLD, 3)
    rows = stale_savings(frame.filter(pl.col("version_lag") < 17), **PRICES)
    (few,) = rows.filter(segment="version_lag=16+").to_dicts()
    assert few["usd"] is None
    assert "30 are needed" in few["reason"]
    none = stale_savings(frame.filter(pl.col("version_lag") < 16), **PRICES)
    assert none.filter(segment="version_lag=16+").is_empty()


def test_the_share_of_the_training_data_is_told() -> None:
    """Kills a share of all rollouts, dropped ones among them."""
    frame = log(WORLD, 3)
    kept = frame.filter("kept")
    share = kept.filter(pl.col("version_lag").is_between(8, 15)).height / kept.height
    (note,) = stale_savings(frame, **PRICES).filter(segment=STALE)["note"].unique().to_list()
    assert note == f"{share:.0%} of the rollouts that were trained on"


@pytest.mark.parametrize(
    ("prices", "column", "why"),
    [
        ({"keep_usd": 0.9}, None, "set prices.learning_signal"),
        ({"signal_usd": 2.0}, None, "set prices.rollout"),
        (PRICES, "x_learning_signal", "log the outcome learning_signal"),
        (PRICES, "version_lag", "version_lag is not logged"),
        (PRICES, "update_id", "update_id is not logged"),
    ],
)
def test_what_lacks_is_one_row_that_says_what_to_do(
    prices: dict[str, float], column: str | None, why: str
) -> None:
    """Kills a default value of a signal, and a check that vanishes."""
    frame = log(WORLD, 3).drop([column] if column else [])
    (row,) = stale_savings(frame, **prices).to_dicts()
    assert (row["usd"], row["grade"]) == (None, "N")
    assert why in row["reason"]


def test_the_logged_cost_of_keeping_stands_in_for_a_price() -> None:
    """Kills taking the whole cost of a rollout for what training on it adds."""
    frame = log(WORLD, 3).with_columns(cost_usd=pl.when("kept").then(1.0).otherwise(0.1))
    assert saved(frame, signal_usd=2.0).usd == pytest.approx(saved(frame).usd)


def test_without_training_the_row_has_the_layout_of_all_others() -> None:
    """Kills a frame that cannot be stacked on another."""
    frame = log(WORLD, 3).with_columns(layer=pl.lit("router"))
    rows = stale_savings(frame, **PRICES)
    assert dict(rows.schema) == SAVINGS
    assert rows["reason"].to_list() == ["no training decision is logged"]


@pytest.mark.parametrize("prices", [{"signal_usd": 0.0}, {"keep_usd": -1.0}])
def test_a_price_that_is_not_positive_is_refused(prices: dict[str, float]) -> None:
    """Kills dollars at a price of 0."""
    with pytest.raises(SchemaError, match="positive USD"):
        stale_savings(log(WORLD, 3), **prices)


@pytest.mark.slow
@pytest.mark.parametrize(("label", "low", "high"), [("4-7", 4, 7), ("8-15", 8, 15)])
def test_intervals_hold_the_dollars_of_the_simulated_trainer(label: str, low: int, high: int) -> None:
    """Kills dollars that are off, and an interval that is too short: 95 % of 200 worlds within a binomial
    band; `lag_labels` names the bin."""
    assert f"version_lag={label}" in lag_labels()
    worlds = 200
    small = replace(WORLD, rollouts=16)
    found = [saved(log(small, seed), f"version_lag={label}") for seed in range(worlds)]
    known = [truth(small, seed, low, high) for seed in range(worlds)]
    held = sum(f.lower <= t <= f.upper for f, t in zip(found, known, strict=True))
    assert stats.binomtest(held, worlds, 0.95).pvalue > 0.01
    missed = np.array([f.usd - t for f, t in zip(found, known, strict=True)])
    assert abs(missed.mean()) < 4 * missed.std() / np.sqrt(worlds)
