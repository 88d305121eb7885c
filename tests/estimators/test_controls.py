"""Negative controls widen what they must, anchors object when they must, placebo effects find nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hidden import confounded, scored
from scipy import optimize, stats
from shadowprice.estimators.controls import (
    MIN_CONTROLS,
    SystematicError,
    calibrated_interval,
    exploration_anchor,
    placebo_effects,
    systematic_error,
)
from shadowprice.ingest.simulator.regime import Regime, draw
from threadpoolctl import threadpool_limits

INF = float("inf")


def test_the_fit_is_the_maximum_of_the_likelihood() -> None:
    """Kills moments for likelihood, or a variance that forgets the standard errors: against a general
    optimiser over (b, log s)."""
    rng = np.random.default_rng(0)
    se = rng.uniform(0.02, 0.2, size=25)
    theta = 0.1 + 0.15 * rng.normal(size=25) + se * rng.normal(size=25)

    def minus(p: np.ndarray) -> float:
        return -float(stats.norm.logpdf(theta, p[0], np.sqrt(se**2 + np.exp(2 * p[1]))).sum())

    best = optimize.minimize(minus, np.array([0.0, -2.0]), method="Nelder-Mead", options={"xatol": 1e-8})
    found = systematic_error(theta, se)
    assert found.mean == pytest.approx(best.x[0], abs=1e-5)
    assert found.sd == pytest.approx(np.exp(best.x[1]), abs=1e-5)
    assert found.controls == 25


def test_controls_that_scatter_as_their_standard_errors_say_add_nothing() -> None:
    """Kills a systematic error where there is only noise."""
    theta = np.array([1.0, -1.0] * 8) * 0.05
    found = systematic_error(theta, np.full(16, 0.1))
    assert found.sd == 0.0
    assert found.mean == pytest.approx(0.0)
    assert calibrated_interval(0.3, 0.1, INF, found) == pytest.approx((0.3 - 0.196, 0.3 + 0.196), abs=1e-3)


def test_nine_controls_are_too_few_and_unusable_ones_do_not_count() -> None:
    """Kills a distribution read from a handful of numbers, or from NaN."""
    theta = np.array([0.1] * 9 + [np.nan, 0.2])
    found = systematic_error(theta, np.array([0.1] * 10 + [0.0]))
    assert found.mean is None
    assert found.reason == f"9 negative controls; {MIN_CONTROLS} are needed"
    assert calibrated_interval(0.1, 0.1, INF, found) is None


def test_the_interval_is_widened_by_spread_and_mean_and_shifted_only_with_an_anchor() -> None:
    """Kills a shift without an anchor, or a mean that is forgotten."""
    error = SystematicError(mean=0.2, sd=0.3, controls=20)
    half = 1.959964 * 0.5
    assert calibrated_interval(1.0, 0.4, INF, error) == pytest.approx((0.8 - half, 1.0 + half))
    anchored = calibrated_interval(1.0, 0.4, INF, error, anchored=True)
    assert anchored == pytest.approx((0.8 - half, 0.8 + half))


@pytest.mark.slow
def test_calibrated_intervals_cover_under_systematic_error_where_plain_ones_do_not() -> None:
    """Kills intervals that trust their standard error. 400 studies with errors N(.1, .15^2) and 30 controls
    each: plain coverage is below one half; the shifted interval has 95 % less the noise of estimating two
    numbers from 30 (.90 to .97 at 400); the widened one has at least that."""
    rng = np.random.default_rng(1)
    plain = widened = shifted = 0
    for _ in range(400):
        se = rng.uniform(0.03, 0.1, size=31)
        wrong = 0.1 + 0.15 * rng.normal(size=31) + se * rng.normal(size=31)
        error = systematic_error(wrong[:30], se[:30])
        value, own = 0.5 + wrong[30], float(se[30])
        plain += abs(value - 0.5) <= 1.96 * own
        for anchored in (False, True):
            ends = calibrated_interval(value, own, INF, error, anchored=anchored)
            assert ends is not None
            inside = ends[0] <= 0.5 <= ends[1]
            widened, shifted = widened + (inside and not anchored), shifted + (inside and anchored)
    assert plain < 200
    assert 360 <= shifted <= 388
    assert widened >= shifted


def test_an_anchor_objects_to_a_gap_of_more_than_two_joint_standard_errors() -> None:
    """Kills a z that forgets one of the two variances."""
    close = exploration_anchor(0.5, 0.3, 1.0, 0.4)
    assert close.z == pytest.approx(-1.0)
    assert close.p == pytest.approx(2 * stats.norm.sf(1.0))
    assert close.agrees is True
    far = exploration_anchor(0.0, 0.3, 1.0, 0.4)
    assert far.agrees is False
    assert far.reason == "differs from the randomised decisions by -1"


@pytest.mark.parametrize("bad", [(0.1, float("nan"), 0.1, 0.1), (0.1, 0.0, 0.1, 0.0)])
def test_an_anchor_without_standard_errors_says_nothing(bad: tuple[float, float, float, float]) -> None:
    """Kills agreement by division by zero or NaN."""
    found = exploration_anchor(*bad)
    assert found.agrees is None
    assert found.reason is not None


@pytest.mark.slow
def test_a_randomised_choice_has_no_effect_on_what_came_before_it() -> None:
    """Kills a pseudo outcome that is adjusted for itself, or left on its own scale: all placebo effects of
    a valid log are noise, in standard deviations of the feature."""
    problem = scored(draw(Regime(n=1500), seed=3).frame)[0]
    found = placebo_effects(problem, "a1", "a0", seed=0)
    assert [p.feature for p in found] == ["x_budget", "x_difficulty", "x_length"]
    for p in found:
        assert p.value is not None
        assert p.se is not None
        assert abs(p.value) < 4 * p.se
        assert 0.02 < p.se < 0.15


@pytest.mark.slow
def test_a_driver_of_the_choice_that_is_left_out_shows_up() -> None:
    """Kills a placebo that is adjusted for its own feature: with estimated propensities difficulty, which
    moves the choice, differs between the arms, and length, which does not, hardly."""
    with threadpool_limits(limits=1):
        problem = scored(confounded(3, n=900).frame)[0]
        found = {p.feature: p for p in placebo_effects(problem, "a1", "a0", seed=0)}
    difficulty, length = found["x_difficulty"], found["x_length"]
    assert difficulty.value is not None
    assert difficulty.lower is not None
    assert difficulty.lower > 0.3
    assert length.value is not None
    assert length.se is not None
    assert abs(length.value) < 4 * length.se


def test_a_placebo_that_cannot_be_had_has_its_reason() -> None:
    """Kills a crash without another feature, and an answer from a single session."""
    lone = scored(confounded(1, n=300).frame.drop("x_length", "x_budget"))[0]
    (found,) = placebo_effects(lone, "a1", "a0", seed=0)
    assert found.value is None
    assert found.reason == "no other feature is logged, and no propensity"
    frame = draw(Regime(n=300), seed=1).frame
    problem = scored(frame.with_columns(session_id=pl.lit("one")))[0]
    assert all(p.reason for p in placebo_effects(problem, "a1", "a0", seed=0))
