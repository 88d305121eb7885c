"""The calibration error of predicted effects, free of the noise that inflates it when it is plugged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .confidence import LEVEL, percentiles

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_DRAWS: Final = 400
"""Bootstrap draws: the ends of the interval are then known to about a tenth of its width."""


_UNITS: Final = 500
"""Clusters are gathered into at most so many units: as good for pairs and bootstrap, in bounded memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """squared: estimate of E[(E[d | prediction] - prediction)^2]; it may be negative, as an unbiased one of
    0 must. value = sqrt(max(0, squared)), with its interval, in the unit of the effect."""

    squared: float
    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """Sums per cell and cluster: of h r (residuals weighted) and of h. share: (B,) weight of each cell."""

    cell: Ints
    cluster: Ints
    weighted: Array
    weight: Array
    share: Array


def calibration_error(
    residual: Array, h: Array, cluster: Ints, cell: Ints, *, rng: np.random.Generator, level: float = LEVEL
) -> CalibrationError | None:
    """The root mean square of the mean residual d - prediction of each cell, debiased.

    squared = sum_b w_b mean over pairs (i, j) of cell b from different clusters of r_i r_j, pairs weighted by
    h_i h_j and cells by their sum of h: products of independent residuals carry no variance of their own,
    which a squared mean does. The interval bootstraps clusters. cell: (n,) codes without gaps. None where no
    cell has two clusters.

    Source: Xu & Yadlowsky 2022, AISTATS.
    """
    squared = squared_error(residual, h, cluster, cell)
    unit = _units(cluster)
    count = int(unit.max()) + 1
    cells = _cells(residual, h, unit, cell)
    draws = _debiased(cells, rng.multinomial(count, np.full(count, 1 / count), size=_DRAWS).astype(float))
    draws = draws[~np.isnan(draws)]
    if squared is None or draws.size == 0:
        return None
    lower, upper = percentiles(draws, level=level)
    ends = np.sqrt(np.maximum([squared, min(lower, squared), max(upper, squared)], 0.0))
    return CalibrationError(squared=squared, value=float(ends[0]), lower=float(ends[1]), upper=float(ends[2]))


def squared_error(residual: Array, h: Array, cluster: Ints, cell: Ints) -> float | None:
    """`squared` of `calibration_error` alone: unbiased, so it may be negative."""
    unit = _units(cluster)
    found = _debiased(_cells(residual, h, unit, cell), np.ones((1, int(unit.max()) + 1)))[0]
    return None if np.isnan(found) else float(found)


def _units(cluster: Ints) -> Ints:
    return np.unique(cluster, return_inverse=True)[1].astype(np.int64) % _UNITS


def _cells(residual: Array, h: Array, cluster: Ints, cell: Ints) -> _Cells:
    clusters = int(cluster.max()) + 1
    keys, at = np.unique(cell * clusters + cluster, return_inverse=True)
    share = np.bincount(cell, weights=h)
    return _Cells(
        cell=keys // clusters,
        cluster=keys % clusters,
        weighted=np.bincount(at, weights=h * residual).astype(float),
        weight=np.bincount(at, weights=h).astype(float),
        share=share / share.sum(),
    )


def _debiased(cells: _Cells, counts: Array) -> Array:
    """The squared error (draws,) when cluster g is drawn counts[:, g] times; NaN without any pair.

    Copies of one cluster are no pair either.
    """
    order = np.argsort(cells.cell, kind="stable")
    starts = np.searchsorted(cells.cell[order], np.arange(cells.share.size))
    drawn = counts[:, cells.cluster[order]]

    def pairs(x: Array) -> Array:
        mine = drawn * x[order]
        total, own = (np.add.reduceat(y, starts, axis=1) for y in (mine, mine**2))
        return total**2 - own

    products, weights = pairs(cells.weighted), pairs(cells.weight)
    usable = weights > 1e-12
    means = np.divide(products, weights, out=np.zeros_like(products), where=usable)
    share = np.where(usable, cells.share, 0.0)
    mass = share.sum(axis=1)
    return np.divide((share * means).sum(axis=1), mass, out=np.full(mass.size, np.nan), where=mass > 0)
