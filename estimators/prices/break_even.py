"""The task value above which an action pays: a ratio of effects, with the interval that ratios need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..confidence import LEVEL, critical_t

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio with its Fieller interval; `value` None means unbounded or undefined, with the reason."""

    value: float | None
    lower: float | None
    upper: float | None
    level: float
    reason: str | None = None


def break_even_value(
    theta: Array,
    cov: Array,
    df: float,
    *,
    latency_price: float = 0.0,
    risk_price: float = 0.0,
    level: float = LEVEL,
) -> Ratio:
    """V* in USD per task above which the action pays, with a Fieller interval.

    V* = (dC + lambda dL + rho dR) / dQ (paper Eq. 1 set to zero). theta: (dQ, dC, dL, dR); cov: (4, 4).
    Prices: USD per s, USD per unit of risk. Not identified when the interval of dQ covers 0: V* is then
    unbounded. A negative ratio with dQ > 0 means that the action pays at any value; it is reported as is.

    Source: Fieller 1954; paper section 2, worked example.
    """
    weights = np.array([0.0, 1.0, latency_price, risk_price])
    used = weights != 0.0
    used[0] = True
    if not np.all(np.isfinite(theta[used])):
        return Ratio(
            value=None, lower=None, upper=None, level=level, reason="a priced term is not identified"
        )
    load = np.where(weights != 0.0, weights, 0.0)
    theta_safe, cov_safe = np.where(used, theta, 0.0), np.where(np.outer(used, used), cov, 0.0)
    numerator, denominator = float(load @ theta_safe), float(theta_safe[0])
    v_nn = float(load @ cov_safe @ load)
    v_nd, v_dd = float(load @ cov_safe[:, 0]), float(cov_safe[0, 0])
    return fieller(numerator, denominator, v_nn, v_nd, v_dd, critical_t(df, level=level), level=level)


def fieller(
    numerator: float,
    denominator: float,
    v_nn: float,
    v_nd: float,
    v_dd: float,
    critical: float,
    *,
    level: float,
) -> Ratio:
    """The ratio numerator / denominator with the set of ratios that the t test does not reject.

    v_nn, v_nd, v_dd: covariance of (numerator, denominator). The set is an interval only when the
    denominator differs from 0 at `critical` standard errors.
    """
    a = denominator**2 - critical**2 * v_dd
    if a <= 0.0:
        reason = "the interval of the quality gain covers 0, so the ratio is unbounded"
        return Ratio(value=None, lower=None, upper=None, level=level, reason=reason)
    b = numerator * denominator - critical**2 * v_nd
    c = numerator**2 - critical**2 * v_nn
    root = math.sqrt(max(b * b - a * c, 0.0))
    ratio = numerator / denominator
    return Ratio(value=ratio, lower=min((b - root) / a, ratio), upper=max((b + root) / a, ratio), level=level)
