"""The confidence level and the only place that splits alpha between two tails."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

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


def interval_of_bounds(
    lower: float, upper: float, se_lower: float, se_upper: float, df: float, *, level: float = LEVEL
) -> tuple[float, float]:
    """An interval for a value somewhere between two estimated bounds.

    Its critical value c solves F(c + (upper - lower) / max se) - F(-c) = level: two-sided where the bounds
    coincide, one-sided where they are far apart. Source: Imbens & Manski 2004, Econometrica 72.
    """
    se, law = max(se_lower, se_upper), stats.norm() if math.isinf(df) else stats.t(max(df, _MIN_DF))
    if se == 0.0:
        return lower, upper
    gap, above = (upper - lower) / se, 2.0 * float(law.isf((1.0 - level) / 2.0))
    found = optimize.root_scalar(lambda c: law.cdf(c + gap) - law.cdf(-c) - level, bracket=(0.0, above))
    c = float(found.root)
    return lower - c * se_lower, upper + c * se_upper


def upper_tail_p(value: float, se: float, df: float, *, null: float = 0.0) -> float:
    """One-sided p-value against `value` <= `null`; 1 or 0 when the standard error is 0."""
    if se == 0.0:
        return 0.0 if value > null else 1.0
    statistic = (value - null) / se
    if math.isinf(df):
        return float(stats.norm.sf(statistic))
    return float(stats.t.sf(statistic, max(df, _MIN_DF)))


def two_sided_p(value: float, se: float, df: float) -> float:
    """Two-sided p-value against 0; 1 or 0 when the standard error is 0."""
    return min(1.0, 2.0 * upper_tail_p(abs(value), se, df))


def detectable_effect(se: float, df: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true effect that a one-sided test at `alpha` finds with probability `power`."""
    if math.isinf(df):
        return se * float(stats.norm.isf(alpha) + stats.norm.ppf(power))
    capped = max(df, _MIN_DF)
    return se * float(stats.t.isf(alpha, capped) + stats.t.ppf(power, capped))


def one_sided(level: float) -> float:
    """The level of the two-sided interval whose upper end alone is a bound that holds with `level`."""
    return 2.0 * level - 1.0


def exact_rate(events: float, trials: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Two-sided exact interval of a probability; counts may be effective ones.

    Source: Clopper & Pearson 1934.
    """
    tail = (1.0 - level) / 2.0
    lower = float(stats.beta.ppf(tail, events, trials - events + 1.0)) if events > 0.0 else 0.0
    return lower, upper_rate(events, trials, level=1.0 - tail)


def upper_rate(events: float, trials: float, *, level: float = LEVEL) -> float:
    """One-sided exact upper bound of a probability; 1 - (1 - level)^(1 / trials) without events."""
    if events >= trials:
        return 1.0
    return float(stats.beta.ppf(level, events + 1.0, trials - events))


def percentiles(draws: NDArray[np.float64], *, level: float = LEVEL) -> tuple[float, float]:
    """The ends between which the middle `level` of the draws lies."""
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail])
    return float(lower), float(upper)


def bernstein_half_width(variance: float, span: float, n: int, *, level: float = LEVEL) -> float:
    """Half the width of the two-sided empirical Bernstein interval of a mean of n terms.

    sqrt(2 V log(2 / d) / n) + 7 b log(2 / d) / (3 (n - 1)) on each side, which errs with probability d. Holds
    at every n for independent terms in an interval of length `span`. Source: Maurer & Pontil 2009, theorem 4.
    """
    log_term = math.log(2.0 / ((1.0 - level) / 2.0))
    return math.sqrt(2.0 * variance * log_term / n) + 7.0 * span * log_term / (3.0 * (n - 1))


def sequence_half_width(sd: float, n: int, *, tightest: int, level: float = LEVEL) -> float:
    """Half the width at n of an asymptotic confidence sequence, which holds at all sample sizes together.

    sd sqrt(2 (n r + 1) / (n^2 r) log(sqrt(n r + 1) / alpha)), with r such that it is tightest near the sample
    size `tightest`. Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of Statistics 52.
    """
    alpha = 1.0 - level
    r = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / tightest
    grown = n * r + 1.0
    return sd * math.sqrt(2.0 * grown / (n * n * r) * math.log(math.sqrt(grown) / alpha))
