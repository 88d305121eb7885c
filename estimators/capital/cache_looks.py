"""Cache entries as they were reused: at which age each was looked at, and whether it was still good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ..problem import problems
from .hazard import Looks
from .records import bounded, check_at_least

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS: Final = ("semantic", "response", "memory")
"""Kinds of hit whose entries can go bad; a prefix is exact for as long as it is held."""
BAD_BELOW: Final = 0.5
"""A reuse of lower quality, or with an incident, is bad."""
RECOMPUTE: Final = "recompute"
_SHORTEST_H: Final = 1.0 / 3600.0
"""A gap in hours: two looks within a second are one second apart."""
_NO_ENTRY: Final = (
    "source_request_id is not logged, so which entry was reused, and for how long it had stayed good, is "
    "unknown: log the request that wrote the entry"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLooks:
    """The looks at entries of one kind. age_h: (n,) hours at the look. entries: how many were reused.
    hours: entry-hours seen good, up to each last look. bad: how many were seen to have gone bad. faults,
    checked: recomputed answers that were bad, and all whose quality is known. note: what was left out."""

    looks: Looks
    age_h: Array
    entries: int
    hours: float
    bad: int
    faults: int
    checked: int
    note: str


def read_looks(frame: pl.DataFrame, config: Config, *, seed: int) -> dict[str, EntryLooks | str]:
    """Per kind of hit in the log its looks, or what the log lacks.

    A reuse looks at its entry: at cache_age_s it was still good, or the reuse was bad. After its first bad
    reuse an entry is gone. Reuses of unknown quality say nothing. Recomputed answers show how often an answer
    is bad at any age. Gaps add up to the age, so a log that keeps only some good looks has the same hours.

    Raises: SchemaError for a negative age.
    """
    check_at_least(frame, "cache_age_s", 0.0)
    if "cache_hit_kind" not in frame.columns:
        return {}
    hits = frame.filter(pl.col("cache_hit_kind").is_in(KINDS))
    if hits.is_empty():
        return {}
    whole = next(problems(hits.with_columns(layer=pl.lit("serving"), decision_point=pl.lit("reuse")), config))
    held = whole.frame.with_columns(_cluster=pl.Series(whole.cluster), _bad=_bad())
    return {
        kind: _of_kind(held.filter(pl.col("cache_hit_kind") == kind), seed)
        for kind in sorted(held["cache_hit_kind"].unique())
    }


def _bad() -> pl.Expr:
    quality, hurt = pl.col("quality").cast(pl.Float64), pl.col("incident").cast(pl.Boolean)
    judged = (quality < BAD_BELOW) | hurt.fill_null(value=False)
    return pl.when(quality.is_not_null()).then(judged).otherwise(hurt)


def _of_kind(rows: pl.DataFrame, seed: int) -> EntryLooks | str:
    reused = rows.filter(pl.col("action") != RECOMPUTE)
    if reused["source_request_id"].null_count() == reused.height:
        return _NO_ENTRY
    if reused["cache_age_s"].null_count() == reused.height:
        return "cache_age_s is not logged: log the age of the reused entry"
    if reused["_bad"].null_count() == reused.height:
        return "no reuse has a quality or an incident flag: link outcomes to the requests that were served"
    needed = ["source_request_id", "cache_age_s", "_bad"]
    known, sampled = bounded(reused.drop_nulls(needed), "source_request_id", seed=seed)
    if known.is_empty():
        return "no reuse has a source_request_id, an age and a quality together"
    gaps = _gaps(known)
    left = reused.height - reused.drop_nulls(needed).height
    note = sampled + (f"; {left:,} reuses without entry, age or quality left out" if left else "")
    return _looks(gaps, rows.filter(pl.col("action") == RECOMPUTE).drop_nulls("_bad"), note)


def _gaps(known: pl.DataFrame) -> pl.DataFrame:
    """One row per look up to the first bad one of each entry: hours since the look before, or the writing."""
    entry = "source_request_id"
    ordered = known.with_columns(age=pl.col("cache_age_s").cast(pl.Float64) / 3600.0).sort(
        entry, "age", "_bad", "decision_id"
    )
    gone = pl.col("_bad").cast(pl.Int64).cum_sum().over(entry) - pl.col("_bad").cast(pl.Int64)
    before = pl.col("age").shift(1).over(entry).fill_null(0.0)
    return ordered.with_columns(gap=pl.col("age") - before).filter(gone == 0)


def _looks(gaps: pl.DataFrame, recomputed: pl.DataFrame, note: str) -> EntryLooks:
    codes, cluster = np.unique(
        np.concatenate([gaps["_cluster"].to_numpy(), recomputed["_cluster"].to_numpy()]), return_inverse=True
    )
    bad, fault = gaps["_bad"].to_numpy().astype(float), recomputed["_bad"].to_numpy().astype(float)
    background, shifted = _background(fault, cluster[gaps.height :], codes.size)
    gap = np.maximum(gaps["gap"].to_numpy(), _SHORTEST_H)
    return EntryLooks(
        looks=Looks(
            bad=bad,
            gap=gap,
            design=np.ones((gaps.height, 1)),
            cluster=cluster[: gaps.height].astype(np.int64),
            clusters=codes.size,
            background=background,
            shifted=shifted,
        ),
        age_h=gaps["age"].to_numpy(),
        entries=gaps["source_request_id"].n_unique(),
        hours=float(gap.sum()),
        bad=int(bad.sum()),
        faults=int(fault.sum()),
        checked=recomputed.height,
        note=note,
    )


def _background(fault: Array, cluster: Ints, clusters: int) -> tuple[float, Array | None]:
    """Share of recomputed answers that are bad, and the same without each cluster in turn."""
    if fault.size == 0:
        return 0.0, None
    bad = np.bincount(cluster, weights=fault, minlength=clusters)
    count = np.bincount(cluster, minlength=clusters)
    rest = fault.size - count
    share = float(fault.mean())
    return share, np.where(rest > 0, (fault.sum() - bad) / np.maximum(rest, 1), share)
