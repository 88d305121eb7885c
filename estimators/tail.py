"""The mean excess over a threshold where losses are heavy-tailed: a weighted generalised Pareto fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .confidence import LEVEL, critical_t

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_EXCEEDANCES: Final = 30
MIN_ESS: Final = 15.0
"""Losses above the threshold that a tail needs before its shape is fitted (METHODS D1), and their effective
number: weights and clusters widen the interval, so fewer of those do."""
MAX_EXCEEDANCES: Final = 1000
"""Losses above the threshold that are used at most: with more of them a higher threshold is closer to the
limit law and precise enough."""
_SHAPES: Final = np.arange(-0.5, 0.955, 0.01) + 1e-6
"""Shapes looked at: the mean is infinite from 1 on, the likelihood irregular at -0.5 and below. The shift
avoids the removable singularity at 0."""
_PENALTY: Final = 0.5 * np.where(_SHAPES > 0.0, 1.0 / (1.0 - _SHAPES) - 1.0, 0.0)
"""Minus the logarithm of Coles and Dixon's penalty: nothing below shape 0, all of the likelihood at 1. Their
strength of 1 pulls so hard that the interval of 60 Pareto(2.5) losses covers 89 %, without any it is endless;
at one half it covers 96 %."""
_START: Final = (-1.5, 2.5)
_ENDS: Final = (-3.0, 5.5)
"""Mean excesses looked at for the estimate and for the ends of its interval, as logarithms of multiples of
the observed one."""
_PARAMETERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanExcess:
    """E[L - u | L > u] in USD with its interval. threshold: u, USD. shape: xi, 0 exponential, from 0.5 on
    the variance is infinite. count: exceedances; ess: their effective number after weights and clusters."""

    value: float
    lower: float
    upper: float
    threshold: float
    shape: float
    count: int
    ess: float


def mean_excess(
    excess: Array, weight: Array, cluster: Ints, *, threshold: float, level: float = LEVEL
) -> MeanExcess:
    """The mean of `excess` (k,), USD above `threshold`, under a generalised Pareto law.

    l(m, xi) = -log s - (1 + 1 / xi) sum_i v_i log(1 + xi y_i / s) - penalty(xi) / ess, where s = m (1 - xi)
    and v are the weights divided by their sum. The interval holds every m whose deviance,
    2 ess (max l - max_xi l(m, xi)), stays below the squared critical value of t: it is skewed as the
    estimate is, which a Wald interval is not. ess = (sum w)^2 / sum w^2, divided by what clusters add to
    the variance of log-excesses.

    Source: Pickands 1975; Coles & Dixon 1999 (penalty); Coles 2001, chapter 4 (profile likelihood).
    """
    share = weight / weight.sum()
    ess = 1.0 / float((share**2).sum()) / _cluster_inflation(np.log(excess), share, cluster)
    centre = math.log(float(share @ excess))

    def profile(log_mean: float) -> tuple[float, float]:
        return _profile(excess, share, math.exp(log_mean), ess)

    ends = (centre + _START[0], centre + _START[1])
    search: Any = optimize.minimize_scalar(lambda m: -profile(m)[0], bounds=ends)
    best = float(search.x)
    peak, shape = profile(best)
    allowed = critical_t(max(ess - _PARAMETERS, 1.0), level=level) ** 2

    def over(log_mean: float) -> float:
        return 2.0 * ess * (peak - profile(log_mean)[0]) - allowed

    return MeanExcess(
        value=math.exp(best),
        lower=math.exp(_root(over, best, centre + _ENDS[0])),
        upper=math.exp(_root(over, best, centre + _ENDS[1])),
        threshold=threshold,
        shape=shape,
        count=excess.size,
        ess=ess,
    )


def tail_threshold(loss: Array, weight: Array, *, above: float, share: float) -> float | None:
    """A threshold u >= `above` that leaves the largest `share` of the losses above `above`, or more of them
    until MIN_EXCEEDANCES and MIN_ESS are met, at most MAX_EXCEEDANCES; None where there are too few. Losses
    whose weight would undo the effective number are left below the threshold.

    u is an observed loss, or `above` itself when all losses above it are used.
    """
    member = loss > above
    order = np.argsort(-loss[member], kind="stable")
    y, w = loss[member][order], weight[member][order]
    ess = np.cumsum(w) ** 2 / np.cumsum(w**2)
    enough = np.flatnonzero((ess >= MIN_ESS) & (np.arange(1, y.size + 1) >= MIN_EXCEEDANCES))
    if enough.size == 0:
        return None
    target = min(math.ceil(share * y.size), MAX_EXCEEDANCES)
    wanted = int(enough[enough < max(target, int(enough[0]) + 1)][-1]) + 1
    lower = y[y < y[wanted - 1]]
    return float(lower[0]) if lower.size else above


def _profile(excess: Array, share: Array, mean: float, ess: float) -> tuple[float, float]:
    """The largest penalised log-likelihood per exceedance at a mean excess, and the shape that attains it."""
    scale = mean * (1.0 - _SHAPES)
    inner = 1.0 + (_SHAPES / scale)[:, None] * excess[None, :]
    possible = inner.min(axis=1) > 0.0
    logs = np.log(np.where(possible[:, None], inner, 1.0)) @ share
    value = -np.log(scale) - (1.0 + 1.0 / _SHAPES) * logs - _PENALTY / ess
    value = np.where(possible, value, -np.inf)
    best = int(np.argmax(value))
    return float(value[best]), float(_SHAPES[best])


def _root(over: Callable[[float], float], inside: float, outside: float) -> float:
    """Where `over` crosses 0 between the two; `outside` when it never does."""
    if over(outside) <= 0.0:
        return outside
    return float(optimize.root_scalar(over, bracket=(inside, outside), xtol=1e-4).root)


def _cluster_inflation(values: Array, share: Array, cluster: Ints) -> float:
    """The variance of a weighted mean by clusters over the one by rows, at least 1."""
    pull = share * (values - share @ values)
    alone = float((pull**2).sum())
    _, code = np.unique(cluster, return_inverse=True)
    together = float((np.bincount(code, weights=pull) ** 2).sum())
    return max(1.0, together / alone) if alone > 0.0 else 1.0
