"""Hazards from looks: how fast something goes bad that is only seen now and then, until it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .leave_out import LeftOut, of_refits, per_group

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS: Final = 50
_CLOSE: Final = 1e-10
_LEAST_EVENTS: Final = 1e-3
"""Expected events below which the estimate is on its way to minus infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """n looks. bad: (n,) 1 where the thing had gone bad since the look before, which found it good. gap:
    (n,) time since then, positive. design: (n, k) what moves the log hazard, an intercept first. cluster:
    (n,) codes below `clusters`. background: chance that a look finds fault with something good; shifted:
    (clusters,) the same without each cluster in turn, so that its error counts too."""

    bad: Array
    gap: Array
    design: Array
    cluster: Ints
    clusters: int
    background: float = 0.0
    shifted: Array | None = None


def fit_hazard(looks: Looks) -> LeftOut | str:
    """Coefficients (k,) of the log hazard per unit of time with their covariance, or why there are none.

    P(bad) = 1 - (1 - b) exp(-gap exp(x' beta)): a binomial model with complementary log-log link and offset
    log gap. Each gap ends in one look, so the likelihood of interval-censored lives is exact, and what was
    evicted contributes up to its last look. Not identified where eviction itself depends on having gone bad.
    The error is that of leaving out each cluster, by one Newton step.

    Source: Prentice & Gloeckler 1978, Biometrics 34; CR3 as in `leave_one_out`.
    """
    beta = _newton(looks)
    if beta is None:
        return "the hazard has no finite estimate: the looks do not tell its parts from each other"
    score, info, expected = _derivatives(looks, beta)
    k = beta.size
    scores = per_group(score, looks.cluster, looks.clusters)
    infos = per_group(info.reshape(-1, k * k), looks.cluster, looks.clusters).reshape(-1, k, k)
    rest = infos.sum(axis=0) - infos
    left_out = beta - np.einsum("gij,gj->gi", np.linalg.pinv(rest), scores)
    if looks.shifted is not None:
        left_out = left_out + np.outer(looks.shifted - looks.background, _by_background(looks, beta))
    weight = per_group(expected[:, None], looks.cluster, looks.clusters)[:, 0]
    return of_refits(beta, left_out, weight=weight)


def _newton(looks: Looks) -> Array | None:
    """The root of the score by Fisher scoring with halved steps where one goes too far."""
    rate = max(looks.bad.sum(), 0.5) / looks.gap.sum()
    beta = np.zeros(looks.design.shape[1])
    beta[0] = np.log(rate)
    value = _log_likelihood(looks, beta)
    for _ in range(_STEPS):
        score, info, _ = _derivatives(looks, beta)
        step = np.linalg.pinv(info.sum(axis=0)) @ score.sum(axis=0)
        while (new := _log_likelihood(looks, beta + step)) < value - _CLOSE and np.abs(step).max() > _CLOSE:
            step = step / 2.0
        beta, value = beta + step, new
        if np.abs(step).max() < _CLOSE:
            # a hazard on its way to 0 takes steps that shrink, too
            return beta if _chance(looks, beta)[0].sum() > _LEAST_EVENTS else None
    return None


def _chance(looks: Looks, beta: Array) -> tuple[Array, Array]:
    """(n,) cumulative hazard over the gap, and P(bad)."""
    hazard = looks.gap * np.exp(np.clip(looks.design @ beta, -50.0, 50.0))
    b = looks.background
    return hazard, np.clip(b - (1.0 - b) * np.expm1(-hazard), 1e-300, 1.0)


def _log_likelihood(looks: Looks, beta: Array) -> float:
    hazard, p = _chance(looks, beta)
    good = np.log1p(-looks.background) - hazard
    return float(np.where(looks.bad > 0.0, np.log(p), good).sum())


def _derivatives(looks: Looks, beta: Array) -> tuple[Array, Array, Array]:
    """(n, k) scores, (n, k, k) expected information, (n,) expected events that the hazard makes."""
    hazard, p = _chance(looks, beta)
    slope = hazard / p
    info = slope * hazard * (1.0 - p)
    x = looks.design
    return x * (slope * (looks.bad - p))[:, None], info[:, None, None] * x[:, :, None] * x[:, None, :], hazard


def _by_background(looks: Looks, beta: Array) -> Array:
    """(k,) derivative of the estimate in the background, from the implicit function theorem."""
    hazard, p = _chance(looks, beta)
    kept = np.exp(-hazard)
    cross = (-kept * hazard / p - (looks.bad - p) * hazard * kept / p**2) @ looks.design
    _, info, _ = _derivatives(looks, beta)
    return np.linalg.pinv(info.sum(axis=0)) @ cross
