"""Whether predicted effects mean what they say: slope, groups and calibration error on held-out decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from .calibration_error import CalibrationError, calibration_error
from .cate import blocks_within_folds
from .confidence import critical_t, interval, upper_tail_p
from .pairs import Pair

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_GROUPS: Final = 5
"""Quintiles of the prediction (METHODS A3)."""
_MIN_CLUSTERS: Final = 20
"""Clusters below which no statistic here has a usable interval."""
_TINY: Final = 1e-12
"""Relative to the scale of the predictions: below it they are all the same."""

CALIBRATION: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(("layer", "decision_point", "action", "baseline", "quantity"), pl.String()),
    **dict.fromkeys(("slope", "slope_lower", "slope_upper", "p_slope_0", "p_slope_1"), pl.Float64()),
    **dict.fromkeys(("ece", "ece_lower", "ece_upper"), pl.Float64()),
    **dict.fromkeys(("gates_predicted", "gates_effect"), pl.List(pl.Float64())),
    **dict.fromkeys(("gates_lower", "gates_upper"), pl.List(pl.Float64())),
    **dict.fromkeys(("p_gates", "p_order"), pl.Float64()),
    **dict.fromkeys(("n", "clusters"), pl.Int64()),
    "reason": pl.String(),
}
"""Columns of the frame of calibrations, one row per contrast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Slope of scores on predictions with its interval. p_0: one-sided p-value of a slope of 0 or less;
    p_1: two-sided p-value of a slope of 1, at which a predicted difference is a true one."""

    value: float
    se: float
    df: float
    lower: float
    upper: float
    p_0: float
    p_1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEffects:
    """Mean prediction and mean score, with its interval, of each group of the prediction, low to high.

    p_same: joint p-value of all groups' means being the predicted ones. p_order: p-value of the means
    rising from group to group, small where they fall.
    """

    predicted: tuple[float, ...]
    effect: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    p_same: float
    p_order: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The three tests of predicted effects on n decisions; a test that cannot be had is None, `reason` says
    why."""

    slope: Slope | None
    groups: GroupEffects | None
    error: CalibrationError | None
    n: int
    clusters: int
    reason: str | None


def calibration(
    prediction: Array, d: Array, h: Array, cluster: Ints, *, fold: Ints | None, rng: np.random.Generator
) -> Calibration:
    """Slope (BLP), group effects (GATES) and calibration error of predictions that did not see their d.

    prediction, d: (n,) in one unit; h: (n,) weights; cluster: (n,) codes. fold: (n,) where each prediction
    comes from the other folds; predictions are then ranked and compared within folds, for across folds
    they move against the scores. None: all predictions come from elsewhere. Nothing is said of predictions
    that are all the same, or from fewer than 20 clusters.

    Source: Chernozhukov, Demirer, Duflo & Fernandez-Val 2018 (BLP, GATES); Xu & Yadlowsky 2022.
    """
    fold = np.zeros(d.size, dtype=np.int64) if fold is None else fold
    cluster = _codes(cluster)
    clusters = int(cluster.max(initial=-1)) + 1
    if clusters < _MIN_CLUSTERS:
        return untested(d.size, clusters, f"{clusters} clusters; {_MIN_CLUSTERS} are needed")
    slope = calibration_slope(prediction, d, h, cluster, fold)
    if slope is None:
        return untested(d.size, clusters, "every decision gets the same predicted effect")
    group = _codes(blocks_within_folds(prediction, h, fold, _GROUPS))
    groups = _group_effects(group, prediction, d, h, cluster)
    cell = _codes(fold * _GROUPS + group)
    error = calibration_error(d - prediction, h, cluster, cell, rng=rng)
    reason = None if groups is not None else "fewer than two groups of the prediction have enough clusters"
    return Calibration(slope=slope, groups=groups, error=error, n=d.size, clusters=clusters, reason=reason)


def calibration_slope(prediction: Array, d: Array, h: Array, cluster: Ints, fold: Ints) -> Slope | None:
    """Slope of d on the prediction within folds, each in which it varies counting equally; None without one.

    b = mean_k sum_k h c d / sum_k h c^2 with c the prediction less its mean in fold k, and a
    leave-one-cluster-out (CR3) t interval with 1 / sum_g w_g^2 - 1 degrees of freedom, w_g the cluster's
    share of the sum of squares. Pooling the folds instead would give most weight to the folds that are
    least right, because a learner with a steep prediction left out the fold with the flattest scores.
    """
    codes = _codes(fold)
    c, y = _centred(prediction, h, codes), _centred(d, h, codes)
    squares = np.bincount(codes, weights=h * c**2)
    scale = np.bincount(codes, weights=h) * max(float((prediction**2).max()), _TINY) * _TINY
    varied = squares > scale
    if not varied.any():
        return None
    weight = np.divide(1.0, squares, out=np.zeros_like(squares), where=varied)[codes] * h / varied.sum()
    top, bottom = (np.bincount(cluster, weights=weight * c * z) for z in (y, c))
    b, rest = float(top.sum()), bottom.sum() - bottom
    if (rest <= _TINY).any():
        return None
    carried = int((np.bincount(cluster, weights=h) > 0).sum())
    deviation = (top.sum() - top) / rest - b
    se = float(np.sqrt((carried - 1) / carried * (deviation**2).sum()))
    df = 1.0 / float((bottom**2).sum()) - 1.0
    lower, upper = interval(b, se, df)
    above, below = (upper_tail_p(sign * b, se, df, null=sign) for sign in (1.0, -1.0))
    return Slope(
        value=b,
        se=se,
        df=df,
        lower=lower,
        upper=upper,
        p_0=upper_tail_p(b, se, df),
        p_1=min(2 * min(above, below), 1.0),
    )


