"""The ledger: effects per decision, from groups of decisions with similar predicted effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from .confidence import LEVEL, critical_t
from .contrasts import SegmentResult, floored_mean
from .design import Design, make_design
from .folds import cluster_folds
from .learners import cross_fit_means
from .pairs import NET, Pair

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_BINS: Final = 10
"""Groups before merging; more would leave too few decisions in each."""
_MIN_GROUP: Final = 200.0
"""Effective decisions per starting bin; a group of fewer than 50 per arm is noise (METHODS A2)."""
_MIN_CLUSTERS: Final = 20
"""Clusters per group, for the t interval of a group."""
_SLOPE_T: Final = 1.64
"""One-sided 5 % test that predicted effects order true ones; else every decision gets the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """code: (n,) group of each decision, -1 outside. theta: (B, 4). cov: (B, 4, 4). df: (B,)."""

    code: Ints
    theta: Array
    cov: Array
    df: Array


def calibrated_groups(pair: Pair, result: SegmentResult, *, seed: int) -> Groups:
    """Groups of decisions whose mean effect is estimated and ordered: a group-calibrated CATE.

    Predicted effects are fitted out of fold, cut into equal groups, and groups that break the order are
    pooled (isotonic calibration), so that each group's mean is a weighted mean of scores.

    Source: van der Laan, Ulloa-Perez, Carone & Luedtke 2023; Chernozhukov et al. 2018 (GATES).
    """
    rows = np.flatnonzero(result.rows & (pair.h > 0))
    code = np.full(pair.problem.n, -1, dtype=np.int64)
    code[rows] = 0
    target = NET if not np.isnan(pair.d[rows, NET]).any() else 0
    score = pair.d[rows, target]
    if rows.size and not np.isnan(score).any() and not pair.method.startswith("within"):
        code[rows] = _ordered_groups(pair, rows, score, seed=seed)
    groups = _group_means(pair, code)
    unknown = np.isnan(result.mean.theta[:NET]) if result.mean is not None else np.ones(NET, dtype=bool)
    return replace(groups, theta=np.where(unknown, np.nan, groups.theta))


def ledger_rows(pair: Pair, result: SegmentResult, groups: Groups, segment: pl.Series) -> pl.DataFrame:
    """The ledger of one contrast: one row per decision, null with a reason outside the overlap.

    A contrast that was refused is listed only for the decisions that took one of its two actions.

    nmv = V dq - dc - lambda dl - rho dr with the decision's own V; its interval uses the group's joint
    covariance. Intervals are simultaneous over the groups of the contrast (Sidak).
    """
    inside = groups.code >= 0
    critical = np.array([critical_t(df, level=LEVEL ** (1.0 / groups.df.size)) for df in groups.df])
    own = groups.code[inside]
    columns: dict[str, Array] = {}
    names = ("dq", "dc", "dl", "dr")
    for j, name in enumerate(names):
        half = critical * np.sqrt(groups.cov[:, j, j])
        _fill(columns, name, inside, groups.theta[own, j], half[own])
    weights = pair.value.weights(inside)
    safe = np.where(weights == 0.0, 0.0, weights)
    theta = np.where(safe == 0.0, 0.0, groups.theta[own])
    cov = np.where((safe[:, :, None] * safe[:, None, :]) == 0.0, 0.0, groups.cov[own])
    half = critical[own] * np.sqrt(np.einsum("ij,ijk,ik->i", safe, cov, safe))
    _fill(columns, "nmv", inside, (safe * theta).sum(axis=1), half)
    frame = pair.problem.frame.select("decision_id", "request_id", "layer", "decision_point")
    grade = np.where(inside, result.grade, "N")
    missing = np.isnan(columns["nmv"])
    limit = result.reason or "no task value V is set"
    net_reason = next((e.reason for e in result.estimates if e.quantity == "net"), None) or limit
    texts = np.where(inside, net_reason, _outside(pair, result))
    listed = pl.Series((pair.took_a | pair.took_b) if result.mean is None else np.ones_like(inside))
    whole = frame.with_columns(
        pl.lit(pair.action).alias("action"),
        pl.lit(pair.baseline).alias("baseline"),
        *(pl.Series(name, values).fill_nan(None) for name, values in columns.items()),
        pl.Series("grade", grade, dtype=pl.String),
        segment.alias("segment"),
        pl.Series("reason", texts, dtype=pl.String).set(pl.Series(inside & ~missing), None),
    )
    return whole.filter(listed)


