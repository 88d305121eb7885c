"""Slope, groups and their p-values hold what they promise on predictions whose rightness is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import statsmodels.api as sm
from effects import contrast
from shadowprice.estimators.effect_calibration import (
    CALIBRATION,
    calibration,
    calibration_frame,
    calibration_slope,
)

Array = np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Predictions that are right, times `scale`, and scores of clustered decisions."""

    prediction: Array
    d: Array
    h: Array
    cluster: Array
    fold: Array


def drawn(seed: int, *, n: int = 600, clusters: int = 60, scale: float = 1.0, shock: float = 0.3) -> Draw:
    """tau = .3 x with part of x and a shock shared by clusters; noise of standard deviation 1."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) % clusters
    x = 0.5 * rng.normal(size=clusters)[cluster] + 0.8 * rng.normal(size=n)
    d = 0.3 * x + shock * rng.normal(size=clusters)[cluster] + rng.normal(size=n)
    return Draw(
        prediction=0.3 * x * scale,
        d=d,
        h=rng.uniform(0.05, 0.25, size=n),
        cluster=cluster,
        fold=cluster % 5,
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_slope_is_the_weighted_regression_with_an_intercept_per_fold() -> None:
    """Kills a slope across folds, or folds that do not count equally: statsmodels with fold dummies and each
    fold's weights divided by its sum of squares; its cluster-robust error is within 5 % of ours (CR3 is
    wider than CR1 by about 1 / (2 G))."""
    w = drawn(0)
    weight = np.empty(600)
    for k in range(5):
        own = w.fold == k
        c = w.prediction[own] - np.average(w.prediction[own], weights=w.h[own])
        weight[own] = w.h[own] / (w.h[own] * c**2).sum()
    X = np.column_stack([w.prediction, *(w.fold == k for k in range(5))]).astype(float)
    fit = sm.WLS(w.d, X, weights=weight).fit(cov_type="cluster", cov_kwds={"groups": w.cluster})
    found = calibration_slope(w.prediction, w.d, w.h, w.cluster, w.fold)
    assert found is not None
    assert found.value == pytest.approx(fit.params[0])
    assert found.se == pytest.approx(fit.bse[0], rel=0.05)


def test_its_error_is_that_of_leaving_out_each_cluster_in_turn() -> None:
    """Kills a jackknife without its factor, or one that forgets the denominator."""
    w = drawn(1, clusters=30)
    one_fold = np.zeros(600, dtype=np.int64)
    c = w.prediction - np.average(w.prediction, weights=w.h)
    y = w.d - np.average(w.d, weights=w.h)

    def slope(rows: Array) -> float:
        return float((w.h * c * y)[rows].sum() / (w.h * c**2)[rows].sum())

    found = calibration_slope(w.prediction, w.d, w.h, w.cluster, one_fold)
    assert found is not None
    left_out = np.array([slope(w.cluster != g) for g in range(30)])
    whole = slope(np.ones(600, dtype=bool))
    assert found.value == pytest.approx(whole)
    assert found.se == pytest.approx(np.sqrt(29 / 30 * ((left_out - whole) ** 2).sum()))
    assert found.lower < found.value < found.upper


@pytest.mark.slow
def test_slopes_of_cross_fitted_predictions_are_right_on_average() -> None:
    """Kills pooling the folds: a learner left out the fold whose scores are flattest where its own slope is
    steepest. 2000 worlds in which the true effect is half of what the noise hides."""
    rng = np.random.default_rng(2)
    fold = np.arange(200) % 5
    one, cluster = np.ones(200), np.arange(200)
    gaps: list[list[float]] = []
    for _ in range(2000):
        x = rng.normal(size=200)
        d = 0.3 * x + rng.normal(size=200)
        steep = np.array([x[fold != k] @ d[fold != k] / (x[fold != k] @ x[fold != k]) for k in range(5)])
        if steep.min() < 0.1:  # such predictions are not used: the slope test would not let them pass
            continue
        prediction = steep[fold] * x
        row: list[float] = []
        for folds in (fold, np.zeros_like(fold)):
            estimated = calibration_slope(prediction, d, one, cluster, folds)
            true = calibration_slope(prediction, 0.3 * x, one, cluster, folds)
            assert estimated is not None
            assert true is not None
            row.append(estimated.value - true.value)
        gaps.append(row)
    mean, se = np.mean(gaps, axis=0), np.std(gaps, axis=0) / np.sqrt(len(gaps))
    assert abs(mean[0]) < 3 * se[0] + 0.02
    assert mean[1] < -5 * se[1]
    assert abs(mean[1]) > 2 * abs(mean[0])


@pytest.mark.slow
def test_the_interval_of_the_slope_covers_with_clusters() -> None:
    """Kills an error that takes rows for independent: 300 worlds of 40 clusters that share context and
    luck; 95 % of intervals hold 1 (binomial .1 % tails: 274 to 297), and the test of 1 has its level."""
    held = rejected = 0
    for seed in range(300):
        w = drawn(seed, n=400, clusters=40, shock=0.6)
        found = calibration_slope(w.prediction, w.d, w.h, w.cluster, w.fold)
        assert found is not None
        held += found.lower <= 1 <= found.upper
        rejected += found.p_1 < 0.05
        assert (found.p_1 < 0.05) == (not found.lower <= 1 <= found.upper)
    assert 274 <= held <= 297
    assert rejected == 300 - held


def test_predictions_that_are_too_wide_are_told_from_1_and_noise_is_not_told_from_0() -> None:
    """Kills p-values of the wrong side or null."""
    wide, noise = drawn(3, n=3000, scale=3.0), drawn(4, n=3000)
    found = calibration_slope(wide.prediction, wide.d, wide.h, wide.cluster, wide.fold)
    assert found is not None
    assert found.value == pytest.approx(1 / 3, abs=0.1)
    assert found.p_1 < 1e-6
    assert found.p_0 < 1e-3
    blind = calibration_slope(wide.prediction, noise.d, noise.h, noise.cluster, noise.fold)
    assert blind is not None
    assert blind.p_0 > 0.05


def test_groups_are_weighted_means_by_quintile_within_folds() -> None:
    """Kills groups across folds, unweighted means, and predictions of another group."""
    w = drawn(5)
    groups = calibration(w.prediction, w.d, w.h, w.cluster, fold=w.fold, rng=rng()).groups
    assert groups is not None
    block = np.empty(600, dtype=int)
    for k in range(5):
        own = np.flatnonzero(w.fold == k)
        order = own[np.argsort(w.prediction[own])]
        middle = (np.cumsum(w.h[order]) - w.h[order] / 2) / w.h[own].sum()
        block[order] = np.floor(5 * middle)
    for values, shown in ((w.d, groups.effect), (w.prediction, groups.predicted)):
        naive = [np.average(values[block == b], weights=w.h[block == b]) for b in range(5)]
        assert shown == pytest.approx(naive)
    assert all(lo < e < up for lo, e, up in zip(groups.lower, groups.effect, groups.upper, strict=True))


@pytest.mark.slow
def test_the_joint_test_of_the_groups_keeps_its_level_and_finds_a_shift() -> None:
    """Kills a covariance without clusters, and a test that never rejects: of 200 right worlds at most 20 are
    rejected at 5 % (99.9 % point of the binomial), of shifted ones nearly all; falling means are out of
    order, rising ones are not."""
    found = []
    for seed in range(200):
        w = drawn(seed, clusters=60, shock=0.6)
        g = calibration(w.prediction, w.d, w.h, w.cluster, fold=w.fold, rng=rng()).groups
        assert g is not None
        found.append((g.p_same < 0.05, g.p_order < 0.05))
    right, falling = np.sum(found, axis=0)
    assert 1 <= right <= 20
    assert falling <= 20
    w = drawn(0, n=3000, shock=0.0)
    shifted = calibration(w.prediction + 0.3, w.d, w.h, w.cluster, fold=w.fold, rng=rng()).groups
    turned = calibration(-w.prediction, w.d, w.h, w.cluster, fold=w.fold, rng=rng()).groups
    assert shifted is not None
    assert turned is not None
    assert shifted.p_same < 1e-6
    assert shifted.p_order > 0.5
    assert turned.p_order < 0.01


def test_one_prediction_for_all_and_few_clusters_are_answers_with_a_reason() -> None:
    """Kills a division by no variation, and intervals from a handful of clusters."""
    w = drawn(6)
    flat = calibration(np.full(600, 0.1), w.d, w.h, w.cluster, fold=w.fold, rng=rng())
    assert (flat.slope, flat.groups, flat.error) == (None, None, None)
    assert flat.reason == "every decision gets the same predicted effect"
    few = calibration(w.prediction, w.d, w.h, w.cluster % 12, fold=None, rng=rng())
    assert few.slope is None
    assert few.reason == "12 clusters; 20 are needed"


def test_predictions_from_elsewhere_need_no_folds() -> None:
    """Kills folds that are invented: with fold None all decisions are one fold."""
    w = drawn(7)
    found = calibration(w.prediction, w.d, w.h, w.cluster, fold=None, rng=rng())
    plain = calibration_slope(w.prediction, w.d, w.h, w.cluster, np.zeros_like(w.fold))
    assert found.slope == plain


def test_the_frame_has_a_row_with_numbers_or_nulls_and_the_reason() -> None:
    """Kills a column that drifts from the layout, and NaN where there is nothing."""
    made, _ = contrast(900)
    w = drawn(8)
    good = calibration(w.prediction, w.d, w.h, w.cluster, fold=w.fold, rng=rng())
    bad = calibration(w.prediction * 0, w.d, w.h, w.cluster, fold=w.fold, rng=rng())
    for found in (good, bad):
        frame = calibration_frame(made, "quality", found)
        assert dict(frame.schema) == CALIBRATION
        row = frame.row(0, named=True)
        assert (row["action"], row["baseline"], row["quantity"]) == ("large", "small", "quality")
        assert (row["slope"] is None) == (found is bad)
        assert (row["reason"] is None) == (found is good)
    assert good.slope is not None
    assert calibration_frame(made, "quality", good)["slope"].item() == good.slope.value
    assert len(calibration_frame(made, "quality", good)["gates_effect"].item()) == 5
