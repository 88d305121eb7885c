"""The value of a target policy from logs of another, with the weights' diagnostics as gates."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import SchemaError
from ..schemas.config import Config
from ..schemas.records import QUANTITIES
from .confidence import interval
from .design import make_design
from .folds import cluster_folds
from .gates import MIN_CLUSTERS, MIN_ESS, effective_clusters
from .jackknife import WeightedMean, cluster_sums, weighted_mean
from .learners import ridge
from .problem import Problem, check_frame, problems
from .propensity import deterministic_rows, logged_choice, logged_fault

Array = NDArray[np.float64]

_MEAN_WEIGHT_Z: Final = 4.0
"""The mean weight must be 1 within this many standard errors, or the log does not support the target."""
_COLUMNS: Final = {
    "estimator": pl.String,
    "quantity": pl.String,
    "value": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "ess": pl.Float64,
    "reason": pl.String,
}


def policy_value(
    decisions: pl.DataFrame,
    target: pl.DataFrame | Literal["uniform"],
    quantity: Literal["quality", "cost", "latency", "risk"] = "quality",
    seed: int = 0,
    *,
    config: Config | None = None,
) -> pl.DataFrame:
    """The mean outcome had `target` chosen: one row per estimator (IPS, SNIPS, DR), value or reason.

    decisions: one decision point in the decisions layout. target: rows (decision_id, action, probability),
    absent pairs having probability 0, or "uniform" over the actions of the log. w = pi(A) / e(A);
    IPS = mean(w Y), SNIPS = sum(w Y) / sum(w), DR = mean(sum_a pi(a) q(x, a) + w (Y - q(x, A))), each with
    a leave-one-cluster-out t interval. Refused when the effective sample size of the weights is below 30
    or their mean is not 1.

    Raises: SchemaError when the frame holds several decision points or is not in the layout.
    Source: Horvitz & Thompson 1952; Dudik, Langford & Li 2011.
    """
    check_frame(decisions)
    found = list(problems(decisions, config or Config()))
    if len(found) != 1:
        raise SchemaError(
            f"{len(found)} decision points", where="policy_value", expected="one", cure="Filter the frame."
        )
    problem = found[0]
    j = QUANTITIES.index(quantity)
    y = problem.outcomes[:, j]
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    pi = _target_matrix(problem, target)
    rows = np.arange(problem.n)
    chosen = logged_choice(problem)
    w = np.zeros(problem.n) if isinstance(chosen, str) else pi[rows, problem.arm] / chosen
    ess = float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0
    reason = chosen if isinstance(chosen, str) else _refusal(problem, w, y, ess)
    if reason is not None:
        return _frame([(name, quantity, None, None, None, problem.n, ess, reason) for name in _ESTIMATORS])
    q = _reward_model(problem, design.linear, y, folds)
    direct = (pi * q).sum(axis=1)
    residual = direct + w * (y - q[rows, problem.arm])
    means = (
        _mean(problem, w * y, problem.weight),
        _mean(problem, y, w * problem.weight),
        _mean(problem, residual, problem.weight),
    )
    out: list[tuple[object, ...]] = []
    for name, mean in zip(_ESTIMATORS, means, strict=True):
        value, se = float(mean.theta[0]), float(np.sqrt(mean.cov[0, 0]))
        out.append((name, quantity, value, *interval(value, se, mean.df), problem.n, ess, None))
    return _frame(out)


_ESTIMATORS: Final = ("IPS", "SNIPS", "DR")


def _target_matrix(problem: Problem, target: pl.DataFrame | Literal["uniform"]) -> Array:
    """Probability (n, K) that the target takes each arm."""
    k = len(problem.arms)
    if isinstance(target, str):
        return np.full((problem.n, k), 1.0 / k)
    missing = {"decision_id", "action", "probability"} - set(target.columns)
    if missing:
        raise SchemaError(f"columns {sorted(missing)} are missing", where="policy_value target")
    position = pl.DataFrame({"decision_id": problem.frame["decision_id"], "row": np.arange(problem.n)})
    known = target.filter(pl.col("action").is_in(list(problem.arms))).join(position, on="decision_id")
    arm = known["action"].replace_strict({a: i for i, a in enumerate(problem.arms)}, return_dtype=pl.Int64)
    pi = np.zeros((problem.n, k))
    pi[known["row"].to_numpy(), arm.to_numpy()] = known["probability"].to_numpy()
    if not np.isfinite(pi).all() or (pi < 0).any() or (pi.sum(axis=1) > 1 + 1e-6).any():
        raise SchemaError("target probabilities are not a distribution", where="policy_value target")
    return pi


def _refusal(problem: Problem, w: Array, y: Array, ess: float) -> str | None:
    if deterministic_rows(problem.frame).any():
        return "a rule fixed some choices, so the target cannot be weighted from this log"
    if np.isnan(y).any():
        return f"{int(np.isnan(y).sum())} decisions have no outcome"
    if ess < MIN_ESS:
        share = float(w.max() / w.sum()) if w.any() else 1.0
        return (
            f"effective sample size {ess:.0f} of {problem.n}, one decision carries {share:.0%} of the "
            f"weight; {MIN_ESS:.0f} are needed"
        )
    fault = logged_fault(problem)
    if fault is not None:
        return fault
    g = effective_clusters(problem.cluster, w > 0)
    if g < MIN_CLUSTERS:
        return f"{g:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    se = float(w.std() / np.sqrt(w.size))
    if abs(w.mean() - 1.0) > _MEAN_WEIGHT_Z * se + 1e-9:
        return f"the mean weight is {w.mean():.2f} instead of 1: the log does not cover the target"
    return None


def _reward_model(problem: Problem, linear: Array, y: Array, folds: NDArray[np.int64]) -> Array:
    """Cross-fitted q(x, a) for every arm (n, K): ridge on context and arm."""
    k = len(problem.arms)
    arms = np.eye(k)
    own = np.hstack([linear, arms[problem.arm]])
    q = np.empty((problem.n, k))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        blank = np.hstack([linear[test], np.zeros((int(test.sum()), k))])
        every = [blank + np.hstack([np.zeros(linear.shape[1]), arms[a]]) for a in range(k)]
        stacked = ridge(own[train], y[train][:, None], np.vstack(every))[:, 0]
        q[test] = stacked.reshape(k, -1).T
    return q


def _mean(problem: Problem, d: Array, h: Array) -> WeightedMean:
    return weighted_mean(cluster_sums(d[:, None], h, problem.cluster, len(problem.cluster_ids)))


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")
