"""The jump of an outcome at a cut-off: what a rule that randomised nothing still shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .confidence import interval

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_SIDE: Final = 30
"""Rows on each side that the window holds at least, as an arm of any contrast must."""
_MIN_VALUES: Final = 10
"""Distinct scores per side in the window; with fewer a curve is fitted through a handful of points."""
_SILVERMAN: Final = 1.84
"""Pilot window in standard deviations times n^(-1/5): Silverman's rule for a uniform kernel."""
_EDGE: Final = 3.4375
"""Constant of the optimal bandwidth for the triangular kernel at a boundary (Imbens & Kalyanaraman 2012)."""
_CURVE: Final = 3.56
"""Constant of the pilot window of the second derivative, uniform kernel (ibid.)."""
_REGULARISE: Final = 2160.0
"""Three times the variance constant of an estimated second derivative (ibid.): keeps h from exploding."""
_MIN_SLOPE: Final = 1e-12
_MAX_LEVERAGE: Final = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Discontinuity:
    """The jump at the cut-off, or why there is none.

    value: robust bias-corrected jump with interval; linear: the local linear jump it corrects (a second
    number, without interval). bandwidth: half-width of the window in units of the score. left, right: rows
    in it. influence: (n,) contribution of each row to `value` minus its truth, 0 outside the window.
    """

    value: float | None
    lower: float | None
    upper: float | None
    se: float | None
    df: float | None
    linear: float | None
    bandwidth: float | None
    left: int
    right: int
    clusters: int
    influence: Array
    reason: str | None = None


def regression_discontinuity(
    score: Array,
    cutoff: float,
    outcome: Array,
    cluster: Ints,
    weight: Array,
    *,
    bandwidth: float | None = None,
) -> Discontinuity:
    """The jump of `outcome` where `score` passes `cutoff`, with a robust bias-corrected t interval.

    All arrays (n,); rows with a NaN score or outcome are left out. A line is fitted on each side with
    triangular weights (1 - |s - c| / h) * weight, its smoothing bias is estimated by a parabola with the
    same window and taken off, and the variance includes that of the correction. With equal windows this is
    the jump of two local parabolas at the window that is optimal for lines. Variance: HC3 residuals summed
    by cluster. h: `bandwidth`, else `optimal_bandwidth`; widened to hold MIN_SIDE rows on each side.

    No value when a side has fewer than MIN_SIDE rows, or fewer than 10 distinct scores in the window.

    Source: Calonico, Cattaneo & Titiunik 2014, Econometrica 82; Imbens & Kalyanaraman 2012.
    """
    x = score - cutoff
    seen = np.isfinite(x) & np.isfinite(outcome)
    sides = [seen & (x <= 0), seen & (x > 0)]
    short = min(int(side.sum()) for side in sides)
    if short < MIN_SIDE:
        return _none(x.size, f"{short} decisions on one side of the cut-off; {MIN_SIDE} are needed")
    wide = optimal_bandwidth(x[seen], outcome[seen], weight[seen]) if bandwidth is None else bandwidth
    h = max(wide, *(_holding(x[side]) for side in sides))
    kernel = np.where(seen, np.maximum(1.0 - np.abs(x) / h, 0.0), 0.0) * weight
    jump, line, influence = 0.0, 0.0, np.zeros(x.size)
    for side, sign in zip(sides, (-1.0, 1.0), strict=True):
        used = np.flatnonzero(side & (kernel > 0))
        if np.unique(x[used]).size < _MIN_VALUES:
            return _none(x.size, "the score takes too few values near the cut-off to fit a curve")
        level, parts = _level_at_zero(x[used] / h, outcome[used], kernel[used], degree=2)
        jump += sign * level
        line += sign * _level_at_zero(x[used] / h, outcome[used], kernel[used], degree=1)[0]
        influence[used] = sign * parts
    inside = kernel > 0
    sums = np.bincount(cluster[inside], weights=influence[inside])
    share = np.bincount(cluster[inside], weights=kernel[inside]) / kernel.sum()
    groups = int((share > 0).sum())
    if groups < 2:
        return _none(x.size, "one cluster near the cut-off; two are needed")
    se = float(np.sqrt(groups / (groups - 1) * (sums**2).sum()))
    df = 1.0 / float((share**2).sum()) - 1.0
    lower, upper = interval(jump, se, df)
    return Discontinuity(
        value=jump,
        lower=lower,
        upper=upper,
        se=se,
        df=df,
        linear=line,
        bandwidth=h,
        left=int((sides[0] & inside).sum()),
        right=int((sides[1] & inside).sum()),
        clusters=groups,
        influence=influence,
    )


