"""One decision point with three actions whose true means are known, so that caps have a known price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from .truth_prices import duals
from .world import Array

ACTIONS: Final = ("basic", "standard", "expert")
TASK_VALUE: Final = 2.0
"""V in USD per task."""
RISK_USD: Final = 5.0
"""What one incident costs, in USD per event."""
_TRUTH_ROWS: Final = 200_000
_TRUTH_SEED: Final = 12_345


@dataclass(frozen=True, slots=True, kw_only=True)
class CapTruth:
    """caps: (3,) mean cost (USD), latency (s) and risk (events) that are allowed, infinite where free. mu:
    (3,) their multipliers. gain: USD per decision of the best mixture over the logged policy."""

    caps: Array
    mu: Array
    gain: float


def capped_world(n: int, *, seed: int, clusters: int | None = None) -> pl.DataFrame:
    """n decisions in the decisions layout, with logged propensities; each is its own cluster by default."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    mean, share, rows = _means(x), _shares(x), np.arange(n)
    taken = (rng.random(n)[:, None] > np.cumsum(share, axis=1)).sum(axis=1)
    at = mean[rows, taken]
    session = rng.integers(0, clusters, size=n) if clusters else rows
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": ["router"] * n,
            "decision_point": ["model"] * n,
            "session_id": [f"s{i}" for i in session],
            "action": np.array(ACTIONS)[taken],
            "candidates": [list(ACTIONS)] * n,
            "propensities": share.tolist(),
            "propensity": share[rows, taken],
            "propensity_source": ["logged"] * n,
            **{f"x_{name}": x[:, j] for j, name in enumerate(("hardness", "kind", "size"))},
            "quality": (rng.random(n) < at[:, 0]).astype(float),
            "cost_usd": at[:, 1] * _noise(rng, n, 0.5),
            "latency_s": at[:, 2] * _noise(rng, n, 0.6),
            "incident": rng.random(n) < at[:, 3],
        }
    )


def cap_truth(shares: tuple[float, float, float]) -> CapTruth:
    """The multipliers when each mean may be `shares` of the logged policy's; infinite leaves it free.

    The programme is solved on the true means of 200,000 decisions.
    """
    x = np.random.default_rng(_TRUTH_SEED).normal(size=(_TRUTH_ROWS, 3))
    mean, share = _means(x), _shares(x)
    worth = TASK_VALUE * mean[:, :, 0] - mean[:, :, 1] - RISK_USD * mean[:, :, 3]
    caps = np.array(shares) * (share[:, :, None] * mean[:, :, 1:]).sum(axis=1).mean(axis=0)
    found = duals(worth, mean[:, :, 1:], caps)
    assert found is not None
    mu, best = found
    return CapTruth(caps=caps, mu=mu, gain=best - float((share * worth).sum(axis=1).mean()))


def _means(x: Array) -> Array:
    """(n, 3, 4) mean quality, cost, latency and risk of each action."""
    hard, kind, size, wait = x[:, 0], x[:, 1], np.exp(0.5 * x[:, 2]), np.exp(0.6 * x[:, 1])
    quality = [
        _logistic(0.2 - 1.0 * hard + 0.3 * kind),
        _logistic(0.9 - 0.5 * hard + 0.3 * kind),
        _logistic(1.6 - 0.2 * hard + 0.2 * kind),
    ]
    cost = [0.05 * size, 0.25 * size, 0.8 * size]
    latency = [1 + 0.3 * wait, 3 + 4.0 * wait, 2 + 1.2 * wait]
    risk = [
        0.01 + 0.02 * _logistic(hard),
        0.01 + 0.01 * _logistic(hard),
        0.004 + 0.003 * _logistic(hard),
    ]
    return np.stack([np.stack(q, axis=1) for q in (quality, cost, latency, risk)], axis=2)


def _shares(x: Array) -> Array:
    """(n, 3) probability of each action under the logged policy."""
    score = np.exp(np.stack([0.5 - 0.3 * x[:, 0], np.zeros(len(x)), 0.3 * x[:, 0] - 0.2], axis=1))
    return score / score.sum(axis=1, keepdims=True)


def _noise(rng: np.random.Generator, n: int, spread: float) -> Array:
    """Log-normal factors with mean 1."""
    return rng.lognormal(-(spread**2) / 2, spread, n)


def _logistic(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))
