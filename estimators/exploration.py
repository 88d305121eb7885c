"""What to randomise next: how many decisions, and how many days of them, show a difference."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_EXPLORE: Final = 0.02
"""Share of decisions that the advice proposes to randomise."""
_EFFECT: Final = 0.05
"""Quality difference that the advice wants to detect: 5 points."""
_VARIANCE: Final = 0.25
"""Largest variance of a quality in [0, 1]."""
_TWO_SIDED_PLUS_POWER: Final = 1.96 + 0.84
_DAY_S: Final = 86_400.0
_MIN_SPAN_DAYS: Final = 0.5
"""Shorter logs say nothing of the volume of a day."""


def exploration_advice(problem: Problem | None = None) -> str:
    """What to randomise and log, with the decisions needed to see 5 points of quality (80 % power).

    n = (1.96 + 0.84)^2 s^2 (1 / e_a + 1 / e_b) / delta^2, times the design effect 1 + (m - 1) ICC of the
    clusters of `problem` and beside the days that its logged volume takes. With two arms in each cluster
    the design effect is on the safe side.
    """
    needed = _TWO_SIDED_PLUS_POWER**2 * _VARIANCE * (1 / _EXPLORE + 1 / (1.0 - _EXPLORE)) / _EFFECT**2
    days = ""
    if problem is not None:
        needed *= design_effect(problem.outcomes[:, 0], problem.cluster)
        volume = daily_volume(problem)
        days = "" if volume is None else f" ({needed / volume:,.1f} days at the logged {volume:,.0f} a day)"
    return (
        f"Randomise {_EXPLORE:.0%} of these choices and log candidates, propensity and the score that the "
        f"rule used: about {needed:,.0f} decisions{days} then show a difference of "
        f"{_EFFECT * 100:.0f} points."
    )


def design_effect(y: Array, cluster: Ints) -> float:
    """1 + (m - 1) ICC, m = sum m_g^2 / sum m_g the mean size of a row's cluster; 1 when unknown. y: (n,).

    Source: Kish 1965.
    """
    seen = np.isfinite(y)
    size = np.bincount(cluster[seen]).astype(float)
    if size.sum() == 0:
        return 1.0
    m = float((size**2).sum() / size.sum())
    return 1.0 + (m - 1.0) * (intracluster_correlation(y, cluster) or 0.0)


def intracluster_correlation(y: Array, cluster: Ints) -> float | None:
    """ICC of y (n,) by analysis of variance, in [0, 1]; None with fewer than two clusters or all single.

    ICC = (MSB - MSW) / (MSB + (m0 - 1) MSW), m0 = (n - sum m_g^2 / n) / (G - 1). Rows with NaN are left out.

    Source: Donner 1986, International Statistical Review 54.
    """
    seen = np.isfinite(y)
    values, codes = y[seen], np.unique(cluster[seen], return_inverse=True)[1]
    size = np.bincount(codes).astype(float)
    g, n = size.size, values.size
    if g < 2 or n == g:
        return None
    mean = np.bincount(codes, weights=values) / size
    between = float((size * (mean - values.mean()) ** 2).sum()) / (g - 1)
    within = float(((values - mean[codes]) ** 2).sum()) / (n - g)
    m0 = (n - float((size**2).sum()) / n) / (g - 1)
    total = between + (m0 - 1.0) * within
    return float(np.clip((between - within) / total, 0.0, 1.0)) if total > 0 else None


def daily_volume(problem: Problem) -> float | None:
    """Decisions per day, those that log sampling dropped included; None for logs of under half a day."""
    if not problem.frame["ts"].dtype.is_temporal():
        return None
    ends = problem.frame.select(first=pl.col("ts").min(), last=pl.col("ts").max()).row(0)
    if None in ends:
        return None
    days = (ends[1] - ends[0]).total_seconds() / _DAY_S
    return float(problem.weight.sum()) / days if days >= _MIN_SPAN_DAYS else None
