"""The confidence level and the only place that splits alpha between two tails."""

from __future__ import annotations

import math
from typing import Final

from scipy import stats

LEVEL: Final = 0.95
"""Nominal coverage of every interval unless a caller asks for another."""

_MIN_DF: Final = 1.0


def critical_t(df: float, *, level: float = LEVEL) -> float:
    """Two-sided critical value of Student's t with `df` degrees of freedom (normal when infinite)."""
    tail = (1.0 - level) / 2.0
    if math.isinf(df):
        return float(stats.norm.isf(tail))
    return float(stats.t.isf(tail, max(df, _MIN_DF)))


def interval(value: float, se: float, df: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Lower and upper end of the two-sided t interval."""
    half = critical_t(df, level=level) * se
    return value - half, value + half


def upper_tail_p(value: float, se: float, df: float, *, null: float = 0.0) -> float:
    """One-sided p-value against `value` <= `null`; 1 or 0 when the standard error is 0."""
    if se == 0.0:
        return 0.0 if value > null else 1.0
    statistic = (value - null) / se
    if math.isinf(df):
        return float(stats.norm.sf(statistic))
    return float(stats.t.sf(statistic, max(df, _MIN_DF)))


def detectable_effect(se: float, df: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true effect that a one-sided test at `alpha` finds with probability `power`."""
    if math.isinf(df):
        return se * float(stats.norm.isf(alpha) + stats.norm.ppf(power))
    capped = max(df, _MIN_DF)
    return se * float(stats.t.isf(alpha, capped) + stats.t.ppf(power, capped))
