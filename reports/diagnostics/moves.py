"""What every detector shares: the moves between arms that it may question, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import polars as pl

from ...estimators.gains import Total, total_gain
from ...schemas.records import QUANTITIES, Estimates, Grade, Price, Prices

Row = dict[str, Any]
Key = tuple[str, str, str]
Direction = Literal["over", "under"]

MATERIALITY_SHARE: Final = 0.01
"""Share of what the moved decisions cost below which a gain is not worth a finding (METHODS H)."""
WHOLE: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a detector needs to know beyond the estimates.

    segment_keys: columns in order of preference for slicing; fixed before any gain is seen.
    """

    level: float
    segment_keys: tuple[str, ...] = ()
    materiality_share: float = MATERIALITY_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a failure mode is about: where it can happen and how to talk about it.

    change: what to do, with {where}, {source} and {target}. to_log: what makes it visible. claim: what is
    said of the dollars, with those, {count} and {verb}; verbs: for found, inconclusive and none found.
    """

    mode: str
    layer: str
    decision_point: str
    change: str
    to_log: str
    claim: str = "In {where}, taking {target} instead of {source} in {count} decisions {verb}"
    verbs: tuple[str, str, str] = ("would gain", "may gain", "shows no material gain:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Decisions in `segment` that took `source` would take `target` instead."""

    segment: str
    action: str
    baseline: str
    direction: Direction

    @property
    def source(self) -> str:
        """The arm that was taken."""
        return self.action if self.direction == "over" else self.baseline

    @property
    def target(self) -> str:
        """The arm to take instead."""
        return self.baseline if self.direction == "over" else self.action

    @property
    def key(self) -> Key:
        """Segment, action, baseline: where the estimates of this move stand."""
        return self.segment, self.action, self.baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """usd: what a gain would be more if risk cost its worst case and not its mean. told: how bad that is."""

    usd: float
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A move in one segment before multiplicity: the gain to be tested, or why there is none to test.

    advice: what to do about a missing gain. absent: the logs do not hold the decision point at all.
    note: what is said behind the dollars. doubt: why they are not a finding, however large.
    """

    question: Question
    move: Move | None
    gain: Total | None
    materiality_usd: float = 0.0
    grade: Grade = "N"
    n: int = 0
    clusters: int = 0
    break_even: Price | None = None
    reason: str | None = None
    advice: str = ""
    absent: bool = False
    worst_case: WorstCase | None = None
    note: str = ""
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """The estimates of one decision point, looked up by segment, action and baseline."""

    contrasts: pl.DataFrame
    net: dict[Key, Row]
    joint: dict[Key, Row]
    gains: pl.DataFrame
    break_evens: dict[Key, Price]
    coverage: pl.DataFrame
    key_rank: dict[str, tuple[int, int, str]]


def candidates(
    est: Estimates,
    prices: Prices,
    context: Context,
    *,
    question: Question,
    wanted: Callable[[Move, float | None], bool],
) -> tuple[Candidate, ...]:
    """One candidate per wanted move and segment, or one that says why there is none.

    wanted: given the move and the extra cost of action over baseline (None when not identified).
    """
    evidence = _evidence(est, prices, context, question)
    if evidence.coverage.is_empty():
        reason = f"the logs hold no {question.layer} decisions of the kind '{question.decision_point}'"
        return (_nothing(question, reason, absent=True),)
    found = [
        _candidate(question, move, evidence, prices, context)
        for move in _moves(evidence)
        if wanted(move, _extra_cost(evidence, move))
    ]
    if found:
        return tuple(found)
    reasons = evidence.coverage["reason"].drop_nulls().unique(maintain_order=True).to_list()
    why = "; ".join(reasons) or "the arms that this check compares are not in the logs"
    return (_nothing(question, why, absent=False),)


def _nothing(question: Question, reason: str, *, absent: bool) -> Candidate:
    advice = f"log {question.to_log}"
    return Candidate(question=question, move=None, gain=None, reason=reason, advice=advice, absent=absent)


def _evidence(est: Estimates, prices: Prices, context: Context, question: Question) -> _Evidence:
    place = (question.layer, question.decision_point)
    here = (pl.col("layer") == place[0]) & (pl.col("decision_point") == place[1])
    contrasts = est.contrasts.filter(here)
    net = contrasts.filter(pl.col("quantity") == "net").unique(
        ["segment", "action", "baseline"], keep="first", maintain_order=True
    )
    return _Evidence(
        contrasts=contrasts,
        net={_key(row): row for row in net.to_dicts()},
        joint={_key(row): row for row in est.joint.filter(here).to_dicts()},
        gains=est.gains.filter(here),
        break_evens={
            (p.segment, str(p.action), str(p.baseline)): p
            for p in prices.named("break_even_task_value")
            if (p.layer, p.decision_point) == place
        },
        coverage=est.coverage.filter(here),
        key_rank=_key_rank(est.contrasts, context),
    )


def _key(row: Row) -> Key:
    return row["segment"], row["action"], row["baseline"]


def _key_rank(contrasts: pl.DataFrame, context: Context) -> dict[str, tuple[int, int, str]]:
    """Segment column -> rank; a column that few decision points have says more about them, so it leads."""
    sliced = contrasts.filter(pl.col("segment") != WHOLE).select(
        pl.col("segment").str.splitn("=", 2).struct.field("field_0").alias("key"), "layer", "decision_point"
    )
    spread = dict(sliced.unique().group_by("key").len().iter_rows())
    order = {key: i for i, key in enumerate(context.segment_keys)}
    return {key: (count, order.get(key, len(order)), key) for key, count in spread.items()}


def _moves(evidence: _Evidence) -> Iterator[Move]:
    pairs = evidence.contrasts.select("action", "baseline").unique().sort("action", "baseline")
    directions: tuple[Direction, ...] = ("over", "under")
    for action, baseline in pairs.iter_rows():
        for segment in _partition(evidence, action, baseline):
            for direction in directions:
                yield Move(segment=segment, action=action, baseline=baseline, direction=direction)


def _partition(evidence: _Evidence, action: str, baseline: str) -> list[str]:
    """The segments of one slicing, so that no decision is in two: the first column with a usable slice."""
    segments = sorted(s for s, a, b in evidence.net if (a, b) == (action, baseline))
    usable = {s for s, a, b in evidence.joint if (a, b) == (action, baseline)}
    keys = sorted({s.split("=", 1)[0] for s in segments if s != WHOLE}, key=lambda k: evidence.key_rank[k])
    for key in keys:
        slices = [s for s in segments if s.startswith(f"{key}=")]
        if usable.intersection(slices):
            return slices
    return [WHOLE] if WHOLE in segments else segments


def _extra_cost(evidence: _Evidence, move: Move) -> float | None:
    """Cost of action over baseline, over all segments when it is known there."""
    for segment in (WHOLE, move.segment):
        row = evidence.joint.get((segment, move.action, move.baseline))
        cost = row["theta"][1] if row is not None else None
        if cost is not None and cost == cost:
            return float(cost)
    return None


def _candidate(
    question: Question, move: Move, evidence: _Evidence, prices: Prices, context: Context
) -> Candidate:
    mine = evidence.gains.filter(
        segment=move.segment, action=move.action, baseline=move.baseline, direction=move.direction
    )
    gain = total_gain(mine, level=context.level)
    joint, net = evidence.joint.get(move.key), evidence.net[move.key]
    known = joint if joint is not None else net
    per_decision = _spend_per_decision(evidence.coverage)
    return Candidate(
        question=question,
        move=move,
        gain=gain,
        materiality_usd=context.materiality_share * per_decision * gain.decisions if gain else 0.0,
        grade=cast(Grade, known["grade"]),
        n=known["n"],
        clusters=known["clusters"],
        break_even=evidence.break_evens.get(move.key),
        reason=None if gain else _why_no_gain(move, evidence, mine),
        advice="" if gain else _advice(question, move, evidence, prices),
    )


def _why_no_gain(move: Move, evidence: _Evidence, gains: pl.DataFrame) -> str:
    net = evidence.net[move.key]
    if gains.height:
        return "all moved decisions share one cluster, so the gain has no interval"
    if net["value"] is not None:
        return f"too few decisions that took {move.target} resemble those that took {move.source}"
    reason = net["reason"] or "the net value is not identified"
    price = evidence.break_evens.get(move.key)
    if price is None:
        return reason
    if price.value is None:
        return f"{reason}; break-even V* unknown: {price.reason}"
    return f"{reason}; break-even V* = {price.value:.4g} [{price.lower:.4g}, {price.upper:.4g}] USD/task"


def _advice(question: Question, move: Move, evidence: _Evidence, prices: Prices) -> str:
    joint, net = evidence.joint.get(move.key), evidence.net[move.key]
    if joint is None:
        return f"log {question.to_log}"
    if net["value"] is not None:
        return f"randomise a small share of the choices between {move.source} and {move.target}"
    priced = (True, True, *(_is_priced(prices, name) for name in ("latency_price", "risk_price")))
    known = [theta == theta for theta in joint["theta"]]
    missing = [q for q, needed, ok in zip(QUANTITIES, priced, known, strict=True) if needed and not ok]
    if missing:
        return f"log {' and '.join(missing)} for every decision"
    return "set a task value V in the configuration, and compare it with V*"


def _is_priced(prices: Prices, name: str) -> bool:
    return any(p.value for p in prices.named(name))


def _spend_per_decision(coverage: pl.DataFrame) -> float:
    priced = float((coverage["decisions"] - coverage["unpriced_decisions"]).sum())
    return float(coverage["spend_usd"].sum()) / priced if priced > 0 else 0.0
