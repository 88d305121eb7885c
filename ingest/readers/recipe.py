"""The logging recipe: what an application writes beside its log so that a decision becomes identifiable.

An OTLP span attribute `shadowprice.<column>`, or the object `shadowprice` in LiteLLM's spend_logs_metadata
or requester_metadata, sets the decisions column <column>, in the schema's unit.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

import pyarrow as pa

from ...schemas import columns as c
from ..convert import as_count, as_real, utc_from_text

PREFIX: Final = "shadowprice."
_PROVENANCE: Final = ("source_format", "source_file", "source_row")
_SETTABLE: Final = {column.name: column for column in c.DECISIONS if column.name not in _PROVENANCE}
LAYER_OF_POINT: Final = {
    "model": "router",
    **dict.fromkeys(("plan", "act", "verify", "defer", "delegate"), "agent"),
    **dict.fromkeys(("reuse", "speculate", "admit"), "serving"),
    "keep": "training",
}


def recipe_columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the recipe `given` (column name without prefix -> value) sets; nulls set nothing.

    Raises: ValueError for a name that is no column, or a value of the wrong type.
    """
    values = {name: _typed(name, raw) for name, raw in given.items() if raw is not None}
    if values.get("propensity") is not None or values.get("propensities") is not None:
        values.setdefault("propensity_source", "logged")
    if "cost_usd" in values:
        values.setdefault("cost_source", "logged")
    if "quality" in values:
        values.setdefault("quality_observed", True)
    return values


def with_recipe(values: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """`values` overruled by `recipe`; the propensity is looked up among logged propensities."""
    merged = {**values, **recipe}
    if "propensities" in recipe and "propensity" not in recipe:
        merged["propensity"] = None  # a guess of the reader's gives way to what was logged
    listed, shares = merged.get("candidates"), merged.get("propensities")
    if merged.get("propensity") is None and listed and shares and len(listed) == len(shares):
        merged["propensity"] = dict(zip(listed, shares, strict=True)).get(merged.get("action"))
    if "decision_point" in recipe and "layer" not in recipe:
        merged["layer"] = LAYER_OF_POINT.get(merged["decision_point"], merged.get("layer"))
    return merged


def _typed(name: str, raw: Any) -> Any:
    try:
        if name.startswith(c.FEATURE_PREFIX) and len(name) > len(c.FEATURE_PREFIX):
            return _feature(raw)
        if name not in _SETTABLE:
            raise ValueError(f"no such column{_nearest(name, _SETTABLE)}")
        return _column_value(_SETTABLE[name], raw)
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name}: {error}") from error


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else "; use x_<name> for a feature"


def _feature(raw: Any) -> str | float | bool:
    if isinstance(raw, str | bool):
        return raw
    number = as_real(raw)
    if number is None:
        raise ValueError("empty")
    return number


def _column_value(column: c.Column, raw: Any) -> Any:
    return _text(raw, choices=column.choices) if column.choices else _PARSERS[column.name](raw)


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is not true or false")
    return raw


def _items(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise ValueError(f"{raw!r} is not a list")
    return cast("list[Any]", raw)


def _text(raw: Any, choices: tuple[str, ...] = ()) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"{raw!r} is not text")
    if choices and raw not in choices:
        raise ValueError(f"{raw!r} is not one of {', '.join(choices)}")
    return raw


_VALUES: Final[dict[pa.DataType, Callable[[Any], Any]]] = {
    pa.string(): _text,
    pa.bool_(): _flag,
    pa.int64(): as_count,
    pa.float64(): as_real,
    pa.timestamp("us", tz="UTC"): utc_from_text,
    pa.list_(pa.string()): lambda raw: [_text(item) for item in _items(raw)],
    pa.list_(pa.float64()): lambda raw: [as_real(item) for item in _items(raw)],
}
_PARSERS: Final = {name: _VALUES[column.dtype] for name, column in _SETTABLE.items()}
"""By name of the column, since Arrow's types take long to look up."""
