"""The whole distribution of an outcome under a target policy, and the mean of its worst share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import ConfigError
from ..schemas.config import Config
from ..schemas.records import QUANTITIES
from .confidence import interval
from .policy_rows import PolicyRows, mean_of, missing_outcomes, outcome_model, policy_rows, weight_refusal
from .policy_target import Target
from .policy_value import Quantity
from .simultaneous import sup_t

Array = NDArray[np.float64]

_POINTS: Final = 19
"""Points of the distribution when none are asked for: the logged outcome's quantiles .05 to .95."""
_FINE: Final = 200
"""Thresholds, at most, that a quantile is searched among."""
_MIN_TAIL_ESS: Final = 30.0
"""Effective number of outcomes beyond the quantile that a mean of the worst share needs."""
_CDF: Final = {
    "quantity": pl.String,
    "threshold": pl.Float64,
    "value": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "lower_all": pl.Float64,
    "upper_all": pl.Float64,
    "n": pl.Int64,
    "ess": pl.Float64,
    "reason": pl.String,
}
_CVAR: Final = {
    "quantity": pl.String,
    "beta": pl.Float64,
    "quantile": pl.Float64,
    "value": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "ess": pl.Float64,
    "reason": pl.String,
}


def policy_distribution(
    decisions: pl.DataFrame,
    target: Target,
    quantity: Quantity = "quality",
    seed: int = 0,
    *,
    grid: Sequence[float] | None = None,
    config: Config | None = None,
) -> pl.DataFrame:
    """P(Y <= t) had `target` chosen, at each threshold t of `grid`, or a reason in one row.

    F(t) = mean(sum_a pi(a) G(t; x, a) + w (1{Y <= t} - G(t; x, A))), G cross-fitted, then clipped to [0, 1]
    and made to rise with t. lower, upper: of each point by leave-one-cluster-out t; lower_all, upper_all hold
    at all thresholds together. All rise with t. grid: the logged outcome's quantiles .05 to .95 if None.

    Raises: as `policy_value`; ConfigError for a grid that is empty or not finite.
    Source: Huang, Leqi, Lipton & Azizzadenesheli 2021.
    """
    rows, y, reason = _asked(decisions, target, quantity, config)
    if reason is not None:
        nothing = (quantity, *[None] * 6, rows.problem.n, rows.ess, reason)
        return pl.DataFrame([nothing], schema=_CDF, orient="row")
    t = _thresholds(y, grid)
    scores = _cdf_scores(rows, y, t, seed)
    mean = mean_of(rows.problem, scores, rows.problem.weight)
    se = np.sqrt(np.diag(mean.cov))
    influence = _cluster_sums(rows, scores - mean.theta)
    critical = sup_t(influence, mean.df, rng=np.random.default_rng(seed))
    one = np.array([interval(0.0, float(s), mean.df)[1] for s in se])
    every = critical * se
    columns = [_rising(mean.theta + shift) for shift in (0.0, -one, one, -every, every)]
    out = [
        (quantity, float(t[i]), *(float(c[i]) for c in columns), rows.problem.n, rows.ess, None)
        for i in range(t.size)
    ]
    return pl.DataFrame(out, schema=_CDF, orient="row")


