"""What all log writers share: ids, clock, tenants, and the realised latencies of each decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .world import EPOCH_S, Array, Point, World, request_ids, stream

_LATENCY_SPREAD: Final = 0.4
"""Standard deviation of log latency."""
_COST_SHAPE: Final = 10.0
"""Shape of the gamma that multiplies a mean cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Realised facts that more than one log mentions. *_s: (n,) seconds; call_at: epoch of the model call;
    verify_*: one per verify decision, reuse_*: per lookup. kept: requests that the logs hold; keep_prob: with
    which probability, None where every request is logged."""

    world: World
    request_ids: list[str]
    sessions: list[str]
    tenants: list[str]
    tasks: list[str]
    call_at: Array
    call_s: Array
    verify_s: Array
    verify_usd: Array
    reuse_s: Array
    reuse_usd: Array
    kept: list[bool]
    keep_prob: list[float] | None

    @property
    def call_end(self) -> Array:
        """Epoch at which the model had answered."""
        return self.call_at + self.call_s

    def sampling(self, i: int) -> dict[str, float]:
        """What a log says of its own sampling at request i, by column; nothing without sampling."""
        told = {} if self.keep_prob is None else {"keep_prob": self.keep_prob[i]}
        share = self.world.knobs.label_share
        return told if share == 1 else {**told, "label_prob": share}


def make_context(world: World) -> Context:
    """The realised facts of `world`."""
    met = world.requests
    return Context(
        world=world,
        request_ids=request_ids(world),
        sessions=[f"sess-{i:06d}" for i in met.session.tolist()],
        tenants=[f"team-{i:03d}" for i in met.tenant.tolist()],
        tasks=met.x_task_class.tolist(),
        call_at=(EPOCH_S + met.start_s).round(3),
        call_s=realised(world, world.router),
        verify_s=realised(world, world.verify),
        verify_usd=spent(world, world.verify),
        reuse_s=realised(world, world.reuse),
        reuse_usd=spent(world, world.reuse),
        kept=world.kept.tolist(),
        keep_prob=world.keep_prob.tolist() if world.knobs.keep_share < 1 else None,
    )


def realised(world: World, point: Point) -> Array:
    """Seconds that the chosen action took, lognormal or Pareto around its mean, to the millisecond."""
    rng, tail = stream(world.seed, f"latency of {point.decision_point}"), world.knobs.latency_tail
    if tail is None:
        noise = np.exp(_LATENCY_SPREAD * rng.normal(size=point.taken.size) - _LATENCY_SPREAD**2 / 2)
    else:
        noise = (tail - 1) / tail * (1 - rng.random(point.taken.size)) ** (-1 / tail)
    return (point.chosen(point.latency_s) * noise).round(3)


def spent(world: World, point: Point) -> Array:
    """USD that the chosen action cost, gamma around its mean, to the millionth."""
    noise = stream(world.seed, f"cost of {point.decision_point}").gamma(
        _COST_SHAPE, 1 / _COST_SHAPE, point.taken.size
    )
    return (point.chosen(point.cost_usd) * noise).round(6)
