"""Many intervals or tests at once: one critical value for all intervals, p-values that hold together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .confidence import LEVEL, critical_t

Array = NDArray[np.float64]

DRAWS: Final = 20_000
"""Multiplier draws: the 95 % quantile is then known to about 0.01."""
_FEW: Final = 30
"""Clusters below which multipliers take Webb's six values instead of normal ones."""
_WEBB: Final = np.sqrt(np.array([0.5, 1.0, 1.5]))


def sup_t(
    influence: Array, df: float, *, rng: np.random.Generator, level: float = LEVEL, draws: int = DRAWS
) -> float:
    """The critical value c with P(max_j |t_j| <= c) = level over all m comparisons.

    influence: (G, m) each cluster's sum of weighted deviations, h (d - theta), of each comparison; 0 where a
    cluster takes no part. Their scale does not matter. df: of the t intervals, the smallest if they differ.
    The multiplier bootstrap gives the pointwise level at which m normal intervals hold together; Student's t
    at that level widens it for few clusters. Never below the value of one interval nor above Sidak's.

    Columns without variation or with missing values are left out: they have no interval.
    Source: Chernozhukov, Chetverikov & Kato 2013, Annals of Statistics 41; Webb's weights for few clusters.
    """
    scale = np.sqrt((influence**2).sum(axis=0))
    used = np.isfinite(scale) & (scale > 0)
    m = int(used.sum())
    if m <= 1:
        return critical_t(df, level=level)
    standard = influence[:, used] / scale[used]
    worst = np.quantile(np.abs(_draws(standard, draws, rng)).max(axis=1), level)
    pointwise = float(np.clip(1.0 - 2.0 * stats.norm.sf(worst), level, level ** (1.0 / m)))
    return critical_t(df, level=pointwise)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that rejecting those at most alpha errs anywhere with at most alpha.

    Source: Holm 1979; it needs no independence.
    """
    order = np.argsort(p_values)
    m, running = len(p_values), 0.0
    out = [0.0] * m
    for rank, j in enumerate(order.tolist()):
        running = max(running, min(1.0, (m - rank) * p_values[j]))
        out[j] = running
    return out


def _draws(standard: Array, draws: int, rng: np.random.Generator) -> Array:
    """(draws, m) weighted sums of the clusters' rows under random multipliers.

    Normal multipliers make them normal with covariance S'S, which is drawn directly.
    """
    g, m = standard.shape
    if g < _FEW:
        signs = rng.choice([-1.0, 1.0], size=(draws, g))
        return (signs * rng.choice(_WEBB, size=(draws, g))) @ standard
    values, vectors = np.linalg.eigh(standard.T @ standard)
    return rng.normal(size=(draws, m)) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
