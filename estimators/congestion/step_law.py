"""How long a step of an engine takes: a law fitted to its step log, with errors that allow for memory.

The law is what a replay runs on, so it is refused where it leaves too much of the steps unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import nnls

from .engine import Rate

Array = NDArray[np.float64]

MIN_R2: Final = 0.9
"""Share of the variance of step times that a law has to explain (METHODS F1)."""
MIN_STEPS: Final = 100
_ROUNDS: Final = 4
_QUICKEST: Final = 0.01
"""Quantile of the step times below which a fitted time gets no more weight."""
TERMS: Final = ("base_s", "prefill_s", "decode_s", "kv_s", "attention_s")
UNITS: Final = ("s/step", "s/token", "s/sequence", "s/token", "s/pair")
_COLUMNS: Final = ("step_s", "prefill_tok", "decode_seqs", "kv_tok")
_CURE: Final = (
    "log for every step of every replica: step_s (its own duration, not an average), prefill_tok, "
    "decode_seqs, kv_tok"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLaw:
    """The step-time law of one replica; `rate` None where it is refused, with the reason.

    errors: heteroscedasticity and autocorrelation consistent standard errors of the five TERMS, None at the
    boundary 0 and for a term that was left out. r2: share of variance explained. n: steps. lags: of errors.
    """

    replica: str
    rate: Rate | None
    errors: tuple[float | None, ...] = (None,) * len(TERMS)
    r2: float | None = None
    n: int = 0
    lags: int = 0
    reason: str | None = None

    def __str__(self) -> str:
        if self.rate is None:
            return f"{self.replica}: no step-time law: {self.reason}"
        told = [
            f"{name} {getattr(self.rate, name):.3g} {unit}" for name, unit in zip(TERMS, UNITS, strict=True)
        ]
        return f"{self.replica}: {', '.join(told)} (R2 {self.r2:.3f}, {self.n} steps)"


def fit_step_law(steps: pl.DataFrame, *, replica: str, pairs: Array | None = None) -> StepLaw:
    """t = b0 + bp prefill + bd decode + bk kv (+ ba pairs) by non-negative weighted least squares.

    steps: rows of engine_steps of one replica in order of time. pairs: (n,) tokens before each prompt token
    of a step, summed; NaN where not known: such steps are then left out, None leaves out the term. Errors are
    Newey-West with Bartlett weights on the terms above 0. Not identified: fewer than MIN_STEPS complete
    steps, steps that all look alike, or R2 below MIN_R2.

    Source: METHODS F1; Newey & West 1987, 1994 (lags 4 (n / 100)^(2 / 9)).
    """
    lacking = [
        name for name in _COLUMNS if name not in steps.columns or steps[name].null_count() == steps.height
    ]
    if lacking:
        return StepLaw(
            replica=replica, rate=None, reason=f"{', '.join(lacking)} of steps is not logged; {_CURE}"
        )
    y = steps["step_s"].cast(pl.Float64).to_numpy()
    parts = [steps[name].cast(pl.Float64).to_numpy() for name in _COLUMNS[1:]]
    x = np.column_stack([np.ones(y.size), *parts, np.zeros(y.size) if pairs is None else pairs])
    whole = np.isfinite(y) & np.isfinite(x).all(axis=1)
    y, x = y[whole], x[whole]
    if y.size < MIN_STEPS:
        return StepLaw(
            replica=replica,
            rate=None,
            n=y.size,
            reason=f"{y.size} complete steps; {MIN_STEPS} are needed; {_CURE}",
        )
    total = float(((y - y.mean()) ** 2).sum())
    if np.ptp(y) == 0 or (np.ptp(x[:, 1]) == 0 and np.ptp(x[:, 2]) == 0):
        reason = f"all steps look alike, so no token has a time of its own; {_CURE}"
        return StepLaw(replica=replica, rate=None, n=y.size, reason=reason)
    return _fitted(y, x, total, replica)


def _fitted(y: Array, x: Array, total: float, replica: str) -> StepLaw:
    beta, weight = _least_squares(x, y)
    residual = y - x @ beta
    r2, lags = 1.0 - float((residual**2).sum()) / total, int(4.0 * (y.size / 100.0) ** (2.0 / 9.0))
    known = StepLaw(replica=replica, rate=None, r2=r2, n=y.size, lags=lags, reason=_CURE)
    if r2 < MIN_R2:
        share = f"{max(r2, 0.0):.0%} of the step times; {MIN_R2:.0%} are needed"
        return replace(known, reason=f"prompt, decoding and KV tokens explain {share}; {_CURE}")
    free = beta > 0
    found = iter(_hac(x[:, free] * weight[:, None], residual * weight, lags))
    errors = tuple(float(next(found)) if is_free else None for is_free in free)
    return replace(
        known, rate=Rate(**dict(zip(TERMS, beta.tolist(), strict=True))), errors=errors, reason=None
    )


def _least_squares(x: Array, y: Array) -> tuple[Array, Array]:
    """(p,) coefficients >= 0 and (n,) weights: the error of a step grows with its time, so each counts by its
    relative error. The weights are 1 / fitted time, found by turns from 1 / logged time."""
    scale = np.where(x.max(axis=0) > 0, x.max(axis=0), 1.0)
    least = float(np.quantile(y[y > 0], _QUICKEST)) if (y > 0).any() else 1.0
    beta, fitted = np.zeros(x.shape[1]), y
    weight = np.ones(y.size)
    for _ in range(_ROUNDS):
        weight = 1.0 / np.maximum(fitted, least)
        # five rows instead of a million say the same to least squares
        q, r = np.linalg.qr(x / scale * weight[:, None])
        beta = nnls(r, q.T @ (y * weight))[0] / scale
        fitted = x @ beta
    return beta, weight


def _hac(x: Array, residual: Array, lags: int) -> Array:
    """(p,) Newey-West standard errors of least squares with regressors x (n, p)."""
    scores = x * residual[:, None]
    meat = scores.T @ scores
    for lag in range(1, lags + 1):
        across = scores[lag:].T @ scores[:-lag]
        meat += (1.0 - lag / (lags + 1.0)) * (across + across.T)
    scale = np.sqrt(np.maximum((x**2).sum(axis=0), 1e-300))
    bread = np.linalg.pinv(x.T @ x / np.outer(scale, scale)) / np.outer(scale, scale)
    return np.sqrt(np.maximum(np.diag(bread @ meat @ bread), 0.0))
