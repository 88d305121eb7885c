"""The ledger: effects per decision, from groups of decisions with similar predicted effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.records import Quantity
from .cate import MIN_ESS, Effects, blocks_within_folds, merged, predicted_effects, rising_means
from .confidence import critical_t
from .contrasts import SegmentResult, floored_mean
from .effect_calibration import calibration, calibration_frame, calibration_slope, untested
from .gates import MIN_CLUSTERS
from .pairs import NET, Pair
from .simultaneous import sup_t

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MAX_GROUPS: Final = 10
_START_ESS: Final = 200.0
"""Effective decisions per group before merging; with fewer than about 50 per arm it is noise (METHODS A2)."""
_START_CLUSTERS: Final = 20
"""Clusters per group before merging, for the t interval of a group."""
_ORDER_P: Final = 0.05
"""Level of the test that predicted effects order true ones; else every decision gets the mean."""
_RESOLUTION: Final = 2.5
"""(2.5 t)^(2/3) groups have neighbours about one standard error of their difference apart, if effects are
roughly uniform and t is the slope's statistic; with more, groups differ by their noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """code: (n,) group of each decision, -1 outside. theta: (B, 4). cov: (B, 4, 4). df: (B,).

    critical: (4,) critical values under which the intervals of all groups hold together.
    effects: the predictions behind the groups, of `quantity`; None where there were none. constant: why there
    is one group, None where there are several.
    """

    code: Ints
    theta: Array
    cov: Array
    df: Array
    critical: Array
    effects: Effects | None
    quantity: Quantity
    constant: str | None


def calibrated_groups(pair: Pair, result: SegmentResult, *, seed: int) -> Groups:
    """Groups of decisions whose mean effect is estimated and ordered: a group-calibrated CATE.

    Effects are predicted out of fold and decisions grouped by their rank within the fold, so that a
    decision's group does not depend on its own score; groups that break the order are pooled (isotonic
    calibration). Each group's mean is a weighted mean of scores with an interval of its own. One group where
    the slope of scores on predictions is not above 0.

    Source: van der Laan, Ulloa-Perez, Carone & Luedtke 2023; Chernozhukov et al. 2018 (GATES).
    """
    known = not np.isnan(pair.d[result.rows & (pair.h > 0), NET]).any()
    target = NET if known else 0
    code = np.where(result.rows & (pair.h > 0), 0, -1).astype(np.int64)
    effects, constant = None, "effects are not predicted: the contrast is refused or within contexts"
    if (code == 0).any() and not pair.method.startswith("within"):
        effects = predicted_effects(pair, result.rows, target=target, seed=seed)
        constant = _set_groups(code, pair, effects, target)
    theta, cov, df = _group_means(pair, code)
    unknown = np.isnan(result.mean.theta[:NET]) if result.mean is not None else np.ones(NET, dtype=bool)
    return Groups(
        code=code,
        theta=np.where(unknown, np.nan, theta),
        cov=cov,
        df=df,
        critical=_critical(pair, code, theta, df, np.random.default_rng(seed)),
        effects=effects,
        quantity="net" if known else "quality",
        constant=constant,
    )


def ledger_rows(pair: Pair, result: SegmentResult, groups: Groups, segment: pl.Series) -> pl.DataFrame:
    """The ledger of one contrast: one row per decision, null with a reason outside the overlap.

    A contrast that was refused is listed only for the decisions that took one of its two actions.

    nmv = V dq - dc - lambda dl - rho dr with the decision's own V; its interval uses the group's joint
    covariance. Intervals are simultaneous over the groups of the contrast (sup-t).
    """
    inside = groups.code >= 0
    own = groups.code[inside]
    columns: dict[str, Array] = {}
    names = ("dq", "dc", "dl", "dr")
    for j, name in enumerate(names):
        half = groups.critical[j] * np.sqrt(groups.cov[:, j, j])
        _fill(columns, name, inside, groups.theta[own, j], half[own])
    weights = pair.value.weights(inside)
    safe = np.where(weights == 0.0, 0.0, weights)
    theta = np.where(safe == 0.0, 0.0, groups.theta[own])
    cov = np.where((safe[:, :, None] * safe[:, None, :]) == 0.0, 0.0, groups.cov[own])
    half = groups.critical.max() * np.sqrt(np.einsum("ij,ijk,ik->i", safe, cov, safe))
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


def calibration_rows(pair: Pair, groups: Groups, *, seed: int) -> pl.DataFrame:
    """Whether the effects behind the groups hold true on decisions that they were not learned from.

    One row in the layout of `effect_calibration.CALIBRATION`. Where every decision gets the mean, the reason
    says why, and the numbers are those of the predictions that were not used.
    """
    effects = groups.effects
    if effects is None:
        inside = groups.code >= 0
        clusters = int(np.unique(pair.problem.cluster[inside]).size)
        found = untested(int(inside.sum()), clusters, groups.constant or "not predicted")
        return calibration_frame(pair, groups.quantity, found)
    rows = effects.rows
    found = calibration(
        effects.calibrated[rows],
        pair.d[rows, NET if groups.quantity == "net" else 0],
        pair.h[rows],
        pair.problem.cluster[rows],
        fold=effects.fold[rows],
        rng=np.random.default_rng(seed),
    )
    return calibration_frame(pair, groups.quantity, replace(found, reason=groups.constant or found.reason))


def _outside(pair: Pair, result: SegmentResult) -> str:
    if result.mean is None:
        return result.reason or "not identified"
    return f"no overlap: {pair.action} or {pair.baseline} could not have been taken here"


def _fill(columns: dict[str, Array], name: str, inside: Mask, value: Array, half: Array) -> None:
    for suffix, numbers in (("", value), ("_lower", value - half), ("_upper", value + half)):
        full = np.full(inside.size, np.nan)
        full[inside] = numbers
        columns[name + suffix] = full


def _set_groups(code: Ints, pair: Pair, effects: Effects | None, target: int) -> str | None:
    """Writes the groups into `code`; the answer is why there is only one, or None."""
    if effects is None:
        return "no context tells decisions apart"
    rows = np.flatnonzero(effects.rows)
    h, cluster, d = pair.h[rows], pair.problem.cluster[rows], pair.d[rows, target]
    size = float(h.sum()) ** 2 / float((h**2).sum())
    most = min(_MAX_GROUPS, int(size / _START_ESS), int(np.unique(cluster).size / _START_CLUSTERS))
    if most < 2:
        return "too few decisions or clusters to tell their effects apart"
    prediction = effects.held_out[rows]
    slope = calibration_slope(prediction, d, h, cluster, np.zeros_like(rows))
    if slope is None or slope.p_0 >= _ORDER_P:
        return "predicted effects do not order the true ones, so every decision gets the mean"
    count = int(np.clip((_RESOLUTION * slope.value / slope.se) ** (2 / 3), 2, most))
    block = blocks_within_folds(prediction, h, effects.fold[rows], count)
    block = merged(merged(block, h, np.arange(h.size), MIN_ESS), h, cluster, MIN_CLUSTERS)
    code[rows] = np.unique(rising_means(block, d, h), return_inverse=True)[1][block]
    return None if code.max() > 0 else "the groups' means do not rise with the prediction"


def _group_means(pair: Pair, code: Ints) -> tuple[Array, Array, Array]:
    count = int(code.max()) + 1
    theta, cov, df = np.empty((count, 4)), np.empty((count, 4, 4)), np.empty(count)
    for b in range(count):
        mean = floored_mean(pair, code == b, pair.h)
        theta[b], cov[b], df[b] = mean.theta[:NET], mean.cov[:NET, :NET], mean.df
    return theta, cov, df


def _critical(pair: Pair, code: Ints, theta: Array, df: Array, rng: np.random.Generator) -> Array:
    """Critical values (4,), one per quantity, of the smallest group's t interval for all groups at once."""
    if df.size < 2:
        return np.full(NET, critical_t(float(df.min(initial=np.inf))))
    rows = np.flatnonzero(code >= 0)
    own, cluster = code[rows], pair.problem.cluster[rows]
    shape = len(pair.problem.cluster_ids), df.size
    at = cluster * df.size + own
    out = np.empty(NET)
    for j in range(NET):
        deviation = pair.h[rows] * (pair.d[rows, j] - theta[own, j])
        sums = np.bincount(at, weights=deviation, minlength=shape[0] * shape[1]).astype(float)
        out[j] = sup_t(sums.reshape(shape), float(df.min()), rng=rng)
    return out
