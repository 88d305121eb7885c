"""Scores and contrasts as arrays: the formula by hand, repeats, variance floor, bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.contrasts import SegmentResult, estimate_segment
from shadowprice.estimators.design import make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.learners import cross_fit_means
from shadowprice.estimators.pairs import NET, Pair, Valuation, pair
from shadowprice.estimators.problem import Problem, problems
from shadowprice.estimators.propensity import find_propensities
from shadowprice.estimators.scores import Scores, score
from shadowprice.schemas.config import Config
from worlds import LARGE, SMALL, router_world


def problem_of(frame: pl.DataFrame) -> Problem:
    """The single decision point of `frame`."""
    (problem,) = problems(frame, Config())
    return problem


def scores_of(frame: pl.DataFrame, *, seed: int = 0) -> Scores:
    """The scores of the single decision point of `frame`."""
    return score(problem_of(frame), seed=seed)


def contrast(frame: pl.DataFrame, *, task_value: float = 1.0) -> Pair:
    """`large` against `small`."""
    scores = scores_of(frame)
    value = Valuation(task_value=np.full(frame.height, task_value), latency_price=0.01, risk_price=0.5)
    return pair(scores, LARGE, SMALL, value)


def judged(p: Pair) -> SegmentResult:
    """The result over all decisions."""
    return estimate_segment(p, "all", np.ones(p.problem.n, dtype=bool))


def test_scores_are_fitted_means_plus_weighted_residuals_of_the_rows_that_took_the_arm() -> None:
    """Kills a residual on the wrong rows or an inverse weight of the wrong arm (quality, logged e)."""
    world = router_world(n=500, smooth=True)
    got = scores_of(world.frame)
    y = got.problem.outcomes
    for name, e in ((LARGE, world.e), (SMALL, 1 - world.e)):
        k = got.problem.arm_index(name)
        took = got.problem.arm == k
        expected = got.mu[k] + np.where(took, 1 / e, 0.0)[:, None] * (y - got.mu[k])
        assert got.psi[k] == pytest.approx(expected)
        truth = (world.large if name == LARGE else world.small).mean()
        assert got.psi[k][:, 0].mean() == pytest.approx(truth, abs=0.03)


def by_hand(problem: Problem, *, seed: int, repeat: int) -> np.ndarray:
    """The quality scores of the first arm from one split, put together from the pieces of A1."""
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=repeat)[problem.cluster]
    e = find_propensities(problem, design, folds).matrix[:, 0]
    y, took = problem.outcomes[:, [0]], problem.arm == 0
    mu = np.clip(cross_fit_means(design, y, took, folds)[:, 0], 0, 1)
    return mu + np.where(took, (y[:, 0] - mu) / e, 0.0)


def test_scores_are_averaged_over_three_splits() -> None:
    """Kills one split, whose luck would move the estimate, and repeats that share their folds."""
    problem = problem_of(router_world(n=200, slope=0.5, logged=False).frame)
    splits = [by_hand(problem, seed=7, repeat=r) for r in range(3)]
    assert score(problem, seed=7).psi[0][:, 0] == pytest.approx(np.mean(splits, axis=0))
    assert splits[0].mean() != splits[1].mean()


def test_fitted_rates_stay_between_0_and_1() -> None:
    """Kills a fitted probability of 1.1 where context is extreme; scores in other units are left alone."""
    frame = router_world(n=300).frame.with_columns(quality=(pl.col("x_hardness") < 0).cast(pl.Float64))
    got = scores_of(frame)
    assert got.mu[0][:, 0].min() >= 0.0
    assert got.mu[0][:, 0].max() <= 1.0
    assert got.mu[0][:, 1].max() < 0.1


def test_an_arm_with_fewer_than_thirty_rows_has_no_score() -> None:
    """Kills a mean fitted on a handful of decisions."""
    rare = pl.when(pl.int_range(400) < 29).then(pl.lit("huge")).otherwise("action")
    got = scores_of(router_world(n=400, logged=False).frame.with_columns(action=rare))
    assert sorted(got.problem.arms[k] for k in got.psi) == [LARGE, SMALL]


def test_overlap_weights_are_those_of_the_pair() -> None:
    """Kills e_a e_b without its denominator (three arms), or weights where an action was impossible."""
    world = router_world(n=400)
    p = contrast(world.frame.with_columns(keep_prob=pl.lit(0.5)))
    assert p.h == pytest.approx(2 * world.e * (1 - world.e))
    assert p.w == pytest.approx(2 / p.problem.frame["propensity"].to_numpy())
    scores = scores_of(world.frame)
    third = replace(scores.propensities, matrix=scores.propensities.matrix * 0.8)
    shared = pair(replace(scores, propensities=third), LARGE, SMALL, p.value)
    assert shared.h == pytest.approx(0.8 * world.e * (1 - world.e))


def test_the_net_column_is_the_priced_sum_of_the_scores() -> None:
    """Kills a net value that is not linear in the scores, so that its interval would be another's."""
    p = contrast(router_world(n=300).frame, task_value=3.0)
    weights = np.array([3.0, -1.0, -0.01, -0.5])
    assert p.d[:, NET] == pytest.approx(p.d[:, :NET] @ weights)
    assert p.noise[:, NET] == pytest.approx(p.noise[:, :NET] @ weights**2)


