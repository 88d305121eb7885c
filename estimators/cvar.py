"""CVaR of the loss under an arm or the logged policy, and its additive share of each decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .confidence import LEVEL
from .losses import ArmLosses
from .risk_mean import TAIL_SHARE, Excess, Interval, difference, excess_loss

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cvar:
    """Mean of the worst 1 - beta of the losses. value_at_risk: eta*, their beta quantile, USD; 0 where
    losses are rarer than 1 - beta: CVaR is then the expected loss divided by 1 - beta."""

    interval: Interval
    value_at_risk: float
    excess: Excess


def cvar(arm: ArmLosses, *, beta: float, cap_usd: float | None = None, level: float = LEVEL) -> Cvar | str:
    """CVaR_beta(L(a)) = eta* + E[(L(a) - eta*)+] / (1 - beta), USD, or why there is none.

    eta* inverts the doubly robust distribution; the mean excess is flat in eta there, so that the error of
    eta* is of second order and the interval that of the mean excess (which has a fitted tail).

    Source: Rockafellar & Uryasev 2000; Huang, Leqi, Lipton & Azizzadenesheli 2021; Kallus, Mao & Uehara 2024.
    """
    eta = value_at_risk(arm, beta=beta)
    found = excess_over(arm, eta, cap_usd=cap_usd, level=level)
    if isinstance(found, str):
        return found
    mean = difference(found, None, scale=1.0 / (1.0 - beta), level=level)
    ends = Interval(
        value=eta + mean.value, lower=eta + mean.lower, upper=eta + mean.upper, clusters=mean.clusters
    )
    return Cvar(interval=ends, value_at_risk=eta, excess=found)


def excess_over(
    arm: ArmLosses, eta: float, *, cap_usd: float | None = None, level: float = LEVEL
) -> Excess | str:
    """E[(L(a) - eta)+], USD: over a quantile all losses left are the tail; over 0 the body is much larger."""
    share = TAIL_SHARE if eta == 0.0 else 1.0
    return excess_loss(arm, above=eta, tail_share=share, cap_usd=cap_usd, level=level)


def value_at_risk(arm: ArmLosses, *, beta: float) -> float:
    """eta*, USD: the smallest loss t that is exceeded with probability of at most 1 - beta, 0 if rarer.

    P(L(a) > t) = mean[G + w (1{L > t} - G)], G = p(x) S(t), S the distribution of losses given an incident in
    the other folds; clipped to [0, 1] and made to fall with t.
    """
    loss = arm.losses.loss
    grid = np.unique(loss[arm.hits & (loss > 0.0)])
    if grid.size == 0:
        return 0.0
    survival = _survival(arm, np.concatenate([[0.0], grid]))
    small = np.flatnonzero(survival <= 1.0 - beta)
    return float(np.concatenate([[0.0], grid])[small[0]]) if small.size else float(grid[-1])


def euler_shares(excesses: tuple[Excess, ...], portfolio: Cvar, *, beta: float) -> Array:
    """(n, K) USD: what each decision would add to the portfolio's CVaR - eta* under each arm, given context.

    r_i(a) = c p_a(x_i) E[(L(a) - eta*)+] / (E[p_a] (1 - beta)) with the portfolio's eta* held fixed: linear
    in decisions, so that rho dR in the paper's Eq. 1 is rho (r_i(a) - r_i(b)). excesses: of each arm over
    eta*. c is the one factor that makes the mean of r_i(A_i) the portfolio's CVaR - eta* to the last digit.

    Source: Tasche 1999 (Euler allocation); Rockafellar & Uryasev 2000.
    """
    columns: list[Array] = []
    for part in excesses:
        mean = max(float(np.average(part.score, weights=part.arm.h)), 0.0)
        rate = float(np.average(part.arm.p, weights=part.arm.h))
        columns.append(part.arm.p * (mean / rate if rate > 0.0 else 0.0) / (1.0 - beta))
    shares, took = np.column_stack(columns), np.column_stack([part.arm.took for part in excesses])
    member = took.any(axis=1)
    own = np.where(took, shares, 0.0).sum(axis=1)[member]
    total = float(np.average(own, weights=portfolio.excess.arm.h[member])) if member.any() else 0.0
    target = portfolio.interval.value - portfolio.value_at_risk
    return shares * (target / total) if total > 0.0 else shares


def _survival(arm: ArmLosses, t: Array) -> Array:
    """P(L(a) > t) at each t (m,), falling."""
    h = arm.h / arm.h.sum()
    hits = np.flatnonzero(arm.hits)
    hits = hits[np.argsort(arm.losses.loss[hits])]
    y, w, fold = arm.losses.loss[hits], h[hits] * arm.w[hits], arm.folds[hits]
    first = np.searchsorted(y, t, side="right")
    total = _beyond(w, first)
    for k in np.unique(arm.folds):
        others = np.where(fold != k, w, 0.0)
        if others.sum() == 0.0:
            others = w
        inside = arm.folds == k
        pull = float((h * arm.p * (1.0 - arm.w))[inside].sum())
        total = total + pull * _beyond(others, first) / others.sum()
    return np.minimum.accumulate(np.clip(total, 0.0, 1.0))


def _beyond(weight: Array, first: NDArray[np.int64]) -> Array:
    """Sums of the sorted weights from each position on."""
    tail = np.concatenate([np.cumsum(weight[::-1])[::-1], [0.0]])
    return tail[first]
