"""A contrast by period: the numbers of its decisions, what periods share, refusals in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from asking import PRICED, estimated
from drifts import DAYS, START, drawn, router_log, timed, whole
from polars.testing import assert_frame_equal
from shadowprice import rundir
from shadowprice.estimators.contrasts import estimate_segment
from shadowprice.estimators.pairs import NET, Pair
from shadowprice.estimators.periods import periods
from shadowprice.estimators.prices.break_even import break_even_value
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.estimators.trend import Stack, trend
from shadowprice.schemas.config import Config
from shadowprice.schemas.records import Estimates
from worlds import repeated_contexts_world, threshold_world


@lru_cache(maxsize=1)
def logged() -> Estimates:
    """The estimates of a log whose effect halves."""
    return estimated(router_log(3, n=1800, first=0.3, last=0.15), PRICED)


def stack_of(pair: Pair) -> Stack:
    """The joint means, which must be there."""
    found = trend(pair, whole(pair)).stack
    assert isinstance(found, Stack), found
    return found


def test_each_period_has_the_estimate_of_its_decisions_as_a_segment_of_them_would() -> None:
    """Kills: a period that is estimated on other rows, or through other gates, than those of its name."""
    pair = drawn(0, first=0.3, last=0.1)
    rows = trend(pair, whole(pair)).rows
    made = periods(pair, whole(pair))
    assert not isinstance(made, str)
    assert rows.height == len(made)
    for row, period in zip(rows.iter_rows(named=True), made, strict=True):
        segment = estimate_segment(pair, "all", period.members)
        assert segment.mean is not None
        assert row["theta"] == pytest.approx(segment.mean.theta[:NET].tolist(), nan_ok=True)
        assert row["cov"] == pytest.approx(segment.mean.cov[:NET, :NET].ravel().tolist())
        assert (row["n"], row["clusters"], row["ess"]) == (
            int(segment.rows.sum()),
            segment.mean.clusters,
            segment.ess,
        )


def test_the_covariance_of_periods_is_that_of_leaving_out_clusters_one_by_one() -> None:
    """Kills: periods taken for independent, clusters matched by position, and a lost floor or factor."""
    pair = drawn(1, first=0.3, last=0.3, luck=0.5)
    found, made = stack_of(pair), periods(pair, whole(pair))
    assert not isinstance(made, str)

    def means(kept: np.ndarray) -> np.ndarray:
        parts = [np.flatnonzero(kept & p.members) for p in made]
        return np.array([np.average(pair.d[i, 0], weights=pair.h[i]) for i in parts])

    cluster = pair.problem.cluster
    pulls = np.array([means(cluster != g) - means(cluster >= 0) for g in range(30)])
    naive = 29 / 30 * pulls.T @ pulls
    scale = np.sqrt(np.diag(found.cov[:, 0, :, 0]) / np.diag(naive))
    assert (scale >= 1.0 - 1e-9).all()
    assert found.cov[:, 0, :, 0] == pytest.approx(naive * np.outer(scale, scale))
    rows = trend(pair, whole(pair)).rows
    variances = [np.array(c).reshape(4, 4)[0, 0] for c in rows["cov"]]
    assert np.diag(found.cov[:, 0, :, 0]) == pytest.approx(variances)


def test_degrees_of_freedom_are_those_of_the_clusters_whether_periods_share_them_or_not() -> None:
    """Kills: clusters of one period counted for all, and shared ones counted once per period.

    30 clusters in all periods have about 29; five in each of six periods have 5 (6 + 1) / 2 - 1 = 16.5 (Zhang
    2012 for equal ones), less where they differ in size.
    """
    assert stack_of(drawn(2, first=0.4, last=0.4)).df == pytest.approx(28.0, abs=1.5)
    apart = drawn(2, first=0.4, last=0.4, clusters=90, of_a_time=True)
    assert stack_of(apart).df == pytest.approx(15 * 3.5 - 1.0, rel=0.1)


def test_the_mean_of_the_periods_is_the_whole() -> None:
    """Kills: scores that were made again within a period, and weights that differ from those of the whole."""
    est = logged()
    (joint,) = est.joint.filter(pl.col("segment") == "all").iter_rows(named=True)
    theta = np.array(est.trend["theta"].to_list())
    assert est.trend["n"].sum() == joint["n"]
    assert np.average(theta[:, :3], axis=0, weights=est.trend["n"]) == pytest.approx(
        np.array(joint["theta"])[:3], rel=0.05
    )


def test_row_order_changes_neither_periods_nor_their_tests() -> None:
    """Kills: a cut by the order of rows, and sums that follow it."""
    turned = router_log(3, n=1800, first=0.3, last=0.15).sample(fraction=1.0, shuffle=True, seed=5)
    a, b = logged(), estimated(turned, PRICED)
    assert a.trend.height > 1
    assert_frame_equal(a.trend, b.trend)
    assert_frame_equal(a.drift, b.drift)


def test_a_refused_period_keeps_its_row_its_decisions_and_its_reason() -> None:
    """Kills: a period that is dropped in silence, or one with a number where an action was not yet in use."""
    pair = drawn(5, first=0.4, last=0.4)
    later = (pair.problem.frame["ts"] > START + timedelta(days=10)).to_numpy()
    launched = replace(
        pair, e_a=pair.e_a * later, took_a=pair.took_a & later, h=pair.h * later, e_b=pair.e_b * later
    )
    made = trend(launched, whole(launched))
    first = made.rows.row(0, named=True)
    assert made.rows.height == 5
    assert (first["estimand"], first["grade"], first["theta"]) == ("not_identified", "N", None)
    assert (first["period"], first["n"], first["clusters"]) == (1, 480, 30)
    assert first["reason"] == "large was never taken here: log some decisions that take it at random"
    assert made.rows["theta"].null_count() == 1
    assert isinstance(made.stack, Stack)
    assert made.stack.theta.shape == (4, 5)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (threshold_world(n=900), "one window over the whole log"),
        (repeated_contexts_world(tasks=60), "whenever they ran"),
    ],
)
def test_scores_of_the_whole_log_only_have_no_periods_and_say_so(frame: pl.DataFrame, reason: str) -> None:
    """Kills: a border fitted once and read as if it had been fitted in each period, and a missing row."""
    est = sp.estimate(timed(frame, np.linspace(0.0, DAYS, frame.height)))
    (row,) = est.trend.iter_rows(named=True)
    assert (row["period"], row["theta"], row["estimand"]) == (None, None, "not_identified")
    assert reason in row["reason"]
    assert set(est.drift["reason"]) == {row["reason"]}


def test_what_the_whole_log_does_not_identify_has_no_trend() -> None:
    """Kills: periods of a contrast that was refused."""
    est = estimated(router_log(7, n=400).with_columns(quality=None, session_id=pl.lit("one")))
    assert est.joint.is_empty()
    assert est.trend.is_empty()
    assert est.drift.is_empty()


def test_a_log_read_in_parts_has_no_periods_and_says_so(tmp_path: Path) -> None:
    """Kills: a trend that is absent without a word."""
    est = sp.estimate(router_log(8, n=400), ledger=tmp_path / "ledger.parquet")
    assert est.trend.is_empty()
    assert "no break-even value by period: a log read in parts is not cut into periods" in est.notes


def prices_of(est: Estimates, config: Config = PRICED) -> list[dict[str, Any]]:
    """V* by period."""
    return fit_prices(est, config).trend.to_dicts()


def test_the_break_even_value_of_a_period_is_that_of_its_effects_at_the_prices_of_the_run() -> None:
    """Kills: a V* without lambda and rho, of the whole log, or with the interval of another one."""
    est = logged()
    for row, seen in zip(est.trend.iter_rows(named=True), prices_of(est), strict=True):
        theta, cov = np.array(row["theta"]), np.array(row["cov"]).reshape(4, 4)
        ratio = break_even_value(theta, cov, row["df"], latency_price=0.01, risk_price=0.5)
        assert (seen["value"], seen["lower"], seen["upper"]) == (ratio.value, ratio.lower, ratio.upper)
        assert seen["period_from"] == row["period_from"]


def test_a_period_without_a_value_says_why_in_the_prices_too() -> None:
    """Kills: a refused period that the prices leave out or give a number."""
    pair = drawn(1, first=0.0, last=0.0)
    weak = prices_of(replace(logged(), trend=trend(pair, whole(pair)).rows))
    unbounded = "the interval of the quality gain covers 0, so the ratio is unbounded"
    assert [(r["value"], r["reason"]) for r in weak] == [(None, unbounded)] * 2
    (row,) = prices_of(replace(logged(), trend=trend(untimed(pair), whole(pair)).rows))
    assert (row["value"], row["reason"]) == (None, "no decision has a timestamp in common time")


def untimed(pair: Pair) -> Pair:
    """`pair` without timestamps."""
    return replace(pair, problem=replace(pair.problem, frame=pair.problem.frame.with_columns(ts=None)))


def test_a_run_keeps_the_trend_of_its_prices(tmp_path: Path) -> None:
    """Kills: periods that are priced and then lost between stages, or lose their types where all are null."""
    pair = drawn(12)
    refused = replace(logged(), trend=trend(untimed(pair), whole(pair)).rows)
    for est in (logged(), refused):
        prices = replace(fit_prices(est, PRICED), run_id="r")
        rundir.write_prices(tmp_path, prices)
        assert_frame_equal(rundir.read_prices(tmp_path).trend, prices.trend)
