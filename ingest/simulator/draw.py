"""Drawing a world: contexts, the three logging policies, potential outcomes and realised outcomes."""

from __future__ import annotations

from typing import Final

import numpy as np

from . import settings as s
from .world import Array, Ints, Lookups, Point, Requests, World, per_request, stream

WINDOW_S: Final = 14 * 86_400.0
"""The logs span two weeks."""
_PROPENSITY_DIGITS: Final = 6
"""Propensities are rounded before the draw, so that the log holds exactly what was used."""
_OUTPUT_SHAPE: Final = 8.0
"""Shape of the gamma that mixes output lengths: a coefficient of variation of about 0.35."""
_LOSS_SPREAD: Final = 0.6


def draw_world(*, seed: int, requests: int, tenants: int, null: bool) -> World:
    """The world of `seed`; with `null` every action is worth exactly what it costs."""
    met = _requests(seed, requests, tenants)
    router, verify = _router(seed, met, null=null), _verify(seed, met, null=null)
    reuse, lookups = _reuse(seed, met, null=null)
    quality, incident = met.quality.copy(), met.incident.copy()
    for point in (router, verify, reuse):
        quality += per_request(point, point.chosen(point.quality), met.n)
        incident += per_request(point, point.chosen(point.incident), met.n)
    rng = stream(seed, "outcomes")
    hurt = rng.random(met.n) < incident
    mean_log = np.log(s.RISK_USD_PER_EVENT) - _LOSS_SPREAD**2 / 2
    return World(
        seed=seed,
        requests=met,
        router=router,
        verify=verify,
        reuse=reuse,
        lookups=lookups,
        tok_output=_tok_output(seed, met),
        resolved=rng.random(met.n) < quality,
        incident=hurt,
        loss_usd=np.where(hurt, rng.lognormal(mean_log, _LOSS_SPREAD, met.n), 0.0).round(2),
    )


def _requests(seed: int, n: int, tenants: int) -> Requests:
    rng = stream(seed, "requests")
    sizes = 1 + rng.poisson(1.0, n)
    session = np.repeat(np.arange(n), sizes)[:n]
    weight = rng.lognormal(0.0, 0.4, tenants)
    tenant = rng.choice(tenants, n, p=weight / weight.sum())[session]
    start = rng.uniform(0.0, WINDOW_S - 7200.0, n)[session] + rng.uniform(0.0, 3600.0, n)
    task = rng.choice(len(s.CLASSES), n, p=[c.share for c in s.CLASSES])
    difficulty = np.clip(0.3 * rng.normal(size=n)[session] + 0.4 * rng.normal(size=n), -1.0, 1.0)
    seen = np.clip(difficulty + 0.15 * rng.normal(size=n), -1.0, 1.0).round(3)
    spread = rng.uniform(1 - s.PROMPT_SPREAD, 1 + s.PROMPT_SPREAD, n)
    hidden = rng.uniform(-s.TENANT_QUALITY, s.TENANT_QUALITY, tenants)[tenant]
    base = _of_class("quality", task) - s.DIFFICULTY_QUALITY * difficulty + hidden
    order = np.argsort(start, kind="stable")
    return Requests(
        session=session[order],
        tenant=tenant[order],
        start_s=start[order].round(3),
        task=task[order],
        x_difficulty=seen[order],
        x_prompt_tokens=(spread * _of_class("prompt_tokens", task)).astype(np.int64)[order],
        value_usd=_of_class("value_usd", task)[order],
        quality=base[order],
        incident=_of_class("incident", task)[order],
    )


def _of_class(field: str, task: Ints) -> Array:
    return np.array([float(getattr(c, field)) for c in s.CLASSES])[task]


def _router(seed: int, met: Requests, *, null: bool) -> Point:
    rank = np.arange(len(s.MODELS))
    bias = np.array([c.router or (0.0, 0.0, 0.0) for c in s.CLASSES])[met.task]
    logits = bias + s.DIFFICULTY_TO_ROUTER * met.x_difficulty[:, None] * rank
    soft = np.exp(logits)
    soft = s.EXPLORATION + (1 - len(s.MODELS) * s.EXPLORATION) * soft / soft.sum(axis=1, keepdims=True)
    ruled = np.array([c.router is None for c in s.CLASSES])[met.task]
    rule = np.where(router_score(met) >= s.ROUTER_CUT, s.FRONTIER, s.CHEAP)[:, None] == rank
    propensity = np.where(ruled[:, None], rule, _rounded(soft))
    price_in = np.array([m.usd_input for m in s.MODELS]) / 1e6
    price_out = np.array([m.usd_output for m in s.MODELS]) / 1e6
    cost = met.x_prompt_tokens[:, None] * price_in + _of_class("output_tokens", met.task)[:, None] * price_out
    latency = np.broadcast_to(np.array([m.latency_s for m in s.MODELS]), cost.shape)
    incident = np.array([c.incident_by_model for c in s.CLASSES])[met.task]
    even = _even_quality(met.value_usd, cost, latency, incident)
    fixed = np.array([c.by_model or (0.0, 0.0, 0.0) for c in s.CLASSES])[met.task]
    is_even = null | np.array([c.by_model is None for c in s.CLASSES])[met.task]
    return Point(
        layer="router",
        decision_point="model",
        actions=tuple(m.name for m in s.MODELS),
        request=np.arange(met.n),
        propensity=propensity,
        taken=_choose(propensity, stream(seed, "router")),
        quality=np.where(is_even[:, None], even, fixed),
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )


