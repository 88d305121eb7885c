"""Over-routing: a dearer model was chosen where a cheaper one is worth more (Table 2, row 1)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Move, Question, candidates

QUESTION: Final = Question(
    mode="over_routing",
    layer="router",
    decision_point="model",
    change="route {where} to {target} instead of {source}",
    to_log="the chosen model, the candidates and the probability of each, its cost, and a quality outcome",
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The moves from each dearer model to a cheaper one, with what they would gain."""

    def to_cheaper(move: Move, extra_cost: float | None) -> bool:
        cheaper: str = "over" if extra_cost is None or extra_cost > 0 else "under"
        return move.direction == cheaper

    return candidates(est, prices, context, question=QUESTION, wanted=to_cheaper)
