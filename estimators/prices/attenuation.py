"""Noise of predicted attributes and what it does to choice weights: how well scores follow predictions.

A prediction that is mostly noise makes a policy look insensitive to what it predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .clogit import ChoiceFit, Choices, by_cluster, centred

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FLAT: Final = 1e-9
"""Variance net of constants, relative to that before, below which an attribute does not vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reliability:
    """slope: (m, m) S with E[y | x] = x S. x, rest: (n, K, m) predictions and residuals of scores, net of
    constants, each times the root of its weight. inverse: (m, m) of the moments of x."""

    slope: Array
    x: Array
    rest: Array
    inverse: Array

    def moved(self, beta: Array) -> Array:
        """(n, m) influence of each choice on S beta."""
        return ((self.rest @ beta)[:, None, :] @ self.x)[:, 0, :] @ self.inverse


def varying(data: Choices, m: int) -> Mask:
    """(m,) whether each of the first m columns of x differs among open actions, net of the constants after
    them."""
    share = data.open / data.open.sum(axis=1, keepdims=True)
    root = np.sqrt(data.weight[:, None] * share)
    before = centred(data.x[:, :, :m], share) * root[:, :, None]
    after = _net_of_constants(before, data, share, root)
    return (after**2).sum(axis=(0, 1)) > _FLAT * (before**2).sum(axis=(0, 1))


def strengths(fit: ChoiceFit, data: Choices, target: Array) -> Array:
    """(m,) squared t of the slope of each attribute's scores on its own predictions, the others held.

    data: attributes (the first m columns of x) and constants. target: (n, K, m) unbiased scores. Clustered
    and weighted as in `corrected`; 0 where scores move against predictions, infinite without noise.
    """
    m = target.shape[2]
    found = _reliability(data, target, fit.share)
    if found is None:
        return np.full(m, np.inf)
    out = np.zeros(m)
    for j in range(m):
        each = by_cluster(found.moved(np.eye(m)[j]), data.cluster)[:, j]
        own, noise = float(found.slope[j, j]), float(each @ each)
        if own > 0.0:
            out[j] = own**2 / noise if noise > 0.0 else np.inf
    return out


def corrected(fit: ChoiceFit, data: Choices, target: Array) -> tuple[Array, Array]:
    """Weights (m,) and their cluster influence (G, m) after the noise of the predictions is taken out.

    Predictions x stand for true attributes y with E[y | x] = x S; choices made on y show b = S beta, so that
    beta = S^-1 b. S is the slope of unbiased scores of y on x among the open actions of a choice, net of
    constants, weighted by the fitted probabilities as the likelihood weighs them. Its own influence is
    included: the interval knows that the correction is estimated. To first order in the noise.

    Source: Carroll, Ruppert, Stefanski & Crainiceanu 2006, chapter 4 (regression calibration).
    """
    m = target.shape[2]
    found = _reliability(data, target, fit.share)
    if found is None:
        return fit.beta[:m], fit.influence[:, :m]
    back = np.linalg.inv(found.slope)
    beta = back @ fit.beta[:m]
    moved = by_cluster(found.moved(beta), data.cluster)
    return beta, (fit.influence[:, :m] - moved) @ back.T


def _reliability(data: Choices, target: Array, share: Array) -> _Reliability | None:
    """None where the predictions move together, so that no slope of their own exists."""
    m = target.shape[2]
    root = np.sqrt(data.weight[:, None] * share)
    x = _net_of_constants(centred(data.x[:, :, :m], share) * root[:, :, None], data, share, root)
    y = _net_of_constants(centred(target, share) * root[:, :, None], data, share, root)
    flat = x.reshape(-1, m)
    moments = flat.T @ flat
    scale = np.sqrt(np.diag(moments))
    if np.linalg.eigvalsh(moments / np.outer(scale, scale))[0] < _FLAT:
        return None
    inverse = np.linalg.inv(moments).astype(np.float64)
    slope = inverse @ flat.T @ y.reshape(-1, m)
    return _Reliability(slope=slope, x=x, rest=y - x @ slope, inverse=inverse)


def _net_of_constants(columns: Array, data: Choices, share: Array, root: Array) -> Array:
    """(n, K, m) weighted columns less their projection on the weighted constants of the actions."""
    constants = data.x[:, :, columns.shape[2] :]
    if constants.shape[2] == 0:
        return columns
    basis = (centred(constants, share) * root[:, :, None]).reshape(-1, constants.shape[2])
    flat = columns.reshape(-1, columns.shape[2])
    return (flat - basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]).reshape(columns.shape)
