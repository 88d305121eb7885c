"""Invariants of many rows at once: columns are cleared as a whole, and only doubted rows are looked at alone.

`checks.problem` stays the one that says what is wrong; here it is found out, cheaply, where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..schemas.columns import FEATURE_PREFIX
from .checks import (
    COLUMNS,
    FEATURE_NAME,
    MAX_FEATURES,
    MAX_TEXT,
    REQUIRED,
    SHARES,
    SIGNED,
    SUM_SLACK,
    UNIT_INTERVAL,
    cell_problem,
    choice_problem,
    problem,
)
from .seam import Table

Column = list[Any]
"""The values of one column without nulls, never empty."""
_SURE_SUM_SLACK: Final = SUM_SLACK * 0.999


def problems(table: Table, rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Position -> what `problem` says of it, for the rows that cannot be rows of `table`.

    Raises: SchemaError for a column that the table does not have, which is a mistake of the reader.
    """
    doubted = sorted(_doubted(table, rows))
    found = ((i, problem(table, rows[i])) for i in doubted)
    return {i: reason for i, reason in found if reason is not None}


def _doubted(table: Table, rows: Sequence[dict[str, Any]]) -> set[int]:
    """Rows that may have a problem; all others have none."""
    everyone = set(range(len(rows)))
    names = set(chain.from_iterable(rows))
    known, featured = COLUMNS[table], table in ("decisions", "contexts")
    features = {name for name in names - known.keys() if name.startswith(FEATURE_PREFIX)}
    if names - known.keys() - features or (features and not featured) or len(features) > MAX_FEATURES:
        return everyone
    doubted = {i for n in REQUIRED[table] for i, row in enumerate(rows) if row.get(n) in (None, "")}
    for name in names:
        values = [value for row in rows if (value := row.get(name)) is not None]
        if values and not (_clean_feature(name, values) if name in features else _clean(table, name, values)):
            doubted |= {i for i, row in enumerate(rows) if row.get(name) is not None}
    if table == "decisions" and {"candidates", "propensities"} & names:
        doubted |= {i for i, row in enumerate(rows) if i not in doubted and choice_problem(row) is not None}
    if table == "outcomes":
        doubted |= {i for i, row in enumerate(rows) if _aimless(row)}
    return doubted


def _aimless(row: dict[str, Any]) -> bool:
    at_nothing = row.get("request_id") is None and row.get("decision_id") is None
    return at_nothing or (row.get("value") is None and row.get("label") is None)


def _clean(table: Table, name: str, values: Column) -> bool:
    column = COLUMNS[table][name]
    return _CLEAN[column.dtype](name, values) and (not column.choices or set(values) <= set(column.choices))


def _clean_feature(name: str, values: Column) -> bool:
    if not FEATURE_NAME.fullmatch(name):
        return False
    kinds = set(map(type, values))
    return _texts(values) if kinds == {str} else kinds <= {int, float, bool} and _finite(values) is not None


def _text(name: str, values: Column) -> bool:
    del name
    return set(map(type, values)) == {str} and _texts(values)


def _texts(values: Column) -> bool:
    """Whether texts are short enough and hold no half of a surrogate pair."""
    if max(map(len, values)) > MAX_TEXT:
        return False
    whole = "".join(values)
    if whole.isascii():
        return True
    try:
        whole.encode()
    except UnicodeEncodeError:
        return False
    return all(value.isascii() or _encodes(value) for value in values)  # halves may meet when joined


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _real(name: str, values: Column) -> bool:
    numbers = _finite(values) if set(map(type, values)) <= {int, float} else None
    if numbers is None:
        return False
    low, high = float(numbers.min()), float(numbers.max())
    if name in SHARES:
        return low > 0.0 and high <= 1.0
    return (low >= 0.0 or name in SIGNED) and (high <= 1.0 or name not in UNIT_INTERVAL)


def _finite(values: Column) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """The values as numbers, None when one is not finite."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _count(name: str, values: Column) -> bool:
    if set(map(type, values)) != {int}:
        return False
    return (min(values) >= 0 or name in SIGNED) and max(map(abs, values)) <= 2**63 - 1


def _flag(name: str, values: Column) -> bool:
    del name
    return set(map(type, values)) == {bool}


def _time(name: str, values: Column) -> bool:
    del name
    return set(map(type, values)) == {datetime} and {value.tzinfo for value in values} == {UTC}


def _texts_lists(name: str, values: Column) -> bool:
    """Equal lists are looked at once: a router offers the same candidates again and again."""
    if not set(map(type, values)) <= {list, tuple}:
        return False
    try:
        distinct = set(map(tuple, values))  # what is no text equals no text, and is no candidate
    except TypeError:
        return False
    column = COLUMNS["decisions"][name]
    return all(cell_problem(column, value) is None for value in distinct)


def _shares_lists(name: str, values: Column) -> bool:
    """Probabilities that add up to 1; a sum that rounding may decide is looked at alone."""
    del name
    if not set(map(type, values)) <= {list, tuple} or not all(values):
        return False
    flat = list(chain.from_iterable(values))
    numbers = _finite(flat) if set(map(type, flat)) <= {int, float} else None
    if numbers is None or numbers.min() < 0 or numbers.max() > 1:
        return False
    starts = np.cumsum([0, *map(len, values[:-1])])
    return bool((np.abs(np.add.reduceat(numbers, starts) - 1) < _SURE_SUM_SLACK).all())


_CLEAN: Final[dict[pa.DataType, Callable[[str, Column], bool]]] = {
    pa.string(): _text,
    pa.float64(): _real,
    pa.int64(): _count,
    pa.bool_(): _flag,
    pa.timestamp("us", tz="UTC"): _time,
    pa.list_(pa.string()): _texts_lists,
    pa.list_(pa.float64()): _shares_lists,
}
