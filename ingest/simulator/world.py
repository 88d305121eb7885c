"""A drawn world: requests and their contexts, decision points with potential outcomes, what happened."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from . import settings as s
from .knobs import Knobs

if TYPE_CHECKING:
    from .traffic import Traffic
    from .training import TrainPath

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Texts = NDArray[np.str_]

EPOCH_S: Final = 1_793_577_600
"""The first day of every world: 2026-11-02 00:00 UTC."""
LAST_TESTS: Final = ("none", "pass", "alarm")
"""What an agent that works step by step knows of its latest verification."""


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

    request: (n,) index of the request. propensity: probability given what the policy's log could hold; 0
    where an action was not open. quality, incident: what the action adds to the probability. cost_usd,
    latency_s: conditional means. taken: (n,) index of the chosen action. hidden: what the draw used where a
    cause that no log holds moved it, else None. logged: the probabilities in the log where those are wrong.
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
    hidden: Array | None = None
    logged: Array | None = None

    @property
    def chance(self) -> Array:
        """(n, K) probabilities that the draw used."""
        return self.propensity if self.hidden is None else self.hidden

    def chosen(self, per_action: Array) -> Array:
        """The entry of the chosen action in each row."""
        return np.take_along_axis(per_action, self.taken[:, None], axis=1)[:, 0]

    def expected(self, per_action: Array) -> Array:
        """The mean over the actions under the policy."""
        return (self.chance * per_action).sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Cache entries offered to the requests of the reuse point, known before the choice."""

    similarity: Array
    age_s: Array
    stale: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Episodes:
    """What the verifications of an agent that works step by step led to; m decisions of n requests.

    round: (m,) which verification of its request. last_test: (m,) index into LAST_TESTS, before the
    decision. bug: (m,) whether there was one. alarm: (m,) what the test then said; no when skipped. later:
    (m, 2) mean USD and seconds after the decision, by action. deferred: (n,) the agent left the act to a
    person. quality, incident: (n,) what the episode added; mean_*: what it adds under the policy.
    """

    round: Ints
    last_test: Ints
    bug: Flags
    alarm: Flags
    later_usd: Array
    later_s: Array
    deferred: Flags
    quality: Array
    incident: Array
    mean_quality: Array
    mean_incident: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything about one seed; `resolved`, `incident` and `loss_usd` are what the users saw.

    kept: requests that log sampling left in the logs. delegate, episodes, traffic (what else the engine
    serves), training (a trainer that keeps stale rollouts): None where the world has none.
    """

    seed: int
    knobs: Knobs
    requests: Requests
    router: Point
    verify: Point
    reuse: Point
    delegate: Point | None
    lookups: Lookups
    episodes: Episodes | None
    tok_output: Ints
    resolved: Flags
    incident: Flags
    loss_usd: Array
    kept: Flags
    traffic: Traffic | None
    training: TrainPath | None

    @property
    def points(self) -> tuple[Point, ...]:
        """The decision points at which something was at stake."""
        return (self.router, self.verify, self.reuse, *([self.delegate] if self.delegate else []))

    @property
    def models(self) -> tuple[s.Model, ...]:
        """The router's models, from the cheapest to the frontier."""
        return s.models(self.knobs.actions)

    @property
    def keep_prob(self) -> Array:
        """(n,) probability with which each request stayed in the logs."""
        return np.where(self.resolved, self.knobs.keep_share, 1.0)

    def added(self, point: Point, name: Literal["quality", "incident"]) -> Array:
        """(n,) what the point's policy adds on average to the probability `name` of each request."""
        if point is self.verify and self.episodes is not None:
            return self.episodes.mean_quality if name == "quality" else self.episodes.mean_incident
        return per_request(point, point.expected(getattr(point, name)), self.requests.n)


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
