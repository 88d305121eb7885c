"""Context features as matrices: a spline basis for linear models, raw columns for trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

_KNOTS: Final = (0.2, 0.4, 0.6, 0.8)
"""Quantiles at which the linear basis may bend."""
_MIN_LEVEL: Final = 10
"""Rows that a category needs for a column of its own; rarer ones share one column."""
_MAX_LEVELS: Final = 100
_MAX_SHARE: Final = 0.5
"""A text feature with more levels than this share of the rows is an id, not a context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """linear: (n, p) standardised basis without intercept. raw: (n, q) for trees, NaN for missing,
    categories as codes where `categorical` is true. dropped: features that are ids in disguise."""

    linear: Array
    raw: Array
    categorical: tuple[bool, ...]
    dropped: tuple[str, ...]


def make_design(frame: pl.DataFrame, features: tuple[str, ...]) -> Design:
    """The matrices of `features`; a missing number gets its own indicator column."""
    linear: list[Array] = []
    raw: list[Array] = []
    categorical: list[bool] = []
    dropped: list[str] = []
    for name in features:
        series = frame[name]
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            values = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            linear.append(_spline(values))
            raw.append(values)
            categorical.append(False)
        elif series.n_unique() > max(_MAX_SHARE * frame.height, _MIN_LEVEL):
            dropped.append(name)
        else:
            codes = _codes(series)
            linear.append(_one_hot(codes))
            raw.append(codes)
            categorical.append(True)
    empty = np.empty((frame.height, 0))
    return Design(
        linear=_standardise(np.hstack([empty, *linear])),
        raw=np.column_stack([empty, *raw]),
        categorical=tuple(categorical),
        dropped=tuple(dropped),
    )


def _spline(values: Array) -> Array:
    missing = np.isnan(values)
    seen = values[~missing]
    filled = np.where(missing, np.median(seen) if seen.size else 0.0, values)
    columns = [filled]
    if np.unique(seen[:10_000]).size > len(_KNOTS) + 1:
        columns += [np.maximum(filled - knot, 0.0) for knot in np.unique(np.quantile(seen, _KNOTS))]
    if missing.any():
        columns.append(missing.astype(float))
    return np.column_stack(columns)


def _codes(series: pl.Series) -> Array:
    """Frequent levels as 0, 1, ... in order of frequency then name; the rest share the last code."""
    counts = series.to_frame("level").group_by("level").len().sort(["len", "level"], descending=[True, False])
    frequent = counts.filter(pl.col("len") >= _MIN_LEVEL)["level"].to_list()[:_MAX_LEVELS]
    mapping = {level: float(i) for i, level in enumerate(frequent)}
    return series.replace_strict(mapping, default=float(len(frequent)), return_dtype=pl.Float64).to_numpy()


def _one_hot(codes: Array) -> Array:
    levels = np.unique(codes)
    return (codes[:, None] == levels[None, :]).astype(float)


def _standardise(matrix: Array) -> Array:
    if matrix.shape[1] == 0:
        return matrix
    scale = matrix.std(axis=0)
    kept = scale > 0
    return (matrix[:, kept] - matrix[:, kept].mean(axis=0)) / scale[kept]
