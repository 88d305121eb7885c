"""Whether a menu of tiers makes customers choose the tier meant for them, and what sorting them costs.

Descriptive: values and qualities are those of today's customers, whom another menu would change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from ...errors import PriceError, SchemaError
from ..confidence import LEVEL, interval
from ..gates import MIN_CLUSTERS, effective_clusters
from ..jackknife import cluster_sums, weighted_mean
from ..scores import MIN_ARM, Scores

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_COLUMNS: Final = ("tier", "price_usd", "action")
STAY_OUT: Final = "none"
"""The alternative of buying nothing, worth 0."""
MENU: Final = {
    "bin": pl.Int64,
    **dict.fromkeys(("v_from", "v_to"), pl.Float64),
    **dict.fromkeys(("tier", "other"), pl.String),
    **dict.fromkeys(("slack_usd", "lower", "upper", "level"), pl.Float64),
    **dict.fromkeys(("holds", "grade"), pl.String),
    **dict.fromkeys(("n", "clusters"), pl.Int64),
    **dict.fromkeys(("method", "reason"), pl.String),
}
"""Columns of the incentive constraints."""
WEDGE: Final = {
    **dict.fromkeys(("v", "density", "share_above", "information_rent", "virtual_value"), pl.Float64),
    "note": pl.String,
}
_GRID: Final = 50
_INNER: Final = (0.05, 0.95)
"""Quantiles of V between which a kernel density is not an artefact of its ends."""
_NOTE: Final = "descriptive: a kernel of today's values, which another menu would change"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tier:
    name: str
    price: float
    arm: int


def menu_incentives(scores: Scores, task_value: Array, menu: pl.DataFrame) -> pl.DataFrame:
    """Slack of every incentive constraint V_k q_mk - p_k >= V_k q_mj - p_j, USD per task (paper Eq. 5).

    menu: one row per tier with `tier`, `price_usd` per task and the `action` that serves it. task_value: (n,)
    V in USD per task. The decisions fall into as many bins of V as there are tiers, from low to high, ties
    kept together; bin k is meant to take the k-th tier by price, or to buy at all (`other` 'none'). Slack is
    the mean over the bin of V_i (psi_ik - psi_ij) - (p_k - p_j) with doubly robust scores and a CR3 t
    interval; `holds` is 'yes' or 'no' where the interval excludes 0, else 'inconclusive', and null with a
    reason where it has none.

    Raises: SchemaError for a menu that is no menu, PriceError for a price that is none.
    Source: Mussa & Rosen 1978; paper Eq. 5.
    """
    tiers = _tiers(scores, menu)
    if len(task_value) != scores.problem.n:
        expected = f"one for each of the {scores.problem.n} decisions"
        raise SchemaError(f"{len(task_value)} values", where="task_value", expected=expected)
    known = np.isfinite(task_value)
    edges = _edges(task_value[known], len(tiers))
    rows: list[dict[str, Any]] = []
    for k, own in enumerate(tiers):
        inside = known & (np.searchsorted(edges[1:-1], np.where(known, task_value, 0.0), side="right") == k)
        for other in (*(t for t in tiers if t != own), None):
            row = _constraint(scores, task_value, own, other, inside)
            ends = [float(v) if np.isfinite(v) else None for v in edges[k : k + 2]]
            rows.append({"bin": k, "v_from": ends[0], "v_to": ends[1], **row})
    return pl.DataFrame(rows, schema=MENU, orient="row")


def virtual_values(task_value: Array, weight: Array) -> pl.DataFrame:
    """The wedge curve V - (1 - F(V)) / f(V) on a grid of V, USD per task, descriptive only.

    task_value: (n,), NaN where unknown; weight: (n,). F and f = f_log / V by a Gaussian kernel on log V,
    between the 5 % and 95 % quantiles. information_rent: (1 - F) / f, what a seller who cannot see V leaves
    to a customer in order to sort; virtual_value: what is left to serve for. Where fewer than MIN_ARM values
    above 0 are known, or all are alike, one row without numbers whose note says so.

    Source: Myerson 1981; Silverman 1986, section 3.4 (bandwidth).
    """
    used = np.isfinite(task_value) & (np.nan_to_num(task_value) > 0.0) & (weight > 0.0)
    v, w = task_value[used], weight[used]
    if v.size < MIN_ARM or np.ptp(v) == 0.0:
        alike = f"all {v.size} known values are alike" if v.size >= MIN_ARM else None
        note = alike or f"{v.size} values above 0 are known; {MIN_ARM} are needed"
        return pl.DataFrame([{**dict.fromkeys(WEDGE), "note": note}], schema=WEDGE)
    log_v = np.log(v)
    w = w / w.sum()
    ends = np.quantile(log_v, _INNER, weights=w, method="inverted_cdf")
    spread = min(float(np.sqrt(w @ (log_v - w @ log_v) ** 2)), float(ends[1] - ends[0]) / 3.29 or math.inf)
    width = 0.9 * spread * float(1.0 / (w @ w)) ** -0.2
    grid = np.linspace(ends[0], ends[1], _GRID)
    z = (grid[:, None] - log_v[None, :]) / width
    density = (stats.norm.pdf(z) @ w) / width / np.exp(grid)
    above = stats.norm.sf(z) @ w
    rent = above / density
    return pl.DataFrame(
        {
            "v": np.exp(grid),
            "density": density,
            "share_above": above,
            "information_rent": rent,
            "virtual_value": np.exp(grid) - rent,
            "note": [_NOTE] * _GRID,
        },
        schema=WEDGE,
    )


def _tiers(scores: Scores, menu: pl.DataFrame) -> list[_Tier]:
    """The tiers from cheap to dear."""
    for name in _COLUMNS:
        if name not in menu.columns:
            raise SchemaError(f"column '{name}' is missing", where="menu", expected=", ".join(_COLUMNS))
        if menu[name].null_count():
            raise SchemaError("null values", where=f"menu.{name}", expected="a value in every row")
    names, actions = menu["tier"].cast(pl.String).to_list(), menu["action"].cast(pl.String).to_list()
    if len(names) < 2 or len(set(names)) < len(names) or len(set(actions)) < len(actions):
        expected = "at least two tiers, each with a name and an action of its own"
        raise SchemaError(f"tiers {names} with actions {actions}", where="menu", expected=expected)
    prices = menu["price_usd"].cast(pl.Float64).to_list()
    out: list[_Tier] = []
    for name, price, action in zip(names, prices, actions, strict=True):
        if not (math.isfinite(price) and price >= 0.0):
            raise PriceError(
                f"price {price}", where=f"menu tier '{name}'", expected="USD per task, 0 or more"
            )
        if action not in scores.problem.arms:
            arms = " or ".join(scores.problem.arms)
            raise SchemaError(f"no decision took '{action}'", where=f"menu tier '{name}'", expected=arms)
        out.append(_Tier(name=name, price=price, arm=scores.problem.arm_index(action)))
    return sorted(out, key=lambda t: (t.price, t.name))


def _edges(value: Array, bins: int) -> Array:
    """(bins + 1,) smallest value of each bin, then the largest of all; as equal in size as ties allow.

    Equal values are never split: V is often one number per task class. Infinite for a bin that is left empty.
    """
    if value.size == 0:
        return np.full(bins + 1, np.inf)
    levels, counts = np.unique(value, return_counts=True)
    below = np.cumsum(counts)[:-1] / value.size
    edges, last = [float(levels[0])], -1
    for k in range(1, bins):
        left = below[last + 1 :]
        if left.size == 0:
            edges.append(math.inf)
            continue
        last += 1 + int(np.abs(left - k / bins).argmin())
        edges.append(float(levels[last + 1]))
    return np.array([*edges, float(levels[-1])])


def _constraint(
    scores: Scores, value: Array, own: _Tier, other: _Tier | None, inside: Mask
) -> dict[str, Any]:
    groups = effective_clusters(scores.problem.cluster, inside)
    row: dict[str, Any] = {
        "tier": own.name,
        "other": STAY_OUT if other is None else other.name,
        "level": LEVEL,
        "grade": scores.propensities.grade,
        "n": int(inside.sum()),
        "clusters": int(np.unique(scores.problem.cluster[inside]).size),
        "method": "doubly robust mean over the bin, CR3 interval",
    }
    reason = _fault(scores, own, other, inside, groups)
    if reason is not None:
        return row | {"grade": "N", "method": "none", "reason": reason}
    gain = scores.psi[own.arm][:, 0] - (0.0 if other is None else scores.psi[other.arm][:, 0])
    slack = value * gain - (own.price - (0.0 if other is None else other.price))
    h = np.where(inside, scores.problem.weight, 0.0)
    sums = cluster_sums(
        np.where(inside, slack, 0.0)[:, None], h, scores.problem.cluster, len(scores.problem.cluster_ids)
    )
    mean = weighted_mean(sums)
    lower, upper = interval(float(mean.theta[0]), math.sqrt(float(mean.cov[0, 0])), mean.df)
    holds = "yes" if lower > 0.0 else "no" if upper < 0.0 else "inconclusive"
    return row | {"slack_usd": float(mean.theta[0]), "lower": lower, "upper": upper, "holds": holds}


def _fault(scores: Scores, own: _Tier, other: _Tier | None, inside: Mask, groups: float) -> str | None:
    """Why the constraint has no estimate, or None."""
    if scores.propensities.grade == "N":
        return "a rule fixed every choice, so what a customer would get elsewhere is not known"
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters in the bin; {MIN_CLUSTERS:.0f} are needed"
    for tier in (own, *(() if other is None else (other,))):
        name = scores.problem.arms[tier.arm]
        taken = int((inside & (scores.problem.arm == tier.arm)).sum())
        if taken < MIN_ARM:
            return f"{taken} decisions of the bin took {name}; {MIN_ARM} are needed"
        if tier.arm not in scores.psi or not np.isfinite(scores.psi[tier.arm][inside, 0]).all():
            return f"the quality of {name} is not known"
    return None
