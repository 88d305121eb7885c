"""Whether decisions pile up on one side of a cut-off, as they do when somebody games the rule."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVEL: Final = 0.01
"""False-discovery rate: an honest log is doubted once in a hundred."""
_WINDOWS: Final = (0.25, 0.5, 1.0)
"""Windows of the test, as shares of the pilot window: a heap is narrow, a shift is wide."""
_PILOT: Final = 1.84
"""Pilot half-width in standard deviations times n^(-1/5), Silverman's rule."""
_MIN_ROWS: Final = 20
"""Rows in a window, both sides together, below which a density is not tested in it."""


def density_fault(x: Array, cluster: Ints, weight: Array) -> str | None:
    """What is wrong with the density of the score x (n,), measured from the cut-off; None when smooth.

    In each window h the two densities at 0 are (1 / n h) sum K(|x| / h), K(u) = 6 (1 - u)(1 - 2 u) on
    [0, 1]: the kernel whose estimate at an edge is free of the density's slope. z compares them with a
    variance summed by cluster; Benjamini-Hochberg over windows.

    Source: McCrary 2008, Journal of Econometrics 142 (the test); Jones 1993 (boundary kernels).
    """
    seen = np.isfinite(x)
    x, cluster, weight = x[seen], cluster[seen], weight[seen]
    if x.size < _MIN_ROWS:
        return None
    pilot = _PILOT * float(x.std()) * x.size**-0.2
    found: list[tuple[float, int, int]] = []
    for share in _WINDOWS:
        u = np.abs(x) / (share * pilot)
        inside = u < 1
        if inside.sum() < _MIN_ROWS:
            continue
        edge = 6.0 * (1.0 - u) * (1.0 - 2.0 * u) * np.where(x > 0, 1.0, -1.0) * weight * inside
        sums = np.bincount(cluster, weights=edge)
        z = float(sums.sum() / np.sqrt((sums**2).sum()))
        found.append((z, int((inside & (x <= 0)).sum()), int((inside & (x > 0)).sum())))
    if not found:
        return None
    adjusted = stats.false_discovery_control([2 * stats.norm.sf(abs(z)) for z, _, _ in found])
    worst = int(np.argmin(adjusted))
    if adjusted[worst] >= _LEVEL:
        return None
    z, left, right = found[worst]
    return f"decisions pile up at the cut-off ({left} just below, {right} just above, z = {z:+.1f})"
