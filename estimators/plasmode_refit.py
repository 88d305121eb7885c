"""Batches of simulated logs with known truth, their nuisances refitted, and how far each interval misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .confidence import critical_t
from .folds import FOLDS

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_PENALTY: Final = 10.0
"""Ridge penalty of the refits, in units of one standardised row."""
_LOGIT_PENALTY: Final = 1.0
"""Ridge penalty of refitted logits, scikit-learn's default."""
_TINY: Final = 1e-6
_FLOOR: Final = 0.5
"""Refitted propensities stay above _FLOOR / sqrt(n), as estimated ones do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every simulated log keeps. n rows, sorted by cluster; the pair's two arms are columns 0 and 1.

    x: (n, p) context with a leading column of ones. e: (n, 2) probability of each arm; the rest takes
    neither. mu: (n, 2) the truth. spread: (2,) deviation of the noise of each arm and residuals: (m,)
    its standardised draws; both unused if binary. icc: correlation of the noise within a cluster, on the
    normal scale. refit_e: whether propensities are estimated, so that they are refitted as well.
    """

    x: Array
    folds: Ints
    cluster: Ints
    e: Array
    mu: Array
    binary: bool
    spread: Array
    residuals: Array
    icc: float
    refit_e: bool


def miss_ratios(ground: Ground, size: int, rng: np.random.Generator) -> Array:
    """(size,) distance of each simulated ATO from the truth in half-widths of its own 95 % interval.

    A share of values up to 1 is coverage; their 95 % quantile is the factor by which the interval must grow
    to hold the truth that often (prepivoting, Beran 1988).
    """
    arm = _choices(ground, size, rng)
    y = _outcomes(ground, arm, size, rng)
    e = _propensities(ground, arm)
    took = [(arm == k).astype(float) for k in (0, 1)]
    mu = [_means(ground, took[k], y) for k in (0, 1)]
    d, noise = mu[0] - mu[1], np.zeros_like(y)
    for k, sign in ((0, 1.0), (1, -1.0)):
        residual = took[k] * (y - mu[k])
        d = d + sign * residual / e[k]
        noise = noise + _variance(ground, mu[k], residual, took[k]) / e[k]
    theta, se, df = _interval_parts(ground, d, e[0] * e[1] / (e[0] + e[1]), noise, mu[0] - mu[1])
    h = ground.e[:, 0] * ground.e[:, 1] / ground.e.sum(axis=1)
    truth = float((h * (ground.mu[:, 0] - ground.mu[:, 1])).sum() / h.sum())
    return np.abs(theta - truth) / np.maximum(critical_t(df) * se, 1e-300)


def _choices(ground: Ground, size: int, rng: np.random.Generator) -> Ints:
    """(size, n) 0 or 1 for the pair's arms, 2 for another one."""
    u = rng.random((size, ground.x.shape[0]))
    return np.where(u < ground.e[:, 0], 0, np.where(u < ground.e.sum(axis=1), 1, 2))


def _outcomes(ground: Ground, arm: Ints, size: int, rng: np.random.Generator) -> Array:
    """(size, n) outcomes whose marginal means are the truth and that share luck within a cluster."""
    n = ground.x.shape[0]
    mean = np.where(arm == 0, ground.mu[:, 0], ground.mu[:, 1])
    luck = rng.normal(size=(size, int(ground.cluster[-1]) + 1))[:, ground.cluster]
    if ground.binary:
        own = np.sqrt(ground.icc) * luck + np.sqrt(1 - ground.icc) * rng.normal(size=(size, n))
        return (special.ndtr(own) < mean).astype(float)
    own = rng.choice(ground.residuals, size=(size, n))
    noise = np.sqrt(ground.icc) * luck + np.sqrt(1 - ground.icc) * own
    return mean + np.where(arm == 0, ground.spread[0], ground.spread[1]) * noise


