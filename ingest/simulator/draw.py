"""Drawing a world: contexts, what the policies chose, and what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from . import settings as s
from .agent_steps import draw_episodes
from .draw_points import corrupted, delegate_point, of_class, reuse_point, router_point, verify_point
from .knobs import Knobs
from .regime_log import adaptive
from .stale import draw_training
from .traffic import draw_traffic
from .world import Array, Flags, Ints, Point, Requests, World, per_request, stream

WINDOW_S: Final = 14 * 86_400.0
"""The logs span two weeks."""
_OUTPUT_SHAPE: Final = 8.0
"""Shape of the gamma that mixes output lengths: a coefficient of variation of about 0.35."""
_LOSS_SPREAD: Final = 0.6
_STEPS_TAIL: Final = 2.5
"""Exponent of the Pareto losses of agents that work step by step, unless a knob says another."""


def draw_world(*, seed: int, knobs: Knobs) -> World:
    """The world of `seed`; in a null one every action is worth exactly what it costs."""
    met = _requests(seed, knobs)
    router = router_point(seed, met, knobs)
    if knobs.steps > 1:
        met, verify, episodes = draw_episodes(seed, met, knobs)
    else:
        met, verify = verify_point(seed, met, knobs)
        episodes = None
    reuse, lookups = reuse_point(seed, met, knobs)
    delegate = delegate_point(seed, met, knobs) if "over_delegation" in knobs.modes else None
    rng = stream(seed, "outcomes")
    luck_incident, luck_quality = _luck(seed, met, rng.random(met.n), rng.random(met.n), knobs.icc)
    quality, incident = met.quality.copy(), met.incident.copy()
    for point in (verify, reuse, *([delegate] if delegate else [])):
        if point is verify and episodes is not None:
            quality, incident = quality + episodes.quality, incident + episodes.incident
            continue
        quality += per_request(point, point.chosen(point.quality), met.n)
        incident += per_request(point, point.chosen(point.incident), met.n)
    if knobs.adaptive:
        router = _learned(seed, met, router, luck_quality[:, None] < quality[:, None] + router.quality)
    router = corrupted(seed, met, router, knobs.corrupt)
    quality += router.chosen(router.quality)
    incident += router.chosen(router.incident)
    hurt, resolved = luck_incident < incident, luck_quality < quality
    return World(
        seed=seed,
        knobs=knobs,
        requests=met,
        router=router,
        verify=verify,
        reuse=reuse,
        delegate=delegate,
        lookups=lookups,
        episodes=episodes,
        tok_output=_tok_output(seed, met),
        resolved=resolved,
        incident=hurt,
        loss_usd=np.where(hurt, _losses(rng, met.n, knobs), 0.0).round(2),
        kept=stream(seed, "log sampling").random(met.n) < np.where(resolved, knobs.keep_share, 1.0),
        traffic=draw_traffic(seed, knobs) if "serving_congestion" in knobs.modes else None,
        training=draw_training(seed, knobs) if "stale_rollouts" in knobs.modes else None,
    )


def _luck(seed: int, met: Requests, first: Array, second: Array, icc: float) -> tuple[Array, Array]:
    """Uniform luck of each request, two times, that a tenant's requests share to the extent of `icc`."""
    if icc == 0:
        return first, second
    shared = stream(seed, "luck").normal(size=(2, int(met.tenant.max()) + 1))[:, met.tenant]
    mixed = np.sqrt(icc) * shared + np.sqrt(1 - icc) * ndtri(np.stack([first, second]))
    return ndtr(mixed[0]), ndtr(mixed[1])


def _learned(seed: int, met: Requests, router: Point, potential: Flags) -> Point:
    """The router whose policy learns from its log, one policy per task class, where no rule decides."""
    propensity, taken = router.propensity.astype(float), router.taken.copy()
    uniform = stream(seed, "router").random(met.n)
    for task, kind in enumerate(s.CLASSES):
        rows = np.flatnonzero(met.task == task)
        if kind.router is not None and rows.size:
            propensity[rows], taken[rows] = adaptive(potential[rows].astype(float), uniform[rows])
    return replace(router, propensity=propensity, taken=taken)


def _losses(rng: np.random.Generator, n: int, knobs: Knobs) -> Array:
    """(n,) USD per incident, with the mean that prices it."""
    tail = knobs.loss_tail or (_STEPS_TAIL if knobs.steps > 1 else None)
    if tail is None:
        return rng.lognormal(np.log(s.RISK_USD_PER_EVENT) - _LOSS_SPREAD**2 / 2, _LOSS_SPREAD, n)
    return s.RISK_USD_PER_EVENT * (tail - 1) / tail * (1 - rng.random(n)) ** (-1 / tail)


def _requests(seed: int, knobs: Knobs) -> Requests:
    n, tenants = knobs.requests, knobs.tenants
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
    base = of_class("quality", task) - s.DIFFICULTY_QUALITY * difficulty + hidden
    order = np.argsort(start, kind="stable")
    return Requests(
        session=session[order],
        tenant=tenant[order],
        start_s=start[order].round(3),
        task=task[order],
        x_difficulty=seen[order],
        x_prompt_tokens=(spread * of_class("prompt_tokens", task)).astype(np.int64)[order],
        value_usd=of_class("value_usd", task)[order],
        quality=base[order],
        incident=knobs.incident_scale * of_class("incident", task)[order],
    )


def _tok_output(seed: int, met: Requests) -> Ints:
    """Output tokens with the class's mean, whichever model answered."""
    rng = stream(seed, "output")
    mixed = rng.gamma(_OUTPUT_SHAPE, 1 / _OUTPUT_SHAPE, met.n)
    return 1 + rng.poisson((of_class("output_tokens", met.task) - 1) * mixed)
