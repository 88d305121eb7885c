"""Serving congestion: long contexts made all others wait, and nobody was charged for it (Table 2, row 5)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Question
from .savings import from_savings

MATERIALITY_SHARE: Final = 0.1
"""Share of what long contexts paid themselves below which what they impose is not a finding (METHODS H5)."""

QUESTION: Final = Question(
    mode="serving_congestion",
    layer="serving",
    decision_point="admit",
    change="charge {where} for the waiting of others, or serve them apart",
    to_log="arrival, tokens, replica, queue and latency of every request, and the steps of the engine",
    claim="In {where}, {count} requests {verb}",
    verbs=(
        "imposed waiting on all others, uncharged, of",
        "may have imposed waiting on all others, uncharged, of",
        "imposed no material waiting on all others:",
    ),
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """What long contexts imposed on all others, found only where the fingerprint test supports it too."""
    return from_savings(est, prices, context, question=QUESTION, materiality_share=MATERIALITY_SHARE)
