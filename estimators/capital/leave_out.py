"""Any smooth function of totals with its leave-one-cluster-out error: ratios, roots, differences of logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..confidence import LEVEL, critical_t

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_EFFECTIVE: Final = 5.0
"""Effective clusters, 1 / sum share^2, below which leaving clusters out does not show the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A value with the ends of its interval, and the clusters that it rests on."""

    value: float
    lower: float
    upper: float
    clusters: int

    def mapped(self, rising: Callable[[float], float]) -> Span:
        """The same of a rising function of the value."""
        return Span(
            value=rising(self.value),
            lower=rising(self.lower),
            upper=rising(self.upper),
            clusters=self.clusters,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """theta: (k,) what the function gives. cov: (k, k) CR3 covariance. df: of the t interval."""

    theta: Array
    cov: Array
    df: float
    clusters: int

    @property
    def fault(self) -> str | None:
        """Why the error is not known, or None: too few clusters carry the estimate, or all of it hangs on
        one."""
        if not (np.isfinite(self.theta).all() and np.isfinite(self.cov).all()):
            return "the estimate cannot be made without one of the clusters"
        if self.df + 1.0 < MIN_EFFECTIVE:
            return (
                f"{self.df + 1.0:.1f} effective clusters carry the estimate; {MIN_EFFECTIVE:.0f} are needed"
            )
        return None

    def se(self, j: int = 0) -> float:
        """Standard error of entry j."""
        return float(np.sqrt(self.cov[j, j]))

    def span(self, j: int = 0, *, level: float = LEVEL) -> Span:
        """The t interval of entry j."""
        value, half = float(self.theta[j]), critical_t(self.df, level=level) * self.se(j)
        return Span(value=value, lower=value - half, upper=value + half, clusters=self.clusters)


def per_group(columns: Array, codes: Ints, groups: int) -> Array:
    """(groups, q) sums of the columns (n, q) over rows of equal code; codes are below `groups`."""
    sums = [np.bincount(codes, weights=c, minlength=groups) for c in columns.T]
    return np.column_stack(sums).astype(float)


def totals(columns: Array, cluster: Ints) -> Array:
    """The same over clusters of any codes, for those that have rows."""
    names, codes = np.unique(cluster, return_inverse=True)
    return per_group(columns, codes.astype(np.int64), names.size)


def leave_one_out(sums: Array, of: Callable[[Array], Array], *, weight: Array) -> LeftOut:
    """`of` the column totals of `sums` (G, q), with its error over the clusters; needs two of them.

    of: from totals (m, q), one row per set of rows, to (m, k). weight: (G,) what share of the information a
    cluster carries, for the degrees of freedom 1 / sum share^2 - 1. Entries that cannot be computed without
    a cluster leave the covariance NaN. V = (G - 1) / G sum_g (theta_(g) - theta)(...)'.

    Source: Bell & McCaffrey 2002; Hansen 2022.
    """
    whole = sums.sum(axis=0)
    theta = of(whole[None, :])[0]
    return of_refits(theta, of(whole - sums), weight=weight)


def of_refits(theta: Array, left_out: Array, *, weight: Array) -> LeftOut:
    """The same from estimates (G, k) that were made without each cluster in turn."""
    g = left_out.shape[0]
    deviation = left_out - theta
    share = weight / weight.sum()
    return LeftOut(
        theta=theta,
        cov=(g - 1) / g * deviation.T @ deviation,
        df=1.0 / float((share**2).sum()) - 1.0,
        clusters=g,
    )
