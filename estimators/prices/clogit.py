"""How a policy trades attributes when it chooses: a conditional logit with its own Newton solver.

Its ratios of coefficients are prices; clusters, closed actions and row weights are what libraries leave out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from ..gates import MIN_CLUSTERS, effective_clusters

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MAX_STEPS: Final = 60
_DECREMENT: Final = 1e-10
"""Newton decrement per decision at which the likelihood is taken as maximal."""
_COLLINEAR: Final = 1e-9
"""Smallest eigenvalue of the scaled information, relative to 1, below which columns move together."""
_STEEP: Final = 10.0
"""Coefficient of a column of unit spread from which separation is looked for: odds of e^10 for one spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """n choices among K actions with P attributes each.

    x: (n, K, P) attributes known before the choice, 0 where an action was closed. open: (n, K). chosen: (n,)
    index of the taken action, which is open. weight: (n,) 1 / keep_prob. cluster: (n,) codes.
    """

    x: Array
    open: Mask
    chosen: Ints
    weight: Array
    cluster: Ints

    @property
    def n(self) -> int:
        """Number of choices."""
        return len(self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFit:
    """beta: (P,) coefficients. influence: (G, P) what each cluster moves them by; their outer products add up
    to the covariance. share: (n, K) fitted probabilities. df: effective clusters less one."""

    beta: Array
    influence: Array
    share: Array
    log_likelihood: float
    df: float

    @property
    def cov(self) -> Array:
        """(P, P) cluster covariance."""
        return covariance(self.influence)


def covariance(influence: Array) -> Array:
    """(P, P) sum of outer products over clusters, times G / (G - 1). influence: (G, P)."""
    used = int((influence != 0.0).any(axis=1).sum())
    return influence.T @ influence * (used / max(used - 1, 1))


def fit_choices(data: Choices) -> ChoiceFit | str:
    """The conditional logit P(a | i) proportional to exp(x_ia . beta), or in words why there is none.

    Newton's method on the weighted log-likelihood with halved steps, from 0; it is concave, so the maximum is
    the only one. The covariance is the cluster sandwich H^-1 (sum_g s_g s_g') H^-1. Refused: few clusters,
    columns that move together, and choices that a combination of the attributes predicts without exception,
    for which no finite coefficients exist.

    Source: McFadden 1974; Train 2009, chapter 3; Albert & Anderson 1984 (separation).
    """
    groups = effective_clusters(data.cluster, np.ones(data.n, dtype=bool))
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    scale = spreads(data)
    if (scale <= 0.0).any():
        return "an attribute is the same for every open action, so its weight cannot be seen"
    scaled = replace(data, x=data.x / scale)
    if _moves_together(_derivatives(np.zeros(scale.size), scaled)[2]):
        return "attributes move together, so their weights cannot be told apart"
    found = _newton(scaled)
    if (found is None or float(np.abs(found).max()) > _STEEP) and _separated(scaled):
        return "the attributes predict every choice without exception, so their weights have no finite size"
    if found is None:
        return f"the likelihood has no maximum within {_MAX_STEPS} Newton steps"
    value, scores, information, share = _derivatives(found, scaled)
    each = np.linalg.solve(information, scores.T).T / scale
    influence = by_cluster(each, data.cluster)
    return ChoiceFit(
        beta=found / scale, influence=influence, share=share, log_likelihood=value, df=max(groups - 1.0, 1.0)
    )


def by_cluster(each: Array, cluster: Ints) -> Array:
    """(G, q) sums of the rows of each (n, q) over clusters."""
    sums = [np.bincount(cluster, weights=each[:, j]) for j in range(each.shape[1])]
    return np.column_stack(sums).astype(np.float64)


def spreads(data: Choices) -> Array:
    """(P,) root mean square of each attribute around its mean among the open actions of a choice."""
    share = data.open / data.open.sum(axis=1, keepdims=True)
    weight = (data.weight / data.weight.sum())[:, None] * share
    return np.sqrt((weight[:, :, None] * centred(data.x, share) ** 2).sum(axis=(0, 1)))


def centred(x: Array, share: Array) -> Array:
    """x (n, K, P) less its mean under share (n, K) within each choice."""
    return x - (share[:, None, :] @ x)


def _derivatives(beta: Array, data: Choices) -> tuple[float, Array, Array, Array]:
    """Log-likelihood, (n, P) weighted scores, (P, P) information, (n, K) probabilities."""
    utility = np.where(data.open, data.x @ beta, -np.inf)
    utility = utility - utility.max(axis=1, keepdims=True)
    odds = np.exp(utility)
    total = odds.sum(axis=1, keepdims=True)
    share = odds / total
    rows = np.arange(data.n)
    away = centred(data.x, share)
    value = float(data.weight @ (utility[rows, data.chosen] - np.log(total[:, 0])))
    scores = data.weight[:, None] * away[rows, data.chosen]
    flat = away.reshape(-1, beta.size)
    information = flat.T @ (flat * (data.weight[:, None] * share).reshape(-1, 1))
    return value, scores, information, share


def _newton(data: Choices) -> Array | None:
    beta = np.zeros(data.x.shape[2])
    value, scores, information, _ = _derivatives(beta, data)
    for _ in range(_MAX_STEPS):
        gradient = scores.sum(axis=0)
        step = np.linalg.lstsq(information, gradient, rcond=None)[0]
        if float(gradient @ step) <= _DECREMENT * data.weight.sum():
            return beta
        length = 1.0
        while True:
            tried = _derivatives(beta + length * step, data)
            if tried[0] > value or length < _DECREMENT:
                break
            length /= 2.0
        if tried[0] <= value:
            return beta
        beta = beta + length * step
        value, scores, information, _ = tried
    return None


def _moves_together(information: Array) -> bool:
    scale = np.sqrt(np.diag(information))
    return bool(np.linalg.eigvalsh(information / np.outer(scale, scale))[0] < _COLLINEAR)


def _separated(data: Choices) -> bool:
    """Whether some direction never ranks an open action above the taken one, and once ranks it below.

    The programme max sum (x_chosen - x_a) . d over |d| <= 1 with every term >= 0 is positive exactly then.
    Source: Konis 2007.
    """
    rows = np.arange(data.n)
    gap = data.x[rows, data.chosen][:, None, :] - data.x
    others = data.open.copy()
    others[rows, data.chosen] = False
    gap = gap[others]
    found: Any = linprog(
        -gap.sum(axis=0),
        A_ub=-gap,
        b_ub=np.zeros(len(gap)),
        bounds=[(-1.0, 1.0)] * gap.shape[1],
        method="highs",
    )
    return found.status == 0 and -found.fun > 1e-6
