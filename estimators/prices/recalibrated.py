"""Predictions of a market made to mean what they say, so that the best of several is not the luckiest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .market import Market, overlap_weight

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLAT: Final = 1e-12
"""Variance of predictions, relative to that of scores, below which they are taken as constant."""


def recalibrated(market: Market, draw: Array | None = None) -> Market:
    """`market` with predictions mapped linearly onto its scores, action by action and outcome by outcome.

    The action with the largest mean share keeps its level; every other is its contrast with it: slope b of
    score_a - score_r on prediction_a - prediction_r, by least squares with overlap weights. A multiplier
    depends on how effects are spread, not on which decision has which. Noisy predictions are spread too
    widely (b < 1), and their best guesses b (p - mean) too narrowly; sqrt(b) gives them the spread of the
    effects. Predictions that are merely too flat (b > 1) are stretched by b. draw: (n,) random weights of a
    bootstrap, 1 if None.

    Source: Chernozhukov, Demirer, Duflo & Fernandez-Val 2018 (best linear predictor of effects); Louis 1984,
    JASA 79 (estimates with the spread of what they estimate).
    """
    weight = market.weight if draw is None else market.weight * draw
    reference = int((weight @ market.share).argmax())
    out = np.array(market.predicted)
    level = _line(
        market.predicted[:, reference],
        market.score[:, reference],
        weight * market.open[:, reference],
        market.cluster,
    )
    out[:, reference] = level
    for k in range(market.share.shape[1]):
        if k == reference:
            continue
        gap = market.predicted[:, k] - market.predicted[:, reference]
        score = market.score[:, k] - market.score[:, reference]
        out[:, k] = level + _line(
            gap,
            score,
            weight * overlap_weight(market.share[:, k], market.share[:, reference]),
            market.cluster,
        )
    return replace(market, predicted=out)


def _line(x: Array, y: Array, weight: Array, cluster: Ints) -> Array:
    """Fitted values (n, q) of weighted regressions of each column of y on its own column of x.

    A slope b with standard error s is first shrunk to b (1 - s^2 / b^2), 0 where that is negative: a slope
    that could as well be 0 must not rank decisions (positive-part rule, James & Stein 1961).
    """
    share = weight / weight.sum() if weight.sum() > 0 else weight
    mean_x, mean_y = share @ x, share @ y
    off_x, off_y = x - mean_x, y - mean_y
    spread = share @ off_x**2
    moves = spread > _FLAT * (share @ off_y**2 + _FLAT)
    spread = np.where(moves, spread, 1.0)
    slope = np.where(moves, share @ (off_x * off_y), 0.0) / spread
    moment = share[:, None] * off_x * (off_y - slope * off_x)
    sums = np.column_stack([np.bincount(cluster, weights=moment[:, j]) for j in range(x.shape[1])])
    noise = (sums**2).sum(axis=0) / spread**2
    kept = np.where(slope > 0, np.maximum(1.0 - noise / np.where(slope > 0, slope, 1.0) ** 2, 0.0), 0.0)
    shrunk = kept * slope
    return mean_y + np.where(shrunk < 1.0, np.sqrt(np.maximum(shrunk, 0.0)), shrunk) * off_x
