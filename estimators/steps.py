"""Decisions that an agent makes step by step: what it knew at each step, and what followed from there on.

'Take a at step t, then go on as logged' needs the propensity of that step alone; its outcome is the request's
final quality and everything spent from that step on: an excursion effect.

Source: Boruvka, Almirall, Witkiewitz & Murphy 2018; Qian 2025 (distal outcomes).
"""

from __future__ import annotations

from typing import Final

import polars as pl

SKIP: Final = "skip"
STEP_FEATURE: Final = "x_step"
TAKEN_FEATURE: Final = "x_taken_before"
_SPENT: Final = ("cost_usd", "latency_s")


def asked_at_each_step(rows: pl.DataFrame) -> bool:
    """Whether the log of one decision point holds a request's choices step by step, skips among them.

    A log that only shows what was done asks once per request: ingest adds the skip that left no record.
    """
    per_request = (
        rows.filter(pl.col("request_id").is_not_null())
        .group_by("request_id")
        .agg(skipped=((pl.col("action") == SKIP) & pl.col("step").is_not_null()).sum(), asked=pl.len())
    )
    return not per_request.filter((pl.col("skipped") > 0) & (pl.col("asked") > 1)).is_empty()


def with_history(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with what was known at each step besides the logged context: its position, and how often the
    question had been answered with something other than skip. Nothing that came later is used."""
    order = ["request_id", "step", "ts", "decision_id"]
    taken = (pl.col("action") != SKIP).cast(pl.Float64)
    before = (taken.cum_sum() - taken).over("request_id")
    added = [before.alias(TAKEN_FEATURE)]
    if STEP_FEATURE not in rows.columns:
        added.append(pl.col("step").cast(pl.Float64).alias(STEP_FEATURE))
    return rows.sort(order, nulls_last=True).with_columns(added)


def spent_from_here(rows: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the cost and latency of their request from their step on (cost-to-go), routers included
    where they have a step. A request with a later step of unknown cost has an unknown cost-to-go.

    frame: every decision of the log; steps of one request are compared by number.
    """
    own = frame.filter(
        pl.col("layer").is_in(["router", "agent"])
        & pl.col("request_id").is_not_null()
        & pl.col("step").is_not_null()
    )
    unpriced = (pl.col("cost_source") == "unpriced").fill_null(value=False)
    unknown = unpriced | (pl.col("cost_usd").is_null() & (pl.col("action") != SKIP))
    per_step = (
        own.group_by("request_id", "step")
        .agg(
            cost_usd=pl.col("cost_usd").sum(),
            latency_s=pl.col("latency_s").sum(),
            unknown=unknown.any(),
            priced=pl.col("cost_usd").is_not_null().any(),
            timed=pl.col("latency_s").is_not_null().any(),
        )
        .sort("request_id", "step", descending=[False, True])
        .with_columns(
            cost_usd=pl.col("cost_usd").cum_sum().over("request_id"),
            latency_s=pl.col("latency_s").cum_sum().over("request_id"),
            known=(~pl.col("unknown")).cum_min().over("request_id")
            & pl.col("priced").any().over("request_id"),
            timed=pl.col("timed").any().over("request_id"),
        )
        .select(
            "request_id",
            "step",
            cost_usd=pl.when("known").then("cost_usd"),
            latency_s=pl.when("timed").then("latency_s"),
        )
    )
    return rows.drop(_SPENT).join(per_step, on=["request_id", "step"], how="left", maintain_order="left")
