"""The debiased calibration error is 0 where predictions are right; no cluster's noise passes for error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from shadowprice.estimators.calibration_error import calibration_error, squared_error

Array = np.ndarray


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_it_is_the_mean_over_pairs_of_different_clusters() -> None:
    """Kills a pair within a cluster, a decision paired with itself, cells without weights: a double loop."""
    draw = np.random.default_rng(1)
    n = 60
    r, h = draw.normal(size=n), draw.uniform(0.5, 2, size=n)
    cluster, cell = draw.integers(12, size=n), np.arange(n) % 3
    expected = 0.0
    for b in range(3):
        top = bottom = 0.0
        for i, j in itertools.combinations(np.flatnonzero(cell == b), 2):
            if cluster[i] != cluster[j]:
                top += h[i] * h[j] * r[i] * r[j]
                bottom += h[i] * h[j]
        expected += h[cell == b].sum() / h.sum() * top / bottom
    found = calibration_error(r, h, cluster, cell, rng=rng())
    assert found is not None
    assert found.squared == pytest.approx(expected)
    assert found.value == pytest.approx(np.sqrt(max(expected, 0)))
    assert found.lower <= found.value <= found.upper


@pytest.mark.slow
def test_right_predictions_have_no_error_where_the_plug_in_finds_one() -> None:
    """Kills squared means of cells, which their own noise inflates: 2000 worlds of 5000 decisions, scores
    of variance 1, ten cells. The mean square of ours is 0 within .005 ^ 2 and three times its sampling error;
    the plug-in's root is above .03."""
    draw = np.random.default_rng(2)
    one, cluster, cell = np.ones(5000), np.arange(5000), np.arange(5000) % 10
    ours, plugged = [], []
    for _ in range(2000):
        r = draw.normal(size=5000)
        ours.append(squared_error(r, one, cluster, cell))
        plugged.append(float(np.mean(np.bincount(cell, weights=r) ** 2 / 500**2)))
    error = np.std(ours) / np.sqrt(2000)
    assert error < 0.005**2
    assert abs(np.mean(ours)) < 0.005**2 + 3 * error
    assert np.sqrt(np.mean(plugged)) > 0.03


@pytest.mark.slow
def test_a_known_error_is_found_and_lies_in_the_interval() -> None:
    """Kills an interval that forgets the clusters: half of the cells are .1 too high, half .1 too low, and
    sessions of ten share a shock; at least 50 of 60 intervals hold .1 (90 % would be 54)."""
    draw = np.random.default_rng(3)
    cluster = np.arange(3000) // 10
    cell = draw.integers(4, size=3000)
    wrong = np.where(cell % 2 == 0, 0.1, -0.1)
    held, values = 0, []
    for _ in range(60):
        r = wrong + 0.5 * draw.normal(size=3000) + 0.3 * draw.normal(size=300)[cluster]
        found = calibration_error(r, np.ones(3000), cluster, cell, rng=draw)
        assert found is not None
        held += found.lower <= 0.1 <= found.upper
        values.append(found.squared)
    assert held >= 50
    assert np.mean(values) == pytest.approx(0.01, abs=0.0012)


def test_a_shock_that_a_session_shares_is_no_error_of_calibration() -> None:
    """Kills pairs within a session: they agree because of their session (mean over 60 draws)."""
    draw = np.random.default_rng(4)
    cluster, cell = np.arange(400) // 10, np.arange(400) % 2
    squared = []
    for _ in range(60):
        r = draw.normal(size=40)[cluster]
        found = calibration_error(r, np.ones(400), cluster, cell, rng=rng())
        assert found is not None
        squared.append(found.squared)
    assert abs(np.mean(squared)) < 3 * np.std(squared) / np.sqrt(60)


def test_one_cluster_has_no_pair_and_no_error_to_report() -> None:
    """Kills a division by no pairs."""
    flat = np.zeros(30, dtype=np.int64)
    assert calibration_error(np.ones(30), np.ones(30), flat, flat, rng=rng()) is None


def test_more_clusters_than_units_still_give_the_mean_square() -> None:
    """Kills units that mix up their cells: 3000 clusters in 500 units, every residual .2."""
    found = calibration_error(
        np.full(3000, 0.2), np.ones(3000), np.arange(3000), np.arange(3000) % 7, rng=rng()
    )
    assert found is not None
    assert found.squared == pytest.approx(0.04)
    assert found.upper == pytest.approx(0.2)
