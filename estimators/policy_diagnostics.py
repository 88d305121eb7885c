"""Whether a log can say anything about a target policy: the diagnostics of the weights, in one row."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.config import Config
from .policy_rows import mean_weight, policy_rows, weight_refusal
from .policy_target import Target

Array = NDArray[np.float64]

MAX_PARETO_K: Final = 0.7
"""Shape of the weights' tail above which means of weighted outcomes settle too slowly to be trusted (Vehtari,
Simpson, Gelman, Yao & Gabry 2024). It warns only: weights with a bound can exceed it and still cover."""
_MIN_TAIL: Final = 10
"""Weights in the tail that the shape needs."""
_COLUMNS: Final = {
    "n": pl.Int64,
    "clusters": pl.Int64,
    "ess": pl.Float64,
    "max_weight_share": pl.Float64,
    "mean_weight": pl.Float64,
    "mean_weight_z": pl.Float64,
    "pareto_k": pl.Float64,
    "unseen_share": pl.Float64,
    "verdict": pl.String,
    "reason": pl.String,
}


def policy_diagnostics(
    decisions: pl.DataFrame, target: Target, *, config: Config | None = None
) -> pl.DataFrame:
    """One row: can `target` be valued from this log? verdict is "fine", "heavy tail" or "refused".

    ess: effective sample size of the weights; max_weight_share: of the heaviest decision; mean_weight and
    its distance from 1 in standard errors; pareto_k: shape of the tail of the weights, null with too few
    different ones; unseen_share: of the target's choices that the log never took. reason is that of
    `policy_value`; a heavy tail warns only.

    Raises: as `policy_value`.
    """
    rows = policy_rows(decisions, target, config)
    total = rows.w * rows.problem.weight
    mean, z = mean_weight(rows)
    k = pareto_k(total)
    reason = weight_refusal(rows)
    heavy = k is not None and k > MAX_PARETO_K
    values = {
        "n": rows.problem.n,
        "clusters": len(rows.problem.cluster_ids),
        "ess": rows.ess,
        "max_weight_share": float(total.max() / total.sum()) if total.any() else None,
        "mean_weight": mean if rows.fault is None else None,
        "mean_weight_z": z if rows.fault is None else None,
        "pareto_k": k,
        "unseen_share": float(np.average(rows.unseen, weights=rows.problem.weight)),
        "verdict": "refused" if reason else "heavy tail" if heavy else "fine",
        "reason": reason
        or (f"the tail of the weights has shape {k:.2f}, above {MAX_PARETO_K}" if heavy else None),
    }
    return pl.DataFrame([values], schema=_COLUMNS)


def pareto_k(w: Array) -> float | None:
    """Shape of a generalised Pareto law fitted to the largest min(n / 5, 3 sqrt n) weights, or None.

    None when fewer than 10 weights, or no two different ones, lie in that tail. The estimate is the
    posterior mean of Zhang & Stephens 2009, pulled towards 0.5 by ten pseudo-observations as in Pareto
    smoothed importance sampling (Vehtari et al. 2024).
    """
    size = int(min(w.size / 5.0, 3.0 * np.sqrt(w.size)))
    if size < _MIN_TAIL:
        return None
    ordered = np.sort(w)
    excess = ordered[-size:] - ordered[-size - 1]
    excess = excess[excess > 0]
    if excess.size < _MIN_TAIL or np.ptp(excess) <= 1e-12 * excess[-1]:
        return None
    k = _zhang_stephens(excess)
    return (excess.size * k + 10.0 * 0.5) / (excess.size + 10.0)


def _zhang_stephens(x: Array) -> float:
    """Shape of the generalised Pareto law of the sorted positive x (m,)."""
    m = x.size
    count = 30 + int(np.sqrt(m))
    index = np.arange(1, count + 1)
    quarter = x[int(m / 4.0 + 0.5) - 1]
    theta = 1.0 / x[-1] + (1.0 - np.sqrt(count / (index - 0.5))) / (3.0 * quarter)
    shape = np.log1p(-theta[:, None] * x).mean(axis=1)
    profile = m * (np.log(-theta / shape) - shape - 1.0)
    posterior = np.exp(profile - profile.max())
    best = float((theta * posterior).sum() / posterior.sum())
    return float(np.log1p(-best * x).mean())
