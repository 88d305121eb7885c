"""How much to randomise: the design effect and the days are those of the log."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from cutoffs import problem_of
from scipy import stats
from shadowprice.estimators.exploration import (
    daily_volume,
    design_effect,
    exploration_advice,
    intracluster_correlation,
)
from worlds import threshold_world


def clustered(
    icc: float, *, seed: int = 0, sizes: tuple[int, ...] = (5, 10, 15)
) -> tuple[np.ndarray, np.ndarray]:
    """An outcome with the given intra-cluster correlation in 600 clusters."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(600), np.resize(sizes, 600))
    luck = rng.normal(size=600)[cluster]
    return np.sqrt(icc) * luck + np.sqrt(1 - icc) * rng.normal(size=cluster.size), cluster


@pytest.mark.parametrize("icc", [0.0, 0.1, 0.5])
def test_the_intracluster_correlation_is_recovered(icc: float) -> None:
    """Kills: a wrong mean square or m0 (error below .03 with 600 clusters of 10)."""
    y, cluster = clustered(icc)
    assert intracluster_correlation(y, cluster) == pytest.approx(icc, abs=0.03)


def test_it_follows_from_the_f_statistic_of_a_one_way_analysis_of_variance() -> None:
    """Kills: a slip in the arithmetic: with equal sizes ICC = (F - 1) / (F + m - 1), F from scipy."""
    y, cluster = clustered(0.2, sizes=(8,))
    f = float(stats.f_oneway(*(y[cluster == g] for g in range(600))).statistic)
    assert intracluster_correlation(y, cluster) == pytest.approx((f - 1) / (f + 7))


def test_the_design_effect_counts_rows_by_the_size_of_their_cluster() -> None:
    """Kills: the plain mean size: a row of 5, 10, 15 meets 11.67 rows on average."""
    y, cluster = clustered(0.3)
    icc = intracluster_correlation(y, cluster)
    assert design_effect(y, cluster) == pytest.approx(1 + (350 / 30 - 1) * icc)


@pytest.mark.parametrize(
    "y", [np.full(40, np.nan), np.ones(40), np.arange(40.0)], ids=["absent", "constant", "single"]
)
def test_where_nothing_is_known_the_design_effect_is_1(y: np.ndarray) -> None:
    """Kills: NaN in the advice."""
    cluster = np.arange(40) if y[0] == 0 else np.arange(40) // 4
    assert design_effect(y, cluster) == 1.0


def test_the_advice_multiplies_by_the_design_effect_and_divides_by_the_daily_volume() -> None:
    """Kills: advice for independent rows; days that ignore what log sampling dropped."""
    n = 400
    start = datetime(2026, 11, 2)
    frame = threshold_world(n=n).with_columns(
        session_id=pl.format("s{}", pl.int_range(n) // 4),
        quality=pl.int_range(n) // 4 % 2 * 1.0,
        ts=pl.Series([start + timedelta(hours=i * 48 / (n - 1)) for i in range(n)]),
        keep_prob=pl.lit(0.5),
    )
    problem = problem_of(frame)
    assert design_effect(problem.outcomes[:, 0], problem.cluster) == pytest.approx(4.0)
    assert daily_volume(problem) == pytest.approx(400.0)
    base = (1.96 + 0.84) ** 2 * 0.25 * (1 / 0.02 + 1 / 0.98) / 0.05**2
    text = exploration_advice(problem)
    assert f"about {4 * base:,.0f} decisions ({4 * base / 400:,.1f} days at the logged 400 a day)" in text


@pytest.mark.parametrize("hours", [None, 2.0])
def test_a_log_without_days_names_none(hours: float | None) -> None:
    """Kills: a daily volume from two hours, or from no clock."""
    frame = threshold_world(n=100)
    if hours is not None:
        start = datetime(2026, 11, 2)
        frame = frame.with_columns(
            ts=pl.Series([start + timedelta(hours=hours * i / 99) for i in range(100)])
        )
    assert daily_volume(problem_of(frame)) is None
    assert "days" not in exploration_advice(problem_of(frame))
