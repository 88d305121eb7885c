"""Over-delegation: the agent acted alone where asking first is worth what it costs (Table 2, row 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ...estimators.prices.autonomy import CONFIRMING
from ...schemas.records import Estimates, Price, Prices
from .moves import WHOLE, Candidate, Context, Move, Question, WorstCase, candidates

_ACT: Final = "act"
_CLASS: Final = "action_class="
_EVENT: Final = "USD/event"

QUESTION: Final = Question(
    mode="over_delegation",
    layer="agent",
    decision_point="delegate",
    change="{target} before acting for {where}",
    to_log="every act that a person could have been asked about, whether one was, its class and its outcome",
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The moves from acting alone to asking first: what they would gain at the mean risk, and at the worst.

    The gain prices risk as the run does; the second number prices it at its Knightian worst case, so that a
    tail which the mean does not carry is named (METHODS H3). To ask where acting alone is worth more is no
    over-delegation.
    """

    def to_asking(move: Move, extra_cost: float | None) -> bool:
        del extra_cost
        return move.source == _ACT and move.target in CONFIRMING

    found = candidates(est, prices, context, question=QUESTION, wanted=to_asking)
    return tuple(replace(c, worst_case=_worst_case(c, est, prices)) for c in found)


def _worst_case(c: Candidate, est: Estimates, prices: Prices) -> WorstCase | None:
    """What the gain would be more if each event cost its worst case; None where that is not known.

    The moved decisions are taken to change risk as the contrast says on average.
    """
    if c.gain is None or c.move is None:
        return None
    rows = est.joint.filter(
        layer=QUESTION.layer,
        decision_point=QUESTION.decision_point,
        segment=c.move.segment,
        action=c.move.action,
        baseline=c.move.baseline,
    )
    avoided = float(rows["theta"][0][3]) if rows.height else float("nan")
    avoided = avoided if c.move.direction == "over" else -avoided
    extra = _extra_price(prices, c.move.segment)
    if avoided != avoided or extra is None:
        return None
    usd, told = extra
    return WorstCase(usd=usd * avoided * c.gain.decisions, told=told)


def _extra_price(prices: Prices, segment: str) -> tuple[float, str] | None:
    """USD by which the worst case of an event exceeds what the sum prices it at, and what that worst case is.

    The price that is set times the Knightian load; without one, the books' own worst case of an event.
    """
    segment = segment if segment.startswith(_CLASS) else WHOLE
    stated = next((p for p in prices.named("risk_price") if p.value is not None), None)
    if stated is not None and stated.value is not None:
        load = _at_worst(prices.named("knightian_load"), segment)
        if load is None:
            return None
        return stated.value * (load - 1.0), f"{load:.3g} times {stated.symbol}"
    worst = _at_worst(prices.named("accounting_risk_price_knightian"), segment)
    return None if worst is None else (worst, f"{worst:.4g} {_EVENT}")


def _at_worst(found: tuple[Price, ...], segment: str) -> float | None:
    """The upper end of the price of this point and segment."""
    here = [
        p.upper
        for p in found
        if (p.layer, p.decision_point, p.segment) == (QUESTION.layer, QUESTION.decision_point, segment)
    ]
    return here[0] if here else None
