"""How strong a hidden cause of the choice would have to be to overturn an effect: bounds and Lambda*."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .confidence import LEVEL, interval_of_bounds
from .contrasts import floored_mean
from .pairs import Pair
from .sensitivity_arm import ArmModel, extreme_scores

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CAP: Final = 10.0
"""Odds ratio beyond which no hidden cause is looked for."""
_STEPS: Final = 14
"""Halvings of log(CAP): Lambda* is found to 0.02 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the effect could be if a hidden cause moved the odds of the choice by up to `strength`.

    lower, upper: estimated bounds. lower_ci, upper_ci: an interval that holds the effect, wherever it lies
    between the bounds, with probability `level`. All None with a reason when there are none.
    """

    strength: float
    lower: float | None
    upper: float | None
    lower_ci: float | None
    upper_ci: float | None
    level: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """The smallest strength at which a finding falls; `value` None says why there is none up to `cap`."""

    value: float | None
    cap: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenContrast:
    """One quantity of a contrast, with the models of its two arms. column: of `Pair.d`."""

    pair: Pair
    column: int
    action: ArmModel
    baseline: ArmModel


def sensitivity_bounds(
    contrast: HiddenContrast,
    *,
    strength: float,
    rows: Mask,
    weight: Array | None = None,
    level: float = LEVEL,
) -> Bounds:
    """Sharp bounds of the effect over `rows` under the marginal sensitivity model, with a CR3 interval.

    strength: Lambda >= 1. weight: (n,) of the mean, by default the overlap weight of the pair (ATO); the
    problem's weight gives the ATE. The weights are functions of the logged context, so the bound of an arm's
    weighted mean is the weighted mean of its bounds context by context: sum w (phi_a+ - phi_b-) / sum w.
    With more than two arms each is bounded against all others together.

    Raises: ConfigError for a strength below 1. Source: Tan 2006; Dorn & Guo 2023; Imbens & Manski 2004.
    """
    if not 1.0 <= strength < np.inf:
        raise ConfigError(f"strength {strength}", where="sensitivity_bounds", expected="an odds ratio from 1")
    j = contrast.column
    weight = contrast.pair.h if weight is None else weight
    rows = rows & (weight > 0)
    if not rows.any():
        return _no_bounds(strength, level, "no decision could have gone either way")
    if np.isnan(contrast.pair.d[rows, j]).any():
        return _no_bounds(strength, level, "the quantity is not known for both actions")
    d = np.column_stack([_difference(contrast, strength, upper=upper) for upper in (False, True)])
    both = replace(contrast.pair, d=d, noise=contrast.pair.noise[:, [j, j]], tau=contrast.pair.tau[:, [j, j]])
    mean = floored_mean(both, rows, weight)
    lower, upper = float(mean.theta.min()), float(mean.theta.max())
    se = np.sqrt(np.diag(mean.cov))
    ends = interval_of_bounds(lower, upper, float(se[0]), float(se[1]), mean.df, level=level)
    return Bounds(
        strength=strength, lower=lower, upper=upper, lower_ci=ends[0], upper_ci=ends[1], level=level
    )


def critical_strength(
    contrast: HiddenContrast,
    *,
    rows: Mask,
    weight: Array | None = None,
    margin: float = 0.0,
    interval: bool = True,
    cap: float = CAP,
    level: float = LEVEL,
) -> Critical:
    """Lambda*: the smallest strength at which the effect need no longer differ from 0 by more than `margin`.

    interval: whether the interval of the bounds, and not only the bounds, must stay on its side; 1 means
    that there is no finding even without a hidden cause. margin: materiality, in the unit of the quantity.
    Found by bisection, since the bounds grow with the strength.
    """

    def bounds(strength: float) -> Bounds:
        return sensitivity_bounds(contrast, strength=strength, rows=rows, weight=weight, level=level)

    start = bounds(1.0)
    if start.lower is None or start.upper is None:
        return Critical(value=None, cap=cap, reason=start.reason)
    positive = start.lower + start.upper > 0

    def stands(b: Bounds) -> bool:
        low, high = (b.lower_ci, b.upper_ci) if interval else (b.lower, b.upper)
        assert low is not None
        assert high is not None
        return low > margin if positive else high < -margin

    if not stands(start):
        return Critical(value=1.0, cap=cap, reason="undecided even without a hidden cause")
    if stands(bounds(cap)):
        return Critical(value=None, cap=cap, reason=f"> {cap:g}: it stands up to an odds ratio of {cap:g}")
    return Critical(value=_last(lambda s: stands(bounds(s)), cap), cap=cap)


def _last(stands: Callable[[float], bool], cap: float) -> float:
    low, high = 0.0, float(np.log(cap))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if stands(float(np.exp(middle))) else (low, middle)
    return float(np.exp(high))


def _difference(contrast: HiddenContrast, strength: float, *, upper: bool) -> Array:
    action = extreme_scores(contrast.action, strength, upper=upper)
    return action - extreme_scores(contrast.baseline, strength, upper=not upper)


def _no_bounds(strength: float, level: float, reason: str) -> Bounds:
    return Bounds(
        strength=strength, lower=None, upper=None, lower_ci=None, upper_ci=None, level=level, reason=reason
    )
