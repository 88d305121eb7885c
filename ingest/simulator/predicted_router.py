"""Routers that ignore what a request is worth, that weigh it, or that err alike at every worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from .world import Array, Ints

Router = Literal["cheap", "optimal", "careless"]
"""cheap: the cheap model unless the task is hard, whatever it is worth. optimal: the model that is worth most
at V. careless: the better of two models that cost the same, but for a fixed share of requests."""

MODELS: Final = ("cheap", "frontier")
CLASS_VALUES: Final = {f"v{j}": 0.5 * 2.0**j for j in range(8)}
"""V of each task class in USD per task: each is worth twice the one before, and is rarer."""
_RARER: Final = 0.7
_COST_USD: Final = (0.05, 0.80)
_HARD: Final = 1.2
"""Difficulty above which the cheap router takes the frontier model: about one in nine tasks."""
_SLIPS: Final = 0.3
"""Share of requests for which the careless router takes the worse model."""
EXPLORED: Final = 0.15
"""Share of decisions drawn evenly between the models, flagged and with logged probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTruth:
    """What a request worth twice as much adds to the regret of the router's own choice: usd, quality."""

    usd: float
    quality: float


def router_world(
    n: int, *, seed: int, router: Router = "cheap", clusters: int = 80
) -> tuple[pl.DataFrame, RouterTruth]:
    """n model choices in the decisions layout with logged propensities, EXPLORED of them at random.

    V goes with x_task_class as in CLASS_VALUES; the difficulty x_difficulty does not depend on it.
    """
    rng = np.random.default_rng(seed)
    chance = _RARER ** np.arange(len(CLASS_VALUES))
    kind = rng.choice(len(CLASS_VALUES), size=n, p=chance / chance.sum())
    value = np.array(list(CLASS_VALUES.values()))[kind]
    hard, coin = rng.normal(size=n), rng.random(n)
    quality, cost = _means(hard, router)
    own = _own(router, hard, coin, value, quality, cost)
    explored = rng.random(n) < EXPLORED
    taken = np.where(explored, rng.integers(2, size=n), own)
    rows = np.arange(n)
    share = np.full((n, 2), EXPLORED / 2)
    share[rows, own] += 1 - EXPLORED
    net = value[:, None] * quality - cost
    best = np.argmax(net, axis=1)
    frame = pl.DataFrame(
        {
            "decision_id": [f"m{i:06d}" for i in rows],
            "layer": "router",
            "decision_point": "model",
            "request_id": [f"r{i:06d}" for i in rows],
            "session_id": [f"s{g:03d}" for g in rng.integers(clusters, size=n)],
            "action": np.array(MODELS)[taken],
            "candidates": [list(MODELS)] * n,
            "propensities": share.round(6).tolist(),
            "propensity": share[rows, taken].round(6),
            "propensity_source": "logged",
            "exploration": explored,
            "x_task_class": np.array(list(CLASS_VALUES))[kind],
            "x_difficulty": hard,
            "x_coin": coin,
            "quality": (rng.random(n) < quality[rows, taken]).astype(float),
            "cost_usd": cost[rows, taken] * rng.lognormal(-0.045, 0.3, n),
            "latency_s": 4.0 + 4.0 * taken,
        }
    )
    truth = RouterTruth(
        usd=_per_doubling(net[rows, best] - net[rows, own], value),
        quality=_per_doubling(quality[rows, best] - quality[rows, own], value),
    )
    return frame, truth


def _means(hard: Array, router: Router) -> tuple[Array, Array]:
    """(n, 2) probability of success and mean cost of each model."""
    success = 1 / (1 + np.exp(-np.column_stack([0.3 - 1.0 * hard, 1.9 - 0.5 * hard])))
    cost = (_COST_USD[1], _COST_USD[1]) if router == "careless" else _COST_USD
    return success, np.broadcast_to(cost, success.shape)


def _own(router: Router, hard: Array, coin: Array, value: Array, quality: Array, cost: Array) -> Ints:
    """(n,) the model that the router wants."""
    if router == "cheap":
        return (hard > _HARD).astype(np.int64)
    if router == "careless":
        return (coin >= _SLIPS).astype(np.int64)
    return np.argmax(value[:, None] * quality - cost, axis=1)


def _per_doubling(y: Array, value: Array) -> float:
    return float(np.polyfit(np.log2(value), y, 1)[0])
