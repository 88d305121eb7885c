"""The rows behind the value of a policy: weights, outcome model, and why they cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.config import Config
from .design import make_design
from .folds import cluster_folds
from .gates import MIN_CLUSTERS, MIN_ESS, effective_clusters
from .jackknife import WeightedMean, cluster_sums, weighted_mean
from .learners import ridge
from .policy_target import Target, logging_matrix, target_matrix
from .problem import Problem, only_problem
from .propensity import deterministic_rows, logged_choice, logged_fault

Array = NDArray[np.float64]

MEAN_WEIGHT_Z: Final = 4.0
"""The mean weight must be 1 within this many standard errors, or the log does not support the target."""
MAX_UNSEEN: Final = 0.01
"""Share of the target's choices that the log may never have taken: what they lead to is unknown."""
_PASSES: Final = 1e-9
"""Rounding allowed where the weights do not vary at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRows:
    """One decision point and a target. pi: (n, K); w: (n,) pi(A) / e(A), 0 without logged propensities.

    e: (n, K) logging policy, None where only the taken action's probability is logged. unseen: (n,) target
    probability of actions that were never taken, or could not be. fault: why there are no weights.
    """

    problem: Problem
    pi: Array
    w: Array
    e: Array | None
    unseen: Array
    fault: str | None

    @property
    def ess(self) -> float:
        """Effective sample size of the weights (Kish 1965)."""
        return ess_of(self.w * self.problem.weight)

    @property
    def undrawn(self) -> float:
        """Factor, at least 1, by which standard errors are too short because large weights were not drawn.

        sqrt(E[sum_a pi(a)^2 / e(a)] / mean(w^2)): both estimate the mean square of the weights, the first
        from the probabilities of all candidates. 1 where those are not logged.
        """
        if self.e is None or not self.w.any():
            return 1.0
        square = np.divide(self.pi**2, self.e, out=np.zeros_like(self.pi), where=self.e > 0).sum(axis=1)
        seen = np.average(self.w**2, weights=self.problem.weight)
        return float(np.sqrt(max(np.average(square, weights=self.problem.weight) / seen, 1.0)))


def policy_rows(decisions: pl.DataFrame, target: Target, config: Config | None) -> PolicyRows:
    """The rows of the only decision point in `decisions`.

    Raises: SchemaError when there are several decision points, or frame or target are not as described.
    """
    problem = only_problem(decisions, config or Config())
    pi = target_matrix(problem, target, problem.arms)
    chosen = logged_choice(problem)
    fault = chosen if isinstance(chosen, str) else None
    w = np.zeros(problem.n) if isinstance(chosen, str) else pi[np.arange(problem.n), problem.arm] / chosen
    e = None if fault else logging_matrix(problem, problem.arms)
    reached = pi if e is None else np.where(e > 0, pi, 0.0)
    unseen = np.maximum(1.0 - reached.sum(axis=1), 0.0)
    return PolicyRows(problem=problem, pi=pi, w=w, e=e, unseen=unseen, fault=fault)


def ess_of(w: Array) -> float:
    """(sum w)^2 / sum w^2; 0 without weight."""
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


def mean_of(problem: Problem, d: Array, h: Array) -> WeightedMean:
    """sum h d / sum h of d (n, q) with its leave-one-cluster-out covariance."""
    return weighted_mean(cluster_sums(d, h, problem.cluster, len(problem.cluster_ids)))


def mean_weight(rows: PolicyRows) -> tuple[float, float | None]:
    """The mean weight, which is 1 in expectation, and its distance from 1 in standard errors.

    One cluster has no standard error: the distance is None.
    """
    if np.unique(rows.problem.cluster).size < 2:
        return float(np.average(rows.w, weights=rows.problem.weight)), None
    mean = mean_of(rows.problem, rows.w[:, None], rows.problem.weight)
    value, se = float(mean.theta[0]), float(np.sqrt(mean.cov[0, 0]))
    far = value - 1.0
    if abs(far) <= _PASSES:
        return value, 0.0
    return value, far / se if se > 0 else float(np.copysign(np.inf, far))


def weight_refusal(rows: PolicyRows) -> str | None:
    """Why the target cannot be weighted from this log, whatever the outcome, or None."""
    if rows.fault is not None:
        return rows.fault
    problem = rows.problem
    if deterministic_rows(problem.frame).any():
        return "a rule fixed some choices, so the target cannot be weighted from this log"
    if rows.ess < MIN_ESS:
        total = rows.w * problem.weight
        share = float(total.max() / total.sum()) if total.any() else 1.0
        return (
            f"effective sample size {rows.ess:.0f} of {problem.n}, one decision carries {share:.0%} of the "
            f"weight; {MIN_ESS:.0f} are needed"
        )
    fault = logged_fault(problem)
    if fault is not None:
        return fault
    g = effective_clusters(problem.cluster, rows.w > 0)
    if g < MIN_CLUSTERS:
        return f"{g:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    unseen = float(np.average(rows.unseen, weights=problem.weight))
    if unseen > MAX_UNSEEN:
        where = "of the target's choices are actions that the log never took"
        return f"{unseen:.0%} {where}: it does not cover the target"
    value, z = mean_weight(rows)
    if z is not None and abs(z) > MEAN_WEIGHT_Z:
        return f"the mean weight is {value:.2f} instead of 1: the log does not cover the target"
    return None


def missing_outcomes(y: Array) -> str | None:
    """How many decisions lack the outcome, or None."""
    count = int(np.isnan(y).sum())
    return f"{count} decisions have no outcome" if count else None


def outcome_model(rows: PolicyRows, Y: Array, *, seed: int) -> tuple[Array, Array]:
    """Cross-fitted q: own q(x, A) and direct sum_a pi(a) q(x, a), both (n, q), for outcomes Y (n, q).

    A ridge of each column on context and action by 1 / keep_prob. It is linear in the action's dummies, so
    that the sum over actions is one prediction at the dummies' mean under the target.
    """
    problem = rows.problem
    linear = make_design(problem.frame, problem.features).linear
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    taken = np.hstack([linear, np.eye(len(problem.arms))[problem.arm]])
    mass = rows.pi.sum(axis=1)
    blended = rows.pi / np.where(mass > 0, mass, 1.0)[:, None]
    mixed = np.hstack([linear, blended])
    own, direct = np.empty_like(Y), np.empty_like(Y)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        if not train.any():
            train = test
        at = np.vstack([taken[test], mixed[test]])
        own[test], direct[test] = np.split(ridge(taken[train], Y[train], at, problem.weight[train]), 2)
    return own, direct * mass[:, None]
