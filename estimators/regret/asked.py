"""What is recoverable at every decision point of a log, asked for by itself or beside the estimates."""

from __future__ import annotations

from typing import Final

import polars as pl
from threadpoolctl import threadpool_limits

from ...schemas.config import Config
from ...schemas.store import Store
from ..cutoff_rule import find_rule
from ..identification import no_contrast, repeats_contexts
from ..prices.sampled import sampled_problems
from ..problem import Problem
from ..scores import Scores, score
from .choice import Choice, choice_of
from .regret import Refused, regret_frame

MOST: Final = 20_000
"""Decisions per point that are read where the log holds more; they stand for the others by weight."""


def regret(
    decisions: pl.DataFrame | pl.LazyFrame | Store, config: Config | None = None, seed: int = 0
) -> pl.DataFrame:
    """Dollars that the best use of the logged context would have gained: at least, about, and at most.

    One row per decision point and one for all of them (layer 'all'), columns as `Estimates.regret` has them,
    dollars over the window of the logs. lower_usd: one-sided 95 % limit of what policies gain that were
    learned from earlier clusters and judged on later ones, and so of what the best policy gains; it may be
    below 0. value_usd: the cross-fitted gain of such policies. upper_usd: one-sided 95 % limit for the best
    policy that tells decisions apart by groups of like predicted gain, of each action; finer policies may
    exceed it, and what is best for a decision after the fact is not identified. Each point is changed on its
    own, everything else as logged.

    A value is None, with the reason, without a task value, with one action, where a rule chose, and with too
    few clusters or blocks. Above MOST decisions per point whole sessions are sampled.

    Raises: SchemaError for a frame that is not in the layout.
    Source: METHODS H; Luedtke & van der Laan 2016, Annals of Statistics 44; Athey & Wager 2021.
    """
    config = config or Config()
    with threadpool_limits(limits=1):  # small problems: threads inside one wait longer than they work
        found = [
            asked(problem, None, config, seed=seed)
            for problem in sampled_problems(decisions, config, seed=seed, most=MOST)
        ]
        return regret_frame(found)


def asked(problem: Problem, scores: Scores | None, config: Config, *, seed: int) -> Choice | Refused:
    """The choice at one decision point, or why it has none. scores: those of `problem`, if already made."""
    reason = _unscorable(problem)
    if reason is None:
        found = choice_of(scores or score(problem, seed=seed), config, seed=seed)
        if isinstance(found, Choice):
            return found
        reason = found
    return Refused(
        layer=problem.layer,
        decision_point=problem.decision_point,
        n=problem.n,
        decisions=float(problem.weight.sum()),
        reason=reason,
    )


def _unscorable(problem: Problem) -> str | None:
    blocked = no_contrast(problem)
    if blocked is not None:
        return blocked
    if find_rule(problem) is not None:
        return "a rule makes the choice, so only decisions at its border could have gone otherwise"
    if repeats_contexts(problem):
        return "actions are compared within repeated contexts, so there is no prediction per decision"
    return None
