"""Effects that must be zero and what they say about the others: negative controls, exploration anchors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize

from .confidence import LEVEL, critical_t, interval, upper_tail_p
from .contrasts import floored_mean
from .gates import MIN_ESS, count_fault, overlap
from .pairs import Valuation, pair
from .problem import Problem
from .scores import score

Array = NDArray[np.float64]

MIN_CONTROLS: Final = 10
"""Effects of known size from which a distribution of systematic errors can be read."""
ANCHOR_LEVEL: Final = 0.05
"""Level of the test of an observational effect against the exploration slice."""
_NORMAL: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystematicError:
    """Errors of effects that must be 0, beyond sampling: N(mean, sd^2). None with a reason when unknown."""

    mean: float | None
    sd: float | None
    controls: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """How an observational effect compares with the one where choice was random. agrees None: no test."""

    z: float | None
    p: float | None
    agrees: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """The 'effect' on a feature that was known before the choice, in standard deviations of that feature."""

    feature: str
    value: float | None
    se: float | None
    lower: float | None
    upper: float | None
    level: float
    reason: str | None = None


def systematic_error(theta: Array, se: Array) -> SystematicError:
    """The distribution of systematic errors that negative controls show: maximum likelihood of N(b, s^2).

    theta, se: (m,) estimates of effects that must be 0 and their standard errors; theta_i ~ N(b, s^2 +
    se_i^2). Pairs that are not finite are left out.

    Source: Schuemie, Hripcsak, Ryan, Madigan & Suchard 2018, PNAS.
    """
    fine = np.isfinite(theta) & np.isfinite(se) & (se > 0)
    theta, variance = theta[fine], se[fine] ** 2
    if theta.size < MIN_CONTROLS:
        reason = f"{theta.size} negative controls; {MIN_CONTROLS} are needed"
        return SystematicError(mean=None, sd=None, controls=theta.size, reason=reason)

    def at(s: float) -> float:
        return float(np.average(theta, weights=1.0 / (variance + s * s)))

    def loss(s: float) -> float:
        total = variance + s * s
        return float((np.log(total) + (theta - at(s)) ** 2 / total).sum())

    widest = 2.0 * float(np.abs(theta).max()) + 1e-12
    grid = np.linspace(0.0, widest, 41)
    best = int(np.argmin([loss(float(s)) for s in grid]))
    around = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, grid.size - 1)]))
    inner: Any = optimize.fminbound(loss, *around, xtol=1e-9 * widest)
    sd = float(inner) if loss(float(inner)) < loss(0.0) else 0.0
    return SystematicError(mean=at(sd), sd=sd, controls=theta.size)


def calibrated_interval(
    value: float,
    se: float,
    df: float,
    error: SystematicError,
    *,
    anchored: bool = False,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """The interval of `value` widened by the systematic error, or None when that is unknown.

    Half-width t sqrt(se^2 + s^2), and the mean error b is allowed for on both sides: the interval is widened,
    not shifted, since the controls tell more about the size of errors than about the sign of this one. With
    an exploration anchor behind `error` the interval is shifted by b instead.
    """
    if error.mean is None or error.sd is None:
        return None
    lower, upper = interval(value, float(np.hypot(se, error.sd)), df, level=level)
    if anchored:
        return lower - error.mean, upper - error.mean
    return lower - max(error.mean, 0.0), upper - min(error.mean, 0.0)


def exploration_anchor(
    observed: float, se_observed: float, explored: float, se_explored: float, *, level: float = ANCHOR_LEVEL
) -> Anchor:
    """Whether an effect estimated from unrandomised decisions agrees with that of the randomised ones.

    z = (theta_obs - theta_exp) / sqrt(V_obs + V_exp), for effects on the same weights from different rows.
    Where it is rejected the observational effect cannot be used unadjusted. Source: Hausman 1978.
    """
    numbers = (observed, se_observed, explored, se_explored)
    spread = float(np.hypot(se_observed, se_explored))
    if not np.isfinite(numbers).all() or spread <= 0:
        return Anchor(z=None, p=None, agrees=None, reason="one of the two effects has no standard error")
    z = (observed - explored) / spread
    p = 2.0 * upper_tail_p(abs(z), 1.0, _NORMAL)
    agrees = abs(z) <= critical_t(_NORMAL, level=1.0 - level)
    reason = None if agrees else f"differs from the randomised decisions by {observed - explored:+.3g}"
    return Anchor(z=z, p=p, agrees=agrees, reason=reason)


def placebo_effects(
    problem: Problem, action: str, baseline: str, *, seed: int, level: float = LEVEL
) -> tuple[Placebo, ...]:
    """The overlap-weighted 'effect' of the action on each numeric feature, estimated without that feature.

    With logged propensities each must be 0, and together they test the log. Where propensities are estimated,
    a feature that moves the choice is then a confounder that was left out on purpose: its effect shows what
    one like it, not logged, would leave behind. Every feature costs a full set of scores.
    """
    names = [n for n in problem.features if _numeric(problem, n)]
    return tuple(_placebo(problem, name, action, baseline, seed=seed, level=level) for name in names)


def _numeric(problem: Problem, name: str) -> bool:
    kind = problem.frame[name].dtype
    return kind.is_numeric() or kind == pl.Boolean


def _placebo(problem: Problem, name: str, action: str, baseline: str, *, seed: int, level: float) -> Placebo:
    made = _as_outcome(problem, name)
    if not made.features and problem.frame["propensity"].null_count():
        return _none(name, level, "no other feature is logged, and no propensity")
    scores = score(made, seed=seed)
    a, b = made.arm_index(action), made.arm_index(baseline)
    if a not in scores.psi or b not in scores.psi:
        return _none(name, level, "too few decisions took one of the two actions")
    nothing = Valuation(task_value=np.zeros(made.n), latency_price=0.0, risk_price=0.0)
    contrast = pair(scores, action, baseline, nothing)
    rows = contrast.feasible & ~np.isnan(contrast.d[:, 0])
    took = (contrast.took_a & rows, contrast.took_b & rows)
    fault = count_fault(made.cluster, *took, (action, baseline))
    size = overlap(contrast.w, *took)
    if fault is None and size.ess < MIN_ESS:
        fault = f"no overlap: effective sample size {size.ess:.0f}; {MIN_ESS:.0f} are needed"
    if fault is not None:
        return _none(name, level, fault)
    mean = floored_mean(contrast, rows, contrast.h)
    value, se = float(mean.theta[0]), float(np.sqrt(mean.cov[0, 0]))
    lower, upper = interval(value, se, mean.df, level=level)
    return Placebo(feature=name, value=value, se=se, lower=lower, upper=upper, level=level)


def _as_outcome(problem: Problem, name: str) -> Problem:
    """The same decisions with the standardised feature for quality, no other outcome, and no judge."""
    x = problem.frame[name].cast(pl.Float64).to_numpy()
    outcomes = np.full(problem.outcomes.shape, np.nan)
    outcomes[:, 0] = (x - np.nanmean(x)) / np.nanstd(x)
    hidden = [c for c in ("judge_score", "label_prob") if c in problem.frame.columns]
    return replace(
        problem,
        frame=problem.frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(c) for c in hidden),
        outcomes=outcomes,
        features=tuple(n for n in problem.features if n != name),
        events=(False, False, False, False),
    )


def _none(name: str, level: float, reason: str) -> Placebo:
    return Placebo(feature=name, value=None, se=None, lower=None, upper=None, level=level, reason=reason)
