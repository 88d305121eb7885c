"""The jump at a cut-off: against rdrobust and statsmodels, against known truth, and where it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from cutoffs import curved_log, effect_at_cut
from scipy import stats
from shadowprice.estimators.cutoff import Discontinuity, optimal_bandwidth, regression_discontinuity
from shadowprice.ingest.simulator.regime import Regime, draw

REPS = 60


def jump_of(x: np.ndarray, y: np.ndarray, *, bandwidth: float | None = None) -> Discontinuity:
    """The discontinuity at 0 of independent rows of weight 1."""
    return regression_discontinuity(x, 0.0, y, np.arange(x.size), np.ones(x.size), bandwidth=bandwidth)


def golden_log() -> tuple[np.ndarray, np.ndarray]:
    """The 600 rows that rdrobust was run on."""
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, 600)
    noise = rng.normal(0, 0.3, 600)
    return x, 0.3 + 0.8 * x - 0.6 * x**2 + 0.25 * (x > 0) + 0.4 * (x > 0) * x + noise


def test_it_agrees_with_rdrobust() -> None:
    """Kills: a wrong kernel, a correction with the wrong sign, residuals that are not HC3.

    rdrobust 2.1.1 (Python): rdrobust(y, x, p=1, q=2, h=.5, b=.5, kernel="tri", vce="hc3",
    masspoints="off"). Its variance lacks the factor n / (n - 1) of clusters of one row, n = 297.
    """
    got = jump_of(*golden_log(), bandwidth=0.5)
    assert got.linear == pytest.approx(0.23798471253509956, abs=1e-10)
    assert got.value == pytest.approx(0.3154724085918228, abs=1e-10)
    assert (got.left, got.right) == (142, 155)
    assert got.se == pytest.approx(0.08419043001043384 * np.sqrt(297 / 296), abs=1e-10)


def test_the_correction_is_the_bias_of_the_line_under_the_fitted_parabola() -> None:
    """Kills: a bias that is not what statsmodels' line makes of statsmodels' parabola (weights too)."""
    x, y = golden_log()
    weight = 1.0 + (np.arange(x.size) % 3)
    got = regression_discontinuity(x, 0.0, y, np.arange(x.size), weight, bandwidth=0.5)
    linear = corrected = 0.0
    for side, sign in ((x <= 0, -1), (x > 0, 1)):
        inside = side & (np.abs(x) < 0.5)
        w = weight[inside] * (1 - np.abs(x[inside]) / 0.5)
        line = sm.WLS(y[inside], sm.add_constant(x[inside]), weights=w).fit().params[0]
        curve = np.column_stack([np.ones(inside.sum()), x[inside], x[inside] ** 2])
        bend = sm.WLS(y[inside], curve, weights=w).fit().params[2]
        bias = bend * sm.WLS(x[inside] ** 2, sm.add_constant(x[inside]), weights=w).fit().params[0]
        linear, corrected = linear + sign * line, corrected + sign * (line - bias)
    assert got.linear == pytest.approx(linear, abs=1e-10)
    assert got.value == pytest.approx(corrected, abs=1e-10)


def test_the_variance_adds_up_over_clusters_that_span_the_cut_off() -> None:
    """Kills: treating rows, or the two sides of one session, as independent."""
    x, y = golden_log()
    pair = np.arange(x.size) // 2
    x[1::2] = -x[::2]
    y = 0.3 * x + np.random.default_rng(1).normal(size=x.size // 2)[pair]
    rows = jump_of(x, y, bandwidth=0.6)
    sessions = regression_discontinuity(x, 0.0, y, pair, np.ones(x.size), bandwidth=0.6)
    assert rows.value == sessions.value
    assert sessions.se < 0.1 * rows.se  # shared luck cancels between the two sides
    assert sessions.clusters * 2 == rows.clusters


def test_a_row_s_influence_is_what_leaving_it_out_changes() -> None:
    """Kills: influences that are not the derivative times the HC3 residual (the jackknife identity)."""
    x, y = golden_log()
    got = jump_of(x, y, bandwidth=0.5)
    row = int(np.argmax(np.abs(got.influence)))
    without = jump_of(np.delete(x, row), np.delete(y, row), bandwidth=0.5)
    assert got.value - without.value == pytest.approx(got.influence[row], rel=1e-9)


def test_units_and_order_of_the_score_do_not_matter() -> None:
    """Kills: a bandwidth or fit tied to the unit, the zero or the order of the score."""
    x, y = curved_log()
    first = jump_of(x, y)
    turn = np.random.default_rng(0).permutation(x.size)
    moved = regression_discontinuity(7.0 + 100.0 * x[turn], 7.0, y[turn], np.arange(x.size), np.ones(x.size))
    assert moved.value == pytest.approx(first.value, abs=1e-8)
    assert moved.se == pytest.approx(first.se, abs=1e-8)
    assert moved.bandwidth == pytest.approx(100 * first.bandwidth, rel=1e-8)


def test_the_bandwidth_is_near_the_best_one_where_curvature_and_noise_are_known() -> None:
    """Kills: a wrong constant or power. Uniform density 1/2, variance 1, second derivatives 40 and 0, no
    third: h = 3.4375 (2 / (0.5 * 40^2))^(1/5) n^(-1/5); the pilot's noise allows a factor 1.5."""
    rng = np.random.default_rng(0)
    n = 20_000
    x = rng.uniform(-1, 1, size=n)
    y = np.where(x > 0, 20.0 * x**2, 0.0) + rng.normal(size=n)
    best = 3.4375 * (2.0 / (0.5 * 40.0**2)) ** 0.2 * n**-0.2
    assert 1 / 1.5 < optimal_bandwidth(x, y, np.ones(n)) / best < 1.5


