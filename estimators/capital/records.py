"""The prices of this package: their names and units, fitted or refused, and frames brought to size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from ...errors import SchemaError
from ...schemas.records import Grade, Price
from ..confidence import LEVEL
from .leave_out import Span

MAX_ROWS: Final = 200_000
"""Decisions that one price is fitted to; of more, whole groups are sampled with the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a price is: its name, symbol and unit, and whose question it answers."""

    name: str
    symbol: str
    unit: str
    layer: str
    decision_point: str


THRESHOLD: Final = Kind(
    name="speculation_threshold", symbol="α*", unit="1", layer="serving", decision_point="speculate"
)
CACHE_DECAY: Final = Kind(
    name="cache_decay", symbol="δ_S", unit="1/h", layer="serving", decision_point="reuse"
)
HALF_LIFE: Final = Kind(
    name="cache_half_life", symbol="t_½", unit="h", layer="serving", decision_point="reuse"
)
PREFIX_VALUE: Final = Kind(
    name="reuse_value", symbol="s", unit="USD/token", layer="serving", decision_point="prefix"
)
HIT_VALUE: Final = Kind(
    name="reuse_value", symbol="s", unit="USD/hit", layer="serving", decision_point="reuse"
)
WRITE_VALUE: Final = Kind(
    name="cache_write_value", symbol="I*", unit="USD/entry", layer="serving", decision_point="reuse"
)
STALENESS: Final = Kind(
    name="staleness", symbol="δ", unit="1/version", layer="training", decision_point="keep"
)
STALE_LAG: Final = Kind(
    name="stale_lag", symbol="ℓ*", unit="version", layer="training", decision_point="keep"
)


def fitted(
    kind: Kind,
    found: Span,
    *,
    n: int,
    grade: Grade,
    method: str,
    segment: str = "all",
    action: str | None = None,
    baseline: str | None = None,
    reason: str | None = None,
) -> Price:
    """A price with its interval; `reason` says how to read it where it is not simply a size."""
    return Price(
        name=kind.name,
        symbol=kind.symbol,
        unit=kind.unit,
        source="fitted",
        segment=segment,
        value=found.value,
        lower=found.lower,
        upper=found.upper,
        level=LEVEL,
        layer=kind.layer,
        decision_point=kind.decision_point,
        action=action,
        baseline=baseline,
        grade=grade,
        n=n,
        clusters=found.clusters,
        method=method,
        reason=reason,
    )


def refused(
    kind: Kind, reason: str, *, segment: str = "all", n: int | None = None, method: str | None = None
) -> Price:
    """A price that the log does not support, and what to log."""
    return Price(
        name=kind.name,
        symbol=kind.symbol,
        unit=kind.unit,
        source="fitted",
        segment=segment,
        layer=kind.layer,
        decision_point=kind.decision_point,
        grade="N",
        n=n,
        method=method,
        reason=reason,
    )


def bounded(frame: pl.DataFrame, group: str, *, seed: int, limit: int = MAX_ROWS) -> tuple[pl.DataFrame, str]:
    """At most about `limit` rows, whole groups of equal `group` at a time, and what to say of it.

    Rows without a group are a group each.
    """
    if frame.height <= limit:
        return frame, ""
    lone = pl.format("row {}", pl.int_range(pl.len()))
    named = [pl.col(group).cast(pl.String)] if group in frame.columns else []
    keyed = frame.with_columns(_group=pl.coalesce(*named, lone))
    names = keyed["_group"].unique().sort()
    share = limit / frame.height
    chosen = names.filter(pl.Series(np.random.default_rng(seed).random(names.len()) < share))
    kept = keyed.filter(pl.col("_group").is_in(chosen.implode())).drop("_group")
    return (
        kept,
        f"; a sample of {kept.height:,} of {frame.height:,} rows, whole groups of {group.lstrip('_')}",
    )


def check_at_least(frame: pl.DataFrame, name: str, low: float) -> None:
    """Refuse a number below `low` or not finite.

    Raises: SchemaError naming the row, or the type of a column that holds no numbers.
    """
    if name not in frame.columns:
        return
    kind = frame[name].dtype
    if not (kind.is_numeric() or kind == pl.Null):
        raise SchemaError(f"{name} is {kind}", where="decisions", expected="a number")
    x = frame[name].cast(pl.Float64)
    bad = ((x < low) | x.is_nan() | x.is_infinite()).fill_null(value=False)
    if bad.any():
        row = int(bad.arg_true()[0])
        expected = f"a finite number of at least {low:g}, or null"
        raise SchemaError(f"{name} is {x[row]}", where=f"decisions row {row}", expected=expected)
