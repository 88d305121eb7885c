"""Off-policy estimators as pure functions: per-row terms in, per-row contributions to a mean out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_GRID: Final = 25
"""Thresholds tried between the smallest and the largest weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every estimator is made of, (n,) each.

    w = pi(A) / e(A); y: outcome; own = q(x, A); direct = sum_a pi(a) q(x, a), q cross-fitted;
    weight = 1 / keep_prob.
    """

    w: Array
    y: Array
    own: Array
    direct: Array
    weight: Array

    @property
    def residual(self) -> Array:
        """y - q(x, A)."""
        return self.y - self.own

    def mean(self, x: Array) -> float:
        """The mean of x (n,) over what the rows stand for."""
        return float(np.average(x, weights=self.weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """The estimate is sum h d / sum h. linear: (n,) whose mean is the estimate to first order.

    note: what was done to the weights. short: largest amount by which the estimate can be too low per unit
    of the largest outcome, because weight was cut.
    """

    d: Array
    h: Array
    linear: Array
    note: str | None = None
    short: float = 0.0


def direct_method(t: Terms) -> Contribution:
    """mean(sum_a pi(a) q(x, a)). Source: Beygelzimer & Langford 2009."""
    return _plain(t, t.direct)


def ips(t: Terms) -> Contribution:
    """mean(w y). Source: Horvitz & Thompson 1952."""
    return _plain(t, t.w * t.y)


def snips(t: Terms) -> Contribution:
    """sum(w y) / sum(w). Source: Hajek 1971; Swaminathan & Joachims 2015."""
    centre = t.mean(t.w * t.y) / t.mean(t.w)
    linear = centre + t.w * (t.y - centre) / t.mean(t.w)
    return Contribution(d=t.y, h=t.w * t.weight, linear=linear)


def clipped_ips(t: Terms, cap: float) -> Contribution:
    """mean(min(w, cap) y): too low for outcomes of at least 0, by no more than the cut weight times the
    largest outcome. With cap = sqrt(n) the bias vanishes as n grows. Source: Ionides 2008."""
    kept = np.minimum(t.w, cap)
    cut = int((t.w > cap).sum())
    if cut == 0:
        return _plain(t, kept * t.y)
    short = max(1.0 - t.mean(kept), 0.0)
    lost = 1.0 - t.mean(kept) / t.mean(t.w)
    note = f"{cut} weights above {cap:.0f} were cut, {lost:.1%} of all weight; the upper end allows for it"
    return Contribution(d=kept * t.y, h=t.weight, linear=kept * t.y, note=note, short=short)


def doubly_robust(t: Terms) -> Contribution:
    """mean(sum_a pi(a) q(x, a) + w (y - q(x, A))). Source: Dudik, Langford & Li 2011."""
    return _plain(t, t.direct + t.w * t.residual)


def self_normalised_dr(t: Terms) -> Contribution:
    """mean(direct) + sum w (y - q) / sum w, through its linear form.

    Source: Thomas & Brunskill 2016 (weighted doubly robust).
    """
    centre = t.mean(t.w * t.residual) / t.mean(t.w)
    return _plain(t, t.direct + centre + t.w * (t.residual - centre) / t.mean(t.w))


def switch_dr(t: Terms, tau: float) -> Contribution:
    """mean(direct + w 1{w <= tau} (y - q)): the model alone where weights are larger than tau.

    tau 0 is the direct method, infinity the doubly robust one. Source: Wang, Agarwal & Dudik 2017.
    """
    return _plain(t, t.direct + np.where(t.w <= tau, t.w, 0.0) * t.residual)


def shrunk_dr(t: Terms, lam: float) -> Contribution:
    """mean(direct + lam w / (w^2 + lam) (y - q)): the larger the weight, the more it is shrunk.

    lam 0 is the direct method, infinity the doubly robust one. Source: Su, Dimakopoulou, Krishnamurthy &
    Dudik 2020 (optimistic shrinkage).
    """
    return _plain(t, t.direct + _shrunk(t.w, lam) * t.residual)


def choose_tau(t: Terms) -> float:
    """The threshold of `switch_dr` with the smallest bound of its mean squared error.

    variance / n + (R E[w 1{w > tau}])^2, where R is the largest residual: the bias is at most that.

    Source: Wang, Agarwal & Dudik 2017, section 3.
    """
    largest = float(np.abs(t.residual).max())

    def bias(tau: float) -> float:
        return largest * t.mean(np.where(t.w > tau, t.w, 0.0))

    positive = t.w[t.w > 0]
    grid = [*np.quantile(positive, np.linspace(0.0, 1.0, _GRID)), np.inf] if positive.size else [np.inf]
    return _best(t, [float(g) for g in grid], lambda g: switch_dr(t, g).d, bias)


def choose_lambda(t: Terms) -> float:
    """The lambda of `shrunk_dr` with the smallest estimated mean squared error.

    variance / n + E[(w^ - w)(y - q)]^2, the bias being estimated from the weights that shrinkage removed.

    Source: Su, Dimakopoulou, Krishnamurthy & Dudik 2020, section 5.
    """

    def bias(lam: float) -> float:
        return t.mean((_shrunk(t.w, lam) - t.w) * t.residual)

    positive = t.w[t.w > 0]
    if positive.size == 0:
        return np.inf
    low, high = float(positive.min()) ** 2, 100.0 * float(positive.max()) ** 2
    grid = [*np.geomspace(low, high, _GRID), np.inf]
    return _best(t, [float(g) for g in grid], lambda g: shrunk_dr(t, g).d, bias)


def marginalised_weights(
    pi: Array, e: Array, embedding: NDArray[np.int64], taken: NDArray[np.int64]
) -> Array:
    """w(x, E) = sum_a pi(a) 1{E_a = E} / sum_a e(a) 1{E_a = E} at the taken action's embedding (n,).

    pi, e: (n, K); embedding: (K,) codes; taken: (n,) arm. Unbiased when the action moves the outcome only
    through its embedding; then actions that share one need no overlap of their own.

    Source: Saito & Joachims 2022.
    """
    same = (embedding[:, None] == embedding[taken][None, :]).T
    above, below = (pi * same).sum(axis=1), (e * same).sum(axis=1)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _plain(t: Terms, d: Array) -> Contribution:
    return Contribution(d=d, h=t.weight, linear=d)


def _shrunk(w: Array, lam: float) -> Array:
    if np.isinf(lam):
        return w
    return np.divide(lam * w, w**2 + lam, out=np.zeros_like(w), where=w > 0)


def _best(t: Terms, grid: list[float], d: Callable[[float], Array], bias: Callable[[float], float]) -> float:
    """The grid point with the smallest variance + bias^2; the last of equals, so the least biased."""
    share = t.weight / t.weight.sum()
    noise = float((share**2).sum())
    errors = [noise * t.mean((d(g) - t.mean(d(g))) ** 2) + bias(g) ** 2 for g in grid]
    smallest = min(errors)
    return max(g for g, error in zip(grid, errors, strict=True) if error <= smallest * (1 + 1e-12))
