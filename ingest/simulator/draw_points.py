"""The decision points of a world: logging policies, choices, and what every action does."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from . import settings as s
from .knobs import Knobs
from .regime_log import hidden_policy
from .world import Array, Ints, Lookups, Point, Requests, stream

_RANK_LEVELS: Final = 2.0
"""Steps from the cheapest model to the frontier that one unit of difficulty is multiplied with."""
_PROPENSITY_DIGITS: Final = 6
"""Propensities are rounded before the draw, so that the log holds exactly what was used."""


def of_class(field: str, task: Ints) -> Array:
    """(n,) the number `field` of each request's task class; 0 where the class has none."""
    return np.array([float(getattr(c, field) or 0.0) for c in s.CLASSES])[task]


def router_point(seed: int, met: Requests, knobs: Knobs) -> Point:
    """The model of each request: a softmax policy that explores, or a rule on a score for some classes."""
    models = s.models(knobs.actions)
    ranks = np.array([m.rank for m in models])
    cost, latency = _model_load(met, models)
    incident = knobs.incident_scale * _at_ranks("incident_by_model", met, ranks)
    idle = [knobs.null or c.by_model is None or _absent(c.router_failure, knobs) for c in s.CLASSES]
    even = even_quality(met.value_usd, cost, latency, incident)
    propensity = _router_policy(met, ranks, knobs.overlap)
    return Point(
        layer="router",
        decision_point="model",
        actions=tuple(m.name for m in models),
        request=np.arange(met.n),
        propensity=propensity,
        taken=choose(propensity, stream(seed, "router")),
        quality=np.where(np.array(idle)[met.task, None], even, _at_ranks("by_model", met, ranks)),
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )


def _absent(failure: str | None, knobs: Knobs) -> bool:
    return failure is not None and failure not in knobs.modes


def _model_load(met: Requests, models: tuple[s.Model, ...]) -> tuple[Array, Array]:
    """(n, K) mean USD and seconds of each model."""
    price_in = np.array([m.usd_input for m in models]) / 1e6
    price_out = np.array([m.usd_output for m in models]) / 1e6
    cost = met.x_prompt_tokens[:, None] * price_in + of_class("output_tokens", met.task)[:, None] * price_out
    return cost, np.broadcast_to(np.array([m.latency_s for m in models]), cost.shape)


def _at_ranks(field: str, met: Requests, ranks: Array) -> Array:
    """(n, K) what the class states at s.RANKS, interpolated; 0 where it states nothing."""
    stated = [getattr(c, field) or (0.0, 0.0, 0.0) for c in s.CLASSES]
    return np.array([np.interp(ranks, s.RANKS, values) for values in stated])[met.task]


def _router_policy(met: Requests, ranks: Array, overlap: float) -> Array:
    logits = (
        _at_ranks("router", met, ranks)
        + s.DIFFICULTY_TO_ROUTER * met.x_difficulty[:, None] * _RANK_LEVELS * ranks
    ) / overlap
    soft = np.exp(logits)
    k = ranks.size
    soft = s.EXPLORATION + (1 - k * s.EXPLORATION) * soft / soft.sum(axis=1, keepdims=True)
    ruled = np.array([c.router is None for c in s.CLASSES])[met.task]
    rule = np.where(router_score(met) >= s.ROUTER_CUT, k - 1, 0)[:, None] == np.arange(k)
    return np.where(ruled[:, None], rule, rounded(soft))


def corrupted(seed: int, met: Requests, router: Point, share: float) -> Point:
    """The router of which a share of the calls log the probabilities of the opposite policy."""
    if share == 0:
        return router
    wrong = stream(seed, "corruption").random(met.n) < share
    wrong &= np.array([c.router is not None for c in s.CLASSES])[met.task]
    return replace(router, logged=np.where(wrong[:, None], router.propensity[:, ::-1], router.propensity))


def router_score(met: Requests) -> Array:
    """The logged score on which the refunds router decides, in [0, 1]."""
    return (0.5 + 0.5 * met.x_difficulty).round(4)


def verify_policy(met: Requests, overlap: float) -> Array:
    """(n,) log-odds of verification given what the agent's log holds."""
    return (of_class("verify", met.task) + s.DIFFICULTY_TO_VERIFY * met.x_difficulty) / overlap


