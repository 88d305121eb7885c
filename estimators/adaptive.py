"""Contrasts in logs of a policy that learned while it logged: later choices depend on earlier outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .confidence import interval, sequence_half_width
from .design import make_design
from .jackknife import cluster_sums, weighted_mean
from .learners import ridge
from .problem import Problem
from .scores import MIN_ARM

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MIN_VERSION: Final = 20
"""Rows of a policy version below which its mean propensity is not compared."""
_SHIFT: Final = 0.02
"""Smallest shift of a mean propensity, given the context, that counts as another policy."""
_SHIFT_Z: Final = 4.0
"""Standard errors that the shift must also have, so that chance alone does not show one."""
_TIGHTEST: Final = 1000
"""Clusters at which the sequence is narrowest; it must be fixed before the log is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveContrast:
    """The ATE of one outcome with its interval, and the sequence that holds however often the log is read.

    value None: not identified, with the reason. n: decisions with a weight; versions: policies in the log.
    """

    value: float | None
    lower: float | None
    upper: float | None
    anytime_lower: float | None
    anytime_upper: float | None
    se: float | None
    df: float | None
    n: int
    versions: int
    reason: str | None


def policy_order(problem: Problem) -> Ints | None:
    """(n,) position in time of each row's policy version, or None if there are not two or no times.

    Versions are ordered by the median time of their rows. Versions that ran side by side still give valid
    weights, as long as none learned from another's later rows.
    """
    frame = problem.frame.select("policy_version", "ts")
    if frame["policy_version"].null_count() or frame["ts"].null_count():
        return None
    order = frame.group_by("policy_version").agg(pl.col("ts").median()).sort("ts", "policy_version")
    if order.height < 2:
        return None
    place = {version: i for i, version in enumerate(order["policy_version"].to_list())}
    return frame["policy_version"].replace_strict(place, return_dtype=pl.Int64).to_numpy()


def policy_changed(problem: Problem, e: Array) -> bool:
    """Whether the logged probabilities e (n, K) moved between versions by more than the context explains.

    Each column is regressed on the context over all versions; a version whose mean residual exceeds 0.02
    and four standard errors chose differently among like contexts. A release that only changed its name
    shows no such shift.
    """
    order = policy_order(problem)
    if order is None:
        return False
    x = make_design(problem.frame, problem.features).linear
    residual = e - ridge(x, e, x)
    for version in np.unique(order):
        rows = order == version
        if rows.sum() < _MIN_VERSION:
            continue
        mean = residual[rows].mean(axis=0)
        error = residual[rows].std(axis=0) / np.sqrt(rows.sum())
        if ((np.abs(mean) > _SHIFT) & (np.abs(mean) > _SHIFT_Z * error)).any():
            return True
    return False


def adaptive_contrast(
    problem: Problem, e: Array, action: str, baseline: str, *, quantity: int = 0
) -> AdaptiveContrast:
    """The ATE of `action` over `baseline` when the policy learned from the log itself.

    e: (n, K) logged probabilities. Sample means are biased downwards for arms that were dropped after bad
    luck, and unweighted scores are not normal, for their variance wanders with the policy. Scores are
    d = psi_a - psi_b with outcome models fitted on earlier versions only, so that the sum of h d minus its
    mean is a martingale; h = mean(1 / e_a + 1 / e_b)^(-1/2) per version keeps its variance steady:
    theta = sum h d / sum h. Effects are taken not to drift: h weighs the versions.

    Not identified without versions in time order, with fewer than 30 rows of an arm, an arm that a version
    never tries (its rows are left out), or missing outcomes.
    Source: Hadad, Hirshberg, Zhan, Wager & Athey 2021; Zhan, Hadad, Hirshberg & Athey 2021 (weights);
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (asymptotic confidence sequences).
    """
    order = policy_order(problem)
    arms = (problem.arm_index(action), problem.arm_index(baseline))
    if order is None:
        return _refused("policy_version and ts are needed for the order in which the policy learned")
    y = problem.outcomes[:, quantity]
    tried = (e[:, arms[0]] > 0) & (e[:, arms[1]] > 0)
    for arm, name in zip(arms, (action, baseline), strict=True):
        count = int(((problem.arm == arm) & tried).sum())
        if count < MIN_ARM:
            return _refused(f"{count} decisions took {name}; {MIN_ARM} are needed")
    if np.isnan(y[np.isin(problem.arm, arms) & tried]).any():
        return _refused("some outcomes are missing")
    d = _scores(problem, e, arms, np.nan_to_num(y), order, tried)
    weight = _stabilising(problem, e, arms, order, tried)
    clusters = len(problem.cluster_ids)
    mean = weighted_mean(cluster_sums(d[tried, None], weight[tried], problem.cluster[tried], clusters))
    if mean.clusters < 2:
        return _refused("one cluster")
    value, se = float(mean.theta[0]), float(np.sqrt(mean.cov[0, 0]))
    lower, upper = interval(value, se, mean.df)
    half = sequence_half_width(se * np.sqrt(mean.clusters), mean.clusters, tightest=_TIGHTEST)
    return AdaptiveContrast(
        value=value,
        lower=lower,
        upper=upper,
        anytime_lower=value - half,
        anytime_upper=value + half,
        se=se,
        df=mean.df,
        n=int(tried.sum()),
        versions=int(order.max()) + 1,
        reason=None,
    )


def _scores(problem: Problem, e: Array, arms: tuple[int, int], y: Array, order: Ints, tried: Mask) -> Array:
    """(n,) psi_a - psi_b, each version's outcome models fitted on the versions before it (none: 0)."""
    x = make_design(problem.frame, problem.features).linear
    d = np.zeros(problem.n)
    for arm, sign in zip(arms, (1.0, -1.0), strict=True):
        mu = np.zeros(problem.n)
        taken = (problem.arm == arm) & tried
        for version in range(1, int(order.max()) + 1):
            past, now = taken & (order < version), order == version
            if past.sum() >= MIN_ARM:
                mu[now] = ridge(x[past], y[past, None], x[now], problem.weight[past])[:, 0]
        share = np.where(tried, e[:, arm], 1.0)
        d += sign * (mu + taken * (y - mu) / share)
    return d


def _stabilising(problem: Problem, e: Array, arms: tuple[int, int], order: Ints, tried: Mask) -> Array:
    """(n,) h of each row's version, times 1 / keep_prob."""
    h = np.zeros(int(order.max()) + 1)
    for version in range(h.size):
        rows = tried & (order == version)
        if rows.any():
            h[version] = (1.0 / e[np.ix_(rows, arms)]).sum(axis=1).mean() ** -0.5
    return h[order] * problem.weight


def _refused(reason: str) -> AdaptiveContrast:
    return AdaptiveContrast(
        value=None,
        lower=None,
        upper=None,
        anytime_lower=None,
        anytime_upper=None,
        se=None,
        df=None,
        n=0,
        versions=0,
        reason=reason,
    )
