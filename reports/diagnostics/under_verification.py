"""Under-verification: a check was skipped where it is worth its tokens (Table 2, row 4)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Move, Question, candidates

_SKIP: Final = "skip"

QUESTION: Final = Question(
    mode="under_verification",
    layer="agent",
    decision_point="verify",
    change="verify {where} ({target} instead of {source})",
    to_log="every chance to verify, also when it was skipped, the state that the agent saw, and the outcome",
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The moves from skipping a verification to doing it, with what they would gain."""

    def to_verify(move: Move, extra_cost: float | None) -> bool:
        del extra_cost
        return move.source == _SKIP != move.target

    return candidates(est, prices, context, question=QUESTION, wanted=to_verify)
