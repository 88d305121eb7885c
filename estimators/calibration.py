"""Estimated probabilities made to mean what they say: calibrated on other folds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from sklearn.isotonic import IsotonicRegression

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_ISOTONIC_ROWS: Final = 500
"""Rows per arm from which isotonic calibration is steadier than one temperature (METHODS A1)."""
_BLOCK_ROWS: Final = 20
"""Rows that a block holds at least, so that its share is no noise."""
_BLOCK_EACH: Final = 5
"""Rows in a block that took the arm, and rows that did not."""
_TEMPERATURES: Final = (0.2, 5.0)
_TINY: Final = 1e-9


def calibrated(fitted: Array, labels: Ints, folds: Ints, weight: Array) -> Array:
    """Calibrated probabilities (n, K): each fold is corrected by what the other folds show.

    fitted: (n, K) out-of-fold probabilities. With fewer than 500 rows per arm one temperature T is fitted,
    p^(1 / T) scaled to sum to 1; else each arm against the rest by isotonic regression on blocks of at
    least 20 rows, 5 that took the arm and 5 that did not, then scaled to sum to 1. A single fold is left as
    it is.

    Source: Guo et al. 2017 (temperature); van der Laan, Lin, Carone & Luedtke 2024 (isotonic).
    """
    out = fitted.copy()
    order = np.unique(folds)
    if order.size < 2:
        return out
    isotonic = labels.size / fitted.shape[1] >= _ISOTONIC_ROWS
    for fold in order:
        train, test = folds != fold, folds == fold
        if isotonic:
            out[test] = _isotonic(fitted[train], labels[train], weight[train], fitted[test])
        else:
            out[test] = _tempered(fitted[train], labels[train], weight[train], fitted[test])
    return out


def _tempered(fitted: Array, labels: Ints, weight: Array, new: Array) -> Array:
    logs = np.log(np.maximum(fitted, _TINY))
    rows = np.arange(labels.size)

    def loss(log_t: float) -> float:
        return -float((weight * np.log(_softmax(logs / np.exp(log_t))[rows, labels])).sum())

    low, high = np.log(_TEMPERATURES)
    best: Any = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded")
    return _softmax(np.log(np.maximum(new, _TINY)) / np.exp(float(best.x)))


def _softmax(logits: Array) -> Array:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.maximum(shares / shares.sum(axis=1, keepdims=True), _TINY)


def _isotonic(fitted: Array, labels: Ints, weight: Array, new: Array) -> Array:
    columns = [
        _one_arm(fitted[:, k], (labels == k).astype(float), weight, new[:, k]) for k in range(fitted.shape[1])
    ]
    stacked = np.column_stack(columns)
    totals = stacked.sum(axis=1, keepdims=True)
    return np.where(totals > 0, stacked / np.where(totals > 0, totals, 1.0), new)


def _one_arm(fitted: Array, taken: Array, weight: Array, new: Array) -> Array:
    """Isotonic shares at `new`: blocks are runs of rows in order of the fitted probability."""
    order = np.argsort(fitted, kind="stable")
    block = _blocks(taken[order])
    mass = np.bincount(block, weights=weight[order])
    share = np.bincount(block, weights=(weight * taken)[order]) / mass
    centre = np.bincount(block, weights=(weight * fitted)[order]) / mass
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    return np.asarray(model.fit(centre, share, sample_weight=mass).predict(new), dtype=float)


def _blocks(taken: Array) -> Ints:
    """Codes of the shortest runs with enough rows, takers and others; a short last run joins its neighbour.

    Without the floor on both, the block at an end holds no taker by chance and its weights explode.
    """
    takers, others = np.cumsum(taken), np.cumsum(1.0 - taken)
    out = np.zeros(taken.size, dtype=np.int64)
    start, code = 0, 0
    while start < taken.size:
        had, lacked = (takers[start - 1], others[start - 1]) if start else (0.0, 0.0)
        end = 1 + max(
            start + _BLOCK_ROWS - 1,
            int(np.searchsorted(takers, had + _BLOCK_EACH)),
            int(np.searchsorted(others, lacked + _BLOCK_EACH)),
        )
        if end > taken.size:
            out[start:] = max(code - 1, 0)
            break
        out[start:end] = code
        start, code = end, code + 1
    return out
