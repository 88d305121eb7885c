"""Bounds where nothing is assumed: they hold the truth whatever the unseen outcomes are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from cutoffs import problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from shadowprice.estimators.manski import bounds
from worlds import LARGE, SMALL, decisions, router_world, threshold_world

SEEDS = 60


def test_with_two_actions_the_bounds_are_as_wide_as_the_outcome() -> None:
    """Kills: a width other than 1: E[Y(a)] is known on those who took a and free on the rest."""
    frame = threshold_world(n=2000)
    problem = problem_of(frame)
    got = bounds(problem, LARGE, SMALL)
    took = frame["action"].to_numpy() == LARGE
    y = frame["quality"].to_numpy()
    assert got.highest - got.lowest == pytest.approx(1.0)
    assert got.lowest == pytest.approx((took * y).mean() - (~took * y).mean() - took.mean())
    assert got.lower < got.lowest < 0 < got.highest < got.upper
    assert got.identified == 0.0
    assert "100% of them could not have gone the other way" in got.reason


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
def test_any_pair_of_potential_outcomes_lies_inside(seed: int, share: float) -> None:
    """Kills: a bound that some world breaks: whatever was not seen is drawn at random from [0, 1]."""
    rng = np.random.default_rng(seed)
    both = rng.random((200, 3)) ** rng.uniform(0.2, 5)
    arm = rng.choice(3, size=200, p=[share / 2, 1 - share, share / 2])
    names = np.array([LARGE, "medium", SMALL])
    frame = decisions(200, quality=both[np.arange(200), arm]).with_columns(action=pl.Series(names[arm]))
    truth = float((both[:, 0] - both[:, 2]).mean())
    got = bounds(problem_of(frame), LARGE, SMALL)
    assert got.lowest <= truth <= got.highest


def test_known_rows_narrow_the_bounds_by_their_share() -> None:
    """Kills: throwing the randomised part away, or counting it as unknown."""
    problem = problem_of(router_world(n=1000).frame)
    known = np.arange(1000) < 400
    got = bounds(problem, LARGE, SMALL, scores=np.full(1000, 0.1), known=known)
    assert got.identified == pytest.approx(0.4)
    assert got.highest - got.lowest == pytest.approx(0.6)
    every = bounds(problem, LARGE, SMALL, scores=np.full(1000, 0.1), known=np.ones(1000, dtype=bool))
    assert (every.lower, every.upper) == pytest.approx((0.1, 0.1))


def test_an_outcome_that_is_missing_may_be_anything() -> None:
    """Kills: taking a missing outcome for 0, or for missing at random."""
    frame = threshold_world(n=1000)
    hidden = frame.with_columns(quality=pl.when(pl.int_range(1000) >= 300).then("quality"))
    full, part = (bounds(problem_of(f), LARGE, SMALL) for f in (frame, hidden))
    assert part.highest - part.lowest == pytest.approx(1.3)
    assert part.lowest < full.lowest
    assert part.highest > full.highest


def test_limits_in_dollars_bound_a_cost() -> None:
    """Kills: limits of 0 and 1 for every quantity."""
    frame = threshold_world(n=600)
    got = bounds(problem_of(frame), LARGE, SMALL, 1, limits=(0.0, 0.05))
    assert got.highest - got.lowest == pytest.approx(0.05)
    assert "anything from 0 to 0.05" in got.reason


def test_dropped_decisions_weigh_in() -> None:
    """Kills: ignoring keep_prob: a kept row of probability 1/2 stands for two."""
    frame = threshold_world(n=400)
    doubled = pl.concat([frame, frame.with_columns(decision_id=pl.col("decision_id") + "b")])
    halved = frame.with_columns(keep_prob=pl.lit(0.5))
    a, b = (bounds(problem_of(f), LARGE, SMALL) for f in (doubled, halved))
    assert (a.lowest, a.highest) == pytest.approx((b.lowest, b.highest))
    mixed = frame.with_columns(keep_prob=pl.when(pl.col("action") == LARGE).then(0.5).otherwise(1.0))
    taken = frame.filter(pl.col("action") == LARGE).with_columns(decision_id=pl.col("decision_id") + "b")
    c, d = (bounds(problem_of(f), LARGE, SMALL) for f in (mixed, pl.concat([frame, taken])))
    assert (c.lowest, c.highest) == pytest.approx((d.lowest, d.highest))


def test_a_segment_is_bounded_by_its_own_rows() -> None:
    """Kills: bounds of the whole log under a segment's name."""
    frame = threshold_world(n=1000)
    problem = problem_of(frame)
    members = (problem.frame["x_length"] > 0).to_numpy()
    part = bounds(problem, LARGE, SMALL, members=members)
    alone = bounds(problem_of(frame.filter(pl.col("x_length") > 0)), LARGE, SMALL)
    assert (part.lower, part.upper) == pytest.approx((alone.lower, alone.upper))


def test_one_cluster_has_no_bound_but_a_reason() -> None:
    """Kills: NaN or an exception."""
    frame = threshold_world(n=100).with_columns(session_id=pl.lit("s"))
    got = bounds(problem_of(frame), LARGE, SMALL)
    assert (got.lower, got.upper, got.clusters) == (None, None, 1)
    assert "two are needed" in got.reason


def test_the_ends_hold_the_population_bound_in_about_95_of_100_logs() -> None:
    """Kills: ends without sampling error, or two-sided ones: at a width of 1 they are one-sided.

    Population lower bound: E[1a Y] - E[1b Y] - P(a). 60 logs, 5 % beyond: 9 or more have probability 0.4 %,
    none at all (a two-sided 97.5 % end misses 1.5) is possible, so only the excess is tested.
    """
    low = 0.35 * 0.6 - 0.65 * 0.5 - 0.35
    missed = sum(
        bounds(problem_of(threshold_world(s, n=400)), LARGE, SMALL).lower > low for s in range(SEEDS)
    )
    assert missed < 9
