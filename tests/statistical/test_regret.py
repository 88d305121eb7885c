"""The bounds on regret hold as often as they promise, over worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from regrets import choice
from scipy import stats
from shadowprice.estimators.regret.choice import Choice
from shadowprice.estimators.regret.regret import regret_frame

pytestmark = pytest.mark.slow

WORLDS = 120
LUCK = 1e-3
"""Chance that a bound which errs in exactly one world of twenty fails its test."""
MOST = int(stats.binom.isf(LUCK, WORLDS, 0.05))


def bounds(*made: Choice) -> tuple[float, float]:
    """Lower and upper bound of the total."""
    row = regret_frame(made).filter(pl.col("layer") == "all").row(0, named=True)
    return row["lower_usd"], row["upper_usd"]


@pytest.mark.parametrize("clusters", [None, 40])
@pytest.mark.parametrize("actions", [3, 5])
def test_nothing_to_recover_is_rarely_called_recoverable(actions: int, clusters: int | None) -> None:
    """Kills the limit of a policy on the data that taught it, which is above 0 in most of these worlds."""
    alarms = sum(bounds(choice(s, actions=actions, clusters=clusters)[0])[0] > 0 for s in range(WORLDS))
    assert alarms <= MOST


@pytest.mark.parametrize(("gain", "spread", "power"), [(0.25, 0.0, 0.6), (0.0, 0.3, 0.2)])
def test_the_truth_lies_between_the_bounds(gain: float, spread: float, power: float) -> None:
    """Kills a bound without its error, and one so careful that it never finds anything."""
    low = high = seen = 0
    for seed in range(WORLDS):
        made, truth = choice(seed, n=1500, gain=gain, spread=spread)
        lower, upper = bounds(made)
        low, high, seen = low + (lower > truth), high + (upper < truth), seen + (lower > 0)
    assert low <= MOST
    assert high <= MOST
    assert seen >= power * WORLDS


def test_the_bounds_of_a_total_hold_where_points_share_clusters() -> None:
    """Kills a total whose points are taken for independent: here each repeats the other's decisions."""
    low = 0
    for seed in range(WORLDS):
        made, truth = choice(seed, n=800, gain=0.3, clusters=60)
        lower, _ = bounds(made, replace(made, decision_point="again"))
        low += lower > 2 * truth
    assert low <= MOST
