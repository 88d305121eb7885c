"""What a router's choices lose against the best use of what is known at each request, without and with V."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade
from ..choices import valuation
from ..design import make_design
from ..folds import cluster_folds
from ..gates import MIN_CLUSTERS, effective_clusters
from ..learners import ridge
from ..pairs import Valuation
from ..prices.values import task_values
from ..problem import Problem
from ..scores import MIN_ARM, Scores
from .quick import quick_scores

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_PROPENSITY: Final = 0.5
"""Decisions count where each action had a chance above this over sqrt(n) (thresholded AIPW, Dorn 2025)."""
MIN_SLICE: Final = 200
"""Randomised decisions that the placebo needs."""
_MOST_LEFT_OUT: Final = 0.5
"""With a larger share of decisions without overlap the others do not speak for the router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """Per decision with a known V and overlap, m in all: what the router's choice lost.

    usd: (m,) V dQ - dC - lambda dL - rho dR of the best action over the router's, a doubly robust score.
    quality: (m,) dQ of it, in [-1, 1]. left: (m,) USD that the best action by the randomised decisions alone
    would add to it. randomised: (m,) decisions drawn by known chances, all False where too few are.
    value: (m,) V in USD per task. weight, cluster: (m,). notes: what was left out.
    """

    usd: Array
    quality: Array
    left: Array
    randomised: Mask
    value: Array
    weight: Array
    cluster: Ints
    grade: Grade
    method: str
    notes: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of decisions."""
        return self.usd.size


def regret(problem: Problem, config: Config, *, seed: int) -> Regret | str:
    """The regret of every decision of `problem` with overlap; or why it is not identified.

    The best action is that of the largest fitted net value at the decision's V, fitted across folds, so that
    no decision has a part in its own best action. The router's is the likeliest one where decisions are
    flagged as explorations, which nobody chose; else what was taken.
    """
    fault = _fault(problem)
    if fault is not None:
        return fault
    value = task_values(problem, config, seed=seed).value
    known = np.isfinite(value) & (value > 0)
    if not known.any():
        return "no task value above 0 is known: set task_value_by_class, or log value_usd"
    scores = quick_scores(problem, seed=seed)
    if scores.propensities.grade == "N":
        return _no_chance(scores)
    arms = sorted(scores.psi)
    priced = replace(valuation(problem, config), task_value=value)
    missing = _missing(scores, arms, priced)
    if missing is not None:
        return missing
    rows = _open_rows(scores, arms) & known & np.isin(problem.arm, arms)
    if rows.sum() < _MOST_LEFT_OUT * problem.n:
        share = 1 - rows.sum() / problem.n
        return f"{share:.0%} of decisions have no overlap or no task value: every action needs some chance"
    return _regret(scores, arms, priced, rows, seed)


def _fault(problem: Problem) -> str | None:
    often = [k for k in range(len(problem.arms)) if (problem.arm == k).sum() >= MIN_ARM]
    if len(often) < 2:
        return f"fewer than two models were chosen {MIN_ARM} times"
    groups = effective_clusters(problem.cluster, np.ones(problem.n, dtype=bool))
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    return None


def _no_chance(scores: Scores) -> str:
    return "; ".join(scores.propensities.notes) or "a rule fixed every choice, and none was explored"


def _missing(scores: Scores, arms: list[int], priced: Valuation) -> str | None:
    """Which outcome with a price some action never shows, or None."""
    used = (True, True, priced.latency_price != 0.0, priced.risk_price != 0.0)
    for j, (name, counts) in enumerate(zip(("quality", "cost", "latency", "risk"), used, strict=True)):
        if counts and any(np.isnan(scores.psi[k][:, j]).any() for k in arms):
            return f"{name} is not known for every model"
    return None


def _open_rows(scores: Scores, arms: list[int]) -> Mask:
    matrix = scores.propensities.matrix[:, arms]
    return scores.propensities.usable & (matrix > MIN_PROPENSITY / np.sqrt(len(matrix))).all(axis=1)


def _regret(scores: Scores, arms: list[int], priced: Valuation, rows: Mask, seed: int) -> Regret:
    problem = scores.problem
    psi = np.stack([scores.psi[k] for k in arms], axis=1)
    net = np.stack([priced.net(scores.psi[k]) for k in arms], axis=1)
    fitted = np.stack([priced.net(scores.mu[k]) for k in arms], axis=1)
    at = np.arange(problem.n)
    best = np.argmax(fitted, axis=1)
    drawn = _explored(problem)
    if drawn.any():
        own = np.argmax(scores.propensities.matrix[:, arms], axis=1)
        taken_net, taken_quality = net[at, own], psi[at, own, 0]
    else:
        taken = _taken(scores, arms)
        taken_net, taken_quality = priced.net(taken), taken[:, 0]
    drawn = _randomised(scores, arms, rows, drawn)
    left = np.zeros(problem.n)
    if drawn.any():
        left = _left(scores, arms, priced, drawn, best, seed)
    out = 1 - rows.sum() / problem.n
    return Regret(
        usd=(net[at, best] - taken_net)[rows],
        quality=(psi[at, best, 0] - taken_quality)[rows],
        left=left[rows],
        randomised=drawn[rows],
        value=priced.task_value[rows],
        weight=problem.weight[rows],
        cluster=problem.cluster[rows],
        grade=_grade(scores),
        method=f"AIPW, {scores.propensities.source} propensities, best action cross-fitted by "
        f"{problem.cluster_key}",
        notes=(f"{out:.1%} of decisions left out: no overlap or no task value",) if out > 0 else (),
    )


def _grade(scores: Scores) -> Grade:
    partly = 0 < scores.labelled[0] < 1
    base = scores.propensities.grade
    return "C" if partly and base in ("A", "B") else base


def _explored(problem: Problem) -> Mask:
    flagged = problem.frame["exploration"].fill_null(value=False).cast(pl.Boolean).to_numpy()
    return np.asarray(flagged, dtype=bool)


def _taken(scores: Scores, arms: list[int]) -> Array:
    """(n, 4) what was chosen, as it came out: the observed outcome, or its stand-in where it is missing."""
    arm, chosen = scores.problem.arm, scores.propensities.chosen
    out = np.full(scores.problem.outcomes.shape, np.nan)
    for k in arms:
        mine = arm == k
        mu = scores.mu[k][mine]
        out[mine] = mu + chosen[mine, None] * (scores.psi[k][mine] - mu)
    return out


def _randomised(scores: Scores, arms: list[int], rows: Mask, explored: Mask) -> Mask:
    """(n,) the decisions whose chances are known and owe nothing to the request: the flagged explorations, or
    all of them where logged propensities pass their test; none where too few or without some action."""
    problem = scores.problem
    every = np.full(problem.n, scores.propensities.grade == "A")
    drawn = rows & (explored if explored.any() else every)
    few = drawn.sum() < MIN_SLICE or effective_clusters(problem.cluster, drawn) < MIN_CLUSTERS
    if few or any((problem.arm[drawn] == k).sum() < MIN_ARM for k in arms):
        return np.zeros(problem.n, dtype=bool)
    return drawn


def _left(scores: Scores, arms: list[int], priced: Valuation, drawn: Mask, best: Ints, seed: int) -> Array:
    """(n,) USD by which the best action by the randomised decisions of other folds beats `best`; 0 elsewhere.

    Among flagged explorations every action has its share of them: the logged propensity is that of the whole
    policy, and of no use once the flag is known.
    """
    problem = scores.problem
    design = make_design(problem.frame, problem.features).linear
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=1)[problem.cluster]
    psi = np.stack([_drawn_scores(scores, k, drawn) for k in arms], axis=1)
    fitted = np.stack([priced.net(scores.mu[k]) for k in arms], axis=1)
    for train, test in _splits(folds, drawn):
        weights = priced.weights(test)
        for j in range(len(arms)):
            effects = ridge(design[train], psi[train, j], design[test], problem.weight[train])
            fitted[test, j] = np.where(weights == 0.0, 0.0, effects * weights).sum(axis=1)
    net = np.stack([priced.net(psi[:, j]) for j in range(len(arms))], axis=1)
    at = np.arange(problem.n)
    return np.where(drawn, net[at, np.argmax(fitted, axis=1)] - net[at, best], 0.0)


def _drawn_scores(scores: Scores, k: int, drawn: Mask) -> Array:
    """(n, 4) scores of arm k with its chance among the randomised decisions."""
    if not _explored(scores.problem).any():
        return scores.psi[k]
    share = float((scores.problem.arm[drawn] == k).mean())
    weight = (scores.propensities.chosen / share)[:, None]
    return scores.mu[k] + weight * (scores.psi[k] - scores.mu[k])


def _splits(folds: Ints, drawn: Mask) -> Iterator[tuple[Mask, Mask]]:
    for fold in np.unique(folds):
        train = drawn & (folds != fold)
        if train.sum() >= MIN_ARM:
            yield train, folds == fold
