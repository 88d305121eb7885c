"""How to spread a training budget over levers whose returns scatter: the frontier, and how sure a mix is
best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from sklearn.covariance import LedoitWolf

from ...errors import SchemaError

Array = NDArray[np.float64]

MIN_RUNS: Final = 12
_POINTS: Final = 9
"""Points of the frontier between the least variance and the highest mean."""
_SPLITS: Final = 200
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Long-only shares of K levers. mean: (K,) gain per USD; cov: (K, K), shrunk. points: (P, 2) mean and sd
    of the mixes of least variance; shares: (P, K). mix: (K,) shares with the most gain per unit of sd. beats:
    by lever, in how many of the splits of the runs a mix made from one half had more gain per unit of sd in
    the other half than the lever alone."""

    levers: tuple[str, ...]
    mean: Array
    cov: Array
    points: Array
    shares: Array
    mix: Array
    beats: dict[str, float]
    runs: int


def frontier(gains: Array, levers: tuple[str, ...], *, seed: int) -> Frontier | str:
    """The mean-variance frontier of spending on `levers` (SFT, DPO, RL, verifiers, ...), or why there is
    none.

    gains: (n, K) gain per USD of each lever in each of n runs. Shares are not negative and add up to 1; the
    covariance is shrunk towards a multiple of the identity. Refused below MIN_RUNS runs, with one lever, and
    where no lever gains on average. What is estimated from n runs is the past of these runs: `beats` is its
    stability, not a probability about other tasks.

    Raises: SchemaError for gains that are not finite or do not fit the levers.
    Source: Markowitz 1952; Ledoit & Wolf 2004, J. Multivariate Analysis 88.
    """
    if gains.ndim != 2 or gains.shape[1] != len(levers) or not np.isfinite(gains).all():
        raise SchemaError(
            f"gains of shape {gains.shape}",
            where="frontier",
            expected=f"(runs, {len(levers)}) finite numbers",
        )
    if gains.shape[0] < MIN_RUNS or len(levers) < 2:
        return f"{gains.shape[0]} runs of {len(levers)} levers; {MIN_RUNS} runs of at least 2 are needed"
    mean, cov = _moments(gains)
    if mean.max() <= 0.0:
        return "no lever gains on average"
    least = _least_variance(cov, mean, float(-np.inf))
    targets = np.linspace(float(least @ mean), float(mean.max()), _POINTS)
    shares = np.array([_least_variance(cov, mean, t) for t in targets])
    spread = np.sqrt(np.einsum("pk,kl,pl->p", shares, cov, shares))
    return Frontier(
        levers=levers,
        mean=mean,
        cov=cov,
        points=np.column_stack([shares @ mean, spread]),
        shares=shares,
        mix=_steepest(cov, mean),
        beats=dict(zip(levers, _beats(gains, np.random.default_rng(seed)).tolist(), strict=True)),
        runs=gains.shape[0],
    )


def _moments(gains: Array) -> tuple[Array, Array]:
    return gains.mean(axis=0), np.asarray(LedoitWolf().fit(gains).covariance_, dtype=float)


def _least_variance(cov: Array, mean: Array, target: float) -> Array:
    """(K,) shares of least variance whose mean is at least `target`."""
    constraints: list[dict[str, object]] = [{"type": "eq", "fun": lambda w: w.sum() - 1.0}]
    best = int(np.argmax(mean))
    if np.isfinite(target):
        size = max(abs(float(mean[best])), _TINY)
        constraints.append({"type": "ineq", "fun": lambda w: (w @ mean - target) / size})
    return _shares(cov, constraints, start=np.eye(mean.size)[best])


def _steepest(cov: Array, mean: Array) -> Array:
    """(K,) shares with the largest mean per unit of sd: least variance at a mean of 1, rescaled."""
    size = float(mean.max())
    constraints: list[dict[str, object]] = [{"type": "eq", "fun": lambda w: w @ mean / size - 1.0}]
    w = _shares(cov, constraints, start=np.eye(mean.size)[int(np.argmax(mean))])
    return w / w.sum()


def _shares(cov: Array, constraints: Sequence[Mapping[str, object]], *, start: Array) -> Array:
    """argmin of the variance over non-negative w; scaled so that the solver's tolerances mean something."""
    scaled = cov / np.diag(cov).max()
    found = optimize.minimize(
        lambda w: w @ scaled @ w,
        start,
        jac=lambda w: 2.0 * scaled @ w,
        method="SLSQP",
        bounds=[(0.0, None)] * start.size,
        constraints=list(constraints),
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return np.clip(np.asarray(found.x, dtype=float), 0.0, None)


def _beats(gains: Array, rng: np.random.Generator) -> Array:
    """(K,) share of random halvings in which a mix from one half does better in the other than each lever."""
    n, k = gains.shape
    won = np.zeros(k)
    for _ in range(_SPLITS):
        order = rng.permutation(n)
        mean, cov = _moments(gains[order[: n // 2]])
        if mean.max() <= 0.0:
            continue
        rest = gains[order[n // 2 :]]
        mixed = rest @ _steepest(cov, mean)
        alone = rest.mean(axis=0) / np.maximum(rest.std(axis=0, ddof=1), _TINY)
        won += mixed.mean() / max(float(mixed.std(ddof=1)), _TINY) > alone
    return won / _SPLITS
