"""Bounds on an effect where the log cannot say what the other action would have done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .confidence import interval_of_bounds
from .jackknife import cluster_sums, weighted_mean
from .problem import Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """lower, upper: ends that hold the effect with the confidence level, sampling included; None with a
    reason when there are fewer than two clusters. lowest, highest: the bounds themselves, estimated.
    identified: share of the decisions whose own effect was estimated rather than bounded."""

    lower: float | None
    upper: float | None
    lowest: float | None
    highest: float | None
    identified: float
    clusters: int
    reason: str


def bounds(
    problem: Problem,
    action: str,
    baseline: str,
    quantity: int = 0,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    scores: Array | None = None,
    known: Mask | None = None,
    members: Mask | None = None,
) -> Bounds:
    """Bounds on the mean effect of `action` over `baseline` on all decisions `members` (all by default).

    Each outcome that was not seen lies somewhere in `limits`, in the unit of the quantity (its index in
    QUANTITIES), and nothing else is assumed of it. A decision that took the action with outcome y has an
    effect in [y - high, y - low], one that took the baseline in [low - y, high - y], any other in
    [low - high, high - low]. Where `known`, the score d of `scores` (n,) (a Pair's column) stands in place
    of both. The ends are Imbens-Manski limits with leave-one-cluster-out variances.

    Without known rows and with two actions the bounds are exactly high - low wide: they always hold 0. They
    say how far the unknown part could move the whole, not where the effect is.

    Source: Manski 1990, American Economic Review 80; Imbens & Manski 2004, Econometrica 72.
    """
    low, high = limits
    rows = np.ones(problem.n, dtype=bool) if members is None else members
    estimated = np.zeros(problem.n, dtype=bool) if known is None or scores is None else known & rows
    y = problem.outcomes[:, quantity]
    seen = np.isfinite(y)
    took_a = seen & (problem.arm == problem.arm_index(action))
    took_b = seen & (problem.arm == problem.arm_index(baseline))
    floor, ceiling = np.full(problem.n, low - high), np.full(problem.n, high - low)
    floor[took_a], ceiling[took_a] = y[took_a] - high, y[took_a] - low
    floor[took_b], ceiling[took_b] = low - y[took_b], high - y[took_b]
    if scores is not None:
        floor[estimated] = ceiling[estimated] = scores[estimated]
    weight = problem.weight[rows]
    share = float((weight * estimated[rows]).sum() / weight.sum()) if rows.any() else 0.0
    clusters = int(np.unique(problem.cluster[rows]).size)
    if clusters < 2:
        return Bounds(
            lower=None,
            upper=None,
            lowest=None,
            highest=None,
            identified=share,
            clusters=clusters,
            reason=f"{clusters} clusters; two are needed for a bound",
        )
    ends = np.column_stack([floor, ceiling])[rows]
    mean = weighted_mean(cluster_sums(ends, weight, problem.cluster[rows], len(problem.cluster_ids)))
    se = np.sqrt(np.diag(mean.cov))
    lowest, highest = float(mean.theta[0]), float(mean.theta[1])
    lower, upper = interval_of_bounds(lowest, highest, float(se[0]), float(se[1]), mean.df)
    return Bounds(
        lower=max(lower, low - high),
        upper=min(upper, high - low),
        lowest=lowest,
        highest=highest,
        identified=share,
        clusters=clusters,
        reason=(
            f"bounds over all decisions: {1 - share:.0%} of them could not have gone the other way, "
            f"and their unseen outcomes may be anything from {low:g} to {high:g}"
        ),
    )
