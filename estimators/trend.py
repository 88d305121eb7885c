"""One contrast in consecutive periods of the log, from scores made once, with what the periods share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.trends import TREND
from .contrasts import SegmentResult, estimate_segment
from .jackknife import WeightedMean, cluster_sums, deviations
from .pairs import NET, Pair
from .periods import Period, periods

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The means of a contrast in the K periods that have one, jointly.

    theta: (K, 5) four quantities and net, NaN where not identified. cov: (K, 5, K, 5) over clusters, which
    periods share. df: degrees of freedom of a joint test.
    """

    theta: Array
    cov: Array
    df: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pull:
    """clusters: (G,) codes. deviation: (G, 5) of the means by leaving each out. share: (G,) of the weight."""

    clusters: Ints
    deviation: Array
    share: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """rows: of Estimates.trend. stack: of the periods with an estimate, or why fewer than two have one."""

    rows: pl.DataFrame
    stack: Stack | str


def trend(pair: Pair, whole: WeightedMean) -> Trend:
    """`pair` in each period of the log, through the gates that the whole went through; `whole` is its mean.

    Scores are those of the whole log: nuisances do not know the period. Where propensities are logged an
    estimate is right in every period all the same; where they are estimated, it is right in a period only as
    far as choices or outcomes, given context, stayed as they were.
    """
    unfit = _unfit(pair)
    made = unfit or periods(pair, whole)
    if isinstance(made, str):
        none = {"estimand": "not_identified", "grade": "N", "reason": made}
        return Trend(rows=_frame([{**contrast_names(pair), **none}]), stack=made)
    results = [estimate_segment(pair, "all", period.members) for period in made]
    rows = [_row(pair, period, result) for period, result in zip(made, results, strict=True)]
    return Trend(rows=_frame(rows), stack=_stack(pair, results))


def _unfit(pair: Pair) -> str | None:
    """Why the scores of this method speak for the whole log only, or None."""
    if pair.method.startswith("within repeated contexts"):
        return "trials of a context are compared with each other, whenever they ran"
    if pair.method.startswith("within a window"):
        return "the effect at the border of a rule comes from one window over the whole log"
    return None


def _stack(pair: Pair, results: list[SegmentResult]) -> Stack | str:
    """Leaving out a cluster moves every period that it is in: V = S (sum_g D_g D_g') S.

    D_g: its deviations in all periods. S: what the interval of each period makes of its own variance, its
    factor (G - 1) / G and its floor, so that the blocks on the diagonal are those of the intervals.

    df = K (K + 1) / (sum_kl M_kl + sum_k M_kk) - 1, M_kl = sum_g w_gk w_gl with w the cluster's share of the
    weight in a period: 1 / sum_g w_g^2 - 1 where all periods are alike in their clusters, as for one
    interval, and more where each has clusters of its own. Source: Zhang 2012; Pustejovsky & Tipton 2018.
    """
    known = [r for r in results if r.mean is not None]
    if len(known) < 2:
        return f"{len(known)} of {len(results)} periods have an estimate; 2 are needed"
    pulls = [_pull(pair, result) for result in known]
    k, q = len(known), NET + 1
    cov, overlap = np.zeros((k, q, k, q)), np.zeros((k, k))
    for a, b in itertools.product(range(k), repeat=2):
        _, here, there = np.intersect1d(
            pulls[a].clusters, pulls[b].clusters, assume_unique=True, return_indices=True
        )
        cov[a, :, b, :] = pulls[a].deviation[here].T @ pulls[b].deviation[there]
        overlap[a, b] = pulls[a].share[here] @ pulls[b].share[there]
    return Stack(
        theta=np.array([result.mean.theta for result in known if result.mean is not None]),
        cov=cov,
        df=k * (k + 1) / float(overlap.sum() + np.trace(overlap)) - 1.0,
    )


def _pull(pair: Pair, result: SegmentResult) -> _Pull:
    """The deviations of a period, scaled so that their squares add up to the variances of its intervals."""
    assert result.mean is not None
    used = np.flatnonzero(result.rows & (pair.h > 0))
    cluster = pair.problem.cluster[used]
    sums = cluster_sums(pair.d[used], pair.h[used], cluster, len(pair.problem.cluster_ids))
    carried = np.flatnonzero(sums.weight > 0)
    deviation = deviations(sums.weighted[carried], sums.weight[carried])
    raw, told = (deviation**2).sum(axis=0), np.diag(result.mean.cov)
    scale = np.sqrt(np.divide(told, raw, out=np.ones_like(raw), where=raw > 0))
    share = sums.weight[carried] / sums.weight.sum()
    return _Pull(clusters=carried, deviation=deviation * scale, share=share)


def _row(pair: Pair, period: Period, result: SegmentResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        **contrast_names(pair),
        "period": period.number,
        "period_from": period.first,
        "period_to": period.last,
        "estimand": result.estimand,
        "grade": result.grade,
        "n": int(result.rows.sum()),
        "ess": result.ess,
        "reason": result.reason,
    }
    if result.mean is None:
        held = np.unique(pair.problem.cluster[period.members]).size
        return {**row, "n": int(period.members.sum()), "clusters": int(held)}
    return {
        **row,
        "theta": result.mean.theta[:NET].tolist(),
        "cov": result.mean.cov[:NET, :NET].ravel().tolist(),
        "df": result.mean.df,
        "clusters": result.mean.clusters,
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(TREND), **row} for row in rows], schema=TREND)


def contrast_names(pair: Pair) -> dict[str, str]:
    """The columns that name a contrast."""
    return {
        "layer": pair.problem.layer,
        "decision_point": pair.problem.decision_point,
        "action": pair.action,
        "baseline": pair.baseline,
    }
