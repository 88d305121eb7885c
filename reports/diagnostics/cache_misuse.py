"""Cache misuse: an answer was reused where recomputing it is worth the tokens (Table 2, row 7)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Move, Question, candidates

_REUSE: Final = "reuse"

QUESTION: Final = Question(
    mode="cache_misuse",
    layer="serving",
    decision_point="reuse",
    change="{target} instead of {source} for {where}",
    to_log="every lookup that could have been reused, its similarity and age, what was done, and the outcome",
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The moves from reusing a cached answer to computing it afresh, with what they would gain."""

    def to_recompute(move: Move, extra_cost: float | None) -> bool:
        del extra_cost
        return move.source == _REUSE != move.target

    return candidates(est, prices, context, question=QUESTION, wanted=to_recompute)
