"""What each decision risks under each arm, so that risk enters the net marginal value row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .confidence import LEVEL, upper_rate
from .cvar import Cvar, cvar, euler_shares, excess_over
from .gates import MIN_CLUSTERS, effective_clusters
from .losses import ArmLosses, arm_losses, read_losses
from .novelty import novel
from .problem import Problem
from .propensity import Propensities
from .risk_mean import Excess, excess_loss
from .risk_records import RiskSettings
from .risk_rows import Cell
from .worst_case import knightian_mean, worst_rate

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRisks:
    """USD that each of n decisions risks under each of K arms, NaN where unknown.

    expected: p_a(x_i) E[L(a)] / E[p_a]. worst: its Knightian upper bound. novel: the arm is new there.
    priced: `worst` where novel, else `expected`: max-min replaces the expectation where there is no record.
    shares: additive share of the logged decisions' CVaR over its value at risk, None with `reason`.
    """

    arms: tuple[str, ...]
    expected: Array
    worst: Array
    novel: Mask
    priced: Array
    shares: Array | None
    reason: str | None


def decision_risks(
    problem: Problem, propensities: Propensities, *, settings: RiskSettings, seed: int, level: float = LEVEL
) -> DecisionRisks | str:
    """The risk of every decision under every arm, or why the log shows none.

    Where the tail of an arm cannot be fitted its worst case is the bound of its incident rate times
    `cap_usd`, and NaN without a cap; its expectation is NaN, and its worst case is priced everywhere.
    Source: METHODS D2, D3.
    """
    losses = read_losses(problem.frame)
    if isinstance(losses, str):
        return losses
    g = effective_clusters(problem.cluster, np.ones(problem.n, dtype=bool))
    if g < MIN_CLUSTERS:
        return f"{g:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    logged, *arms = arm_losses(problem, propensities, losses, problem.arms, seed=seed)
    pairs = [_arm_risk(arm, settings, level) for arm in arms]
    expected = np.column_stack([_spread(arm, mean) for arm, (mean, _) in zip(arms, pairs, strict=True)])
    worst = np.column_stack([_spread(arm, top) for arm, (_, top) in zip(arms, pairs, strict=True)])
    new = novel(problem, seed=seed)
    shares = _shares(logged, tuple(arms), settings, level)
    return DecisionRisks(
        arms=problem.arms,
        expected=expected,
        worst=worst,
        novel=new,
        priced=np.where(new | np.isnan(expected), worst, expected),
        shares=None if isinstance(shares, str) else shares,
        reason=shares if isinstance(shares, str) else None,
    )


def _arm_risk(arm: ArmLosses, settings: RiskSettings, level: float) -> tuple[float, float]:
    """Expected and worst loss of an arm, USD; NaN where the log and the settings do not give it."""
    if effective_clusters(arm.cluster, arm.took) < MIN_CLUSTERS:
        return float("nan"), float("nan")
    mean = excess_loss(arm, above=0.0, cap_usd=settings.cap_usd, level=level)
    worst = knightian_mean(arm, strength=settings.strength, cap_usd=settings.cap_usd, level=level)
    if isinstance(mean, Excess) and isinstance(worst, float):
        value = max(float(np.average(mean.score, weights=arm.h)), 0.0)
        return value, max(worst, value)
    if settings.cap_usd is None:
        return float("nan"), float("nan")
    ess = Cell(arm=arm, action_class=None, grade="N").ess
    rate = float(np.average(arm.p, weights=arm.h))
    return float("nan"), worst_rate(
        upper_rate(rate * ess, ess, level=level), settings.strength
    ) * settings.cap_usd


def _spread(arm: ArmLosses, mean: float) -> Array:
    """(n,) the arm's mean in proportion to the incident probability given the context."""
    rate = float(np.average(arm.p, weights=arm.h)) if arm.h.any() else 0.0
    return mean * arm.p / rate if rate > 0.0 else np.full(arm.p.size, mean)


def _shares(
    logged: ArmLosses, arms: tuple[ArmLosses, ...], settings: RiskSettings, level: float
) -> Array | str:
    whole = cvar(logged, beta=settings.beta, cap_usd=settings.cap_usd, level=level)
    if not isinstance(whole, Cvar):
        return whole
    parts: list[Excess] = []
    for arm in arms:
        found = excess_over(arm, whole.value_at_risk, cap_usd=settings.cap_usd, level=level)
        if isinstance(found, str):
            return f"{arm.arm}: {found}"
        parts.append(found)
    return euler_shares(tuple(parts), whole, beta=settings.beta)
