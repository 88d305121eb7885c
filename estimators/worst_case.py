"""Worst cases of a loss: what sampling, a hidden cause of the choice or a shifted law could make of it."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .confidence import LEVEL, interval, one_sided
from .jackknife import cluster_sums, weighted_mean
from .losses import ArmLosses
from .risk_mean import Interval, difference, excess_loss

Array = NDArray[np.float64]

_LOG_TEMPERATURES: Final = (-6.0, 12.0)
"""Temperatures looked at, as logarithms of multiples of the largest loss."""


def worst_rate(rate: float, strength: float) -> float:
    """The largest incident probability when a hidden cause moves the odds of the choice by up to `strength`.

    rho+ = min(Lambda mu, 1 - (1 - mu) / Lambda): the sharp bound of a binary outcome, here for all rows.

    >>> round(worst_rate(0.02, 1.5), 3)
    0.03
    """
    return min(strength * rate, 1.0 - (1.0 - rate) / strength)


def knightian_mean(
    arm: ArmLosses, *, strength: float, cap_usd: float | None = None, level: float = LEVEL
) -> float | str:
    """R_kn, USD: the upper `level` bound of the expected loss under the worst hidden cause of `strength`.

    Sampling, the tail's shape, the hidden cause and the cap on one loss are all at their worst together.
    A reason where the tail cannot be fitted: the caller then prices every incident at the cap.
    """
    found = excess_loss(arm, above=0.0, cap_usd=cap_usd, strength=strength, level=one_sided(level))
    if isinstance(found, str):
        return found
    return difference(found, None, level=one_sided(level)).upper


def ambiguous_mean(arm: ArmLosses, largest: float, *, radius: float, level: float = LEVEL) -> Interval:
    """The largest expected loss over all laws within Kullback-Leibler distance `radius` of the arm's, USD.

    R = inf over t > 0 of t log E[exp(L / t)] + t radius, for losses in [0, largest]. E is weighted by 1 / e,
    with weights that add up to 1. At the best t the derivative in t is 0, so the score is
    t (exp(L / t) / E - 1), with a CR3 t interval.

    Source: Hu & Hong 2013; Duchi & Namkoong 2021.
    """
    loss = np.where(arm.hits, np.minimum(arm.losses.loss, largest), 0.0)
    weight = arm.weight / arm.weight.sum()

    def dual(log_t: float) -> float:
        t = largest * math.exp(log_t)
        return t * (_log_mean_exp(loss / t, weight) + radius)

    search: Any = optimize.minimize_scalar(dual, bounds=_LOG_TEMPERATURES)
    best = float(search.x)
    value, t = dual(best), largest * math.exp(best)
    tilt = np.exp(loss / t - _log_mean_exp(loss / t, weight))
    sums = cluster_sums((t * (tilt - 1.0))[:, None], arm.weight, arm.cluster, arm.clusters)
    mean = weighted_mean(sums)
    lower, upper = interval(value, float(np.sqrt(mean.cov[0, 0])), mean.df, level=level)
    value, lower, upper = (float(np.clip(x, 0.0, largest)) for x in (value, lower, upper))
    return Interval(value=value, lower=lower, upper=upper, clusters=mean.clusters)


def _log_mean_exp(x: Array, weight: Array) -> float:
    """log sum w exp(x) without overflow."""
    top = float(x.max())
    return top + math.log(float(weight @ np.exp(x - top)))
