"""Incident probabilities where incidents are rare: exact bounds, and credibility from groups of one class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def credibility(events: Array, trials: Array) -> tuple[Array, float]:
    """Rates (g,) of groups pulled towards their common rate, and k, the trials at which the pull is half.

    m_g = Z x_g + (1 - Z) m with Z = n / (n + k), k = E[x (1 - x)] / Var(true rates), both by moments: of
    weighted squares, sum n (x - m)^2 = (g - 1) s2 + (N - sum n^2 / N) a. Where the rates scatter no more than
    chance alone would make them, a is 0, k infinite, and all groups share one rate.

    Source: Buhlmann & Straub 1970.
    """
    total = float(trials.sum())
    rates = events / trials
    common = float(events.sum()) / total
    within = common * (1.0 - common)
    scatter = float(trials @ (rates - common) ** 2) - (trials.size - 1) * within
    room = total - float((trials**2).sum()) / total
    between = scatter / room if room > 0.0 else 0.0
    if between <= 0.0 or within == 0.0:
        return np.full(trials.size, common), float("inf")
    k = within / between
    z = trials / (trials + k)
    return z * rates + (1.0 - z) * common, k
