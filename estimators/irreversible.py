"""The load on losses that cannot be undone: what is given up by acting before asking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .confidence import LEVEL, critical_t, percentiles
from .risk_mean import Interval

Array = NDArray[np.float64]

MIN_BAD: Final = 10
"""Reviewed bad actions from which the reviewer's sensitivity is read off the log (METHODS D4)."""
_DRAWS: Final = 4000
_PRIOR: Final = 0.5
"""Jeffreys prior of a probability: half an event and half a non-event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """What asking first costs and catches. bad, caught: reviewed actions that were bad, and how many of them
    the reviewer overrode. good, passed: the same for good ones, and how many were confirmed. sensitivity,
    specificity: used where fewer than MIN_BAD bad actions were reviewed, None if unknown. delay_usd: what a
    good action loses when it is overridden or late; ask_usd: cost of one question."""

    bad: int
    caught: int
    good: int
    passed: int
    delay_usd: float
    ask_usd: float
    sensitivity: float | None = None
    specificity: float | None = None

    def __post_init__(self) -> None:
        shares = [x for x in (self.sensitivity, self.specificity) if x is not None]
        checks = (
            (0 <= self.caught <= self.bad, f"{self.caught} of {self.bad} bad actions caught"),
            (0 <= self.passed <= self.good, f"{self.passed} of {self.good} good actions passed"),
            (all(0.0 <= x <= 1.0 for x in shares), f"sensitivity, specificity {shares}"),
            (math.isfinite(self.delay_usd) and self.delay_usd >= 0.0, f"delay_usd {self.delay_usd}"),
            (math.isfinite(self.ask_usd) and self.ask_usd >= 0.0, f"ask_usd {self.ask_usd}"),
        )
        for fine, found in checks:
            if not fine:
                expected = "counts that fit, shares in [0, 1] and dollars of at least 0"
                raise ConfigError(found, where="Reviews", expected=expected)


def irreversible_load(
    loss: Interval, rate: Interval, reviews: Reviews, *, seed: int, level: float = LEVEL
) -> Interval | str:
    """rho_irr = (E[L_irr] + OV) / E[L_irr], a factor of at least 1, or why there is none.

    OV = max(0, s E[L_irr] - (1 - p) P(good) V_delay - H), USD a decision: what asking first would save; it is
    lost by acting at once, and never negative because one need not ask. s: sensitivity, p: specificity, with
    Beta posteriors; H: `ask_usd`. loss: E[L_irr] = P(bad) E[L_irr | bad]; rate: P(bad). The interval holds
    the middle `level` of posterior draws, those of loss and rate log-normal with the widths given.

    Source: Dixit & Pindyck 1994, two-period case.
    """
    if loss.value <= 0.0 or loss.lower <= 0.0:
        return "the expected irreversible loss is not distinguishable from 0, so a load on it has no size"
    if reviews.bad < MIN_BAD and (reviews.sensitivity is None or reviews.specificity is None):
        return (
            f"{reviews.bad} bad actions were reviewed; {MIN_BAD} are needed. "
            "State the reviewer's sensitivity and specificity"
        )
    rng = np.random.default_rng(seed)
    caught, passed = _accuracy(reviews, rng)
    losses, bad = _positive(loss, rng, level), np.minimum(_positive(rate, rng, level), 1.0)
    draws = _load(losses, bad, caught, passed, reviews)
    point = [np.array([x]) for x in (loss.value, rate.value, caught.mean(), passed.mean())]
    value = float(_load(point[0], point[1], point[2], point[3], reviews)[0])
    lower, upper = percentiles(draws, level=level)
    return Interval(value=value, lower=min(lower, value), upper=max(upper, value), clusters=loss.clusters)


def _load(loss: Array, bad: Array, caught: Array, passed: Array, reviews: Reviews) -> Array:
    saved = caught * loss - (1.0 - passed) * (1.0 - bad) * reviews.delay_usd - reviews.ask_usd
    return 1.0 + np.maximum(saved, 0.0) / loss


def _accuracy(reviews: Reviews, rng: np.random.Generator) -> tuple[Array, Array]:
    if reviews.bad < MIN_BAD:
        return np.full(_DRAWS, reviews.sensitivity), np.full(_DRAWS, reviews.specificity)
    missed, stopped = reviews.bad - reviews.caught, reviews.good - reviews.passed
    return (
        rng.beta(_PRIOR + reviews.caught, _PRIOR + missed, _DRAWS),
        rng.beta(_PRIOR + reviews.passed, _PRIOR + stopped, _DRAWS),
    )


def _positive(estimate: Interval, rng: np.random.Generator, level: float) -> Array:
    """Draws around a positive estimate whose interval's ends are as far away on the log scale."""
    c, z = critical_t(math.inf, level=level), rng.normal(size=_DRAWS)
    up = math.log(estimate.upper / estimate.value) / c
    down = math.log(estimate.value / estimate.lower) / c if estimate.lower > 0.0 else up
    return estimate.value * np.exp(z * np.where(z > 0.0, up, down))
