"""What detectors of failures without a contrast share: dollars that the prices found, segment by segment."""

from __future__ import annotations

from typing import Final, cast

import polars as pl

from ...estimators.gains import total_gain
from ...schemas.records import Estimates, Grade, Prices
from .moves import Candidate, Context, Move, Question

_ONE_CLUSTER: Final = "all decisions share one cluster, so the dollars have no interval"
_SET: Final = "set prices."
"""A reason that names the price to set needs no other advice."""
_NOT_FITTED: Final = "the prices were not fitted to the decisions"


def from_savings(
    est: Estimates,
    prices: Prices,
    context: Context,
    *,
    question: Question,
    materiality_share: float,
) -> tuple[Candidate, ...]:
    """One candidate per segment of Prices.savings at the question's place, or one that says why not.

    materiality_share: of what the decisions cost, below which a saving is not worth a finding.
    """
    here = (pl.col("layer") == question.layer) & (pl.col("decision_point") == question.decision_point)
    rows = prices.savings.filter(here)
    if est.coverage.filter(here).is_empty() and rows["usd"].null_count() == rows.height:
        reason = f"the logs hold no {question.layer} decisions of the kind '{question.decision_point}'"
        return (_nothing(question, reason, absent=True),)
    if rows.is_empty():
        return (_nothing(question, _NOT_FITTED),)
    segments = rows["segment"].unique(maintain_order=True)
    return tuple(
        _candidate(question, rows.filter(segment=s), context, materiality_share) for s in segments.to_list()
    )


def _nothing(question: Question, reason: str, *, absent: bool = False) -> Candidate:
    advice = f"log {question.to_log}"
    return Candidate(question=question, move=None, gain=None, reason=reason, advice=advice, absent=absent)


def _candidate(question: Question, rows: pl.DataFrame, context: Context, share: float) -> Candidate:
    first = rows.row(0, named=True)
    dollars = rows.drop_nulls("usd")
    gain = total_gain(dollars, level=context.level)
    reason = None if gain else first["reason"] or _ONE_CLUSTER
    return Candidate(
        question=question,
        move=Move(
            segment=first["segment"],
            action=first["action"],
            baseline=first["baseline"],
            direction="over" if first["direction"] == "over" else "under",
        ),
        gain=gain,
        materiality_usd=share * float(dollars["paid_usd"].sum()),
        grade=cast(Grade, first["grade"]),
        n=int(rows["n"].sum()),
        clusters=gain.clusters if gain else dollars["cluster"].n_unique(),
        reason=reason,
        advice="" if reason is None or _SET in reason else f"log {question.to_log}",
        note=first["note"] or "",
        doubt=first["doubt"],
    )
