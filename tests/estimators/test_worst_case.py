"""Worst cases against their definitions: brute force over hidden causes and over shifted laws."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from risks import arms_of, loss_world
from scipy import optimize
from shadowprice.estimators.losses import ArmLosses
from shadowprice.estimators.worst_case import ambiguous_mean, knightian_mean, worst_rate
from worlds import LARGE, SMALL


@pytest.mark.parametrize(("rate", "strength"), [(0.02, 1.5), (0.5, 2.0), (0.9, 3.0), (0.3, 1.0)])
def test_the_worst_rate_is_the_best_reweighting_of_a_binary_outcome(rate: float, strength: float) -> None:
    """Kills a bound above 1 or below the rate: likelihood ratios in [1 / Lambda, Lambda] with mean 1."""
    # ratio r1 on incidents and r0 on the others: rate r1 + (1 - rate) r0 = 1
    best = max(
        rate * r1
        for r1 in np.linspace(1 / strength, strength, 20_001)
        if 1 / strength - 1e-9 <= (1 - rate * r1) / (1 - rate) <= strength + 1e-9
    )
    assert worst_rate(rate, strength) == pytest.approx(best, abs=1e-4)


def bounded(seed: int = 1, n: int = 1500) -> ArmLosses:
    """Losses of 1 to 5 USD under the logged choices."""
    frame = loss_world(seed, n=n, small=0.2, large=0.2, tail=None)
    return arms_of(frame.with_columns(loss_usd=pl.col("loss_usd") * (pl.int_range(pl.len()) % 5 + 1)))[
        "logged"
    ]


def test_the_ambiguous_mean_is_the_worst_law_within_the_radius() -> None:
    """Kills a wrong sign of the radius: the exponential tilt at that distance, found by its root."""
    arm, radius = bounded(), 0.05
    loss = arm.losses.loss

    def tilted(k: float) -> tuple[float, float]:
        q = np.exp(k * loss)
        q /= q.sum()
        return float(q @ loss), float(q @ np.log(q * loss.size))

    k = optimize.brentq(lambda k: tilted(k)[1] - radius, 1e-6, 5.0)
    assert ambiguous_mean(arm, 5.0, radius=radius).value == pytest.approx(tilted(k)[0], rel=1e-4)


def test_a_small_radius_is_the_mean_and_a_large_one_the_largest_loss() -> None:
    """Kills a search for the temperature that stops short at either end."""
    arm = bounded(2)
    assert ambiguous_mean(arm, 5.0, radius=1e-7).value == pytest.approx(arm.losses.loss.mean(), rel=1e-2)
    far = ambiguous_mean(arm, 5.0, radius=20.0)
    assert far.value == pytest.approx(5.0)
    assert far.upper <= 5.0


@pytest.mark.slow
def test_the_interval_of_the_ambiguous_mean_covers() -> None:
    """Kills a score without its tilt: truth from the exact law. Fewer than 52 of 60: probability 0.4 %."""
    law, loss = np.array([0.8] + [0.04] * 5), np.arange(6.0)
    truth = min(t * np.log(law @ np.exp(loss / t)) + t * 0.02 for t in np.geomspace(0.1, 1000, 20_000))
    found = [ambiguous_mean(bounded(seed, 600), 5.0, radius=0.02) for seed in range(60)]
    assert sum(f.lower <= truth <= f.upper for f in found) >= 52


def test_the_knightian_mean_grows_with_the_hidden_cause_as_the_formula_says() -> None:
    """Kills a hidden cause that also moves what was observed: e mu + (1 - e) Lambda mu, e = 1/2."""
    arm = arms_of(loss_world(3, n=40_000, small=0.05, large=0.05, tail=None))[SMALL]
    none, strong = knightian_mean(arm, strength=1.0), knightian_mean(arm, strength=3.0)
    assert isinstance(none, float)
    assert isinstance(strong, float)
    assert none > 0.05
    assert strong == pytest.approx(0.5 * 0.05 + 0.5 * 3 * 0.05, rel=0.1)


def test_the_cap_bounds_what_an_unseen_loss_can_cost() -> None:
    """Kills a cap that is ignored where a tail is fitted."""
    arm = arms_of(loss_world(4, n=2000))[LARGE]
    largest = float(np.nanmax(arm.losses.loss))
    free, capped = knightian_mean(arm, strength=1.0), knightian_mean(arm, strength=1.0, cap_usd=largest)
    assert isinstance(free, float)
    assert isinstance(capped, float)
    assert capped <= free


def test_a_worst_case_without_a_tail_is_a_reason() -> None:
    """Kills a worst case read off a handful of losses."""
    found = knightian_mean(arms_of(loss_world(5, n=300))[LARGE], strength=1.0)
    assert isinstance(found, str)
    assert "30" in found
