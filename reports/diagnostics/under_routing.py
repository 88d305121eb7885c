"""Under-routing: a cheaper model was chosen where a dearer one is worth its price (Table 2, row 2)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Move, Question, candidates
from .over_routing import QUESTION as OVER_ROUTING

QUESTION: Final = Question(
    mode="under_routing",
    layer=OVER_ROUTING.layer,
    decision_point=OVER_ROUTING.decision_point,
    change=OVER_ROUTING.change,
    to_log=OVER_ROUTING.to_log,
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The moves from each cheaper model to a dearer one, with what they would gain."""

    def to_dearer(move: Move, extra_cost: float | None) -> bool:
        dearer: str = "under" if extra_cost is None or extra_cost > 0 else "over"
        return move.direction == dearer

    return candidates(est, prices, context, question=QUESTION, wanted=to_dearer)
