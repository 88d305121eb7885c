"""A drawn world: requests and their contexts, decision points with potential outcomes, what happened."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import settings as s

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Texts = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """n requests in order of time. start_s: seconds from the first day. quality, incident: probabilities
    before any of the decisions adds to them. Only the x_* fields are logged."""

    session: Ints
    tenant: Ints
    start_s: Array
    task: Ints
    x_difficulty: Array
    x_prompt_tokens: Ints
    value_usd: Array
    quality: Array
    incident: Array

    @property
    def n(self) -> int:
        """Number of requests."""
        return self.task.size

    @property
    def x_task_class(self) -> Texts:
        """Name of each request's task class."""
        return np.array([c.name for c in s.CLASSES])[self.task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A decision point with everything that each of its K actions would do; (n, K) unless said otherwise.

    request: (n,) index of the request. propensity: what the draw used; 0 where an action was not open.
    quality, incident: what the action adds to the probability. cost_usd, latency_s: conditional means.
    taken: (n,) index of the chosen action.
    """

    layer: str
    decision_point: str
    actions: tuple[str, ...]
    request: Ints
    propensity: Array
    taken: Ints
    quality: Array
    incident: Array
    cost_usd: Array
    latency_s: Array

    def chosen(self, per_action: Array) -> Array:
        """The entry of the chosen action in each row."""
        return np.take_along_axis(per_action, self.taken[:, None], axis=1)[:, 0]

    def expected(self, per_action: Array) -> Array:
        """The mean over the actions under the policy."""
        return (self.propensity * per_action).sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Cache entries offered to the requests of the reuse point, known before the choice."""

    similarity: Array
    age_s: Array
    stale: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything about one seed; `resolved`, `incident` and `loss_usd` are what the users saw."""

    seed: int
    requests: Requests
    router: Point
    verify: Point
    reuse: Point
    lookups: Lookups
    tok_output: Ints
    resolved: Flags
    incident: Flags
    loss_usd: Array

    @property
    def points(self) -> tuple[Point, Point, Point]:
        """The decision points at which something was at stake."""
        return self.router, self.verify, self.reuse


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of one part of the world: a new part does not move the draws of the others."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def per_request(point: Point, per_row: Array, n: int) -> Array:
    """`per_row` spread over n requests, 0 where the request never met the point."""
    spread = np.zeros(n)
    spread[point.request] = per_row
    return spread


def hex_ids(seed: int, name: str, n: int, *, size: int) -> list[str]:
    """`n` ids of `size` random bytes in hex, the same for the same seed and name."""
    text = stream(seed, f"ids of {name}").bytes(n * size).hex()
    return [text[i : i + 2 * size] for i in range(0, len(text), 2 * size)]


def request_ids(world: World) -> list[str]:
    """The request ids (trace ids, 32 hex digits), in order of the requests."""
    return hex_ids(world.seed, "request", world.requests.n, size=16)
