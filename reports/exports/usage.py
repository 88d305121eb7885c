"""Billed usage per model, day and segment, with what its decisions lost for certain beside it."""

from __future__ import annotations

from typing import Final

import polars as pl

from .offer import Skipped, unspeakable

NANO: Final = 1_000_000_000
"""Costs are summed as whole billionths of a dollar, so that no sum depends on its order."""
WHOLE: Final = "all"
_KEY: Final = ("day", "layer", "decision_point", "model", "segment")
_PERSONAL: Final = ("tenant_id=", "session_id=")
_TOKENS: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output")
_LOSS: Final = ("mode", "loss_usd", "lower_usd", "upper_usd", "grade")
_PRICED: Final = "priced from a list by ingest, never billed"
_UNDATED: Final = "no time, so no day to bill it to"
_LOG_NEXT: Final = {
    _PRICED: "the cost of every call, as the provider or the gateway counted it",
    _UNDATED: "ts",
}


def usage_rows(
    decisions: pl.LazyFrame, ledger: pl.LazyFrame, losses: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[Skipped, ...]]:
    """Rows by day, layer, decision point, model and segment, and what is left out of them.

    billed: int64 nano-USD that the logs state. Costs that ingest priced from a list were never billed, and
    decisions without a time belong to no day: both are listed with their sum. Slices by tenant or session
    are not named. loss_usd, lower_usd, upper_usd: sums over the decisions with a certain loss, null if none.
    """
    rows = _summed(_joined(decisions, ledger, losses)).collect()
    names = {(m, s): unspeakable(m, s) for m, s in rows.select("model", "segment").unique().iter_rows()}
    faults = [names[key] for key in rows.select("model", "segment").iter_rows()]
    why = (
        pl.when("priced")
        .then(pl.lit(_PRICED))
        .when(pl.col("day").is_null())
        .then(pl.lit(_UNDATED))
        .otherwise(pl.Series("fault", faults, dtype=pl.String))
    )
    rows = rows.with_columns(why=why).sort("priced", *_KEY, nulls_last=True)
    kept = rows.filter(pl.col("why").is_null()).drop("why", "priced")
    left = rows.filter(pl.col("why").is_not_null()).group_by("why", maintain_order=True)
    return kept, tuple(_left_out(str(reason), part) for (reason,), part in left)


def _joined(decisions: pl.LazyFrame, ledger: pl.LazyFrame, losses: pl.DataFrame) -> pl.LazyFrame:
    """The decisions that cost something, each with its segment and its loss."""
    segment = pl.col("segment").fill_null(WHOLE)
    personal = pl.any_horizontal(segment.str.starts_with(head) for head in _PERSONAL)
    segments = ledger.select("decision_id", "segment").unique(
        "decision_id", keep="first", maintain_order=True
    )
    return (
        decisions.filter(pl.col("cost_usd").is_not_null())
        .select(
            "decision_id",
            "layer",
            "decision_point",
            (pl.col("cost_source").fill_null("logged") != "logged").alias("priced"),
            pl.col("ts").dt.date().alias("day"),
            pl.coalesce("action_executed", "action").alias("model"),
            (pl.col("cost_usd") * NANO).round().cast(pl.Int64).alias("billed"),
            pl.sum_horizontal(pl.col(c).fill_null(0) for c in _TOKENS).alias("tokens"),
        )
        .join(segments, on="decision_id", how="left")
        .with_columns(segment=pl.when(personal).then(pl.lit(WHOLE)).otherwise(segment))
        .join(losses.lazy().select("decision_id", *_LOSS), on="decision_id", how="left")
    )


def _summed(rows: pl.LazyFrame) -> pl.LazyFrame:
    lost = pl.col("loss_usd").is_not_null().any()
    by_loss = pl.col("mode").sort_by("loss_usd", descending=True, nulls_last=True).first()
    return rows.group_by("priced", *_KEY).agg(
        pl.len().alias("requests"),
        pl.col("tokens").sum(),
        pl.col("billed").sum(),
        by_loss.alias("mode"),
        pl.col("grade").max().alias("grade"),
        *(pl.when(lost).then(pl.col(c).sum()).alias(c) for c in ("loss_usd", "lower_usd", "upper_usd")),
    )


def _left_out(reason: str, rows: pl.DataFrame) -> Skipped:
    about = f"{rows['requests'].sum()} decisions, {rows['billed'].sum() / NANO:.2f} USD"
    log_next = _LOG_NEXT.get(reason, "a plain, short name")
    return Skipped(name="billed_cost", segment=WHOLE, about=about, reason=reason, log_next=log_next)