def _propensities(ground: Ground, arm: Ints) -> list[Array]:
    """Per arm (1, n) the known propensities, or (size, n) refitted ones.

    A logit refit is one Newton step from the truth, whose Hessian all simulated logs share.
    """
    if not ground.refit_e:
        return [ground.e[None, :, k] for k in (0, 1)]
    floor = _FLOOR / np.sqrt(ground.x.shape[0])
    out: list[Array] = []
    for k in (0, 1):
        e = np.clip(ground.e[:, k], _TINY, 1 - _TINY)
        surplus = (arm == k) - e
        fitted = np.empty(arm.shape)
        for fold in range(FOLDS):
            train, test = ground.folds != fold, ground.folds == fold
            x = ground.x[train]
            hessian = x.T @ (x * (e * (1 - e))[train, None]) + _penalties(x.shape[1], _LOGIT_PENALTY)
            step = np.linalg.solve(hessian, x.T @ surplus[:, train].T)
            fitted[:, test] = special.expit(special.logit(e[test]) + (ground.x[test] @ step).T)
        out.append(np.clip(fitted, floor, 1.0))
    return out


def _means(ground: Ground, took: Array, y: Array) -> Array:
    """(size, n) cross-fitted ridge means of one arm: only p by p sums per fold differ between logs."""
    x, p = ground.x, ground.x.shape[1]
    rows, columns = np.triu_indices(p)
    products = x[:, rows] * x[:, columns]
    taken_y = took * y
    folds = [np.flatnonzero(ground.folds == f) for f in range(FOLDS)]
    grams = np.stack([took[:, f] @ products[f] for f in folds])
    crosses = np.stack([taken_y[:, f] @ x[f] for f in folds])
    out = np.empty(y.shape)
    for i, fold in enumerate(folds):
        square = np.empty((y.shape[0], p, p))
        square[:, rows, columns] = grams.sum(axis=0) - grams[i]
        square[:, columns, rows] = square[:, rows, columns]
        right = (crosses.sum(axis=0) - crosses[i])[:, :, None]
        beta = np.linalg.solve(square + _penalties(p, _PENALTY), right)[:, :, 0]
        out[:, fold] = beta @ x[fold].T
    return np.clip(out, 0.0, 1.0) if ground.binary else out


def _penalties(p: int, penalty: float) -> Array:
    return np.diag(np.concatenate([[_TINY], np.full(p - 1, penalty)]))


def _variance(ground: Ground, mu: Array, residual: Array, took: Array) -> Array:
    count = np.maximum(took.sum(axis=1, keepdims=True), 1.0)
    square = (residual**2).sum(axis=1, keepdims=True) / count
    if not ground.binary:
        return np.broadcast_to(square, mu.shape)
    model = mu * (1 - mu)
    mean = (took * model).sum(axis=1, keepdims=True) / count
    return model * np.maximum(1.0, np.divide(square, mean, out=np.ones_like(mean), where=mean > 0))


def _interval_parts(
    ground: Ground, d: Array, h: Array, noise: Array, tau: Array
) -> tuple[Array, Array, float]:
    """theta (size,), its CR3 error raised to the model-based floor, and the degrees of freedom."""
    h = np.broadcast_to(h, d.shape)
    starts = np.flatnonzero(np.diff(ground.cluster, prepend=-1))
    weight = np.add.reduceat(h, starts, axis=1)
    sums = np.add.reduceat(h * d, starts, axis=1)
    total = weight.sum(axis=1, keepdims=True)
    theta = sums.sum(axis=1, keepdims=True) / total
    left_out = (theta * total - sums) / (total - weight)
    g = starts.size
    cr3 = (g - 1) / g * ((left_out - theta) ** 2).sum(axis=1)
    empirical = (h**2 * (d - theta) ** 2).sum(axis=1)
    model = (h**2 * (noise + (tau - theta) ** 2)).sum(axis=1)
    ratio = np.divide(model, empirical, out=np.ones_like(model), where=empirical > 0)
    share = (weight / total) ** 2
    df = float(1.0 / share.sum(axis=1).mean() - 1.0)
    return theta[:, 0], np.sqrt(cr3 * np.maximum(1.0, ratio)), df
