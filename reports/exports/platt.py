"""A sigmoid from raw forecasts to success (Platt 1999): the calibration that LiteLLM's router loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_FORECASTS: Final = 100
"""Judged forecasts below which two parameters say little about a probability."""
MAX_SLOPE: Final = 20.0
MAX_INTERCEPT: Final = 20.0
"""Bounds of the router's own validator."""
_EDGE: Final = 1e-6
"""The router clips forecasts to [edge, 1 - edge] before it takes log-odds."""
_STEPS: Final = 100
_CONVERGED: Final = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Platt:
    """P(success) = sigmoid(slope logit(forecast) + intercept), fitted to n forecasts."""

    slope: float
    intercept: float
    n: int


def platt(forecast: Array, success: Array) -> Platt | str:
    """The maximum-likelihood calibration of `forecast`, or why there is none.

    forecast: (n,) in [0, 1]. success: (n,) in [0, 1]; shares count as such. Not identified when all forecasts
    or all outcomes are equal, or when the two are separable.

    Source: Platt 1999; binomial regression on the log-odds by Newton's method.
    """
    if forecast.size < MIN_FORECASTS:
        return f"{forecast.size} judged forecasts, at least {MIN_FORECASTS} are needed"
    clipped = np.clip(forecast, _EDGE, 1 - _EDGE)
    x = np.column_stack([np.log(clipped) - np.log1p(-clipped), np.ones(forecast.size)])
    if np.ptp(x[:, 0]) == 0 or np.ptp(success) == 0:
        return "all forecasts, or all outcomes, are the same"
    beta = np.zeros(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -500, 500)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(hessian) > 1 / np.finfo(float).eps:
            return "the forecasts separate successes from failures entirely"
        step = np.linalg.solve(hessian, x.T @ (success - p))
        beta = beta + step
        if np.abs(step).max() < _CONVERGED:
            break
    slope, intercept = (float(b) for b in beta)
    if not 0 <= slope <= MAX_SLOPE or abs(intercept) > MAX_INTERCEPT:
        return f"the fit (slope {slope:.3g}, intercept {intercept:.3g}) is outside of what the router admits"
    return Platt(slope=slope, intercept=intercept, n=forecast.size)