def calibration_frame(pair: Pair, quantity: str, found: Calibration) -> pl.DataFrame:
    """One row of the frame of calibrations."""
    s, g, e = found.slope, found.groups, found.error
    row = {
        "layer": pair.problem.layer,
        "decision_point": pair.problem.decision_point,
        "action": pair.action,
        "baseline": pair.baseline,
        "quantity": quantity,
        "slope": s and s.value,
        "slope_lower": s and s.lower,
        "slope_upper": s and s.upper,
        "p_slope_0": s and s.p_0,
        "p_slope_1": s and s.p_1,
        "ece": e and e.value,
        "ece_lower": e and e.lower,
        "ece_upper": e and e.upper,
        "gates_predicted": g and list(g.predicted),
        "gates_effect": g and list(g.effect),
        "gates_lower": g and list(g.lower),
        "gates_upper": g and list(g.upper),
        "p_gates": g and g.p_same,
        "p_order": g and g.p_order,
        "n": found.n,
        "clusters": found.clusters,
        "reason": found.reason,
    }
    return pl.DataFrame([row], schema=CALIBRATION)


def untested(n: int, clusters: int, reason: str) -> Calibration:
    """The calibration of predictions that cannot be tested."""
    return Calibration(slope=None, groups=None, error=None, n=n, clusters=clusters, reason=reason)


def _codes(labels: Ints) -> Ints:
    """The labels as 0, 1, ... without gaps."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _centred(x: Array, h: Array, codes: Ints) -> Array:
    return x - (np.bincount(codes, weights=h * x) / np.bincount(codes, weights=h))[codes]


def _group_effects(group: Ints, prediction: Array, d: Array, h: Array, cluster: Ints) -> GroupEffects | None:
    count, clusters = int(group.max()) + 1, int(cluster.max()) + 1
    if count < 2:
        return None
    at = group * clusters + cluster

    def sums(x: Array) -> Array:
        flat = np.bincount(at, weights=x, minlength=count * clusters).astype(float)
        return flat.reshape(count, clusters).T

    weight, top = sums(h), sums(h * (d - prediction))
    if ((weight > 0).sum(axis=0) < _MIN_CLUSTERS).any():
        return None
    gap, effect = top.sum(axis=0) / weight.sum(axis=0), sums(h * d).sum(axis=0) / weight.sum(axis=0)
    cov_gap = _jackknife(top, weight, gap)
    cov = _jackknife(sums(h * d), weight, effect)
    df = 1.0 / ((weight / weight.sum(axis=0)) ** 2).sum(axis=0) - 1.0
    half = np.array([critical_t(float(v)) for v in df]) * np.sqrt(np.diag(cov))
    return GroupEffects(
        predicted=tuple((effect - gap).tolist()),
        effect=tuple(effect.tolist()),
        lower=tuple((effect - half).tolist()),
        upper=tuple((effect + half).tolist()),
        p_same=_joint_p(gap, cov_gap, clusters),
        p_order=_order_p(effect, cov, float(df.min())),
    )


def _jackknife(top: Array, weight: Array, mean: Array) -> Array:
    """CR3 covariance of the groups' means top / weight; rows are clusters, which may span groups."""
    left_out = (top.sum(axis=0) - top) / (weight.sum(axis=0) - weight)
    deviation = left_out - mean
    return (len(top) - 1) / len(top) * deviation.T @ deviation


def _joint_p(gap: Array, cov: Array, clusters: int) -> float:
    """p-value of all gaps being 0: Hotelling's T^2, which is chi-squared with many clusters."""
    statistic = float(gap @ np.linalg.pinv(cov) @ gap)
    rest = clusters - gap.size
    return float(stats.f.sf(statistic * rest / (gap.size * (clusters - 1)), gap.size, rest))


def _order_p(effect: Array, cov: Array, df: float) -> float:
    """p-value of the means rising: the worst fall between neighbours, times the number of neighbours."""
    falls = -np.diff(effect)
    se = np.sqrt(np.diag(cov)[1:] + np.diag(cov)[:-1] - 2 * np.diag(cov, 1))
    worst = min(upper_tail_p(float(f), float(s), df) for f, s in zip(falls, se, strict=True))
    return min(worst * falls.size, 1.0)
