"""What dropping the kept rollouts of each lag would have saved: their cost less what they taught."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from ...errors import SchemaError
from ...schemas.records import SAVINGS
from ..problem import check_frame
from ..scores import MIN_ARM
from .records import STALENESS
from .staleness import MIN_UPDATES, NO_COST
from .traces import SIGNAL_OF, UPDATE, cost_of_keeping, read_rollouts

LAG_EDGES: Final = (0, 2, 4, 8, 16)
"""First lag of each bin, in versions; doubling, and fixed before any signal is seen."""
MAX_CLUSTERS: Final = 200
"""Blocks of consecutive updates that the updates of a long training are put into."""
_NO_VALUE: Final = (
    "what a unit of learning signal is worth is not set: set prices.learning_signal, such as '0.5 USD/signal'"
)
_METHOD: Final = "cost less mean measured signal of the kept rollouts of a lag, clustered by update"


def lag_labels() -> tuple[str, ...]:
    """The segments, one per bin of lags.

    >>> lag_labels()[-2:]
    ('version_lag=8-15', 'version_lag=16+')
    """
    ends = [f"-{high - 1}" for high in LAG_EDGES[1:]]
    return tuple(f"version_lag={low}{end}" for low, end in zip(LAG_EDGES, [*ends, "+"], strict=True))


def stale_savings(
    decisions: pl.DataFrame,
    *,
    outcomes: pl.DataFrame | None = None,
    signal_usd: float | None = None,
    keep_usd: float | None = None,
) -> pl.DataFrame:
    """Rows of SAVINGS: per bin of lags and update the USD that dropping its kept rollouts would have saved.

    Sum over kept rollouts of keep_usd - signal_usd E[signal], where E is the mean of the measured signals of
    the bin and the number of kept rollouts is fixed. signal_usd: USD per unit of signal; keep_usd: USD per
    rollout, else the logged cost of keeping one. decisions, outcomes: as in `staleness_prices`. Those kept
    without a measured signal are taken to teach what the measured ones of their lag do. Refused in one row
    without signals or either price, and per bin with fewer than 30 signals or MIN_UPDATES updates; a bin in
    which nothing was kept has no row.

    Raises: SchemaError for a frame that is not in the layout, or a value or cost that is not positive.
    Source: METHODS H6, G3.
    """
    check_frame(decisions)
    for name, usd in (("signal_usd", signal_usd), ("keep_usd", keep_usd)):
        if usd is not None and not 0.0 < usd < np.inf:
            raise SchemaError(f"{name} is {usd}", where="stale rollouts", expected="positive USD")
    rollouts = read_rollouts(decisions, outcomes)
    if isinstance(rollouts, str):
        return _frame([_row(reason=rollouts)])
    cost = keep_usd if keep_usd is not None else cost_of_keeping(rollouts)
    if signal_usd is None:
        return _frame([_row(reason=_NO_VALUE)])
    if cost is None or cost <= 0.0:
        return _frame([_row(reason=NO_COST)])
    kept = _kept(rollouts)
    if kept.is_empty():
        return _frame([_row(reason="no rollout is logged as kept")])
    worth = (cost - signal_usd * pl.col(SIGNAL_OF)).alias("_saved")
    parts = [part for _, part in kept.with_columns(worth).group_by("_bin", maintain_order=True)]
    trained = float(kept["_weight"].sum())
    return pl.concat(
        _of_bin(part, cost, trained) for part in sorted(parts, key=lambda part: int(part["_bin"][0]))
    )


def _kept(rollouts: pl.DataFrame) -> pl.DataFrame:
    """The kept rollouts with bin, weight and block of updates."""
    logged = pl.col("kept") if "kept" in rollouts.columns else pl.lit(None, dtype=pl.Boolean)
    weight = 1.0 / pl.col("keep_prob").fill_null(1.0) if "keep_prob" in rollouts.columns else pl.lit(1.0)
    first = pl.col("ts").min().over(UPDATE) if "ts" in rollouts.columns else pl.lit(0)
    order = rollouts.select(UPDATE, first.alias("first")).unique().sort("first", UPDATE)
    blocks = min(order.height, MAX_CLUSTERS)
    placed = order.select(UPDATE, _block=pl.int_range(pl.len()) * blocks // order.height)
    return (
        rollouts.join(placed, on=UPDATE, how="left", maintain_order="left")
        .filter(pl.coalesce(logged, pl.col("action") == "keep"))
        .with_columns(
            _weight=weight,
            _bin=pl.sum_horizontal(pl.col("version_lag") >= low for low in LAG_EDGES[1:]).cast(pl.Int64),
        )
    )


def _of_bin(part: pl.DataFrame, cost: float, trained: float) -> pl.DataFrame:
    segment = lag_labels()[int(part["_bin"][0])]
    seen = part.drop_nulls("_saved")
    few = _few(seen)
    if few is not None:
        return _frame([_row(segment=segment, n=seen.height, reason=few)])
    count, known = float(part["_weight"].sum()), float(seen["_weight"].sum())
    per_seen = count / known
    sums = seen.group_by("_block").agg(
        usd=(pl.col("_weight") * pl.col("_saved")).sum() * per_seen,
        decisions=pl.col("_weight").sum() * per_seen,
        n=pl.len().cast(pl.Int64),
    )
    note = f"{count / trained:.0%} of the rollouts that were trained on"
    common = _row(segment=segment, grade="C", method=_METHOD, note=note)
    rows = [
        {
            **common,
            "cluster": f"updates {block}",
            "usd": usd,
            "decisions": decisions,
            "paid_usd": cost * decisions,
            "n": n,
        }
        for block, usd, decisions, n in sums.sort("_block").iter_rows()
    ]
    return _frame(rows)


def _few(seen: pl.DataFrame) -> str | None:
    updates = seen[UPDATE].n_unique()
    if seen.height < MIN_ARM:
        return f"{seen.height} kept rollouts of this lag have a signal; {MIN_ARM} are needed"
    if updates < MIN_UPDATES:
        return f"{updates} updates have signals of this lag; {MIN_UPDATES} are needed"
    return None


def _row(**values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SAVINGS)
    row |= {"layer": STALENESS.layer, "decision_point": STALENESS.decision_point, "segment": "all"}
    row |= {"action": "keep", "baseline": "drop", "direction": "over", "n": 0, "grade": "N"}
    return row | values


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SAVINGS, orient="row")
