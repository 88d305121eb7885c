"""What fades by a constant share per version, from a level of its own in each update; signals of any sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .leave_out import LeftOut, of_refits, per_group

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_STEPS: Final = 100
_CLOSE: Final = 1e-10
_LONGEST: Final = 0.5
"""Largest step in a coefficient: the equation is flat far from its root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """n rollouts in G updates. signal: (n,) what each taught, NaN where it was not measured. lag: (n,)
    versions. controls: (n, k) of mean about 0. update: (n,) codes below G, each with a signal."""

    signal: Array
    lag: Array
    controls: Array
    update: Ints

    @property
    def design(self) -> Array:
        """(n, 1 + k) what moves the log signal: minus the lag, so that its coefficient is the decay."""
        return np.column_stack([-self.lag, self.controls])

    @property
    def seen(self) -> Mask:
        """(n,) rollouts whose signal was measured."""
        return np.isfinite(self.signal)


def fit_fading(signals: Signals) -> LeftOut | str:
    """(eta, beta (k,), log level) with their covariance, or why there are none.

    E[signal] = a_u exp(-eta lag + beta' x): a version takes delta = 1 - exp(-eta) of what a rollout teaches.
    The level is the mean of a_u exp(beta' x) over all n rollouts, what they would teach if they were fresh.
    Solved is sum_i (x_i - xbar_u)(y_i - a_u m_i) = 0 with a_u = sum y / sum m, the Poisson score given the
    updates' totals. It has mean 0 at the truth whatever the law of y, however many updates there are, and
    for negative y; least squares with estimated levels has not. The error is that of leaving out each update.

    Source: Wooldridge 1999, J. Econometrics 90; CR3 as in `leave_one_out`.
    """
    rows = signals.seen
    y, x, u = signals.signal[rows], signals.design[rows], signals.update[rows]
    groups = int(signals.update.max()) + 1
    theta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        score, info = _equation(theta, y, x, u, groups)
        total = info.sum(axis=0)
        if not _identified(total):
            return "within their updates rollouts of different lags do not differ enough in what they teach"
        step = np.linalg.solve(total, score.sum(axis=0))
        theta = theta + np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < _CLOSE:
            return _with_error(theta, signals, score, info)
    return "the decay has no finite estimate: the signals do not fade at a constant share per version"


def _means(theta: Array, y: Array, x: Array, u: Ints, groups: int) -> tuple[Array, Array, Array]:
    """(n,) m_i, (G,) a_u, (G,) sums of m."""
    m = np.exp(np.clip(x @ theta, -50.0, 50.0))
    sums = per_group(np.column_stack([m, y]), u, groups)
    return m, sums[:, 1] / sums[:, 0], sums[:, 0]


def _equation(theta: Array, y: Array, x: Array, u: Ints, groups: int) -> tuple[Array, Array]:
    """(G, k) scores and (G, k, k) information of the updates."""
    m, a, sums = _means(theta, y, x, u, groups)
    mean = per_group(x * m[:, None], u, groups) / sums[:, None]
    around = x - mean[u]
    score = around * (y - a[u] * m)[:, None]
    weighted = around * (a[u] * m)[:, None]
    k = x.shape[1]
    outer = (weighted[:, :, None] * around[:, None, :]).reshape(-1, k * k)
    return per_group(score, u, groups), per_group(outer, u, groups).reshape(-1, k, k)


def _identified(info: Array) -> bool:
    scale = np.sqrt(np.maximum(np.diag(info), 0.0))
    if not (scale > 0.0).all():
        return False
    return bool(np.linalg.eigvalsh(info / np.outer(scale, scale)).min() > 1e-8)


def _with_error(theta: Array, signals: Signals, score: Array, info: Array) -> LeftOut | str:
    rest = info.sum(axis=0) - info
    without = theta - np.einsum("gij,gj->gi", np.linalg.pinv(rest), score)
    parts, sizes = _levels(theta, signals)
    total, n = parts.sum(), sizes.sum()
    direct = (total - parts) / (n - sizes)
    if total <= 0.0 or (direct <= 0.0).any():
        return "the signals are not positive on average, so there is nothing that could fade"
    level = np.log(total / n)
    moved = np.log(direct) + (without - theta) @ _level_slope(theta, signals)
    weight = np.maximum(info[:, 0, 0], 0.0)
    return of_refits(np.append(theta, level), np.column_stack([without, moved]), weight=weight)


def _levels(theta: Array, signals: Signals) -> tuple[Array, Array]:
    """(G,) sums over all rollouts of what they would teach if fresh, and (G,) their number."""
    rows, groups = signals.seen, int(signals.update.max()) + 1
    _, a, _ = _means(theta, signals.signal[rows], signals.design[rows], signals.update[rows], groups)
    fresh = np.exp(signals.controls @ theta[1:])
    sums = per_group(np.column_stack([fresh, np.ones(fresh.size)]), signals.update, groups)
    return a * sums[:, 0], sums[:, 1]


def _level_slope(theta: Array, signals: Signals) -> Array:
    """(1 + k,) derivative of the log level in the coefficients, by central differences."""
    width = 1e-5
    out = np.zeros(theta.size)
    for j in range(theta.size):
        move = np.zeros(theta.size)
        move[j] = width
        up, down = (_levels(theta + s * move, signals)[0].sum() for s in (1.0, -1.0))
        out[j] = (np.log(up) - np.log(down)) / (2.0 * width)
    return out
