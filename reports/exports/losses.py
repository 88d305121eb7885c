"""What each decision lost against the better of its alternatives, read off the ledger."""

from __future__ import annotations

from typing import Final

import polars as pl

LOSSES: Final = {
    "decision_id": pl.String,
    "request_id": pl.String,
    "layer": pl.String,
    "decision_point": pl.String,
    "taken": pl.String,
    "better": pl.String,
    "mode": pl.String,
    "loss_usd": pl.Float64,
    "lower_usd": pl.Float64,
    "upper_usd": pl.Float64,
    "grade": pl.String,
    "segment": pl.String,
}
_IDENTIFIED: Final = ("A", "B", "C")


def decision_losses(ledger: pl.LazyFrame, decisions: pl.LazyFrame) -> pl.DataFrame:
    """One row per decision that lost money for certain: the interval of its loss lies above 0.

    loss_usd: net marginal value, in USD, of the alternative over what was taken. Of several alternatives the
    one with the largest lower end speaks. Decisions of grade D or N, or whose interval covers 0, have no row.
    """
    taken = decisions.select("decision_id", taken="action")
    known = ledger.filter(pl.col("nmv").is_not_null() & pl.col("grade").is_in(_IDENTIFIED)).join(
        taken, on="decision_id", how="inner"
    )
    reverse = known.filter(pl.col("action") == pl.col("taken")).with_columns(
        better="baseline",
        loss_usd=-pl.col("nmv"),
        lower_usd=-pl.col("nmv_upper"),
        upper_usd=-pl.col("nmv_lower"),
        extra_cost=-pl.col("dc"),
    )
    forward = known.filter(pl.col("baseline") == pl.col("taken")).with_columns(
        better="action", loss_usd="nmv", lower_usd="nmv_lower", upper_usd="nmv_upper", extra_cost="dc"
    )
    both = pl.concat([reverse, forward]).filter(pl.col("lower_usd") > 0)
    best = both.sort("decision_id", "lower_usd", "better", descending=[False, True, False]).unique(
        "decision_id", keep="first", maintain_order=True
    )
    return best.with_columns(mode=_mode()).select(LOSSES.keys()).sort("decision_id").collect()


def _mode() -> pl.Expr:
    """The failure mode by name, as the findings call it; 'other' where no detector has one."""
    at = pl.concat_str("layer", "decision_point", separator=".")
    return (
        pl.when((at == "router.model") & (pl.col("extra_cost") < 0))
        .then(pl.lit("over_routing"))
        .when(at == "router.model")
        .then(pl.lit("under_routing"))
        .when((at == "agent.verify") & (pl.col("taken") == "skip"))
        .then(pl.lit("under_verification"))
        .when((at == "serving.reuse") & (pl.col("taken") == "reuse"))
        .then(pl.lit("cache_misuse"))
        .otherwise(pl.lit("other"))
    )
