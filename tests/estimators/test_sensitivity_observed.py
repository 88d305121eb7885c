"""The yardstick: how far each logged feature moves the odds of the choice."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hidden import confounded, scored
from shadowprice.estimators import sensitivity_observed
from shadowprice.estimators.problem import Problem
from shadowprice.estimators.sensitivity_observed import observed_strengths
from shadowprice.ingest.simulator.regime import Regime, draw
from worlds import LARGE, SMALL, decisions, sigmoid


def switch_world(ratio: float, n: int = 3000) -> Problem:
    """A router whose odds are `ratio` or 1 / `ratio` by a coin that is logged; another coin does nothing."""
    rng = np.random.default_rng(0)
    on = rng.random(n) < 0.5
    strong = rng.random(n) < sigmoid(np.where(on, 1.0, -1.0) * np.log(ratio))
    frame = decisions(
        n,
        action=np.where(strong, LARGE, SMALL),
        quality=rng.random(n).round(),
        cost_usd=0.01,
        x_on=on.astype(float),
        x_idle=(rng.random(n) < 0.5).astype(float),
    )
    return scored(frame, LARGE, SMALL)[0]


def test_a_coin_that_scales_the_odds_has_exactly_that_strength() -> None:
    """Kills probabilities for odds, a squared ratio, or a mean for the percentile: without the coin the odds
    are 1, with it 2 or 1 / 2. 3,000 rows estimate a log-odds to 0.05."""
    found = observed_strengths(switch_world(2.0), LARGE, SMALL, seed=0)
    assert [o.feature for o in found] == ["x_on", "x_idle"]
    assert found[0].strength == pytest.approx(2.0, rel=0.15)
    assert found[1].strength == pytest.approx(1.0, abs=0.1)


def test_a_feature_that_sways_few_decisions_is_not_strong() -> None:
    """Kills the largest change for the 95th percentile: 2 % of the decisions are moved a lot."""
    rng = np.random.default_rng(1)
    n = 5000
    rare = rng.random(n) < 0.02
    strong = rng.random(n) < np.where(rare, 0.95, 0.5)
    frame = decisions(
        n, action=np.where(strong, LARGE, SMALL), quality=rng.random(n).round(), x_rare=rare.astype(float)
    )
    problem = scored(frame, LARGE, SMALL)[0]
    (found,) = observed_strengths(problem, LARGE, SMALL, seed=0)
    assert found.strength < 1.2


def test_the_features_that_drive_the_policy_are_the_strongest() -> None:
    """Kills a ranking that is not by strength: the policy uses difficulty twice as much as budget."""
    problem = scored(confounded(1, n=1500).frame)[0]
    found = observed_strengths(problem, "a1", "a0", seed=0)
    assert [o.feature for o in found] == ["x_difficulty", "x_budget", "x_length"]


def test_large_logs_are_judged_on_a_sample_of_whole_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a cost that grows with the log, and a sample that moves the answer."""
    problem = switch_world(2.0)
    whole = observed_strengths(problem, LARGE, SMALL, seed=0)
    monkeypatch.setattr(sensitivity_observed, "_MAX_ROWS", 1000)
    part = observed_strengths(problem, LARGE, SMALL, seed=0)
    assert part[0].strength == pytest.approx(whole[0].strength, rel=0.2)
    assert part != whole


def test_without_features_or_rows_there_is_no_yardstick() -> None:
    """Kills a percentile of nothing."""
    frame = draw(Regime(n=300), seed=1).frame
    bare = scored(frame.drop("x_difficulty", "x_length", "x_budget"))[0]
    assert observed_strengths(bare, "a1", "a0", seed=0) == ()
    problem = scored(frame)[0]
    assert observed_strengths(problem, "a1", "a0", seed=0, rows=np.zeros(300, dtype=bool)) == ()


def test_a_category_counts_as_one_feature() -> None:
    """Kills one strength per level."""
    frame = confounded(1, n=600).frame.with_columns(
        x_kind=pl.when(pl.col("x_difficulty") > 0).then(pl.lit("hard")).otherwise(pl.lit("easy"))
    )
    found = observed_strengths(scored(frame)[0], "a1", "a0", seed=0)
    assert len(found) == 4
