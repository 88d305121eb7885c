"""What a hit of the semantic cache is worth in dollars, also where an answer serves a dearer task than its
own."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from ...schemas.config import Config
from ...schemas.records import Price
from ..estimate import estimate
from .cache_looks import RECOMPUTE
from .leave_out import Span
from .records import HIT_VALUE, bounded, fitted, refused

REUSE: Final = "reuse"
MISMATCH: Final = "x_value_mismatch"
"""Whether the task that is served is worth more than the one that wrote the entry, less, or the same."""
MAX_LOOKUPS: Final = 20_000
_POINT: Final = (pl.col("layer") == "serving") & (pl.col("decision_point") == REUSE)
_NO_LOOKUPS: Final = (
    "no lookup that could have been reused is logged with what was done (serving, reuse): log reused and "
    "recomputed ones with similarity, age and outcome"
)


def hit_prices(
    decisions: pl.DataFrame, *, config: Config, seed: int, contrasts: pl.DataFrame | None = None
) -> tuple[Price, ...]:
    """USD per hit that reusing an entry gains over recomputing, by mismatch of value where that is known.

    V dQ - dC - lambda dL - rho dR of reuse against recompute: the library's own contrast (METHODS A1, A4),
    with its grade and its refusals. contrasts: `Estimates.contrasts` of the same decisions, so that it is not
    made again; the contrast by mismatch needs source_request_id and is made here. An answer from a task of
    lower value was written with less at stake ('higher': the served task is worth more). Large logs are
    sampled.
    """
    rows = decisions.filter(_POINT)
    if rows.is_empty():
        return (refused(HIT_VALUE, _NO_LOOKUPS),)
    marked = with_mismatch(decisions, rows, config)
    note = ""
    if marked is not None or contrasts is None:
        sampled, note = bounded(
            rows if marked is None else marked, "request_id", seed=seed, limit=MAX_LOOKUPS
        )
        levels = () if marked is None else (MISMATCH,)
        made = estimate(sampled, config=config.model_copy(update={"segments": levels}), seed=seed)
        contrasts = made.contrasts
    nets = contrasts.filter(
        _POINT,
        pl.col("action") == REUSE,
        pl.col("baseline") == RECOMPUTE,
        pl.col("quantity") == "net",
        pl.col("estimand").is_in(["ATO", "not_identified"]),
        (pl.col("segment") == "all") | pl.col("segment").str.starts_with(f"{MISMATCH}="),
    )
    found = tuple(
        _price(row, note) for row in nets.unique("segment", keep="first").sort("segment").to_dicts()
    )
    return found or (
        refused(HIT_VALUE, "reuse and recompute were not both taken, so they cannot be compared"),
    )


def with_mismatch(decisions: pl.DataFrame, rows: pl.DataFrame, config: Config) -> pl.DataFrame | None:
    """`rows` with x_value_mismatch, or None where sources or values are not known.

    The value of a request is that of its task class in the config (USD per task).
    """
    values = {name: amount.value for name, amount in config.prices.task_value_by_class.items()}
    needed = {"request_id", "source_request_id", config.task_class}
    if not values or not needed <= set(decisions.columns):
        return None
    worth = (
        pl.col(config.task_class)
        .cast(pl.String)
        .replace_strict(values, default=None, return_dtype=pl.Float64)
    )
    known = (
        decisions.select("request_id", _worth=worth)
        .drop_nulls()
        .unique("request_id", keep="first", maintain_order=True)
    )
    source = known.rename({"request_id": "source_request_id", "_worth": "_source"})
    both = rows.join(known, on="request_id", how="left", maintain_order="left").join(
        source, on="source_request_id", how="left", maintain_order="left"
    )
    if both.drop_nulls(["_worth", "_source"]).is_empty():
        return None
    gap = pl.col("_worth") - pl.col("_source")
    label = (
        pl.when(gap > 0).then(pl.lit("higher")).when(gap < 0).then(pl.lit("lower")).otherwise(pl.lit("same"))
    )
    return both.with_columns(pl.when(gap.is_not_null()).then(label).alias(MISMATCH)).drop("_worth", "_source")


def _price(row: dict[str, Any], note: str) -> Price:
    if row["value"] is None:
        return refused(HIT_VALUE, row["reason"], segment=row["segment"])
    span = Span(value=row["value"], lower=row["lower"], upper=row["upper"], clusters=row["clusters"])
    return fitted(
        HIT_VALUE,
        span,
        n=row["n"],
        grade=row["grade"],
        method=f"net value of reuse against recompute, {row['estimand']}; {row['method']}{note}",
        segment=row["segment"],
        action=REUSE,
        baseline=RECOMPUTE,
        reason="recomputing is worth more than reusing" if span.upper < 0.0 else row["reason"],
    )
