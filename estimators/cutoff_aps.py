"""The probability that a deterministic rule would have chosen each arm for a slightly different decision."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .cutoff_rule import Rule, replay

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

GRID: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Radii tried, in standard deviations of the features: the smallest that holds enough rows is used."""
_DRAWS: Final = 100
"""Points per ball where no closed form is used (METHODS A5)."""
_DIGITS: Final = 9
"""Shares are rounded: an interval that lies in one box must have share 1, not 1 less the last bit."""
_MIN_ARM: Final = 30
"""Rows of each of two arms in reach of the border that a radius must hold."""


def approximate_propensity(rule: Rule, x: Array, arms: int, radius: float) -> Array:
    """(n, arms) share of the ball of `radius` around x (n, q) in which the rule takes each arm.

    Radius in standard deviations of the features; categories stay as they are. One number: the exact
    share of [x - r, x + r]; several: 100 Halton points, the same for every row. Rows with a missing feature
    get NaN.

    Source: Narita & Yata, "Algorithm as Experiment", arXiv 2104.12909.
    """
    moves = np.isfinite(rule.scale)
    out = np.full((x.shape[0], arms), np.nan)
    known = replay(rule, x) >= 0
    if moves.sum() == 1:
        out[known] = _interval_share(rule, x[known], arms, radius, int(np.flatnonzero(moves)[0]))
        return out
    out[known] = 0.0
    rows = np.flatnonzero(known)
    steps = np.zeros((_DRAWS, x.shape[1]))
    steps[:, moves] = _ball(int(moves.sum())) * radius * rule.scale[moves]
    for step in steps:
        out[rows, replay(rule, x[rows] + step)] += 1.0 / _DRAWS
    return out.round(_DIGITS)


def smallest_radius(rule: Rule, x: Array, arm: Ints, arms: int) -> tuple[float, Array] | None:
    """The first radius of GRID with enough undecided rows of two arms, and its propensities (n, arms)."""
    for radius in GRID:
        aps = approximate_propensity(rule, x, arms, radius)
        inside = undecided(aps)
        counts = np.sort(np.bincount(arm[inside], minlength=arms))
        if counts[-2] >= _MIN_ARM:
            return radius, aps
    return None


def undecided(aps: Array) -> Mask:
    """Rows where more than one arm has a positive probability."""
    return np.asarray(((aps > 0) & (aps < 1)).any(axis=1))


def _interval_share(rule: Rule, x: Array, arms: int, radius: float, j: int) -> Array:
    out = np.zeros((x.shape[0], arms))
    fixed = np.arange(x.shape[1]) != j
    reach = radius * rule.scale[j]
    for low, high, arm in zip(rule.low, rule.high, rule.arm, strict=True):
        here = ((x > low) & (x <= high))[:, fixed].all(axis=1)
        overlap = np.minimum(high[j], x[:, j] + reach) - np.maximum(low[j], x[:, j] - reach)
        out[:, arm] += np.where(here, np.maximum(overlap, 0.0) / (2.0 * reach), 0.0)
    return out.round(_DIGITS)


def _ball(q: int) -> Array:
    """_DRAWS points that fill the unit ball in q dimensions evenly."""
    points = stats.qmc.Halton(q + 1, scramble=False).random(_DRAWS + 1)[1:]
    direction = stats.norm.ppf(np.clip(points[:, :q], 1e-9, 1 - 1e-9))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * points[:, q:] ** (1.0 / q)