def router_score(met: Requests) -> Array:
    """The logged score on which the refunds router decides, in [0, 1]."""
    return (0.5 + 0.5 * met.x_difficulty).round(4)


def _verify(seed: int, met: Requests, *, null: bool) -> Point:
    odds = np.exp(_of_class("verify", met.task) + s.DIFFICULTY_TO_VERIFY * met.x_difficulty)
    propensity = _rounded(np.column_stack([1 / (1 + odds), odds / (1 + odds)]))
    zero = np.zeros(met.n)
    cost = np.column_stack([zero, zero + s.VERIFY_USD])
    latency = np.column_stack([zero, zero + s.VERIFY_S])
    incident = np.column_stack([zero, zero if null else _of_class("verify_incident", met.task)])
    even = _even_quality(met.value_usd, cost, latency, incident)
    fixed = np.array([(0.0, c.verify_quality or 0.0) for c in s.CLASSES])[met.task]
    is_even = null | np.array([c.verify_quality is None for c in s.CLASSES])[met.task]
    return Point(
        layer="agent",
        decision_point="verify",
        actions=("skip", "verify"),
        request=np.arange(met.n),
        propensity=propensity,
        taken=_choose(propensity, stream(seed, "verify")),
        quality=np.where(is_even[:, None], even, fixed),
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )


def _reuse(seed: int, met: Requests, *, null: bool) -> tuple[Point, Lookups]:
    rng = stream(seed, "lookups")
    request = np.flatnonzero(rng.random(met.n) < s.LOOKUP_SHARE)
    n = request.size
    similarity = rng.uniform(0.75, 0.99, n).round(3)
    age_s = (3600.0 * rng.lognormal(np.log(16.0), 1.0, n)).round(0)
    stale = (age_s > 3600.0 * s.STALE_AGE_H) | (similarity < s.STALE_SIMILARITY)
    odds = np.exp(8.0 * (similarity - 0.85))
    propensity = _rounded(np.column_stack([1 / (1 + odds), odds / (1 + odds)]))
    cost = np.broadcast_to(np.array([s.RECOMPUTE_USD, s.REUSE_USD]), (n, 2))
    latency = np.broadcast_to(np.array([s.RECOMPUTE_S, s.REUSE_S]), (n, 2))
    incident = np.zeros((n, 2))
    fixed = np.column_stack([np.zeros(n), np.where(stale, s.STALE_QUALITY, 0.0)])
    even = _even_quality(met.value_usd[request], cost, latency, incident)
    point = Point(
        layer="serving",
        decision_point="reuse",
        actions=("recompute", "reuse"),
        request=request,
        propensity=propensity,
        taken=_choose(propensity, stream(seed, "reuse")),
        quality=even if null else fixed,
        incident=incident,
        cost_usd=cost,
        latency_s=latency,
    )
    return point, Lookups(similarity=similarity, age_s=age_s, stale=stale)


def _even_quality(value: Array, cost: Array, latency: Array, incident: Array) -> Array:
    """Quality over the first action at which every action's net marginal value is 0 (paper Eq. 1)."""
    load = cost + s.LATENCY_USD_PER_S * latency + s.RISK_USD_PER_EVENT * incident
    return (load - load[:, :1]) / value[:, None]


def _rounded(propensity: Array) -> Array:
    """Rows that sum to 1 with few digits; the last action takes the rest."""
    head = propensity[:, :-1].round(_PROPENSITY_DIGITS)
    return np.column_stack([head, (1 - head.sum(axis=1)).round(_PROPENSITY_DIGITS)])


def _choose(propensity: Array, rng: np.random.Generator) -> Ints:
    """One action per row, drawn with the given probabilities."""
    cumulative = propensity.cumsum(axis=1)[:, :-1]
    return (rng.random(len(propensity))[:, None] >= cumulative).sum(axis=1)


def _tok_output(seed: int, met: Requests) -> Ints:
    """Output tokens with the class's mean, whichever model answered."""
    rng = stream(seed, "output")
    mixed = rng.gamma(_OUTPUT_SHAPE, 1 / _OUTPUT_SHAPE, met.n)
    return 1 + rng.poisson((_of_class("output_tokens", met.task) - 1) * mixed)
