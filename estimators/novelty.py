"""Which decisions an action is new at: too few rows of it, or a context unlike any it was taken in."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from .design import make_design
from .problem import Problem
from .scores import MIN_ARM

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEIGHBOURS: Final = 5
_EDGE: Final = 0.99
"""Share of an action's own rows whose distance counts as usual (METHODS D3)."""
_REFERENCE: Final = 5000
"""Rows of an action that others are compared with at most: distances change little beyond."""


def novel(problem: Problem, *, seed: int) -> Mask:
    """(n, K): whether arm k would be new at decision i, so that its expectation is not to be trusted.

    New is an arm with fewer than MIN_ARM rows; a category that it never met; or a context whose distance to
    its fifth nearest row of the arm, in standardised numbers, is beyond the 99th percentile of the arm's own
    rows (each without itself). By construction a hundredth of an arm's own rows is new to it.
    """
    design = make_design(problem.frame, problem.features)
    kinds = np.array(design.categorical, dtype=bool)
    numbers = _standardised(design.raw[:, ~kinds]) if kinds.size else np.empty((problem.n, 0))
    categories = design.raw[:, kinds] if kinds.size else np.empty((problem.n, 0))
    rng = np.random.default_rng(seed)
    out = np.ones((problem.n, len(problem.arms)), dtype=bool)
    for k in range(len(problem.arms)):
        own = np.flatnonzero(problem.arm == k)
        if own.size < MIN_ARM:
            continue
        unseen = np.zeros(problem.n, dtype=bool)
        for column in categories.T:
            unseen |= ~np.isin(column, column[own])
        reference = own if own.size <= _REFERENCE else np.sort(rng.choice(own, _REFERENCE, replace=False))
        out[:, k] = unseen | _far(numbers, reference)
    return out


def _far(numbers: Array, reference: NDArray[np.int64]) -> Mask:
    """Rows beyond the edge of the reference rows."""
    if numbers.shape[1] == 0:
        return np.zeros(numbers.shape[0], dtype=bool)
    tree = KDTree(numbers[reference])
    distance = np.asarray(tree.query(numbers, k=_NEIGHBOURS)[0])[:, -1]
    # A reference row finds itself first: its fifth other row is the sixth found.
    distance[reference] = np.asarray(tree.query(numbers[reference], k=_NEIGHBOURS + 1)[0])[:, -1]
    return distance > np.quantile(distance[reference], _EDGE)


def _standardised(raw: Array) -> Array:
    """Columns with mean 0 and deviation 1; a missing number lies at the mean."""
    known = ~np.isnan(raw)
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, raw - np.where(known, raw, 0.0).sum(axis=0) / count, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / count)
    return centred[:, scale > 0.0] / scale[scale > 0.0]
