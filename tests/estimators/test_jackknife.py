"""Weighted means and their covariance against loops, other formulas and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from shadowprice.estimators.confidence import interval
from shadowprice.estimators.jackknife import ClusterSums, WeightedMean, cluster_sums, merge, weighted_mean


def rows(seed: int = 0, n: int = 90, clusters: int = 12, q: int = 3) -> tuple[np.ndarray, ...]:
    """Effects (n, q), weights and clusters of unequal size."""
    rng = np.random.default_rng(seed)
    cluster = np.minimum(rng.geometric(0.15, size=n) - 1, clusters - 1)
    return rng.normal(size=(n, q)) + cluster[:, None] / 10, rng.uniform(0.1, 2.0, size=n), cluster


def state(d: np.ndarray, h: np.ndarray, cluster: np.ndarray, clusters: int = 12) -> WeightedMean:
    """The weighted mean of plain rows."""
    return weighted_mean(cluster_sums(d, h, cluster, clusters))


def test_the_covariance_equals_leaving_out_each_cluster_by_hand() -> None:
    """Kills a wrong factor, centring at the mean of the left-out means, or leaving out rows."""
    d, h, cluster = rows()
    got = state(d, h, cluster)
    theta = np.average(d, axis=0, weights=h)
    ids = np.unique(cluster)
    deviations = [np.average(d[cluster != g], axis=0, weights=h[cluster != g]) - theta for g in ids]
    cov = (ids.size - 1) / ids.size * sum(np.outer(v, v) for v in deviations)
    assert got.theta == pytest.approx(theta)
    assert got.cov == pytest.approx(cov)
    assert got.clusters == ids.size
    shares = np.array([h[cluster == g].sum() for g in ids]) / h.sum()
    assert got.df == pytest.approx(1 / (shares**2).sum() - 1)


def test_one_row_per_cluster_and_equal_weights_give_the_textbook_interval() -> None:
    """Kills any constant that is off: the t interval of a mean is known."""
    x = rows(n=25)[0][:, 0]
    got = state(x[:, None], np.ones(25), np.arange(25), 25)
    assert np.sqrt(got.cov[0, 0]) == pytest.approx(x.std(ddof=1) / np.sqrt(25))
    assert got.df == pytest.approx(24)
    ours = interval(float(got.theta[0]), float(np.sqrt(got.cov[0, 0])), got.df)
    assert ours == pytest.approx(stats.t.interval(0.95, 24, x.mean(), stats.sem(x)))


def test_the_variance_agrees_with_statsmodels_when_clusters_are_many() -> None:
    """Kills the jackknife drifting from an independent sandwich: CR1 differs from CR3 by O(1 / G).

    400 clusters of about 3 rows with unequal weights; the largest has 1.5 % of the weight, so the two
    variances differ by at most a few per cent: 5 % is allowed.
    """
    rng = np.random.default_rng(3)
    cluster = rng.integers(0, 400, size=1200)
    h = rng.uniform(0.2, 1.0, size=1200)
    y = rng.normal(size=400)[cluster] + rng.normal(size=1200)
    fit = sm.WLS(y, np.ones(1200), weights=h).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    got = state(y[:, None], h, cluster, 400)
    assert got.theta[0] == pytest.approx(fit.params[0])
    assert got.cov[0, 0] == pytest.approx(fit.cov_params()[0, 0], rel=0.05)
    assert got.cov[0, 0] > fit.cov_params()[0, 0]  # CR3 is the more careful of the two


def test_the_covariance_equals_the_cr3_formula_of_a_weighted_regression() -> None:
    """Kills mistaking CR3 for CR0: residual sums are inflated by one over (1 - leverage of the cluster)."""
    d, h, cluster = rows(q=1)
    theta = np.average(d[:, 0], weights=h)
    g = np.unique(cluster).size
    score = np.bincount(cluster, weights=h * (d[:, 0] - theta))
    leverage = np.bincount(cluster, weights=h) / h.sum()
    variance = (g - 1) / g * ((score / (1 - leverage)) ** 2).sum() / h.sum() ** 2
    assert state(d, h, cluster).cov[0, 0] == pytest.approx(variance)


@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 90), min_size=1, max_size=5))
def test_states_of_partitions_add_up_to_the_state_of_the_whole(seed: int, cuts: list[int]) -> None:
    """Kills a state that cannot be merged, or whose merge depends on order or grouping."""
    d, h, cluster = rows(seed)
    parts = [
        cluster_sums(d[part], h[part], cluster[part], 12) for part in np.split(np.arange(90), sorted(cuts))
    ]
    forward, backward = parts[0], parts[-1]
    for part in parts[1:]:
        forward = merge(forward, part)
    for part in parts[-2::-1]:
        backward = merge(part, backward)
    whole = cluster_sums(d, h, cluster, 12)
    for got in (forward, backward):
        assert got.weighted == pytest.approx(whole.weighted)
        assert got.weight == pytest.approx(whole.weight)


def test_the_empty_state_changes_nothing() -> None:
    """Kills a merge that is not a sum."""
    d, h, cluster = rows()
    whole = cluster_sums(d, h, cluster, 12)
    merged = merge(whole, ClusterSums(weighted=np.zeros((12, 3)), weight=np.zeros(12)))
    assert np.array_equal(merged.weighted, whole.weighted)
    assert np.array_equal(merged.weight, whole.weight)


def test_clusters_without_weight_are_not_counted() -> None:
    """Kills counting clusters that say nothing, which would shrink the interval."""
    d, h, cluster = rows()
    silent = np.where(cluster == 0, 0.0, h)
    heard = cluster != 0
    got, without = state(d, silent, cluster), state(d[heard], h[heard], cluster[heard] - 1, 11)
    assert got.clusters == np.unique(cluster[heard]).size
    assert got.clusters == without.clusters
    assert got.cov == pytest.approx(without.cov)


def test_an_unknown_quantity_does_not_spoil_the_others() -> None:
    """Kills one NaN column that turns the whole covariance into NaN."""
    d, h, cluster = rows()
    spoiled = d.copy()
    spoiled[5, 1] = np.nan
    got, clean = state(spoiled, h, cluster), state(d, h, cluster)
    assert np.isnan(got.theta[1])
    assert got.theta[[0, 2]] == pytest.approx(clean.theta[[0, 2]])
    assert got.cov[np.ix_([0, 2], [0, 2])] == pytest.approx(clean.cov[np.ix_([0, 2], [0, 2])])


def test_the_scale_of_the_weights_does_not_matter() -> None:
    """Kills a mean that is not a ratio."""
    d, h, cluster = rows()
    assert state(d, 7.0 * h, cluster).cov == pytest.approx(state(d, h, cluster).cov)
