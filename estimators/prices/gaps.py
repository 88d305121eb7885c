"""Whether layers put the same price on a second, a risk and a solved task, from what each reveals.

The thesis of the paper in one table: one token, several prices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, stats

from ..confidence import LEVEL, critical_t
from ..simultaneous import holm
from .attributes import COST
from .behaviour import Behaviour, covariance
from .break_even import Ratio
from .revealed import REVEALED, price_ratio, unit_of

Array = NDArray[np.float64]

GAPS: Final = {
    **dict.fromkeys(("price", "unit", "layer", "decision_point"), pl.String),
    **dict.fromkeys(("value", "lower", "upper"), pl.Float64),
    **dict.fromkeys(("other_layer", "other_point"), pl.String),
    **dict.fromkeys(("other_value", "other_lower", "other_upper"), pl.Float64),
    **dict.fromkeys(("ratio", "ratio_lower", "ratio_upper", "level"), pl.Float64),
    **dict.fromkeys(("p_value", "p_adjusted", "joint_p_value"), pl.Float64),
    **dict.fromkeys(("n", "clusters"), pl.Int64),
    **dict.fromkeys(("grade", "method", "reading", "reason"), pl.String),
}
"""Columns of the gaps: the dearer of two decision points, the cheaper one, and their ratio."""
_ALL: Final = "all revealed prices"
_RIDGE: Final = 1e-10
"""Relative to each variance: points that move exactly alike still have a covariance to invert."""
_METHOD: Final = (
    "Wald test at the common price that fits best, clusters shared between points; Holm over pairs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stack:
    """The points that reveal a price: weights (J,) of it and of a dollar, and influence (G, 2 J) of both."""

    own: Array
    dollar: Array
    influence: Array
    df: float


def revealed_gaps(found: Sequence[Behaviour]) -> pl.DataFrame:
    """One row per price and pair of decision points, the dearer one first, and one for all prices together.

    p_value: of equal prices at the two points; p_adjusted: Holm over the pairs of a price; joint_p_value: of
    one price at all points that reveal it. H0 b_j = theta b_C,j is tested at the theta that fits best, with
    the covariance at that theta, against F: it needs no ratio to be well determined, as Fieller's interval.
    ratio: on the log scale, where both prices are above 0. Points whose clusters have one id are dependent.
    No row without two points that reveal a price.

    Source: Anderson & Rubin 1949; Hansen, Heaton & Yaron 1996 (continuously updated); Holm 1979.
    """
    rows: list[dict[str, Any]] = []
    revealing: dict[str, list[Behaviour]] = {}
    for name, (attribute, _) in REVEALED.items():
        points = [
            f
            for f in found
            if _same_unit(f, found, attribute) and price_ratio(f, attribute).value is not None
        ]
        if len(points) < 2:
            continue
        revealing[name] = points
        pairs = list(itertools.combinations(points, 2))
        p_values = [_equal([_stack(pair, attribute)]) for pair in pairs]
        joint = p_values[0] if len(pairs) == 1 else _equal([_stack(points, attribute)])
        for pair, p, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
            rows.append(_pair(name, attribute, pair, p, adjusted, joint))
    if len(revealing) > 1:
        rows.append(_together(revealing))
    return pl.DataFrame(rows, schema=GAPS, orient="row")


def _same_unit(fit: Behaviour, found: Sequence[Behaviour], attribute: int) -> bool:
    """Risk in events and risk in dollars have no common price."""
    return attribute != 3 or fit.risk_unit == found[0].risk_unit


def _stack(points: Sequence[Behaviour], attribute: int) -> _Stack:
    ids = sorted({i for f in points for i in f.cluster_ids})
    place = {name: g for g, name in enumerate(ids)}
    influence = np.zeros((len(ids), 2 * len(points)))
    scale = [f.mean_value if attribute == 0 else 1.0 for f in points]
    for j, fit in enumerate(points):
        rows = [place[name] for name in fit.cluster_ids]
        influence[rows, j] = scale[j] * fit.influence[:, attribute]
        influence[rows, len(points) + j] = fit.influence[:, COST]
    return _Stack(
        own=np.array([s * f.weight[attribute] for s, f in zip(scale, points, strict=True)]),
        dollar=np.array([f.weight[COST] for f in points]),
        influence=influence,
        df=min(f.df for f in points),
    )


def _equal(stacks: list[_Stack]) -> float:
    """p-value of one price per stack. Stacks must hold the same clusters in the same order."""
    size, count = stacks[0].own.size, len(stacks)
    both = np.array([np.concatenate([s.own, s.dollar]) for s in stacks])
    cov = covariance(np.hstack([s.influence for s in stacks]))
    starts = both[:, :size] / both[:, size:]
    unit = np.abs(starts).mean(axis=1) + 1e-300

    def distance(theta: Array) -> float:
        """g' Cov(g)^-1 g with g = own - theta dollar, stack by stack."""
        rows = np.zeros((count * size, 2 * count * size))
        for k, t in enumerate(theta * unit):
            block = np.hstack([np.eye(size), -t * np.eye(size)])
            rows[k * size : (k + 1) * size, 2 * k * size : 2 * (k + 1) * size] = block
        gap = rows @ both.ravel()
        spread = rows @ cov @ rows.T
        return float(gap @ np.linalg.solve(spread + _RIDGE * np.diag(np.diag(spread)), gap))

    tried = [*(starts[:, j] / unit for j in range(size)), starts.mean(axis=1) / unit]
    searches: list[Any] = [optimize.minimize(distance, start, method="BFGS") for start in tried]
    least = min(float(s.fun) for s in searches)
    freedom = count * (size - 1)
    return float(stats.f.sf(least / freedom, freedom, stacks[0].df))


