"""Omitted-variable bias: how far a hidden cause could move an effect, and how strong it must be to end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .confidence import LEVEL, interval
from .sensitivity import HiddenContrast

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEPS: Final = 50
_ALMOST_ONE: Final = 1.0 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasBound:
    """theta -+ |rho| S C_Y C_D with the outer ends of the intervals around both; None with a reason."""

    lower: float | None
    upper: float | None
    lower_ci: float | None
    upper_ci: float | None
    scale: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """Robustness values: the share of variance, of outcome and of choice alike, that a hidden cause must
    explain to bring the estimate (`value`) or the end of its interval (`interval`) to the null."""

    value: float | None
    interval: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Leave-one-cluster-out values, the whole in the first place: theta (G + 1,) and S (G + 1,)."""

    theta: Array
    scale: Array
    df: float

    def end(self, strength: float, side: float, level: float) -> tuple[float, float]:
        """The bound theta + side * strength * S, and the outer end of its CR3 interval."""
        bound = self.theta + side * strength * self.scale
        g = bound.size - 1
        se = float(np.sqrt((g - 1) / g * ((bound[1:] - bound[0]) ** 2).sum()))
        ends = interval(float(bound[0]), se, self.df, level=level)
        return float(bound[0]), ends[0] if side < 0 else ends[1]


def omitted_bias(
    contrast: HiddenContrast,
    *,
    r2_outcome: float,
    r2_choice: float,
    rows: Mask,
    rho: float = 1.0,
    overlap_weighted: bool = True,
    level: float = LEVEL,
) -> BiasBound:
    """Bounds of the effect when a hidden cause explains given shares of what is left unexplained.

    |bias| <= |rho| S C_Y C_D, S^2 = E(Y - g)^2 E alpha^2, C_Y^2 = r2_outcome (partial R2 of the outcome),
    C_D^2 = r2_choice / (1 - r2_choice) (relative gain in the variance of the Riesz representer). alpha is
    1{a} / e_a - 1{b} / e_b for the ATE and h / E[h] times that for the ATO.

    Raises: ConfigError for shares outside [0, 1) or rho outside [-1, 1].
    Source: Chernozhukov, Cinelli, Newey, Sharma & Syrgkanis, "Long story short".
    """
    for name, share in (("r2_outcome", r2_outcome), ("r2_choice", r2_choice)):
        if not 0.0 <= share < 1.0:
            raise ConfigError(f"{name} {share}", where="omitted_bias", expected="a share in [0, 1)")
    if not -1.0 <= rho <= 1.0:
        raise ConfigError(f"rho {rho}", where="omitted_bias", expected="a correlation in [-1, 1]")
    parts = _parts(contrast, rows, overlap_weighted=overlap_weighted)
    if isinstance(parts, str):
        return BiasBound(lower=None, upper=None, lower_ci=None, upper_ci=None, scale=None, reason=parts)
    strength = abs(rho) * float(np.sqrt(r2_outcome * r2_choice / (1 - r2_choice)))
    (lower, lower_ci), (upper, upper_ci) = (parts.end(strength, side, level) for side in (-1.0, 1.0))
    return BiasBound(
        lower=lower, upper=upper, lower_ci=lower_ci, upper_ci=upper_ci, scale=float(parts.scale[0])
    )


def robustness_value(
    contrast: HiddenContrast,
    *,
    rows: Mask,
    null: float = 0.0,
    overlap_weighted: bool = True,
    level: float = LEVEL,
) -> Robustness:
    """The robustness values of the effect over `rows`: r with |theta - null| = S r / sqrt(1 - r).

    0 for the interval that holds the null already. Source: Cinelli & Hazlett 2020.
    """
    parts = _parts(contrast, rows, overlap_weighted=overlap_weighted)
    if isinstance(parts, str):
        return Robustness(value=None, interval=None, reason=parts)
    distance = float(parts.theta[0]) - null
    side = -1.0 if distance > 0 else 1.0
    t = (distance / float(parts.scale[0])) ** 2

    def holds(r: float) -> bool:
        return side * (parts.end(r / float(np.sqrt(1 - r)), side, level)[1] - null) < 0

    return Robustness(value=float((np.sqrt(t * t + 4 * t) - t) / 2), interval=_last(holds))


def _last(holds: Callable[[float], bool]) -> float:
    if not holds(0.0):
        return 0.0
    low, high = 0.0, _ALMOST_ONE
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _parts(contrast: HiddenContrast, rows: Mask, *, overlap_weighted: bool) -> _Parts | str:
    """theta and S of the whole and without each cluster, from sums per cluster; or why there are none.

    E alpha^2 is estimated by 2 E m(alpha) - E alpha^2 as in the source, which is first-order unbiased.
    """
    pair, weight = contrast.pair, contrast.pair.problem.weight
    used = np.flatnonzero(rows & pair.feasible)
    if used.size == 0:
        return "no decision could have gone either way"
    d = pair.d[used, contrast.column]
    if np.isnan(d).any():
        return "the quantity is not known for both actions"
    w, e_a, e_b = weight[used], pair.e_a[used], pair.e_b[used]
    h = pair.h[used] / w if overlap_weighted else np.ones(used.size)
    arms = (contrast.action, contrast.baseline)
    # 1 / e^2 where an arm was taken, and the squared residual there
    inverse_square = np.sum([np.where(x.took, (x.odds + 1.0) ** 2, 0.0) for x in arms], axis=0)[used]
    left = np.sum([x.seen * (x.y - x.mu) ** 2 for x in arms], axis=0)[used]
    columns = (w, w * h, w * h * d, w * left, w * h**2 * (2 / e_a + 2 / e_b - inverse_square))
    codes = np.unique(pair.problem.cluster[used], return_inverse=True)[1]
    sums = np.column_stack([np.bincount(codes, weights=c) for c in columns])
    if len(sums) < 2:
        return "one cluster; two are needed"
    total, mass, moved, noise, riesz = np.vstack([sums.sum(axis=0), sums.sum(axis=0) - sums]).T
    square = noise / total * (riesz / total) / (mass / total) ** 2
    if (square <= 0).any():
        return "the variance of the weights cannot be told from 0: too little overlap"
    share = sums[:, 1] / sums[:, 1].sum()
    return _Parts(theta=moved / mass, scale=np.sqrt(square), df=1.0 / float((share**2).sum()) - 1.0)