def _outside(pair: Pair, result: SegmentResult) -> str:
    if result.mean is None:
        return result.reason or "not identified"
    return f"no overlap: {pair.action} or {pair.baseline} could not have been taken here"


def _fill(columns: dict[str, Array], name: str, inside: Mask, value: Array, half: Array) -> None:
    for suffix, numbers in (("", value), ("_lower", value - half), ("_upper", value + half)):
        full = np.full(inside.size, np.nan)
        full[inside] = numbers
        columns[name + suffix] = full


def _ordered_groups(pair: Pair, rows: Ints, score: Array, *, seed: int) -> Ints:
    h, cluster = pair.h[rows], pair.problem.cluster[rows]
    squares = float((h**2).sum())
    size = float(h.sum()) ** 2 / squares if squares > 0 else 0.0
    bins = min(_BINS, int(size / _MIN_GROUP), int(np.unique(cluster).size / _MIN_CLUSTERS))
    if bins < 2 or not pair.problem.features:
        return np.zeros(rows.size, dtype=np.int64)
    whole = make_design(pair.problem.frame, pair.problem.features)
    design = Design(linear=whole.linear[rows], raw=whole.raw[rows], categorical=whole.categorical, dropped=())
    folds = cluster_folds(pair.problem.cluster_ids, seed=seed, repeat=0)[cluster]
    every = np.ones(rows.size, dtype=bool)
    predicted = cross_fit_means(design, score[:, None], every, folds)[:, 0]
    if _slope_t(predicted, score, h, cluster) < _SLOPE_T:
        return np.zeros(rows.size, dtype=np.int64)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
    bin_code = np.searchsorted(edges, predicted, side="left")
    return _pooled(bin_code, score, h)


def _slope_t(predicted: Array, score: Array, h: Array, cluster: Ints) -> float:
    """t statistic of the slope of scores on held-out predictions (BLP test), clusters respected."""
    centred = predicted - np.average(predicted, weights=h)
    mass = float((h * centred**2).sum())
    if mass <= 0.0:
        return 0.0
    slope = float((h * centred * score).sum()) / mass
    residual = h * centred * (score - np.average(score, weights=h) - slope * centred)
    sums = np.bincount(cluster, weights=residual)
    se = float(np.sqrt((sums**2).sum())) / mass
    return slope / se if se > 0 else 0.0


def _pooled(bin_code: Ints, score: Array, h: Array) -> Ints:
    """Adjacent groups pooled until their means rise with the prediction."""
    weight = np.bincount(bin_code, weights=h)
    mean = np.bincount(bin_code, weights=h * score) / weight
    order = np.arange(mean.size, dtype=float)
    fitted = IsotonicRegression().fit_transform(order, mean, sample_weight=weight)
    return np.unique(fitted, return_inverse=True)[1].astype(np.int64)[bin_code]


def _group_means(pair: Pair, code: Ints) -> Groups:
    count = int(code.max()) + 1
    theta, cov, df = np.empty((count, 4)), np.empty((count, 4, 4)), np.empty(count)
    for b in range(count):
        mean = floored_mean(pair, code == b, pair.h)
        theta[b], cov[b], df[b] = mean.theta[:NET], mean.cov[:NET, :NET], mean.df
    return Groups(code=code, theta=theta, cov=cov, df=df)