def _pair(
    name: str, attribute: int, pair: tuple[Behaviour, Behaviour], p: float, adjusted: float, joint: float
) -> dict[str, Any]:
    ratios = [price_ratio(f, attribute) for f in pair]
    order = sorted((0, 1), key=lambda i: -(ratios[i].value or 0.0))
    (dear, cheap), (above, below) = [pair[i] for i in order], [ratios[i] for i in order]
    times = _times(_stack((dear, cheap), attribute), above, below)
    reason = times if isinstance(times, str) else None
    value, lower, upper = (None, None, None) if isinstance(times, str) else times
    return {
        "price": name,
        "unit": unit_of(name, dear.risk_unit),
        **_point("", dear, above),
        **_point("other_", cheap, below),
        "ratio": value,
        "ratio_lower": lower,
        "ratio_upper": upper,
        "level": LEVEL,
        "p_value": p,
        "p_adjusted": adjusted,
        "joint_p_value": joint,
        "n": dear.n + cheap.n,
        "clusters": len({*dear.cluster_ids, *cheap.cluster_ids}),
        "grade": max(dear.grade, cheap.grade),
        "method": _METHOD,
        "reading": _reading(name, dear, cheap, value, adjusted),
        "reason": reason,
    }


def _point(prefix: str, fit: Behaviour, ratio: Ratio) -> dict[str, Any]:
    place = ("layer", "decision_point") if not prefix else ("other_layer", "other_point")
    ends = {f"{prefix}{k}": getattr(ratio, k) for k in ("value", "lower", "upper")}
    return {**dict(zip(place, (fit.layer, fit.decision_point), strict=True)), **ends}


def _times(stack: _Stack, above: Ratio, below: Ratio) -> tuple[float, float, float] | str:
    """The first price over the second with its interval on the log scale, or why there is none."""
    if (above.lower or 0.0) <= 0.0 or (below.lower or 0.0) <= 0.0:
        return "one of the two prices may be 0, so how many times it is the other has no size"
    logs = np.log(stack.own / stack.dollar)
    each = stack.influence[:, :2] / stack.own - stack.influence[:, 2:] / stack.dollar
    apart = float(logs[0] - logs[1])
    half = critical_t(stack.df) * math.sqrt(float(np.array([1.0, -1.0]) @ covariance(each) @ [1.0, -1.0]))
    return math.exp(apart), math.exp(apart - half), math.exp(apart + half)


def _reading(name: str, dear: Behaviour, cheap: Behaviour, times: float | None, p: float) -> str:
    what = {
        "revealed_latency_price": "a second",
        "revealed_risk_price": "a unit of risk",
        "revealed_task_value": "a solved task",
    }[name]
    first, second = (f"{f.layer}.{f.decision_point}" for f in (dear, cheap))
    if p > 1.0 - LEVEL:
        return f"no difference seen in what {what} is worth to {first} and {second}"
    more = "higher than" if times is None else f"at {times:.2g} times"
    return f"{first} prices {what} {more} {second}"


def _together(revealing: dict[str, list[Behaviour]]) -> dict[str, Any]:
    """One test of all prices at the points that reveal every one of them."""
    order = next(iter(revealing.values()))
    points = [f for f in order if all(f in group for group in revealing.values())]
    row: dict[str, Any] = dict.fromkeys(GAPS)
    row |= {"price": _ALL, "method": _METHOD, "n": sum(f.n for f in points)}
    row["clusters"] = len({i for f in points for i in f.cluster_ids})
    if len(points) < 2:
        return row | {"reason": "fewer than two decision points reveal every price"}
    p = _equal([_stack(points, REVEALED[name][0]) for name in revealing])
    told = "differ" if p <= 1.0 - LEVEL else "are not seen to differ"
    row |= {"joint_p_value": p, "level": LEVEL, "grade": max(f.grade for f in points)}
    return row | {"reading": f"the prices that {len(points)} decision points reveal {told}"}
