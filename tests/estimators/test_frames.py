"""What stands beside the estimates: coverage, overlap, dollars per cluster, the window of the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from asking import PRICED, estimated, one, priced
from shadowprice.estimators.frames import window
from shadowprice.estimators.gains import TERMS, total_gain
from worlds import COST_GAP, LARGE, SMALL, router_world, threshold_world


def test_coverage_counts_every_decision_and_dollar_once() -> None:
    """Kills decisions that vanish between grades, or spend counted per contrast."""
    world = router_world(n=600)
    fixed = pl.int_range(600) < 150
    source = pl.when(fixed).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
    rule = threshold_world(n=200).with_columns(
        decision_id=pl.format("t{}", "decision_id"), decision_point=pl.lit("region")
    )
    frame = pl.concat([world.frame.with_columns(propensity_source=source), rule], how="diagonal")
    coverage = estimated(frame).coverage
    assert coverage.select("decision_point", "grade", "decisions").rows() == [
        ("model", "A", 450),
        ("model", "N", 150),
        ("region", "N", 200),
    ]
    assert coverage["spend_usd"].sum() == pytest.approx(frame["cost_usd"].sum())
    assert coverage["reason"].null_count() == 0


def test_coverage_shows_what_was_not_priced_instead_of_calling_it_free() -> None:
    """Kills unpriced tokens that disappear."""
    frame = router_world(n=300).frame.with_columns(
        cost_source=pl.when(pl.int_range(300) < 7).then(pl.lit("unpriced")).otherwise(pl.lit("priced")),
        cost_usd=pl.when(pl.int_range(300) >= 7).then("cost_usd"),
        tok_input_uncached=pl.lit(100),
        tok_output=pl.lit(20),
        tok_reasoning=pl.lit(15),
    )
    (row,) = estimated(frame).coverage.iter_rows(named=True)
    assert (row["unpriced_decisions"], row["unpriced_tokens"]) == (7, 7 * 120)


def test_the_overlap_plot_counts_each_decision_in_its_arm_and_bin() -> None:
    """Kills a histogram of the wrong arm or one that loses its last bin."""
    world = router_world(n=500)
    overlap = estimated(world.frame).overlap
    took = (world.frame["action"] == LARGE).to_numpy()
    for name, rows in ((LARGE, took), (SMALL, ~took)):
        counts = overlap.filter(pl.col("arm") == name).sort("bin_left")["count"].to_list()
        assert counts == np.histogram(world.e[rows], bins=np.linspace(0, 1, 21))[0].tolist()


def test_the_window_is_the_first_and_last_timestamp_or_unknown() -> None:
    """Kills a window read off a clock, or one that needs timestamps."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    frame = router_world(n=60).frame
    stamped = frame.with_columns(ts=pl.Series([start + timedelta(minutes=m) for m in range(60)]))
    assert window(stamped.reverse()) == ("2026-11-01T00:00:00+00:00", "2026-11-01T00:59:00+00:00")
    relative = stamped.with_columns(x_clock=pl.lit("relative"))
    assert window(relative) == (None, None)
    assert window(frame) == (None, None)
    assert window(frame.with_columns(ts=pl.lit(None, dtype=pl.Datetime("us", "UTC")))) == (None, None)


@pytest.mark.parametrize(("direction", "gain"), [("over", 0.0), ("under", 0.1)])
def test_dollars_of_switching_hold_the_truth(direction: str, gain: float) -> None:
    """Kills dollars for the wrong decisions or of the wrong sign. V = 1: without a gain every `large` wastes
    2 cents; with one of 10 points every `small` forgoes 8. The sum is over those who took that action."""
    world = router_world(2, n=1000, smooth=True, gain=gain)
    est = estimated(world.frame, priced(task_value="1 USD/task", latency=None, risk=None))
    gains = est.gains.filter(direction=direction, segment="all")
    total = total_gain(gains)
    assert total is not None
    net = world.tau - COST_GAP
    moved = world.e if direction == "over" else 1 - world.e
    truth = float((moved * (-net if direction == "over" else net)).sum())
    assert truth > 0
    assert total.lower <= truth <= total.upper
    assert total.upper - total.lower < 2 * truth + 10
    assert total.decisions == pytest.approx(moved.sum())


def test_dollars_stand_for_the_decisions_that_the_log_did_not_keep() -> None:
    """Kills dollars of the kept rows only: a log sampled at 50 % stands for twice the money."""
    frame = router_world(0, n=600).frame
    full, half = (estimated(f, PRICED).gains for f in (frame, frame.with_columns(keep_prob=pl.lit(0.5))))
    for column in ("usd", "decisions"):
        assert half[column].sum() == pytest.approx(2 * full[column].sum())


def test_dollars_add_up_from_their_terms_each_at_its_own_price() -> None:
    """Kills a term that is left out, and one that another price scales: V is doubled, λ and ρ are not."""
    frame = router_world(0, n=600).frame
    once, twice = (
        estimated(frame, priced(task_value=f"{v} USD/task", latency="0.01 USD/s", risk="5 USD/event")).gains
        for v in (2, 4)
    )
    for gains in (once, twice):
        assert gains.select(pl.sum_horizontal(*TERMS)).to_series().to_list() == pytest.approx(
            gains["usd"].to_list()
        )
    assert twice["quality_usd"].to_list() == pytest.approx((2 * once["quality_usd"]).to_list())
    for term in TERMS[1:]:
        assert once[term].abs().sum() > 0
        assert twice[term].to_list() == pytest.approx(once[term].to_list())


def test_gains_of_both_directions_weigh_the_same_net_value() -> None:
    """Kills two directions that are not each other's mirror where both actions were as likely."""
    world = router_world(0, n=600, slope=0.0)
    est = estimated(world.frame, PRICED)
    sums = dict(est.gains.group_by("direction").agg(pl.col("usd").sum()).iter_rows())
    assert sums["over"] == pytest.approx(-sums["under"])
    assert sums["under"] == pytest.approx(600 * 0.5 * float(one(est, "net").value or 0))


def test_an_empty_log_gives_empty_frames_with_their_columns() -> None:
    """Kills an error, or columns that depend on the content."""
    frame = router_world(n=60).frame
    empty, full = sp.estimate(frame.clear()), estimated(frame, PRICED)
    for name in ("contrasts", "ledger", "joint", "gains", "coverage", "overlap"):
        assert getattr(empty, name).is_empty()
        assert getattr(empty, name).schema == getattr(full, name).schema
