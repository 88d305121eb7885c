"""Costs that the log lacks, from the dated list prices of genai-prices: the only module that knows it.

Offline: the price book is the one inside the installed package.
"""

from __future__ import annotations

import functools
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

PRICED_LAYERS: Final = ("router", "agent")
PROVIDER_HINT: Final = "_provider"
MODEL_HINT: Final = "_model"
_MAX_NAME: Final = 200
"""Longer than any model's name; longer text is not looked up."""
_TOKENS: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output")
_PRICED_BY: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(("layer", "action", "action_executed", "cache_hit_kind", "cost_source"), pl.String()),
    **dict.fromkeys(_TOKENS, pl.Int64()),
    "cost_usd": pl.Float64(),
    "ts": pl.Datetime("us", "UTC"),
}
"""The columns that a price depends on, and its own."""


def price(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a decision with cost_usd and cost_source settled, and without the reader's hints.

    A positive cost is the log's, and so is 0 for a cache hit or a row without tokens. Otherwise a row with
    tokens is priced by model and date; when that cannot be done its cost is null and 'unpriced', never 0.
    """
    row = without_hints(values)
    if row.get("layer") not in PRICED_LAYERS:
        return row
    cost = row.get("cost_usd")
    free = cost == 0 and row.get("cache_hit_kind") not in (None, "none")
    tokens = any(row.get(name) for name in _TOKENS)
    if cost is not None and (cost > 0 or free or not tokens):
        row["cost_source"] = row.get("cost_source") or "logged"
        return row
    if not tokens:
        return row
    row["cost_usd"] = _list_price(
        row, model=values.get(MODEL_HINT) or _model(row), provider=values.get(PROVIDER_HINT)
    )
    row["cost_source"] = "unpriced" if row["cost_usd"] is None else "priced"
    return row


def priced(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` of decisions with what `price` says of each row; rows that lack a cost are looked at alone."""
    absent = [name for name in _PRICED_BY if name not in frame.columns]
    rows = frame.with_columns(pl.lit(None, dtype=_PRICED_BY[name]).alias(name) for name in absent)
    tokens = pl.any_horizontal((pl.col(name) > 0).fill_null(value=False) for name in _TOKENS)
    free = (pl.col("cost_usd") == 0) & (pl.col("cache_hit_kind").fill_null("none") != "none")
    ours = pl.col("layer").is_in(PRICED_LAYERS)
    logged = ((pl.col("cost_usd") > 0) | free | (pl.col("cost_usd").is_not_null() & ~tokens)).fill_null(
        value=False
    )
    source = pl.when(ours & logged).then(pl.col("cost_source").fill_null("logged")).otherwise("cost_source")
    rows = rows.with_columns(source)
    lacking = rows.select(ours & ~logged & tokens).to_series()
    if lacking.any():
        found = [price(row) for row in rows.filter(lacking).select(list(_PRICED_BY)).iter_rows(named=True)]
        for name in ("cost_usd", "cost_source"):
            told = pl.Series([row[name] for row in found], dtype=_PRICED_BY[name])
            rows = rows.with_columns(rows[name].scatter(lacking.arg_true(), told))
    return rows


def without_hints(values: dict[str, Any]) -> dict[str, Any]:
    """`values` without what a reader told for pricing only."""
    row = dict(values)
    for hint in (PROVIDER_HINT, MODEL_HINT):
        row.pop(hint, None)
    return row


def price_book() -> str:
    """Name and version of the price book; it carries no date of its own."""
    return f"genai-prices {version('genai-prices')}"


def _model(row: dict[str, Any]) -> str | None:
    return row.get("action_executed") or row.get("action")


def _list_price(row: dict[str, Any], *, model: str | None, provider: str | None) -> float | None:
    uncached, output, when = row.get("tok_input_uncached"), row.get("tok_output"), row.get("ts")
    if not model or uncached is None or output is None or not isinstance(when, datetime):
        return None
    entry = _entry(model, provider)
    if entry is None:
        return None
    read, write = row.get("tok_cache_read") or 0, row.get("tok_cache_write") or 0
    from genai_prices import Usage  # heavy, and not needed where logs tell costs

    usage = Usage(
        input_tokens=uncached + read + write,
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=output,
    )
    try:
        total = entry[1].calc_price(usage, entry[0], genai_request_timestamp=when).total_price
    except (LookupError, ValueError):
        return None
    return float(total) if total > 0 else None


@functools.lru_cache(maxsize=4096)
def _entry(model: str, provider: str | None) -> tuple[Provider, ModelInfo] | None:
    """The book's entry. A provider that is named must be known: another one's price is another price."""
    from genai_prices import data_snapshot

    if len(model) > _MAX_NAME:
        return None
    prefix, slash, rest = model.partition("/")
    attempts: list[tuple[str | None, str]] = [(provider, model)]
    if slash and provider is None:
        attempts.append((prefix, rest))
    elif slash and provider is not None and prefix.lower() == provider.lower():
        attempts.append((provider, rest))
    for known_provider, name in attempts:
        try:
            return data_snapshot.get_snapshot().find_provider_model(name, None, known_provider, None)
        except LookupError:
            continue
    return None
