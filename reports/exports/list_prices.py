"""List prices of the models in the logs, in dollars per token: from a file, or solved from logged costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from ...errors import ExportError

KINDS: Final = ("input", "output", "cache_read", "cache_write")
"""Kinds of token with a price of their own; input is what no cache served."""
COLUMNS: Final[Mapping[str, str]] = dict(
    zip(KINDS, ("tok_input_uncached", "tok_output", "tok_cache_read", "tok_cache_write"), strict=True)
)
FILE_KEYS: Final[Mapping[str, str]] = dict(
    zip(
        KINDS,
        (
            "input_cost_per_token",
            "output_cost_per_token",
            "cache_read_input_token_cost",
            "cache_creation_input_token_cost",
        ),
        strict=True,
    )
)
"""Keys of a price file, USD per token: those of LiteLLM's price map, so that map is a price file."""
_TICK: Final = Decimal("1e-12")
"""USD per token, a millionth of a dollar per million tokens: finer than any published price."""
_SLACK_USD: Final = 1e-9
"""USD by which a logged cost may differ from tokens times prices and still be the same number."""
_SOLVED_FROM: Final = 10_000
"""Different requests from which prices are solved; every request must then be reproduced."""
_LARGEST: Final = Decimal("0.1")
"""USD per token above which a price is taken for one per thousand or per million tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """USD per token by kind, as facts; a kind that is None was never used or is not in the file."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None
    source: str

    def of(self, kind: str) -> Decimal | None:
        """The price of one kind of token."""
        return getattr(self, kind)

    def known(self) -> dict[str, Decimal]:
        """Kind -> USD per token, without the unknown ones."""
        return {kind: price for kind in KINDS if (price := self.of(kind)) is not None}


def read_price_file(path: Path) -> dict[str, TokenPrices]:
    """Model -> prices of a JSON file {model: {input_cost_per_token, output_cost_per_token, ...}}.

    Entries without an input and an output price (embeddings, images) are passed over.

    Raises: ExportError for what is no such file, or a price that is negative or no price per token.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
    except OSError as error:
        raise ExportError(error.strerror or "unreadable", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ExportError(
            "not JSON", where=str(path), expected="{model: {input_cost_per_token: ...}}"
        ) from error
    if not isinstance(data, dict):
        raise ExportError("no object", where=str(path), expected="{model: {input_cost_per_token: ...}}")
    found = {model: _from_entry(entry, f"{path}: {model}") for model, entry in data.items()}
    return {model: prices for model, prices in found.items() if prices is not None}


def solved_prices(decisions: pl.DataFrame) -> TokenPrices | str:
    """The prices per token that reproduce every logged cost of one model exactly, or why there are none.

    decisions: the rows of one model (cost_usd, tok_*). Costs that are not the same sum of tokens times
    prices throughout (tiers, discounts, rounding) have no single price per token, and are not averaged.
    """
    used = decisions.filter(
        pl.col("cost_usd").is_not_null()
        & pl.col("tok_input_uncached").is_not_null()
        & pl.col("tok_output").is_not_null()
    )
    tokens = used.select(pl.col(c).fill_null(0).cast(pl.Float64) for c in COLUMNS.values())
    x, cost = tokens.to_numpy(), used["cost_usd"].cast(pl.Float64).to_numpy()
    seen = [k for k in range(len(KINDS)) if x[:, k].any()]
    if not {0, 1} <= set(seen):
        return "the logs hold no cost beside input and output tokens"
    first = tokens.with_row_index().unique(COLUMNS.values(), keep="first").sort("index")["index"].to_numpy()
    some = first[:_SOLVED_FROM]
    if len(some) <= len(seen) or np.linalg.matrix_rank(x[some][:, seen]) < len(seen):
        return "too few different requests to tell the prices of its kinds of token apart"
    rough = np.linalg.lstsq(x[some][:, seen], cost[some], rcond=None)[0]
    ticks = [round(price / float(_TICK)) for price in rough.tolist()]
    exact = x[:, seen] @ (np.array(ticks) * float(_TICK))
    if min(ticks) < 0 or np.abs(exact - cost).max() > _SLACK_USD * max(1.0, float(cost.max())):
        return "its costs are not one price per kind of token (tiers, discounts, rounding or retries)"
    price = {KINDS[k]: tick * _TICK for k, tick in zip(seen, ticks, strict=True)}
    return TokenPrices(
        input=price["input"],
        output=price["output"],
        cache_read=price.get("cache_read"),
        cache_write=price.get("cache_write"),
        source=f"reproduces every one of {used.height} logged costs",
    )


def _from_entry(entry: Any, where: str) -> TokenPrices | None:
    if not isinstance(entry, Mapping):
        raise ExportError("no object", where=where, expected="{input_cost_per_token: ...}")
    price = {kind: _price(entry.get(key), f"{where}: {key}") for kind, key in FILE_KEYS.items()}
    if price["input"] is None or price["output"] is None:
        return None
    return TokenPrices(
        input=price["input"],
        output=price["output"],
        cache_read=price["cache_read"],
        cache_write=price["cache_write"],
        source="the price file",
    )


def _price(raw: Any, where: str) -> Decimal | None:
    if raw is None:
        return None
    try:
        price = Decimal(raw)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ExportError(f"{raw!r}", where=where, expected="USD per token") from error
    if not price.is_finite() or not 0 <= price <= _LARGEST:
        raise ExportError(f"{raw}", where=where, expected=f"USD per token, 0 to {_LARGEST}")
    return price