def policy_cvar(
    decisions: pl.DataFrame,
    target: Target,
    quantity: Quantity = "risk",
    seed: int = 0,
    *,
    beta: float = 0.95,
    config: Config | None = None,
) -> pl.DataFrame:
    """The mean of the largest 1 - beta of the outcomes had `target` chosen: one row, value or reason.

    CVaR = q + E[(Y - q)+] / (1 - beta), q the beta quantile by inversion of the distribution. It is flat in q
    there, so that the interval is that of the doubly robust mean of (Y - q)+. Large outcomes are the bad
    ones: for quality, ask for a loss. Refused with an effective size below 30 beyond q.

    Raises: as `policy_value`; ConfigError when beta is not inside (0, 1).
    Source: Rockafellar & Uryasev 2000; Huang, Leqi, Lipton & Azizzadenesheli 2021; Kallus, Mao & Uehara 2024.
    """
    if not 0.0 < beta < 1.0:
        raise ConfigError(f"beta is {beta}", where="policy_cvar", expected="a share inside (0, 1)")
    rows, y, reason = _asked(decisions, target, quantity, config)
    if reason is not None:
        return _cvar_row(rows, quantity, beta, None, reason)
    q = _quantile(rows, y, beta, seed)
    beyond = rows.w * rows.problem.weight * (y > q)
    size = float(beyond.sum() ** 2 / (beyond**2).sum()) if beyond.any() else 0.0
    if size < _MIN_TAIL_ESS:
        few = f"effective size {size:.0f} beyond the {beta:g} quantile; {_MIN_TAIL_ESS:.0f} are needed"
        return _cvar_row(rows, quantity, beta, None, few)
    excess = np.maximum(y - q, 0.0)[:, None]
    own, direct = outcome_model(rows, excess, seed=seed)
    mean = mean_of(rows.problem, direct + rows.w[:, None] * (excess - own), rows.problem.weight)
    value = q + float(mean.theta[0]) / (1.0 - beta)
    ends = interval(value, float(np.sqrt(mean.cov[0, 0])) / (1.0 - beta), mean.df)
    return _cvar_row(rows, quantity, beta, (q, value, *ends), None)


def _asked(
    decisions: pl.DataFrame, target: Target, quantity: str, config: Config | None
) -> tuple[PolicyRows, Array, str | None]:
    if quantity not in QUANTITIES:
        raise ConfigError(
            f"quantity is '{quantity}'", where="policy_distribution", expected=", ".join(QUANTITIES)
        )
    rows = policy_rows(decisions, target, config)
    y = rows.problem.outcomes[:, QUANTITIES.index(quantity)]
    return rows, y, rows.fault or missing_outcomes(y) or weight_refusal(rows)


def _thresholds(y: Array, grid: Sequence[float] | None) -> Array:
    if grid is None:
        return np.unique(np.quantile(y, np.arange(1, _POINTS + 1) / (_POINTS + 1), method="inverted_cdf"))
    t = np.unique(np.asarray(grid, dtype=float))
    if t.size == 0 or not np.isfinite(t).all():
        raise ConfigError(f"grid is {list(grid)}", where="policy_distribution", expected="finite numbers")
    return t


def _cdf_scores(rows: PolicyRows, y: Array, t: Array, seed: int) -> Array:
    """Doubly robust scores (n, m) of 1{Y <= t}."""
    below = (y[:, None] <= t).astype(float)
    own, direct = outcome_model(rows, below, seed=seed)
    return direct + rows.w[:, None] * (below - own)


def _quantile(rows: PolicyRows, y: Array, beta: float, seed: int) -> float:
    """The smallest of up to 200 logged outcomes t, denser in the upper tail, with F(t) >= beta."""
    tail = np.linspace(0.0, 1.0, _FINE // 2)
    levels = np.concatenate([tail * beta, 1.0 - (1.0 - beta) * (1.0 - tail) ** 2])
    t = np.unique(np.quantile(y, levels, method="inverted_cdf"))
    theta = mean_of(rows.problem, _cdf_scores(rows, y, t, seed), rows.problem.weight).theta
    reached = np.flatnonzero(_rising(theta) >= beta - 1e-12)
    return float(t[reached[0]]) if reached.size else float(t[-1])


def _rising(x: Array) -> Array:
    """x (m,) kept in [0, 1] and made to rise: the running maximum."""
    return np.maximum.accumulate(np.clip(x, 0.0, 1.0))


def _cluster_sums(rows: PolicyRows, x: Array) -> Array:
    problem, count = rows.problem, len(rows.problem.cluster_ids)
    columns = [
        np.bincount(problem.cluster, weights=problem.weight * x[:, j], minlength=count).astype(float)
        for j in range(x.shape[1])
    ]
    return np.column_stack(columns)


def _cvar_row(
    rows: PolicyRows,
    quantity: str,
    beta: float,
    found: tuple[float, float, float, float] | None,
    reason: str | None,
) -> pl.DataFrame:
    q, value, lower, upper = found or (None, None, None, None)
    row = (quantity, beta, q, value, lower, upper, rows.problem.n, rows.ess, reason)
    return pl.DataFrame([row], schema=_CVAR, orient="row")
