"""Whether the last dollar buys the same everywhere: value per dollar at each margin, tested for one price."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import fminbound

from ..confidence import LEVEL, critical_t
from .break_even import Ratio, fieller
from .market import Market, overlap_weight

Array = NDArray[np.float64]

_FREE: Final = "the interval of the cost difference covers 0, so value per dollar is unbounded"
_GRID: Final = 400
"""Points at which a common value per dollar is looked for before it is refined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Spending more at one decision point: `action` instead of the next cheaper `baseline`.

    ratio: (V dQ - lambda dL - rho dR) / dC in USD of value per USD, overlap-weighted, Fieller interval.
    """

    layer: str
    decision_point: str
    action: str
    baseline: str
    ratio: Ratio
    n: int
    clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Equimarginal:
    """margins: every one with an effect on cost that is not 0. common: the value per dollar that fits all of
    them best, with the set that the test does not reject. p_value: of one price for all, None for one margin.
    """

    margins: tuple[Margin, ...]
    common: Ratio
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gap:
    """One margin before its ratio: value and cost (2,) and each cluster's leave-one-out deviation (G, 2)."""

    margin: Margin
    theta: Array
    deviation: Array


def equimarginal(markets: Sequence[Market], *, latency_price: float, risk_price: float) -> Equimarginal:
    """The value of the marginal dollar at every margin, and whether one price fits all of them (paper Eq. 2).

    Prices in USD per s and per event. The test profiles S(p) = g' C^-1 g with g_j = value_j - p cost_j and C
    the covariance of all margins over shared clusters: no ratio, so margins of uncertain cost weaken it only.
    S(p) (G - J + 1) / ((J - 1) (G - 1)) at its minimum is compared with F(J - 1, G - J + 1).

    Source: paper Eq. 2; Fieller 1954; Hotelling 1931 for few clusters.
    """
    ids = {name: i for i, name in enumerate(sorted({c for m in markets for c in m.cluster_ids}))}
    gaps = [g for m in markets for g in _gaps(m, ids, latency_price, risk_price)]
    used = [g for g in gaps if g.margin.ratio.value is not None]
    common, p_value = _common(used, len(ids))
    return Equimarginal(margins=tuple(g.margin for g in gaps), common=common, p_value=p_value)


def _gaps(market: Market, ids: dict[str, int], latency_price: float, risk_price: float) -> Iterator[_Gap]:
    """The margins of one point: each action against the next cheaper one."""
    cost = market.weight @ market.score[:, :, 1] / market.weight.sum()
    order = np.argsort(cost)
    place = np.array([ids[name] for name in market.cluster_ids])[market.cluster]
    price = np.array([latency_price, risk_price])
    counts = market.known[2:] & (price != 0)
    for cheap, dear in itertools.pairwise(order.tolist()):
        d = market.score[:, dear] - market.score[:, cheap]
        weight = market.weight * overlap_weight(market.share[:, dear], market.share[:, cheap])
        value = market.task_value * d[:, 0] - d[:, 2:][:, counts] @ price[counts]
        yield _gap(market, dear, cheap, np.column_stack([value, d[:, 1]]), weight, place, len(ids))


def _gap(
    market: Market, dear: int, cheap: int, pair: Array, weight: Array, place: NDArray[np.int64], clusters: int
) -> _Gap:
    sums = np.column_stack([np.bincount(place, weight * pair[:, j], clusters) for j in range(2)])
    mass = np.bincount(place, weight, clusters)
    theta = sums.sum(axis=0) / mass.sum()
    deviation = np.where(
        mass[:, None] > 0, (mass[:, None] * theta - sums) / (mass.sum() - mass)[:, None], 0.0
    )
    held = int((mass > 0).sum())
    cov = (held - 1) / held * deviation.T @ deviation
    df = mass.sum() ** 2 / float((mass**2).sum()) - 1.0
    ratio = fieller(
        float(theta[0]), float(theta[1]), cov[0, 0], cov[0, 1], cov[1, 1], critical_t(df), level=LEVEL
    )
    (layer, point), names = market.points[0], market.actions[0]
    margin = Margin(
        layer=layer,
        decision_point=point,
        action=names[dear],
        baseline=names[cheap],
        ratio=replace(ratio, reason=_FREE) if ratio.value is None else ratio,
        n=int((weight > 0).sum()),
        clusters=held,
    )
    return _Gap(margin=margin, theta=theta, deviation=deviation)


def _common(gaps: list[_Gap], clusters: int) -> tuple[Ratio, float | None]:
    """The value per dollar that fits all margins, its set at LEVEL, and the p-value of there being one."""
    if len(gaps) < 2:
        return _none("one margin has a known effect on cost; two are needed to compare"), None
    j, g = len(gaps), clusters
    if g <= j:
        return _none(f"{g} clusters cannot compare {j} margins"), None
    theta = np.array([x.theta for x in gaps])
    deviation = np.stack([x.deviation for x in gaps])

    def misfit(p: float) -> float:
        off, moved = theta[:, 0] - p * theta[:, 1], deviation[:, :, 0] - p * deviation[:, :, 1]
        return float(off @ np.linalg.pinv((g - 1) / g * moved @ moved.T) @ off)

    ends = [e for x in gaps for e in (x.margin.ratio.lower, x.margin.ratio.upper) if e is not None]
    grid = np.linspace(min(ends), max(ends), _GRID)
    heights = np.array([misfit(p) for p in grid])
    at = int(heights.argmin())
    around = (grid[max(at - 1, 0)], grid[min(at + 1, _GRID - 1)])
    best = float(np.ravel(fminbound(misfit, *around))[0])
    least = misfit(best)
    p_value = float(stats.f.sf(least * (g - j + 1) / ((j - 1) * (g - 1)), j - 1, g - j + 1))
    if p_value < 1.0 - LEVEL:
        return _none(f"no one value per dollar fits: the margins differ (p = {p_value:.2g})"), p_value
    inside = grid[heights - least <= critical_t(g - 1) ** 2]
    lower, upper = float(np.append(inside, best).min()), float(np.append(inside, best).max())
    return Ratio(value=best, lower=lower, upper=upper, level=LEVEL), p_value


def _none(reason: str) -> Ratio:
    return Ratio(value=None, lower=None, upper=None, level=LEVEL, reason=reason)