def test_the_variance_is_raised_to_what_the_propensities_of_all_rows_imply() -> None:
    """Kills an interval that sees only the weights that were drawn: where the model variance exceeds the
    empirical one by a factor, so does the variance of the interval; a smaller one changes nothing."""
    p = contrast(router_world(n=500).frame)
    d, h = p.d[:, 0], p.h
    theta = np.average(d, weights=h)
    empirical = (h**2 * (d - theta) ** 2).sum()

    def half(noise: float) -> float:
        (quality, *_) = judged(replace(p, noise=np.full_like(p.noise, noise))).estimates
        assert quality.upper is not None
        assert quality.lower is not None
        return (quality.upper - quality.lower) / 2

    model = (h**2 * (40.0 + (p.tau[:, 0] - theta) ** 2)).sum()
    assert half(40.0) / half(0.0) == pytest.approx(np.sqrt(model / empirical))
    left_out = (h @ d - h * d) / (h.sum() - h)
    jackknife = np.sqrt(499 / 500 * ((left_out - theta) ** 2).sum())
    df = h.sum() ** 2 / (h**2).sum() - 1
    assert half(0.0) == pytest.approx(critical_t(df) * jackknife)


def test_the_bound_is_clopper_pearson_at_the_effective_size_of_each_arm() -> None:
    """Kills swapped arms, a two-sided level, or rows in place of effective rows."""
    frame = router_world(n=600).frame
    took = (frame["action"] == LARGE).to_numpy()
    incident = np.zeros(600, dtype=bool)
    incident[np.flatnonzero(took)[[5, 50, 150]]] = True
    p = contrast(frame.with_columns(incident=pl.Series(incident)))
    (risk,) = (e for e in judged(p).estimates if e.quantity == "risk")
    limits = []
    for rows in (took, ~took):
        w = p.w[rows]
        size = w.sum() ** 2 / (w**2).sum()
        events = (w * incident[rows]).sum() / w.sum() * size
        limits.append(stats.beta.ppf(0.95, events + 1, size - events))
    assert (risk.lower, risk.upper) == pytest.approx((-limits[1], limits[0]))
    assert risk.value is None


def test_the_ate_is_shown_only_beside_a_large_effective_sample() -> None:
    """Kills an average over all decisions that rests on a few large weights."""
    for n, slope, shown in ((800, 1.0, True), (130, 1.0, False), (800, 3.0, False)):
        estimands = {
            e.estimand for e in judged(contrast(router_world(n=n, slope=slope, clip=0.01).frame)).estimates
        }
        assert ("ATE" in estimands) is shown
        assert "ATO" in estimands


def test_thin_overlap_is_trimmed_and_the_share_kept_is_stated() -> None:
    """Kills trimming in silence, or calling the rest 'all decisions'."""
    found = judged(contrast(router_world(3, n=700, slope=6.0, clip=0.001, smooth=True).frame))
    assert "of decisions with overlap" in str(found.reason)
    assert "ATE" not in {e.estimand for e in found.estimates}
    assert 0.1 * 700 <= found.rows.sum() < 700
    world = router_world(3, n=700, slope=6.0, clip=0.001, smooth=True)
    quality = found.estimates[0]
    weight = world.e * (1 - world.e) * found.rows
    assert quality.lower is not None
    assert quality.upper is not None
    assert quality.lower <= np.average(world.tau, weights=weight) <= quality.upper
