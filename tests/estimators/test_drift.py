"""Whether a contrast moved: against textbook tests, at the edges of a ratio, over many contrasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from drifts import drawn, whole
from scipy import stats
from shadowprice.estimators.drift import adjusted, drift, equal_mean, equal_ratio
from shadowprice.estimators.pairs import Pair
from shadowprice.estimators.trend import Stack, trend


def rows_of(pair: Pair) -> dict[str, dict[str, object]]:
    """The rows of one contrast by quantity."""
    rows = drift(pair, trend(pair, whole(pair)).stack)
    return {row["quantity"]: row for row in rows.iter_rows(named=True)}


def block(*variances: tuple[float, float]) -> np.ndarray:
    """Covariance (K, 2, K, 2) of periods that are independent, gained and spent too."""
    k = len(variances)
    cov = np.zeros((k, 2, k, 2))
    for i, pair in enumerate(variances):
        cov[i, :, i, :] = np.diag(pair)
    return cov


def test_independent_periods_have_cochrans_q() -> None:
    """Kills: an unweighted mean of the periods, and a statistic that forgets their precision."""
    theta, variance = np.array([0.1, 0.3, 0.2]), np.array([0.01, 0.04, 0.0025])
    weight = 1.0 / variance
    mean = (weight * theta).sum() / weight.sum()
    assert equal_mean(theta, np.diag(variance)) == pytest.approx((weight * (theta - mean) ** 2).sum())


def test_what_periods_share_does_not_pass_for_noise() -> None:
    """Kills: a test on the variances alone; two periods with correlation .9 differ by far less noise."""
    cov = np.array([[1.0, 0.9], [0.9, 1.0]])
    assert equal_mean(np.array([0.0, 1.0]), cov) == pytest.approx(1.0 / (2.0 - 1.8))


def test_equal_ratios_are_at_no_distance_whatever_their_size_and_sign() -> None:
    """Kills: ratios that are compared as effects, and a sign of the direction that matters."""
    gained = np.array([0.1, 0.4, -0.2])
    for ratio in (-3.0, 0.0, 1e-6, 2.5, 1e6):
        theta = np.column_stack([gained, ratio * gained])
        cov = block(*[(1e-4, 1e-4 * max(ratio**2, 1e-9))] * 3)
        assert equal_ratio(theta, cov) == pytest.approx(0.0, abs=1e-6)


def test_the_distance_is_the_least_over_all_common_ratios() -> None:
    """Kills: a search that stops at the pooled ratio, and the wrong sign of what gained and spent share;
    compared with a fine grid over V* itself."""
    theta = np.array([[0.10, 0.03], [0.05, 0.06], [0.02, 0.05]])
    cov = block((4e-4, 1e-4), (2e-4, 1e-4), (3e-4, 5e-5))
    shared = 8e-5
    for k in range(3):
        cov[k, 0, k, 1] = cov[k, 1, k, 0] = shared
    ratios = np.concatenate([np.linspace(-20, 20, 400_001), 1 / np.linspace(-0.05, 0.05, 100_000)])
    gaps = theta[:, 1] - ratios[:, None] * theta[:, 0]
    spread = np.array([1e-4, 1e-4, 5e-5]) + ratios[:, None] ** 2 * np.array([4e-4, 2e-4, 3e-4])
    spread -= 2 * ratios[:, None] * shared
    assert equal_ratio(theta, cov) == pytest.approx((gaps**2 / spread).sum(axis=1).min(), rel=1e-6)


def test_the_units_of_money_do_not_matter() -> None:
    """Kills: directions that are tried in dollars, so that a dear or a cheap currency misses the best one."""
    theta, cov = np.array([[0.10, 0.03], [0.05, 0.06]]), block((4e-4, 1e-4), (2e-4, 1e-4))
    for unit in (1e-6, 1e6):
        scale = np.array([1.0, unit])
        scaled = cov * np.outer(scale, scale)[None, :, None, :]
        assert equal_ratio(theta * scale, scaled) == pytest.approx(equal_ratio(theta, cov), rel=1e-6)


def test_a_period_without_a_gain_is_compared_all_the_same() -> None:
    """Kills: a test that needs a finite ratio in every period, blind where a gain has vanished."""
    theta = np.array([[0.2, 0.05], [0.0, 0.05]])
    assert equal_ratio(theta, block(*[(1e-4, 1e-8)] * 2)) > stats.chi2.isf(1e-6, 1)


def test_a_cost_that_never_varies_has_a_test() -> None:
    """Kills: a covariance that cannot be inverted where every decision costs the same."""
    theta = np.array([[0.2, 0.05], [0.19, 0.05]])
    assert equal_ratio(theta, block(*[(1e-4, 0.0)] * 2)) == pytest.approx(0.01**2 / 2e-4, rel=0.05)


def test_p_values_are_adjusted_over_the_contrasts_of_a_quantity() -> None:
    """Kills: many contrasts at the level of one, and Holm over quantities that answer other questions."""
    names = {"layer": "router", "decision_point": "model", "baseline": "small", "level": 0.95}
    p = {"break_even": (0.01, None, 0.04), "quality": (0.2, 0.001, 0.3)}
    made = [
        pl.DataFrame(
            [{**names, "action": str(i), "quantity": q, "p_value": p[q][i]} for q in p],
            infer_schema_length=None,
        )
        for i in range(3)
    ]
    found = adjusted(made)
    assert found.filter(pl.col("quantity") == "break_even")["p_adjusted"].to_list() == [0.02, None, 0.04]
    assert found.filter(pl.col("quantity") == "quality")["p_adjusted"].to_list() == pytest.approx(
        [0.4, 0.003, 0.4]
    )
    assert adjusted([]).is_empty()


def test_too_few_clusters_to_compare_so_many_periods_are_a_reason() -> None:
    """Kills: an F with no degrees of freedom left, which would be 0 or NaN."""
    made = drawn(0)
    thin = Stack(theta=np.zeros((6, 5)), cov=np.ones((6, 5, 6, 5)), df=4.2)
    reasons = drift(made, thin)["reason"].to_list()
    assert reasons == ["5.2 effective clusters are too few to compare 6 periods"] * 2


def test_net_is_tested_where_a_task_value_is_set_and_refused_where_too_few_periods_have_it() -> None:
    """Kills: a net value tested without V, and two periods' test from one."""
    pair = drawn(1)
    assert set(rows_of(pair)) == {"break_even", "quality"}
    worth = replace(pair, value=replace(pair.value, task_value=np.ones(pair.problem.n)))
    row = rows_of(worth)["net"]  # its scores still hold no net
    assert (row["p_value"], row["reason"]) == (None, "0 periods have a net value; 2 are needed")


@pytest.mark.parametrize(("last", "moved"), [(0.4, False), (0.1, True)])
def test_a_drift_is_found_and_none_is_not(last: float, moved: bool) -> None:
    """Kills: a test without power, one that always rejects, and a V* whose test is not that of its terms."""
    by = {name: row["p_value"] for name, row in rows_of(drawn(2, first=0.4, last=last, luck=0.3)).items()}
    assert set(by) == {"break_even", "quality"}
    assert all((float(str(p)) < 1e-4) == moved for p in by.values())
    assert all((float(str(p)) > 0.05) != moved for p in by.values())
