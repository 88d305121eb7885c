"""Stale rollouts: traces were trained on that taught less than training on them cost (Table 2, row 6)."""

from __future__ import annotations

from typing import Final

from ...schemas.records import Estimates, Prices
from .moves import Candidate, Context, Question
from .savings import from_savings

QUESTION: Final = Question(
    mode="stale_rollouts",
    layer="training",
    decision_point="keep",
    change="{target} rollouts of {where} and do not {source} them",
    to_log="version_lag, update_id and learning_signal of every rollout, and whether it was kept",
    claim="In {where}, dropping {count} kept rollouts {verb}",
    verbs=("would have saved", "may have saved", "would have saved no material amount:"),
)


def detect(est: Estimates, prices: Prices, context: Context) -> tuple[Candidate, ...]:
    """The bins of lags, with what dropping their kept rollouts would have saved."""
    return from_savings(est, prices, context, question=QUESTION, materiality_share=context.materiality_share)
