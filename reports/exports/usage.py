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
_LOG_COST: Final = "the cost of every call, as the provider or the gateway counted it"


def usage_rows(
    decisions: pl.LazyFrame, ledger: pl.LazyFrame, losses: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[Skipped, ...]]:
    """Rows by day, layer, decision point, model and segment, and what is left out of them.

    billed: int64 nano-USD that the logs state. Costs that ingest priced from a list were never billed, and
    decisions without a time belong to no day: both are listed with their sum. Slices by tenant or session
    are not named. loss_usd, lower_usd, upper_usd: sums over the decisions with a certain loss, null if none.
    """
    segment = pl.col("segment").fill_null(WHOLE)
    personal = pl.any_horizontal(segment.str.starts_with(head) for head in _PERSONAL)
    segments = ledger.select("decision_id", "segment").unique(
        "decision_id", keep="first", maintain_order=True
    )
    rows = (
        decisions.filter(pl.col("cost_usd").is_not_null())
        .select(
            "decision_id",
            "layer",
            "decision_point",
            "cost_source",
            pl.col("ts").dt.date().alias("day"),
            pl.coalesce("action_executed", "action").alias("model"),
            (pl.col("cost_usd") * NANO).round().cast(pl.Int64).alias("billed"),
            pl.sum_horizontal(pl.col(c).fill_null(0) for c in _TOKENS).alias("tokens"),
        )
        .join(segments, on="decision_id", how="left")
        .with_columns(segment=pl.when(personal).then(pl.lit(WHOLE)).otherwise(segment))
        .join(
            losses.lazy().select("decision_id", "mode", "loss_usd", "lower_usd", "upper_usd", "grade"),
            on="decision_id",
            how="left",
        )
        .collect()
    )
    priced = rows["cost_source"].fill_null("logged") != "logged"
    names = {m: fault for m in rows["model"].unique().drop_nulls() if (fault := unspeakable(m))}
    hostile = rows["model"].is_in(list(names)).fill_null(value=False)
    undated = rows["day"].is_null()
    left = [
        ("priced from a list by ingest, never billed", _LOG_COST, priced),
        ("no time, so no day to bill it to", "ts", undated & ~priced),
        (
            "its name holds hidden characters or is too long",
            "a plain, short name",
            hostile & ~priced & ~undated,
        ),
    ]
    kept = rows.filter(~(priced | undated | hostile))
    return _summed(kept), tuple(_left_out(rows.filter(m), why, what) for why, what, m in left if m.any())


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    worst = pl.col("grade").drop_nulls().max()
    by_loss = pl.col("mode").sort_by("loss_usd", descending=True, nulls_last=True).first()
    lost = pl.col("loss_usd").is_not_null().any()
    sums = [pl.when(lost).then(pl.col(c).sum()).alias(c) for c in ("loss_usd", "lower_usd", "upper_usd")]
    summed = rows.group_by(_KEY).agg(
        pl.len().alias("requests"),
        pl.col("tokens").sum(),
        pl.col("billed").sum(),
        by_loss.alias("mode"),
        worst.alias("grade"),
        *sums,
    )
    return summed.sort(_KEY, nulls_last=True)


def _left_out(rows: pl.DataFrame, reason: str, log_next: str) -> Skipped:
    cost = rows["billed"].sum() / NANO
    about = f"{rows.height} decisions, {cost:.2f} USD"
    return Skipped(name="billed_cost", segment=WHOLE, about=about, reason=reason, log_next=log_next)