def optimal_bandwidth(x: Array, y: Array, weight: Array) -> float:
    """The window half-width that minimises the mean squared error of a local linear jump at x = 0.

    h = 3.4375 [(s2_l + s2_r) / (f ((m2_r - m2_l)^2 + r_l + r_r))]^(1/5) n^(-1/5), with f the density and s2
    the variances near 0, m2 the second derivatives from parabolas in pilot windows that a cubic fit sets,
    and r the regularisation that stands for their noise. In units of x; infinite curvature noise is not
    possible, so h is finite; never beyond the data.

    Source: Imbens & Kalyanaraman 2012, Review of Economic Studies 79, section 4.
    """
    n = x.size
    reach = float(np.abs(x).max())
    pilot = _SILVERMAN * float(x.std()) * n**-0.2
    near = np.abs(x) <= pilot
    density = max(float(near.sum()), 1.0) / (2.0 * n * pilot)
    third = _third_derivative(x, y, weight)
    noise, curvature, penalty = 0.0, 0.0, 0.0
    for side, sign in ((x <= 0, -1.0), (x > 0, 1.0)):
        close = side & (near if (side & near).sum() >= 2 else np.ones_like(near))
        variance = float(np.average((y[close] - np.average(y[close], weights=weight[close])) ** 2))
        spread = (variance / (density * max(third**2, _MIN_SLOPE))) ** (1 / 7)
        window = min(_CURVE * spread * float(side.sum()) ** (-1 / 7), reach)
        window = max(window, _holding(x[side]))
        used = side & (np.abs(x) <= window)
        curvature += (
            sign * 2.0 * float(_polynomial(x[used] / window, y[used], weight[used], 2)[2]) / window**2
        )
        penalty += _REGULARISE * variance / (float(used.sum()) * window**4)
        noise += variance
    signal = density * (curvature**2 + penalty)
    if noise == 0.0 or signal == 0.0:
        return reach
    return min(_EDGE * (noise / signal) ** 0.2 * n**-0.2, reach)


def _none(n: int, reason: str) -> Discontinuity:
    return Discontinuity(
        value=None,
        lower=None,
        upper=None,
        se=None,
        df=None,
        linear=None,
        bandwidth=None,
        left=0,
        right=0,
        clusters=0,
        influence=np.zeros(n),
        reason=reason,
    )


def _holding(x: Array) -> float:
    """The half-width that gives MIN_SIDE rows of one side a positive weight."""
    ordered = np.sort(np.abs(x))
    edge = ordered[min(MIN_SIDE, ordered.size) - 1]
    return float(edge * (1 + 1e-6) + 1e-300)


def _third_derivative(x: Array, y: Array, weight: Array) -> float:
    """Third derivative of a cubic with a jump, fitted between the medians of the two sides."""
    low, high = float(np.median(x[x <= 0])), float(np.median(x[x > 0]))
    middle = (x >= low) & (x <= high)
    unit = max(high, -low)
    z = x[middle] / unit
    basis = np.column_stack([np.ones_like(z), z > 0, z, z**2, z**3])
    root = np.sqrt(weight[middle])
    beta = np.linalg.lstsq(root[:, None] * basis, root * y[middle], rcond=None)[0]
    return 6.0 * float(beta[4]) / unit**3


def _polynomial(u: Array, y: Array, kernel: Array, degree: int) -> Array:
    root = np.sqrt(kernel)
    basis = np.vander(u, degree + 1, increasing=True)
    return np.asarray(np.linalg.lstsq(root[:, None] * basis, root * y, rcond=None)[0], dtype=float)


def _level_at_zero(u: Array, y: Array, kernel: Array, *, degree: int) -> tuple[float, Array]:
    """The fitted value at u = 0 of a weighted polynomial, and each row's influence on it (HC3)."""
    basis = np.vander(u, degree + 1, increasing=True)
    inverse = np.linalg.pinv(basis.T @ (kernel[:, None] * basis))
    beta = inverse @ (basis.T @ (kernel * y))
    leverage = kernel * np.einsum("ij,jk,ik->i", basis, inverse, basis)
    residual = (y - basis @ beta) / (1.0 - np.minimum(leverage, _MAX_LEVERAGE))
    return float(beta[0]), kernel * (basis @ inverse[0]) * residual
