"""The truth about a world: what each action would have led to, exact contrasts, and the injected failures.

Effects of the decision points add up on the probability scale, so every number here is exact.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from . import settings as s
from .world import Array, Flags, Point, Texts, World, per_request, request_ids

STALE, FRESH = "stale", "fresh"
TASK_SEGMENT: Final = "x_task_class"
CACHE_SEGMENT: Final = "x_cache_band"


def potential_quality(world: World, point: Point) -> Array:
    """(n, K) probability of success if the action were taken here and the policies decided the rest."""
    met = world.requests
    rest = met.quality.copy()
    for other in world.points:
        if other.layer != point.layer:
            rest += per_request(other, other.expected(other.quality), met.n)
    return rest[point.request, None] + point.quality


def potential_incident(world: World, point: Point) -> Array:
    """(n, K) probability of an incident if the action were taken here and the policies decided the rest."""
    met = world.requests
    rest = met.incident.copy()
    for other in world.points:
        if other.layer != point.layer:
            rest += per_request(other, other.expected(other.incident), met.n)
    return rest[point.request, None] + point.incident


def quantities(world: World, point: Point) -> dict[str, Array]:
    """(n, K) potential outcome means: quality, cost (USD), latency (s), risk (events), net (USD)."""
    quality, risk = potential_quality(world, point), potential_incident(world, point)
    value = world.requests.value_usd[point.request, None]
    load = point.cost_usd + s.LATENCY_USD_PER_S * point.latency_s + s.RISK_USD_PER_EVENT * risk
    return {
        "quality": quality,
        "cost": np.array(point.cost_usd),
        "latency": np.array(point.latency_s),
        "risk": risk,
        "net": value * quality - load,
    }


def segments(world: World, point: Point) -> dict[str, Texts]:
    """The segment columns of a point: name -> (n,) labels, as the logs hold them."""
    found = {TASK_SEGMENT: world.requests.x_task_class[point.request]}
    if point is world.reuse:
        found[CACHE_SEGMENT] = np.where(world.lookups.stale, STALE, FRESH)
    return found


def decision_truth(world: World) -> pl.DataFrame:
    """One row per decision and action: true propensity, potential outcome means, and what was taken.

    Joins to the store by request_id and decision_point.
    """
    ids = np.array(request_ids(world))
    frames: list[pl.DataFrame] = []
    for point in world.points:
        per_action = quantities(world, point)
        labels = segments(world, point)
        for k, action in enumerate(point.actions):
            frames.append(
                pl.DataFrame(
                    {
                        "request_id": ids[point.request],
                        "layer": point.layer,
                        "decision_point": point.decision_point,
                        "action": action,
                        "taken": point.taken == k,
                        "propensity": point.propensity[:, k],
                        "value_usd": world.requests.value_usd[point.request],
                        **{name: column[:, k] for name, column in per_action.items()},
                        TASK_SEGMENT: labels[TASK_SEGMENT],
                        CACHE_SEGMENT: labels.get(CACHE_SEGMENT, np.full(point.request.size, "")),
                    }
                ).with_columns(pl.col(CACHE_SEGMENT).replace("", None))
            )
    return pl.concat(frames).sort("layer", "decision_point", "request_id", "action")


def contrast_truth(world: World) -> pl.DataFrame:
    """Every ordered contrast in every segment: exact ATE, ATO and dollars.

    ate: mean over all n decisions. ate_overlap: over those n_overlap in which both actions had a chance.
    ato: weighted by e_a e_b / (e_a + e_b). over_usd: expected gain of moving every decision that takes
    `action` to `baseline` (sum of -e_a net); under_usd: of moving `baseline` to `action` (sum of e_b net);
    both over decisions with overlap, *_all over all. Dollars stand in the rows of quantity 'net' only.
    """
    rows: list[dict[str, Any]] = []
    for point in world.points:
        per_action = quantities(world, point)
        every = {"all": np.ones(point.request.size, dtype=bool)}
        for name, labels in segments(world, point).items():
            every |= {f"{name}={label}": labels == label for label in np.unique(labels)}
        pairs = [(a, b) for a in range(len(point.actions)) for b in range(len(point.actions)) if a != b]
        for segment, inside in every.items():
            for a, b in pairs:
                rows += _contrast_rows(point, per_action, a, b, segment, inside)
    return pl.DataFrame(rows, infer_schema_length=None)


def _contrast_rows(
    point: Point, per_action: dict[str, Array], a: int, b: int, segment: str, inside: Flags
) -> list[dict[str, Any]]:
    e_a, e_b = point.propensity[inside, a], point.propensity[inside, b]
    open_ = (e_a > 0) & (e_b > 0)
    h = np.where(open_, e_a * e_b / np.maximum(e_a + e_b, 1e-300), 0.0)
    rows: list[dict[str, Any]] = []
    for quantity, values in per_action.items():
        d = values[inside, a] - values[inside, b]
        over, under = -e_a * d, e_b * d
        in_usd = quantity == "net"
        rows.append(
            {
                "layer": point.layer,
                "decision_point": point.decision_point,
                "segment": segment,
                "action": point.actions[a],
                "baseline": point.actions[b],
                "quantity": quantity,
                "n": d.size,
                "n_overlap": int(open_.sum()),
                "ate": float(d.mean()),
                "ate_overlap": float(d[open_].mean()) if open_.any() else None,
                "ato": float((h * d).sum() / h.sum()) if open_.any() else None,
                "over_usd": float(over[open_].sum()) if in_usd else None,
                "under_usd": float(under[open_].sum()) if in_usd else None,
                "over_usd_all": float(over.sum()) if in_usd else None,
                "under_usd_all": float(under.sum()) if in_usd else None,
            }
        )
    return rows


_FAILURES: Final = (
    ("over_routing", "model", f"{TASK_SEGMENT}=triage", s.MODELS[s.FRONTIER].name, s.MODELS[s.CHEAP].name),
    ("over_routing", "model", f"{TASK_SEGMENT}=triage", s.MODELS[s.MIDDLE].name, s.MODELS[s.CHEAP].name),
    ("under_routing", "model", f"{TASK_SEGMENT}=coding", s.MODELS[s.FRONTIER].name, s.MODELS[s.CHEAP].name),
    ("under_routing", "model", f"{TASK_SEGMENT}=coding", s.MODELS[s.FRONTIER].name, s.MODELS[s.MIDDLE].name),
    ("under_verification", "verify", f"{TASK_SEGMENT}=refunds", "verify", "skip"),
    ("cache_misuse", "reuse", f"{CACHE_SEGMENT}={STALE}", "reuse", "recompute"),
)
_OVER: Final = ("over_routing", "cache_misuse")


def injected_truth(world: World, contrasts: pl.DataFrame, *, null: bool) -> dict[str, Any]:
    """What was made wrong on purpose, with the true dollars of undoing it, and what cannot be known."""
    by_key = {
        (r["decision_point"], r["segment"], r["action"], r["baseline"]): r
        for r in contrasts.filter(pl.col("quantity") == "net").iter_rows(named=True)
    }
    failures: list[dict[str, Any]] = []
    for mode, point, segment, action, baseline in () if null else _FAILURES:
        row = by_key[point, segment, action, baseline]
        failures.append(
            {
                "mode": mode,
                "layer": row["layer"],
                "decision_point": point,
                "segment": segment,
                "action": action,
                "baseline": baseline,
                "direction": "over" if mode in _OVER else "under",
                "usd": row["over_usd"] if mode in _OVER else row["under_usd"],
                "net_usd_per_decision": row["ato"],
            }
        )
    hidden = {
        "layer": "router",
        "decision_point": "model",
        "segment": f"{TASK_SEGMENT}=refunds",
        "why": "a deterministic rule on a score chose; only at its cut-off did either model have a chance",
    }
    return {"seed": world.seed, "null": null, "failures": failures, "not_identified": [hidden]}
