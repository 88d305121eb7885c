"""What all log writers share: ids, clock, tenants, and the realised latencies of each decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .world import Array, Point, World, request_ids, stream

EPOCH_S: Final = 1_793_577_600
"""The first day of every world: 2026-11-02 00:00 UTC."""
_LATENCY_SPREAD: Final = 0.4
"""Standard deviation of log latency."""
_COST_SHAPE: Final = 10.0
"""Shape of the gamma that multiplies a mean cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Realised facts that more than one log mentions. *_s: (n,) seconds; call_at: epoch of the model call."""

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

    @property
    def call_end(self) -> Array:
        """Epoch at which the model had answered."""
        return self.call_at + self.call_s


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
        call_s=_realised(world, world.router),
        verify_s=_realised(world, world.verify),
        verify_usd=_spent(world, world.verify),
        reuse_s=_realised(world, world.reuse),
        reuse_usd=_spent(world, world.reuse),
    )


def _realised(world: World, point: Point) -> Array:
    """Seconds that the chosen action took, lognormal around its mean, to the millisecond."""
    draw = stream(world.seed, f"latency of {point.decision_point}").normal(size=point.taken.size)
    noise = np.exp(_LATENCY_SPREAD * draw - _LATENCY_SPREAD**2 / 2)
    return (point.chosen(point.latency_s) * noise).round(3)


def _spent(world: World, point: Point) -> Array:
    """USD that the chosen action cost, gamma around its mean, to the millionth."""
    noise = stream(world.seed, f"cost of {point.decision_point}").gamma(
        _COST_SHAPE, 1 / _COST_SHAPE, point.taken.size
    )
    return (point.chosen(point.cost_usd) * noise).round(6)
