"""Intervals of a policy's value from per-row contributions; clusters are the independent units."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from .confidence import bernstein_half_width, interval, sequence_half_width
from .policy_estimators import Contribution
from .policy_rows import PolicyRows, mean_of

Array = NDArray[np.float64]
Kind = Literal["cluster-t", "empirical-bernstein", "anytime"]
KINDS: Final = ("cluster-t", "empirical-bernstein", "anytime")

_TIGHTEST: Final = 1000
"""Clusters at which the anytime interval is tightest: about where logs are first read."""


def cluster_t(rows: PolicyRows, part: Contribution) -> tuple[float, float, float]:
    """(value, lower, upper) of sum h d / sum h with the leave-one-cluster-out t interval.

    The standard error is floored by what the weights of all candidates imply, drawn or not.
    """
    mean = mean_of(rows.problem, part.d[:, None], part.h)
    value = float(mean.theta[0])
    return value, *interval(value, rows.undrawn * float(np.sqrt(mean.cov[0, 0])), mean.df)


def anytime(rows: PolicyRows, part: Contribution) -> tuple[float, float, float]:
    """(value, lower, upper) that may be read after every cluster, as often as one likes.

    The clusters' shares of the estimate, in its linear form, are the terms of an asymptotic confidence
    sequence.
    """
    totals = _cluster_terms(rows, part.linear)
    value = cluster_t(rows, part)[0]
    half = sequence_half_width(rows.undrawn * float(totals.std()), totals.size, tightest=_TIGHTEST)
    return value, value - half, value + half


def empirical_bernstein(rows: PolicyRows, part: Contribution, span: float) -> tuple[float, float, float]:
    """(value, lower, upper) that hold at every n for d in [0, span] and a mean in [0, 1].

    The sizes of the clusters are taken as fixed.
    """
    totals = _cluster_terms(rows, part.d)
    largest = float(np.bincount(rows.problem.cluster).max()) * totals.size / rows.problem.n
    value = float(totals.mean())
    half = bernstein_half_width(float(totals.var(ddof=1)), span * largest, totals.size)
    return value, max(value - half, 0.0), max(min(value + half, 1.0), value)


def span_of(rows: PolicyRows, name: str, quantity: str, cap: float) -> float | str:
    """The largest possible value of one term of `name`, or why none is known before the data.

    The largest weight is max_ia pi(a | x_i) / e(a | x_i) over all logged decisions and candidates, drawn or
    not. Only quality, and incidents, have a largest outcome, 1.
    """
    if name not in ("IPS", "clipped IPS"):
        return "empirical Bernstein needs terms with a bound that is known before the data; IPS has one"
    if quantity != "quality" and (quantity != "risk" or rows.problem.risk_in_dollars):
        return f"empirical Bernstein needs a largest outcome, and {quantity} has none"
    if np.ptp(rows.problem.weight) > 0:
        return "empirical Bernstein needs rows that were all kept with the same probability"
    if rows.e is None and name == "clipped IPS":
        return cap
    if rows.e is None:
        return "empirical Bernstein needs the probabilities of all candidates to know the largest weight"
    ratio = np.divide(rows.pi, rows.e, out=np.zeros_like(rows.pi), where=rows.e > 0)
    return min(float(ratio.max()), cap if name == "clipped IPS" else np.inf)


def _cluster_terms(rows: PolicyRows, x: Array) -> Array:
    """Terms (G,) whose plain mean is the weighted mean of x: G times each cluster's share of it."""
    share = rows.problem.weight / rows.problem.weight.sum()
    count = len(rows.problem.cluster_ids)
    totals = np.bincount(rows.problem.cluster, weights=share * x, minlength=count)
    return count * totals.astype(float)