def verify_point(seed: int, met: Requests, knobs: Knobs) -> tuple[Requests, Point]:
    """The one verification of each request; a hidden cause moves it and, in the requests, the success."""
    odds = np.exp(verify_policy(met, knobs.overlap))
    propensity = rounded(np.column_stack([1 / (1 + odds), odds / (1 + odds)]))
    zero = np.zeros(met.n)
    cost = np.column_stack([zero, zero + s.VERIFY_USD])
    latency = np.column_stack([zero, zero + s.VERIFY_S])
    idle = np.array([verify_is_even(c, knobs) for c in s.CLASSES])[met.task]
    helps = knobs.incident_scale * of_class("verify_incident", met.task)
    incident = np.column_stack([zero, np.where(idle, 0.0, helps)])
    even = even_quality(met.value_usd, cost, latency, incident)
    fixed = np.column_stack([zero, of_class("verify_quality", met.task)])
    hidden = None
    if knobs.hidden > 1:
        hidden, present = hidden_policy(propensity, knobs.hidden, stream(seed, "hidden").random(met.n))
        shift = np.where(present, -s.HIDDEN_QUALITY, s.HIDDEN_QUALITY)
        met = replace(met, quality=met.quality + shift)
    point = Point(
        layer="agent",
        decision_point="verify",
        actions=("skip", "verify"),
        request=np.arange(met.n),
        propensity=propensity,
        taken=choose(propensity if hidden is None else hidden, stream(seed, "verify")),
        quality=np.where(idle[:, None], even, fixed),
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
        hidden=hidden,
    )
    return met, point


def verify_is_even(kind: s.TaskClass, knobs: Knobs) -> bool:
    """Whether verification is worth exactly what it costs in a class."""
    return knobs.null or kind.verify_quality is None or "under_verification" not in knobs.modes


def delegate_point(seed: int, met: Requests, knobs: Knobs) -> Point:
    """Before an act that cannot be undone: ask a person to confirm, or act at once (over-delegation)."""
    meets = np.array([c.confirm is not None for c in s.CLASSES])[met.task]
    request = np.flatnonzero(meets)
    gain, risk = np.array([c.confirm or (0.0, 0.0) for c in s.CLASSES])[met.task[request]].T
    odds = np.exp((1.0 - met.x_difficulty[request]) / knobs.overlap)
    propensity = rounded(np.column_stack([1 / (1 + odds), odds / (1 + odds)]))
    zero = np.zeros(request.size)
    cost = np.column_stack([zero + s.CONFIRM_USD, zero])
    latency = np.column_stack([zero + s.CONFIRM_S, zero])
    incident = np.column_stack([zero, knobs.incident_scale * risk])
    even = even_quality(met.value_usd[request], cost, latency, incident)
    return Point(
        layer="agent",
        decision_point="delegate",
        actions=("confirm", "act"),
        request=request,
        propensity=propensity,
        taken=choose(propensity, stream(seed, "delegate")),
        quality=np.where((gain == 0)[:, None], even, np.column_stack([gain, zero])),
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )


def reuse_point(seed: int, met: Requests, knobs: Knobs) -> tuple[Point, Lookups]:
    """The semantic cache: reuse the entry it holds, or recompute."""
    rng = stream(seed, "lookups")
    request = np.flatnonzero(rng.random(met.n) < s.LOOKUP_SHARE)
    n = request.size
    similarity = rng.uniform(0.75, 0.99, n).round(3)
    age_s = (3600.0 * rng.lognormal(np.log(16.0), 1.0, n)).round(0)
    stale = (age_s > 3600.0 * s.STALE_AGE_H) | (similarity < s.STALE_SIMILARITY)
    odds = np.exp(8.0 * (similarity - 0.85) / knobs.overlap)
    propensity = rounded(np.column_stack([1 / (1 + odds), odds / (1 + odds)]))
    cost = np.broadcast_to(np.array([s.RECOMPUTE_USD, s.REUSE_USD]), (n, 2))
    latency = np.broadcast_to(np.array([s.RECOMPUTE_S, s.REUSE_S]), (n, 2))
    incident = np.zeros((n, 2))
    fixed = np.column_stack([np.zeros(n), np.where(stale, s.STALE_QUALITY, 0.0)])
    even = even_quality(met.value_usd[request], cost, latency, incident)
    point = Point(
        layer="serving",
        decision_point="reuse",
        actions=("recompute", "reuse"),
        request=request,
        propensity=propensity,
        taken=choose(propensity, stream(seed, "reuse")),
        quality=fixed if "cache_misuse" in knobs.modes else even,
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )
    return point, Lookups(similarity=similarity, age_s=age_s, stale=stale)


def even_quality(value: Array, cost: Array, latency: Array, incident: Array) -> Array:
    """Quality over the first action at which every action's net marginal value is 0 (paper Eq. 1)."""
    load = cost + s.LATENCY_USD_PER_S * latency + s.RISK_USD_PER_EVENT * incident
    return (load - load[:, :1]) / value[:, None]


def rounded(propensity: Array) -> Array:
    """Rows that sum to 1 with few digits; the last action takes the rest."""
    head = propensity[:, :-1].round(_PROPENSITY_DIGITS)
    return np.column_stack([head, (1 - head.sum(axis=1)).round(_PROPENSITY_DIGITS)])


def choose(propensity: Array, rng: np.random.Generator) -> Ints:
    """One action per row, drawn with the given probabilities."""
    cumulative = propensity.cumsum(axis=1)[:, :-1]
    return (rng.random(len(propensity))[:, None] >= cumulative).sum(axis=1)
