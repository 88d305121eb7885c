"""Regression slopes with leave-one-cluster-out errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...schemas.records import Reading
from ..confidence import interval, upper_tail_p

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """theta: (p, q) coefficients of p regressors, the intercept left out, in q outcomes.

    se: (p, q) CR3 errors. df: of the t interval. clusters: how many carry weight.
    """

    theta: Array
    se: Array
    df: float
    clusters: int

    def reading(self, label: str, unit: str, *, row: int, column: int, scale: float, n: int) -> Reading:
        """One coefficient times `scale` as a reading, with its t interval and one-sided p-value."""
        value, se = float(self.theta[row, column]) * scale, float(self.se[row, column]) * scale
        lower, upper = interval(value, se, self.df)
        p = upper_tail_p(value, se, self.df)
        return Reading(label=label, unit=unit, value=value, lower=lower, upper=upper, p_value=p, n=n)


def slopes(y: Array, x: Array, weight: Array, cluster: Ints) -> Slopes | str:
    """The weighted regression of each column of y (n, q) on x (n, p) with an intercept; or why there is none.

    V = (G - 1) / G sum_g (theta_(g) - theta)^2 with theta_(g) the coefficients without cluster g; df =
    1 / sum_g w_g^2 - 1 with w_g the cluster's share of the variation of the first regressor.

    Source: Bell & McCaffrey 2002; Hansen 2022 (cluster jackknife); as `jackknife.weighted_mean`.
    """
    codes = np.unique(cluster, return_inverse=True)[1]
    g, p = int(codes.max()) + 1, x.shape[1] + 1
    centred = x - np.average(x, axis=0, weights=weight)
    full = np.column_stack([np.ones(len(x)), centred])
    gram, cross = np.zeros((g, p, p)), np.zeros((g, p, y.shape[1]))
    np.add.at(gram, codes, weight[:, None, None] * full[:, :, None] * full[:, None, :])
    np.add.at(cross, codes, weight[:, None, None] * full[:, :, None] * y[:, None, :])
    total, rest = gram.sum(axis=0), gram.sum(axis=0) - gram
    if min(np.linalg.matrix_rank(total), int(np.linalg.matrix_rank(rest).min())) < p:
        return "the regressor varies within one cluster only, so its slope has no error"
    theta = np.linalg.solve(total, cross.sum(axis=0))
    moved = np.linalg.solve(rest, cross.sum(axis=0) - cross) - theta
    share = gram[:, 1, 1] / gram[:, 1, 1].sum()
    return Slopes(
        theta=theta[1:],
        se=np.sqrt((g - 1) / g * (moved**2).sum(axis=0))[1:],
        df=1.0 / float((share**2).sum()) - 1.0,
        clusters=g,
    )
