"""Approximate propensities: the share of nearby decisions for which the rule chooses otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from cutoffs import box_log, problem_of
from shadowprice.estimators.cutoff_aps import GRID, approximate_propensity, smallest_radius, undecided
from shadowprice.estimators.cutoff_rule import find_rule, replay, values
from worlds import LARGE, threshold_world


def test_on_one_score_it_is_the_share_of_the_interval_beyond_the_cut_off() -> None:
    """Kills: a radius in other units, or draws where a formula is exact."""
    problem = problem_of(threshold_world(n=600))
    rule = find_rule(problem)
    assert rule is not None
    x = values(problem, rule)
    got = approximate_propensity(rule, x, 2, 0.2)
    reach = 0.2 * x[:, 0].std()
    assert got[:, problem.arm_index(LARGE)] == pytest.approx(
        np.clip((x[:, 0] - rule.cutoff + reach) / (2 * reach), 0, 1), abs=1e-8
    )
    assert got.sum(axis=1) == pytest.approx(np.ones(600))
    assert np.array_equal(undecided(got), np.abs(x[:, 0] - rule.cutoff) < reach)


def test_on_two_scores_it_agrees_with_a_large_random_ball() -> None:
    """Kills: points that fill the ball unevenly. 100 points against 20,000 random ones: error below 0.06."""
    problem = problem_of(box_log())
    rule = find_rule(problem)
    assert rule is not None
    x = values(problem, rule)[:400]
    got = approximate_propensity(rule, x, 2, 0.5)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(20_000, 2))
    ball = direction / np.linalg.norm(direction, axis=1)[:, None] * np.sqrt(rng.random((20_000, 1)))
    for row in range(0, 400, 20):
        arms = replay(rule, x[row] + 0.5 * ball * rule.scale)
        assert got[row] == pytest.approx(np.bincount(arms, minlength=2) / 20_000, abs=0.06)


def test_the_smallest_radius_with_enough_rows_is_used() -> None:
    """Kills: always the widest, or a radius without rows of both actions."""
    small, large = (problem_of(threshold_world(n=n)) for n in (400, 8000))
    radii = []
    for problem in (small, large):
        rule = find_rule(problem)
        assert rule is not None
        found = smallest_radius(rule, values(problem, rule), problem.arm, 2)
        assert found is not None
        radii.append(found[0])
        assert np.bincount(problem.arm[undecided(found[1])]).min() >= 30
    assert radii[1] < radii[0]
    assert set(radii) <= set(GRID)


def test_too_few_rows_at_the_border_have_no_radius() -> None:
    """Kills: propensities from a handful of decisions."""
    problem = problem_of(threshold_world(n=2000, cutoff=0.98))
    rule = find_rule(problem)
    assert rule is not None
    assert smallest_radius(rule, values(problem, rule), problem.arm, 2) is None
