"""Linear panel regressions: fixed effects taken out, instruments, and errors that leave clusters out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .requests import Array, Ints

_ROUNDS: Final = 200
_STILL: Final = 1e-9
"""Change of a round, relative to the spread, at which means within cells are taken as out."""

_TOGETHER: Final = 1e12
"""Condition number from which least squares divides by rounding errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """theta: (p,) coefficients. cov: (p, p) leave-one-cluster-out covariance. strength: smallest first-stage
    F of a regressor, infinite without instruments. without: (G, p) coefficients without each cluster."""

    theta: Array
    cov: Array
    strength: float
    without: Array


def demean(x: Array, cells: tuple[Ints, ...]) -> Array:
    """x (n, p) less its means within every classification, by turns until they are 0.

    cells: (n,) codes of each classification. Source: Guimaraes & Portugal 2010.
    """
    out = x - x.mean(axis=0)
    spread = np.maximum(out.std(axis=0), 1e-300)
    sizes = [np.maximum(np.bincount(c), 1) for c in cells]
    for _ in range(_ROUNDS):
        moved = 0.0
        for code, size in zip(cells, sizes, strict=True):
            mean = np.column_stack([np.bincount(code, weights=column) for column in out.T]) / size[:, None]
            out = out - mean[code]
            moved = max(moved, float((np.abs(mean) / spread).max()))
        if moved < _STILL:
            break
    return out


def two_stage(y: Array, x: Array, z: Array, cluster: Ints, *, endogenous: int) -> Panel | str:
    """Two-stage least squares of y (n,) on x (n, p) with instruments z (n, q).

    The first `endogenous` columns of x are instrumented by as many or more first columns of z; the others are
    in both. With endogenous 0 it is least squares. All columns are centred. The covariance is the jackknife
    over clusters, (G - 1) / G sum_g (theta_(g) - theta)(...)'. In words why there is none: columns that move
    together, or a column that does not move.

    Source: Hansen 2022 (jackknife); Cameron & Miller 2015; Staiger & Stock 1997 (first-stage F).
    """
    spread = np.sqrt((x**2).mean(axis=0))
    if (spread <= 0).any() or (z.std(axis=0) <= 0).any():
        return "one of the volumes never changes, so what it does cannot be seen"
    x, z = x / spread, z / z.std(axis=0)
    if max(np.linalg.cond(x.T @ x), np.linalg.cond(z.T @ z)) > _TOGETHER:
        return "the volumes move together, so what each of them does cannot be told apart"
    theta, cov, without = _jackknifed(y, x, z, cluster)
    excluded = z.shape[1] - (x.shape[1] - endogenous)
    strength = min((_first_stage(x[:, j], z, cluster, excluded) for j in range(endogenous)), default=np.inf)
    return Panel(
        theta=theta / spread,
        cov=cov / np.outer(spread, spread),
        strength=strength,
        without=without / spread,
    )


def _jackknifed(y: Array, x: Array, z: Array, cluster: Ints) -> tuple[Array, Array, Array]:
    codes, which = np.unique(cluster, return_inverse=True)
    g, p = codes.size, x.shape[1]
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(g))
    both = np.column_stack([x, y])[order]
    left = z[order]
    zw = np.add.reduceat(left[:, :, None] * both[:, None, :], starts)
    zz = np.add.reduceat(left[:, :, None] * left[:, None, :], starts)
    theta = _solve(zz.sum(axis=0), zw.sum(axis=0), p)
    without = np.array([_solve(zz.sum(axis=0) - zz[k], zw.sum(axis=0) - zw[k], p) for k in range(g)])
    away = without - theta
    return theta, (g - 1) / g * away.T @ away, without


def _solve(zz: Array, zw: Array, p: int) -> Array:
    fitted = np.linalg.lstsq(zz, zw, rcond=None)[0]
    found = np.linalg.lstsq(zw[:, :p].T @ fitted[:, :p], zw[:, :p].T @ fitted[:, p], rcond=None)[0]
    return np.asarray(found, dtype=float)


def _first_stage(x: Array, z: Array, cluster: Ints, excluded: int) -> float:
    """Wald statistic of the excluded instruments, by their number."""
    theta, cov, _ = _jackknifed(x, z, z, cluster)
    part = theta[:excluded]
    return float(part @ np.linalg.pinv(cov[:excluded, :excluded]) @ part) / excluded
