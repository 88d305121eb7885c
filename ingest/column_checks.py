"""Invariants of rows that lie in columns: which of them may have a problem, for `checks` to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl
import pyarrow as pa

from ..schemas.columns import Column
from .checks import (
    COLUMNS,
    MAX_TEXT,
    REQUIRED,
    SHARES,
    SIGNED,
    UNIT_INTERVAL,
    cell_problem,
    choice_problem,
)
from .seam import Table

_LISTS: Final = (pa.list_(pa.string()), pa.list_(pa.float64()))


def doubted(table: Table, frame: pl.DataFrame) -> pl.Series:
    """Rows of `frame` that may have a problem; all others have none. Features are sound as they are made."""
    found = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    for name in REQUIRED[table]:
        found |= frame[name].is_null() if name in frame.columns else True
    for values in frame.iter_columns():
        column = COLUMNS[table].get(values.name)
        if column is not None and values.null_count() < len(values):
            found |= (~_sound(column, values)).fill_null(value=False)
    if table == "outcomes":
        found |= _all_null(frame, ["request_id", "decision_id"]) | _all_null(frame, ["value", "label"])
    if table == "decisions":
        found |= _odd_choices(frame)
    return found


def _sound(column: Column, values: pl.Series) -> pl.Series:
    """Whether a value may stand in its column; null for null."""
    if column.dtype in _LISTS:
        return _sound_lists(column, values)
    if column.dtype == pa.string():
        choices = list(column.choices)
        return values.is_in(choices) if choices else values.str.len_bytes() <= MAX_TEXT
    if column.dtype == pa.float64():
        return values.is_finite() & _inside(column.name, values)
    if column.dtype == pa.int64() and column.name not in SIGNED:
        return values >= 0
    return values.is_not_null()


def _inside(name: str, values: pl.Series) -> pl.Series:
    if name in SHARES:
        return values.is_between(0, 1, closed="right")
    if name in UNIT_INTERVAL:
        return values.is_between(0, 1)
    return (values >= 0) if name not in SIGNED else values.is_not_null()


def _sound_lists(column: Column, values: pl.Series) -> pl.Series:
    """Equal lists are looked at once: a router offers the same candidates again and again."""
    told: dict[tuple[Any, ...], bool] = {}
    found: list[bool | None] = []
    for value in values.to_list():
        key = None if value is None else tuple(value)
        if key is not None and key not in told:
            told[key] = cell_problem(column, value) is None
        found.append(None if key is None else told[key])
    return pl.Series(found, dtype=pl.Boolean)


def _all_null(frame: pl.DataFrame, names: list[str]) -> pl.Series:
    present = [pl.col(name).is_null() for name in names if name in frame.columns]
    return frame.select(pl.all_horizontal(*present, pl.lit(value=True))).to_series()


def _odd_choices(frame: pl.DataFrame) -> pl.Series:
    """Rows whose action, candidates and propensities may not go together."""
    if "propensities" in frame.columns:
        names = ["action", "candidates", "propensity", "propensities"]
        rows = frame.select(name for name in names if name in frame.columns).iter_rows(named=True)
        return pl.Series(list(_contradictions(rows)), dtype=pl.Boolean)
    if "candidates" in frame.columns:
        offered = frame.select(pl.col("candidates").list.contains(pl.col("action"))).to_series()
        return (~offered).fill_null(value=False)
    return pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)


def _contradictions(rows: Iterable[dict[str, Any]]) -> Iterable[bool]:
    for row in rows:
        yield row["action"] is not None and _contradicts(row)


def _contradicts(row: dict[str, Any]) -> bool:
    try:
        return choice_problem(row) is not None
    except (ValueError, IndexError, TypeError):  # lists that are in doubt by themselves
        return True
