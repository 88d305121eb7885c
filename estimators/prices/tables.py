"""The files of the fitted prices: rows of prices.parquet and the text of prices.json."""

from __future__ import annotations

import json
import math
from typing import Final

import polars as pl

from ...schemas.records import Price, Prices
from ...schemas.tables import SCHEMA_VERSION

_REALS: Final = ("value", "lower", "upper", "level", "ess")
_COUNTS: Final = ("n", "clusters")


def prices_frame(prices: Prices) -> pl.DataFrame:
    """The rows of prices.parquet, one per price, with the fields of `Price` as columns."""
    kinds: dict[str, pl.DataType] = {
        **dict.fromkeys(_REALS, pl.Float64()),
        **dict.fromkeys(_COUNTS, pl.Int64()),
    }
    schema = {name: kinds.get(name, pl.String()) for name in Price.__dataclass_fields__}
    return pl.DataFrame([p.to_dict() for p in prices.prices], schema=schema)


def prices_json(prices: Prices) -> str:
    """The text of prices.json: prices with unit, interval, level and grade, under the data window."""
    entries = [
        {k: _finite(v) for k, v in p.to_dict().items() if k not in ("run_id", "window_from", "window_to")}
        for p in prices.prices
    ]
    content = {
        "schema_version": SCHEMA_VERSION,
        "run_id": prices.run_id,
        "data_window": {"from": prices.window_from, "to": prices.window_to},
        "prices": entries,
        "value_curve": prices.value_curve.to_dicts(),
        "savings": prices.savings.to_dicts(),
        "trend": prices.trend.to_dicts(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
