"""What a switch from one policy to another is worth: all four quantities jointly, in dollars, with the price
at which the answer flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.config import Config
from ..schemas.records import QUANTITIES
from .choices import valuation
from .confidence import LEVEL, interval
from .pairs import NET
from .policy_rows import PolicyRows, mean_of, outcome_model, policy_rows, weight_refusal
from .policy_target import Target
from .prices.break_even import Ratio, break_even_value

Array = NDArray[np.float64]

_UNKNOWN: Final = "not every decision has it"
_UNPRICED: Final = "no task value is set, so that quality has no price"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySurplus:
    """The target minus the other policy, per decision.

    gain: (4,) in quality, cost (USD), latency (s), risk; NaN where unknown. cov: (4, 4), leave one cluster
    out, from the same rows and folds. lower, upper: (4,) t intervals. surplus_usd = V dQ - dC - lambda dL -
    rho dR with its interval, None without prices. break_even: V at which the switch flips, Fieller interval.
    reason: why nothing is known; surplus_reason: why there are no dollars.
    """

    gain: Array
    cov: Array
    lower: Array
    upper: Array
    df: float
    level: float
    n: int
    clusters: int
    ess: float
    surplus_usd: float | None
    surplus_lower: float | None
    surplus_upper: float | None
    break_even: Ratio
    reason: str | None
    surplus_reason: str | None


def policy_surplus(
    decisions: pl.DataFrame,
    target: Target,
    *,
    against: Target = "logged",
    seed: int = 0,
    config: Config | None = None,
) -> PolicySurplus:
    """What `target` gains over `against` per decision: the joint vector (dQ, dC, dL, dR) and its dollars.

    d_i = DR score of the target - DR score of `against`, whose scores are the outcomes themselves for the
    logged policy: no weights, no model. All four share rows, weights and folds, so that their covariance
    holds and the surplus has an interval. Refused as `policy_value` is, for either policy.

    Raises: as `policy_value`.
    Source: Dudik, Langford & Li 2011; the paper's Eq. 1; Fieller 1954.
    """
    settings = config or Config()
    rows = policy_rows(decisions, target, settings)
    other = None if _is_logged(against) else policy_rows(decisions, against, settings)
    reason = weight_refusal(rows) or (weight_refusal(other) if other is not None else None)
    outcomes = rows.problem.outcomes
    known = np.asarray(~np.isnan(outcomes).any(axis=0), dtype=bool)
    if reason is None and not known.any():
        reason = "no outcome is known for every decision"
    if reason is not None:
        return _refused(rows, reason)
    d = np.full(outcomes.shape, np.nan)
    d[:, known] = _scores(rows, known, seed) - (
        outcomes[:, known] if other is None else _scores(other, known, seed)
    )
    return _summary(rows, other, d, settings)


def _is_logged(policy: Target) -> bool:
    return isinstance(policy, str) and policy == "logged"


def _scores(rows: PolicyRows, known: NDArray[np.bool_], seed: int) -> Array:
    """DR scores (n, q) of the known outcomes."""
    y = rows.problem.outcomes[:, known]
    own, direct = outcome_model(rows, y, seed=seed)
    return direct + rows.w[:, None] * (y - own)


def _summary(rows: PolicyRows, other: PolicyRows | None, d: Array, config: Config) -> PolicySurplus:
    value = valuation(rows.problem, config)
    net = value.net(d)
    mean = mean_of(rows.problem, np.column_stack([d, net]), rows.problem.weight)
    theta, cov = mean.theta[:NET], mean.cov[:NET, :NET]
    ends = [interval(float(x), float(s), mean.df) for x, s in zip(theta, np.sqrt(np.diag(cov)), strict=True)]
    surplus, noise = float(mean.theta[NET]), float(np.sqrt(mean.cov[NET, NET]))
    priced = np.isfinite(surplus)
    lower, upper = interval(surplus, noise, mean.df) if priced else (None, None)
    return PolicySurplus(
        gain=theta,
        cov=cov,
        lower=np.array([e[0] for e in ends]),
        upper=np.array([e[1] for e in ends]),
        df=mean.df,
        level=LEVEL,
        n=rows.problem.n,
        clusters=mean.clusters,
        ess=rows.ess if other is None else min(rows.ess, other.ess),
        surplus_usd=surplus if priced else None,
        surplus_lower=lower,
        surplus_upper=upper,
        break_even=break_even_value(
            theta, cov, mean.df, latency_price=value.latency_price, risk_price=value.risk_price
        ),
        reason=None,
        surplus_reason=None if priced else _why_unpriced(value.task_value, value.weights(), theta),
    )


def _why_unpriced(task_value: Array, weights: Array, theta: Array) -> str:
    if np.isnan(task_value).any():
        return _UNPRICED
    lacking = [
        name
        for name, x, used in zip(QUANTITIES, theta, (weights != 0).any(axis=0), strict=False)
        if used and np.isnan(x)
    ]
    return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} priced, but {_UNKNOWN}"


def _refused(rows: PolicyRows, reason: str) -> PolicySurplus:
    nothing = np.full(NET, np.nan)
    return PolicySurplus(
        gain=nothing,
        cov=np.full((NET, NET), np.nan),
        lower=nothing,
        upper=nothing,
        df=np.nan,
        level=LEVEL,
        n=rows.problem.n,
        clusters=len(rows.problem.cluster_ids),
        ess=rows.ess,
        surplus_usd=None,
        surplus_lower=None,
        surplus_upper=None,
        break_even=Ratio(value=None, lower=None, upper=None, level=LEVEL, reason=reason),
        reason=reason,
        surplus_reason=reason,
    )
