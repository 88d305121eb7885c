"""The sample of decisions behind prices: bounded, whole sessions, with its share in keep_prob."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.prices.sampled import sampled_problems
from shadowprice.schemas.config import Config
from worlds import router_world


def test_small_points_are_taken_whole() -> None:
    """Kills a sample where none is needed."""
    frame = router_world(n=300).frame
    (problem,) = sampled_problems(frame, Config(), seed=0, most=300)
    assert problem.n == 300
    assert problem.weight.tolist() == [1.0] * 300


def test_a_large_point_keeps_whole_sessions_and_stands_for_all() -> None:
    """Kills rows drawn one by one, and a sample whose weights do not add up to the log."""
    frame = router_world(n=4000, clusters=400).frame
    (problem,) = sampled_problems(frame, Config(), seed=0, most=1000)
    assert 700 < problem.n < 1300
    kept = problem.frame["session_id"].unique()
    assert frame.filter(pl.col("session_id").is_in(kept.implode())).height == problem.n
    assert problem.weight.sum() == pytest.approx(4000, rel=0.3)
    assert np.ptp(problem.weight) == 0.0


def test_a_rare_point_is_not_thinned_by_a_common_one() -> None:
    """Kills one share for all points: the rare one would lose its rows."""
    common = router_world(n=4000).frame
    rare = router_world(1, n=300).frame.with_columns(
        decision_point=pl.lit("other"), decision_id=pl.col("decision_id") + "-r"
    )
    sizes = {
        p.decision_point: p.n
        for p in sampled_problems(pl.concat([common, rare]), Config(), seed=0, most=1000)
    }
    assert sizes["other"] == 300
    assert sizes["model"] < 1500


def test_the_share_multiplies_the_log_sampling() -> None:
    """Kills keep_prob that is overwritten instead of multiplied."""
    frame = router_world(n=2000).frame.with_columns(keep_prob=pl.lit(0.5))
    (problem,) = sampled_problems(frame, Config(), seed=0, most=1000)
    assert problem.weight == pytest.approx(4.0)
