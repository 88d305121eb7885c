"""Risk as a user asks for it: per action of one decision point, and per decision."""

from __future__ import annotations

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from ..schemas.config import Config
from ..schemas.store import Store
from .problem import check_taken, only_problem
from .risk import risk_estimates
from .risk_decisions import decision_risks
from .risk_records import RiskSettings, risk_frame
from .scores import score

Decisions = pl.DataFrame | pl.LazyFrame | Store


def risk(
    decisions: Decisions,
    baseline: str | None = None,
    *,
    settings: RiskSettings | None = None,
    config: Config | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Expected loss, CVaR, worst case and irreversible load at one decision point, in USD per decision.

    One row per measure for all logged decisions, each action class, each action, and each action against
    `baseline`; a measure that cannot be had has a reason. settings: the level of CVaR, the largest possible
    loss, the strength of a hidden cause that the worst case allows for.

    Raises: SchemaError for several decision points; ConfigError where a logged loss exceeds the cap.
    """
    problem = only_problem(decisions, config or Config())
    if baseline is not None:
        check_taken(problem, baseline)
    with threadpool_limits(limits=1):
        propensities = score(problem, seed=seed).propensities
        found = risk_estimates(
            problem, propensities, settings=settings or RiskSettings(), baseline=baseline, seed=seed
        )
    return risk_frame(found)


def decision_risk(
    decisions: Decisions,
    *,
    settings: RiskSettings | None = None,
    config: Config | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """What every decision of one decision point risks under every action, in USD: one row for each pair.

    expected; worst (its upper bound); novel: the action is new in such a situation; priced: worst where
    novel, else expected; share: of the logged decisions' CVaR. Null with a reason where the log cannot say.

    Raises: as `risk`.
    """
    problem = only_problem(decisions, config or Config())
    ids = problem.frame["decision_id"]
    with threadpool_limits(limits=1):
        propensities = score(problem, seed=seed).propensities
        found = decision_risks(problem, propensities, settings=settings or RiskSettings(), seed=seed)
    parts: list[pl.DataFrame] = []
    for k, name in enumerate(problem.arms):
        unknown = np.full(problem.n, np.nan)
        numbers = {"expected": unknown, "worst": unknown, "priced": unknown, "share": unknown}
        novel, reason = None, found
        if not isinstance(found, str):
            shares = unknown if found.shares is None else found.shares[:, k]
            columns = (found.expected[:, k], found.worst[:, k], found.priced[:, k], shares)
            numbers = dict(zip(numbers, columns, strict=True))
            novel, reason = found.novel[:, k], found.reason
        parts.append(
            pl.DataFrame({"decision_id": ids, **numbers}).with_columns(
                pl.col(*numbers).fill_nan(None),
                pl.lit(name).alias("action"),
                pl.Series("novel", novel if novel is not None else [None] * problem.n, dtype=pl.Boolean),
                pl.lit(reason, dtype=pl.String).alias("reason"),
            )
        )
    order = ("decision_id", "action", "expected", "worst", "novel", "priced", "share", "reason")
    return pl.concat(parts).select(order).sort("decision_id", "action")
