"""Verification as a dose: what one more of them changes, after none, one, two and more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ..choices import valuation
from ..contrasts import SegmentResult, estimate_segment
from ..pairs import Pair, pair
from ..problem import RISK, Problem, problems
from ..scores import MIN_ARM, Scores
from ..steps import SKIP, TAKEN_FEATURE
from .quick import quick_scores

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

POINT: Final = "verify"
"""The decision point whose actions other than skip are verifications."""
LARGEST: Final = 4
"""Verifications in a task from which on they are one dose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One more verification after `done` of them, against none then. predicted: (n,) risk without it, fitted
    across folds. result: its effects, or why they are not identified."""

    done: int
    pair: Pair
    predicted: Array
    result: SegmentResult

    @property
    def label(self) -> str:
        """The dose before and after."""
        return f"{self.done} to {self.done + 1}" + ("+" if self.done + 1 == LARGEST else "")

    @property
    def fault(self) -> str | None:
        """Why the change of risk is not identified, or None."""
        if self.result.mean is None:
            return self.result.reason
        risk = next(e for e in self.result.estimates if e.quantity == "risk")
        return risk.reason if np.isnan(self.result.mean.theta[RISK]) else None


def dose_steps(frame: pl.DataFrame, config: Config, *, seed: int) -> list[Step] | str:
    """Every step of the dose of verification in the router and agent decisions of `frame`, or why none.

    Where the log holds each choice of a task, skips among them, step k is 'verify or skip now' at the
    decisions before which k verifications were done (METHODS B). Where it only holds what was done, the dose
    of a task is how many verifications it had, and adjacent doses are compared given what was known at its
    first decision.
    """
    rows = frame.filter((pl.col("layer") == "agent") & (pl.col("decision_point") == POINT))
    if rows.is_empty():
        return "no decision whether to verify is logged (agent, decision point 'verify')"
    problem = _point(frame, config)
    if not problem.stepwise and _most_done(rows) > 1:
        return _between_doses(_point(_as_doses(frame), config), config, seed)
    return _one_more(problem, config, seed)


def _point(frame: pl.DataFrame, config: Config) -> Problem:
    return next(p for p in problems(frame, config) if (p.layer, p.decision_point) == ("agent", POINT))


def _most_done(rows: pl.DataFrame) -> int:
    """The largest number of verifications that a request had."""
    if "request_id" not in rows.columns:
        return 1
    done = rows.filter((pl.col("action") != SKIP) & pl.col("request_id").is_not_null())
    return max(done["request_id"].value_counts()["count"].to_list(), default=0)


def _one_more(problem: Problem, config: Config, seed: int) -> list[Step] | str:
    often = [k for k in range(len(problem.arms)) if (problem.arm == k).sum() >= MIN_ARM]
    verify = max(
        (k for k in often if problem.arms[k] != SKIP), key=lambda k: (problem.arm == k).sum(), default=None
    )
    if SKIP not in problem.arms or problem.arm_index(SKIP) not in often or verify is None:
        counts = ", ".join(f"{name} {int((problem.arm == k).sum())}" for k, name in enumerate(problem.arms))
        return f"verifying and skipping must both have been done {MIN_ARM} times ({counts} times)"
    scores = quick_scores(problem, seed=seed)
    done = np.zeros(problem.n)
    if problem.stepwise:
        done = problem.frame[TAKEN_FEATURE].to_numpy()
    last = LARGEST - 1
    return [
        _step(scores, k, problem.arms[verify], SKIP, (done == k) if k < last else (done >= k), config)
        for k in range(int(min(done.max(), last)) + 1)
    ]


def _between_doses(problem: Problem, config: Config, seed: int) -> list[Step] | str:
    often = [name for k, name in enumerate(problem.arms) if (problem.arm == k).sum() >= MIN_ARM]
    found = [(a, b) for a, b in itertools.pairwise(_DOSES) if {a, b} <= set(often)]
    if not found or found[0][0] != _DOSES[0]:
        return f"fewer than {MIN_ARM} tasks had no, or one, verification"
    scores, every = quick_scores(problem, seed=seed), np.ones(problem.n, dtype=bool)
    return [_step(scores, _DOSES.index(b), a, b, every, config) for b, a in found]


_DOSES: Final = (*(str(k) for k in range(LARGEST)), f"{LARGEST}+")


def _step(scores: Scores, done: int, action: str, baseline: str, members: Mask, config: Config) -> Step:
    contrast = pair(scores, action, baseline, valuation(scores.problem, config))
    return Step(
        done=done,
        pair=contrast,
        predicted=scores.mu[scores.problem.arm_index(baseline)][:, RISK],
        result=estimate_segment(contrast, f"after {done}", members),
    )


def _as_doses(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with one decision per task in place of its verifications: how many there were.

    Their cost and time are summed. What led to each one is not logged, so no propensity is kept.
    """
    mine = (
        (pl.col("layer") == "agent")
        & (pl.col("decision_point") == POINT)
        & pl.col("request_id").is_not_null()
    )
    order = [n for n in ("request_id", "step", "ts", "decision_id") if n in frame.columns]
    rows = frame.filter(mine).sort(order, nulls_last=True)
    done = (pl.col("action") != SKIP).sum().over("request_id")
    summed = [
        pl.when(pl.col(name).is_not_null().any().over("request_id"))
        .then(pl.col(name).sum().over("request_id"))
        .alias(name)
        for name in ("cost_usd", "latency_s")
        if name in frame.columns
    ]
    kept = {"propensity": pl.Float64, "propensities": pl.List(pl.Float64), "propensity_source": pl.String}
    none = [pl.lit(None, dtype=t).alias(name) for name, t in kept.items() if name in frame.columns]
    label = pl.when(done >= LARGEST).then(pl.lit(_DOSES[-1])).otherwise(done.cast(pl.String))
    doses = rows.with_columns(*summed, *none, action=label).unique(
        "request_id", keep="first", maintain_order=True
    )
    return pl.concat([frame.filter(~mine), doses.select(frame.columns)], how="vertical_relaxed")


def tested(steps: list[Step]) -> Iterator[Step]:
    """The steps from the first on whose change of risk is identified, up to the first that is not."""
    for step in steps:
        if step.fault is not None:
            return
        yield step
