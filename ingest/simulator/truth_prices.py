"""True prices of a world's caps, by linear programming on the truth, and true regrets of its policies."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from scipy.optimize import linprog

from . import settings as s
from .truth import masks, quantities
from .world import Array, Point, World

CAPPED: Final = ("cost", "latency", "risk")
USER_SHARE: Final = 0.9
"""The cap 'user' allows this share of the logged mean cost, and caps nothing else."""
_GAP: Final = 1e-9
"""Relative gap between the bounds at which a dual is taken to be found."""
_MAX_CUTS: Final = 60
_STEEPEST: Final = 1e4
"""Largest dual looked for, in spreads of the objective per cap; one that is larger caps the impossible."""


def price_truth(world: World) -> pl.DataFrame:
    """The duals of each decision point under two caps, and what the same spend could have brought.

    Objective per decision: V Q - C - Loss, over mixtures of the open actions. caps 'logged': mean cost,
    latency and risk as the policy's; 'user': USER_SHARE of its mean cost. mu_*: gain in USD per decision of
    one more unit of the cap; latency_price = mu_latency / (1 + mu_cost) in USD per s, risk_price likewise in
    USD per event on top of the loss. gain_usd: optimum less the logged policy, summed over the decisions.
    """
    rows: list[dict[str, Any]] = []
    for point in world.points:
        worth, load = _stakes(world, point)
        logged = (point.propensity[:, :, None] * load).sum(axis=1).mean(axis=0)
        for name, caps in (("logged", logged), ("user", np.array([USER_SHARE * logged[0], np.inf, np.inf]))):
            rows.append({**_named(point), "caps": name, **_priced(point, worth, load, caps)})
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"reason": pl.String})


def regret_truth(world: World) -> pl.DataFrame:
    """What the best open action of each decision, known before, would have brought more than the policy.

    USD at the configured prices, summed over the decisions of a segment: regret = best - logged.
    """
    rows: list[dict[str, Any]] = []
    for point in world.points:
        net = quantities(world, point)["net"]
        best = np.where(point.propensity > 0, net, -np.inf).max(axis=1)
        logged = (point.propensity * net).sum(axis=1)
        for segment, inside in masks(world, point).items():
            gained = float((best - logged)[inside].sum())
            rows.append({**_named(point), "segment": segment, "n": int(inside.sum()), "regret_usd": gained})
    return pl.DataFrame(rows)


def duals(worth: Array, load: Array, caps: Array) -> tuple[Array, float] | None:
    """(J,) multipliers of the caps and the mean optimum; None when no mixture keeps the caps.

    min over mu >= 0 of mu . caps + mean_i max_a (worth_ia - mu . load_iaj), which is the dual of the linear
    programme over mixtures, by cutting planes (Kelley 1960). worth: (n, K), -inf where an action was not
    open. load: (n, K, J). Infinite caps have multiplier 0.
    """
    bound = np.isfinite(caps)
    k, b = load[:, :, bound], caps[bound]
    unit = np.maximum(np.abs(load[:, :, bound]).mean(axis=(0, 1)), 1e-12)
    k, b = k / unit, b / unit
    spread = float(np.ptp(worth[np.isfinite(worth)])) + 1e-12
    limit = _STEEPEST * spread
    rows = np.arange(len(worth))
    slopes, offsets = np.empty((0, b.size)), np.empty(0)
    mu, best, best_mu = np.zeros(b.size), np.inf, np.zeros(b.size)
    for _ in range(_MAX_CUTS):
        chosen = (worth - k @ mu).argmax(axis=1)
        slope = b - k[rows, chosen].mean(axis=0)
        offset = worth[rows, chosen].mean()
        if offset + slope @ mu < best:
            best, best_mu = float(offset + slope @ mu), mu
        slopes, offsets = np.vstack([slopes, slope]), np.append(offsets, offset)
        # min t over (mu, t) with t >= offset + slope . mu for every cut so far.
        found = linprog(
            np.append(np.zeros(b.size), 1.0),
            A_ub=np.column_stack([slopes, -np.ones(len(offsets))]),
            b_ub=-offsets,
            bounds=[(0.0, limit)] * b.size + [(None, None)],
            method="highs",
        )
        mu, below = found.x[:-1], float(found.x[-1])
        if best - below <= _GAP * spread:
            break
    if (best_mu >= limit * (1 - 1e-9)).any():
        return None
    out = np.zeros(caps.size)
    out[bound] = best_mu / unit
    return out, best


def _stakes(world: World, point: Point) -> tuple[Array, Array]:
    """(n, K) USD before prices of caps, -inf where the action was not open; (n, K, 3) what the caps limit."""
    found = quantities(world, point)
    value = world.requests.value_usd[point.request, None]
    worth = value * found["quality"] - found["cost"] - s.RISK_USD_PER_EVENT * found["risk"]
    load = np.stack([found[name] for name in CAPPED], axis=2)
    return np.where(point.propensity > 0, worth, -np.inf), load


def _priced(point: Point, worth: Array, load: Array, caps: Array) -> dict[str, Any]:
    at = {f"cap_{n}": float(c) if np.isfinite(c) else None for n, c in zip(CAPPED, caps, strict=True)}
    found = duals(worth, load, caps)
    if found is None:
        nothing = dict.fromkeys((*(f"mu_{n}" for n in CAPPED), "latency_price", "risk_price", "gain_usd"))
        return {**at, **nothing, "reason": "no mixture of the open actions keeps the caps"}
    mu, best = found
    logged = (point.propensity * np.where(point.propensity > 0, worth, 0.0)).sum(axis=1).mean()
    return {
        **at,
        **{f"mu_{name}": float(value) for name, value in zip(CAPPED, mu, strict=True)},
        "latency_price": float(mu[1] / (1 + mu[0])),
        "risk_price": float(mu[2] / (1 + mu[0])),
        "gain_usd": float((best - logged) * len(worth)),
        "reason": None,
    }


def _named(point: Point) -> dict[str, str]:
    return {"layer": point.layer, "decision_point": point.decision_point}