def test_an_outcome_without_noise_or_curvature_uses_all_rows() -> None:
    """Kills: a division by zero where there is nothing to balance."""
    x, _ = curved_log(n=200)
    got = jump_of(x, np.where(x > 0, 0.5, 0.2))
    assert got.value == pytest.approx(0.3, abs=1e-9)
    assert got.se == pytest.approx(0.0, abs=1e-9)


def test_rows_kept_by_log_sampling_stand_for_those_that_were_dropped() -> None:
    """Kills: ignoring weights: successes kept at 40 % hide most of a jump from .3 to .7."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=30_000)
    y = (rng.random(30_000) < np.where(x > 0, 0.7, 0.3)).astype(float)
    chance = np.where(y > 0, 0.4, 1.0)
    kept = rng.random(30_000) < chance
    x, y, weight = x[kept], y[kept], 1 / chance[kept]
    right = regression_discontinuity(x, 0.0, y, np.arange(x.size), weight)
    assert right.lower < 0.4 < right.upper
    assert abs(jump_of(x, y).value - 0.4) > abs(right.value - 0.4)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.concatenate([np.linspace(-1, -0.01, 29), np.linspace(0.01, 1, 100)]), "29 decisions on one side"),
        (np.repeat([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3], 50), "too few values"),
        (np.full(100, np.nan), "0 decisions on one side"),
    ],
)
def test_a_score_that_cannot_carry_a_curve_is_refused(x: np.ndarray, reason: str) -> None:
    """Kills: a number from a handful of points, or NaN."""
    got = jump_of(x, np.arange(x.size) % 2.0)
    assert got.value is None
    assert reason in str(got.reason)
    assert not got.influence.any()


def test_one_cluster_is_refused() -> None:
    """Kills: an interval without any independent repetition."""
    x, y = curved_log(n=200)
    got = regression_discontinuity(x, 0.0, y, np.zeros(200, dtype=np.int64), np.ones(200))
    assert got.value is None
    assert "two are needed" in str(got.reason)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1000, 4000])
@pytest.mark.parametrize("cut", [0.0, 0.3])
def test_the_interval_covers_the_effect_at_the_cut_off(n: int, cut: float) -> None:
    """Kills: a bias that the interval does not know, a variance of the wrong scale.

    60 draws: fewer than 52 that hold the truth have probability 0.5 % at 95 %; the mean within 3.3
    standard errors; the mean standard error within 35 % of the spread of the estimates.
    """
    regime = Regime(n=n, identification="D", cut=cut)
    truth = effect_at_cut(regime)
    found = []
    for seed in range(REPS):
        frame = draw(regime, seed=seed).frame
        found.append(
            regression_discontinuity(
                frame["x_score"].to_numpy(),
                cut,
                frame["quality"].to_numpy(),
                np.arange(frame.height),
                np.ones(frame.height),
            )
        )
    inside = sum(f.lower <= truth <= f.upper for f in found)
    assert inside >= stats.binom.ppf(0.005, REPS, 0.95)
    values = np.array([f.value for f in found])
    assert abs(values.mean() - truth) < 3.3 * values.std() / np.sqrt(REPS)
    assert np.mean([f.se for f in found]) == pytest.approx(values.std(), rel=0.35)
