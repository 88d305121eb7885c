"""The rule behind a log: found, replayed, and measured to its border."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from cutoffs import box_log, problem_of
from shadowprice.estimators.cutoff_rule import Rule, border_distance, find_rule, replay, values
from worlds import LARGE, SMALL, decisions, threshold_world


def found(frame: pl.DataFrame) -> Rule:
    """The rule of `frame`, which must have one."""
    rule = find_rule(problem_of(frame))
    assert rule is not None
    return rule


def test_the_boxes_replay_every_choice() -> None:
    """Kills: a box with a side mixed up, or a leaf that is lost."""
    frame = box_log()
    problem, rule = problem_of(frame), found(frame)
    assert rule.features == ("x_a", "x_b")
    assert np.array_equal(replay(rule, values(problem, rule)), problem.arm)


def test_the_distance_of_one_cut_off_is_the_standardised_score() -> None:
    """Kills: a wrong sign or scale."""
    frame = threshold_world(n=800)
    problem, rule = problem_of(frame), found(frame)
    score = problem.frame["x_score"].to_numpy()
    got = border_distance(rule, values(problem, rule), problem.arm_index(LARGE), problem.arm_index(SMALL))
    assert got == pytest.approx((score - rule.cutoff) / score.std())


def test_the_distance_around_a_corner_is_the_shortest_way() -> None:
    """Kills: a distance to lines that the rule does not have: by brute force over points of a fine grid."""
    frame = box_log()
    problem, rule = problem_of(frame), found(frame)
    x = values(problem, rule)[:200]
    large, small = problem.arm_index(LARGE), problem.arm_index(SMALL)
    got = border_distance(rule, x, large, small)
    cut = [float(rule.low[np.isfinite(rule.low[:, j]), j].max()) for j in range(2)]
    z, corner = x / rule.scale, np.array(cut) / rule.scale
    below = np.maximum(corner - z, 0.0)
    inside = (z > corner).all(axis=1)
    naive = np.where(inside, (z - corner).min(axis=1), -np.sqrt((below**2).sum(axis=1)))
    assert got == pytest.approx(naive, abs=1e-6)


def test_a_category_is_no_distance() -> None:
    """Kills: a border between codes of a category: x_kind decides, and within 'code' a number does."""
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=1200), np.where(np.arange(1200) % 2, "chat", "code")
    took = (kind == "code") & (x > 0)
    frame = decisions(1200, x_kind=kind.tolist(), x_score=x).with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL))
    )
    problem, rule = problem_of(frame), found(frame)
    assert rule.numeric
    got = border_distance(rule, values(problem, rule), problem.arm_index(LARGE), problem.arm_index(SMALL))
    chat = (problem.frame["x_kind"] == "chat").to_numpy()
    assert np.isnan(got[chat]).all()
    assert np.isfinite(got[~chat]).all()


def test_a_missing_feature_has_no_place() -> None:
    """Kills: sending rows without the score to one side of the border."""
    frame = threshold_world(n=800).with_columns(
        x_score=pl.when(pl.int_range(800) < 1).then(None).otherwise("x_score")
    )
    problem, rule = problem_of(frame), found(frame)
    x = values(problem, rule)
    assert replay(rule, x)[0] == -1
    assert np.isnan(border_distance(rule, x, 0, 1)[0])


def test_arms_that_never_meet_are_far_apart() -> None:
    """Kills: a border between the first and the third of three neighbours."""
    score = np.random.default_rng(0).uniform(-1, 1, size=1500)
    arm = np.where(score < -0.4, "a", np.where(score < 0.4, "b", "c"))
    frame = decisions(1500, x_score=score).with_columns(action=pl.Series(arm))
    problem, rule = problem_of(frame), found(frame)
    x = values(problem, rule)
    assert np.nanmin(np.abs(border_distance(rule, x, 2, 0))) > 0.8 / score.std() - 0.05
    assert np.nanmin(np.abs(border_distance(rule, x, 1, 0))) < 0.05
