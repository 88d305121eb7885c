"""Invariants of one row: the reason why it cannot be stored, or None.

A row that breaks one goes to the quarantine with that reason; it is never repaired.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from ..errors import SchemaError
from ..schemas.columns import FEATURE_PREFIX, MENUS, Column
from ..schemas.tables import TABLES
from .seam import Table

MAX_TEXT: Final = 64 * 1024
"""Characters in one cell; ids, names and labels are short, contents are not stored."""
MAX_ITEMS: Final = 1000
"""Candidates of one decision."""
MAX_FEATURES: Final = 500
"""x_* values of one row."""
SUM_SLACK: Final = 1e-3
"""Propensities are often logged with three digits."""
FEATURE_NAME: Final = re.compile(r"x_[a-z0-9_]{1,80}")
UNIT_INTERVAL: Final = ("quality", "judge_score", "kv_util", "cache_similarity")
"""Shares of which 0 is one."""
SHARES: Final = ("propensity", "keep_prob")
"""Chances of what did happen, so never 0."""
SIGNED: Final = frozenset({"reward", "advantage", "value", "value_usd", "version_lag"})
"""Reals that may be negative; version_lag is a count of its own kind."""

_CONTEXT_COLUMNS: Final = ("request_id", "session_id", "tenant_id", "ts")
COLUMNS: Final[dict[Table, dict[str, Column]]] = {
    "decisions": {column.name: column for column in TABLES["decisions"]},
    "outcomes": {column.name: column for column in TABLES["outcomes"]},
    "engine_steps": {column.name: column for column in TABLES["engine_steps"]},
    "contexts": {column.name: column for column in TABLES["decisions"] if column.name in _CONTEXT_COLUMNS},
    "menus": {column.name: column for column in MENUS},
}
REQUIRED: Final[dict[Table, tuple[str, ...]]] = {
    **{
        table: tuple(c.name for c in columns.values() if not c.nullable) for table, columns in COLUMNS.items()
    },
    "contexts": ("request_id",),
}


def problem(table: Table, values: dict[str, Any]) -> str | None:
    """Why `values` cannot be a row of `table`: what was found and what was expected; None when it can.

    Raises: SchemaError for a column that the table does not have, which is a mistake of the reader.
    """
    for name in REQUIRED[table]:
        if values.get(name) in (None, ""):
            return f"{name} is missing, expected a value in every row"
    columns = COLUMNS[table]
    features = 0
    for name, value in values.items():
        if value is None:
            continue
        column = columns.get(name)
        if column is not None:
            reason = cell_problem(column, value)
        elif name.startswith(FEATURE_PREFIX) and table in ("decisions", "contexts"):
            features += 1
            reason = _feature(name, value)
        else:
            raise SchemaError(
                f"column {name!r} is not in the schema", where=table, expected="a column of the schema or x_*"
            )
        if reason is not None:
            return reason
    if features > MAX_FEATURES:
        return f"{features} x_* values, expected at most {MAX_FEATURES}"
    if table == "decisions":
        return choice_problem(values)
    return _target(values) if table == "outcomes" else None


def cell_problem(column: Column, value: Any) -> str | None:
    """Why `value` cannot stand in `column`; None when it can."""
    reason = _TYPE_CHECKS[column.dtype](column.name, value)
    if reason is None and column.choices and value not in column.choices:
        return f"{column.name} is {_short(value)}, expected one of {', '.join(column.choices)}"
    return reason


def _text(name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        return f"{name} is {_short(value)}, expected text"
    if len(value) > MAX_TEXT:
        return f"{name} has {len(value)} characters, expected at most {MAX_TEXT}"
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        return f"{name} is {_short(value)}, expected valid Unicode"
    return None


def _real(name: str, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{name} is {_short(value)}, expected a number"
    if not _finite(value):
        return f"{name} is {_short(value)}, expected a finite number"
    if name in UNIT_INTERVAL and not 0 <= value <= 1:
        return f"{name} is {value}, expected a number in [0, 1]"
    if name in SHARES and not 0 < value <= 1:
        told = "of the chosen action " if name == "propensity" else ""
        return f"{name} {told}is {value}, expected a number in (0, 1]"
    if value < 0 and name not in SIGNED:
        clock = ": the clock runs backwards" if name.endswith("_s") else ""
        return f"{name} is {value}, expected a number >= 0{clock}"
    return None


def _count(name: str, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{name} is {_short(value)}, expected a whole number"
    if value < 0 and name not in SIGNED:
        return f"{name} is {value}, expected a count >= 0"
    if abs(value) > 2**63 - 1:
        return f"{name} is {_short(value)}, expected at most 63 bits"
    return None


def _flag(name: str, value: Any) -> str | None:
    return None if isinstance(value, bool) else f"{name} is {_short(value)}, expected true or false"


def _time(name: str, value: Any) -> str | None:
    if not isinstance(value, datetime):
        return f"{name} is {_short(value)}, expected a time"
    return None if value.utcoffset() is not None else f"{name} is {value}, expected a time with its zone"


def _texts(name: str, value: Any) -> str | None:
    if not isinstance(value, list | tuple) or not value or len(value) > MAX_ITEMS:
        return f"{name} is {_short(value)}, expected a list of 1 to {MAX_ITEMS} texts"
    found = next((reason for item in value if (reason := _text(f"an item of {name}", item))), None)
    if found is None and len(set(value)) != len(value):
        return f"{name} is {_short(value)}, expected every action once"
    return found


def _probabilities(name: str, value: Any) -> str | None:
    if not isinstance(value, list | tuple) or not value:
        return f"{name} is {_short(value)}, expected a list of numbers"
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 <= item <= 1:
            return f"an item of {name} is {_short(item)}, expected a number in [0, 1]"
    total = math.fsum(value)
    if abs(total - 1) > SUM_SLACK:
        return f"{name} sum to {total:.6g}, expected 1"
    return None


_TYPE_CHECKS: Final[dict[pa.DataType, Callable[[str, Any], str | None]]] = {
    pa.string(): _text,
    pa.float64(): _real,
    pa.int64(): _count,
    pa.bool_(): _flag,
    pa.timestamp("us", tz="UTC"): _time,
    pa.list_(pa.string()): _texts,
    pa.list_(pa.float64()): _probabilities,
}


def _feature(name: str, value: Any) -> str | None:
    if not FEATURE_NAME.fullmatch(name):
        return f"feature name {_short(name)}, expected x_ and lower-case letters, digits and _"
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        return f"{name} is {_short(value)}, expected a number, a flag or text"
    return None if _finite(value) else f"{name} is {_short(value)}, expected a finite number"


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any double
        return False


def choice_problem(values: dict[str, Any]) -> str | None:
    """What is wrong between action, candidates and propensities."""
    candidates, action = values.get("candidates"), values["action"]
    chosen, shares = values.get("propensity"), values.get("propensities")
    if candidates is not None and action not in candidates:
        return f"action {_short(action)} is not among the candidates {_short(candidates)}"
    if shares is None:
        return None
    if candidates is None or len(shares) != len(candidates):
        found = "no candidates" if candidates is None else f"{len(candidates)} candidates"
        return f"{len(shares)} propensities for {found}, expected one for each"
    share = shares[list(candidates).index(action)]
    if share == 0:
        return "propensities give the chosen action 0, expected a number in (0, 1]"
    if chosen is not None and abs(chosen - share) > SUM_SLACK:
        return f"propensity is {chosen}, but propensities give the chosen action {share}"
    return None


def _target(values: dict[str, Any]) -> str | None:
    if values.get("request_id") is None and values.get("decision_id") is None:
        return "neither request_id nor decision_id, expected one of them"
    if values.get("value") is None and values.get("label") is None:
        return "neither value nor label, expected one of them"
    return None


def _short(value: Any) -> str:
    """`value` in repr style, which escapes control characters, and not longer than a line."""
    text = ascii(value) if not isinstance(value, str) else ascii(value[:80])
    return text if len(text) <= 80 else f"{text[:77]}..."
