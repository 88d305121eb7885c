"""The truth about a world: what each action would have led to, and exact contrasts.

Effects of the decision points add up on the probability scale, so every number here is exact.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import polars as pl

from . import settings as s
from .world import Array, Flags, Point, Texts, World, request_ids

STALE, FRESH = "stale", "fresh"
TASK_SEGMENT: Final = "x_task_class"
CACHE_SEGMENT: Final = "x_cache_band"


def potential(world: World, point: Point, name: Literal["quality", "incident"]) -> Array:
    """(n, K) probability `name` if the action were taken here and the policies decided the rest."""
    rest = getattr(world.requests, name).copy()
    for other in world.points:
        if other is not point:
            rest += world.added(other, name)
    return rest[point.request, None] + getattr(point, name)


def quantities(world: World, point: Point) -> dict[str, Array]:
    """(n, K) potential outcome means: quality, cost (USD), latency (s), risk (events), net (USD).

    Where the agent works step by step, cost and latency of a verification include the verifications and the
    rework that follow it, but not the steps that every way to the end has.
    """
    quality, risk = potential(world, point, "quality"), potential(world, point, "incident")
    cost, latency = np.array(point.cost_usd), np.array(point.latency_s)
    if point is world.verify and world.episodes is not None:
        cost, latency = cost + world.episodes.later_usd, latency + world.episodes.later_s
    value = world.requests.value_usd[point.request, None]
    load = cost + s.LATENCY_USD_PER_S * latency + s.RISK_USD_PER_EVENT * risk
    return {
        "quality": quality,
        "cost": cost,
        "latency": latency,
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

    Joins to the store by request_id and decision_point, and for an agent that works step by step by round,
    which the log holds as x_round. chance: the probability that the draw used, which differs from the
    propensity where a cause that no log holds moved the choice. kept: the logs hold the request.
    """
    ids = np.array(request_ids(world))
    frames: list[pl.DataFrame] = []
    for point in world.points:
        per_action = quantities(world, point)
        labels = segments(world, point)
        m, stepwise = point.request.size, point is world.verify and world.episodes is not None
        shared = {
            "request_id": ids[point.request],
            "layer": np.full(m, point.layer),
            "decision_point": np.full(m, point.decision_point),
            "round": world.episodes.round if stepwise and world.episodes else np.zeros(m, dtype=int),
            "kept": world.kept[point.request],
            "value_usd": world.requests.value_usd[point.request],
            TASK_SEGMENT: labels[TASK_SEGMENT],
            CACHE_SEGMENT: labels.get(CACHE_SEGMENT, np.full(m, "")),
        }
        for k, action in enumerate(point.actions):
            own = {
                "action": np.full(m, action),
                "taken": point.taken == k,
                "propensity": point.propensity[:, k],
                "chance": point.chance[:, k],
                **{name: column[:, k] for name, column in per_action.items()},
            }
            frames.append(pl.DataFrame({**shared, **own}))
    found = pl.concat(frames).with_columns(pl.col(CACHE_SEGMENT).replace("", None))
    return found.sort("layer", "decision_point", "request_id", "round", "action")


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
        every = masks(world, point)
        pairs = [(a, b) for a in range(len(point.actions)) for b in range(len(point.actions)) if a != b]
        for segment, inside in every.items():
            for a, b in pairs:
                rows += _contrast_rows(point, per_action, a, b, segment, inside)
    return pl.DataFrame(rows, infer_schema_length=None)


def masks(world: World, point: Point) -> dict[str, Flags]:
    """The decisions of each segment of a point, 'all' first."""
    every: dict[str, Flags] = {"all": np.ones(point.request.size, dtype=bool)}
    for name, labels in segments(world, point).items():
        every |= {f"{name}={label}": labels == label for label in np.unique(labels).tolist()}
    return every


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
