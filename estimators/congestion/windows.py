"""What the other tenants of a replica had in service, or sent, in a stretch of time around each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from .requests import Array, Ints, Requests

_SHORTEST_S: Final = 1e-3
"""A phase is taken to last at least a millisecond, the digit to which many logs round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """m stretches of work. start_s, end_s: (m,). rate: (m,) tokens, or token-seconds, per second of each."""

    start_s: Array
    end_s: Array
    rate: Array


def phases(requests: Requests) -> dict[str, Spans]:
    """Prefill, decode and KV cache of each request as logged: tokens spread evenly over their phase.

    A request without queue_s started at once; ttft_s and latency_s are needed for every request.
    """
    begun = requests.time_s + np.nan_to_num(requests.queue_s)
    first = np.maximum(requests.time_s + requests.ttft_s, begun + _SHORTEST_S)
    last = np.maximum(requests.time_s + requests.latency_s, first + _SHORTEST_S)
    todo = (requests.prompt - requests.cached).astype(float)
    return {
        "prefill": Spans(start_s=begun, end_s=first, rate=todo / (first - begun)),
        "decode": Spans(start_s=first, end_s=last, rate=requests.output / (last - first)),
        "kv": Spans(start_s=begun, end_s=last, rate=requests.prompt + requests.output / 2.0),
    }


def in_service(requests: Requests, spans: Spans, *, lag_s: float) -> Array:
    """(n,) what other tenants had in service on the replica in the lag_s seconds before each arrival."""
    time = requests.time_s

    def during(whose: Ints, asked: Ints) -> Array:
        return _area(spans, whose, time[asked]) - _area(spans, whose, time[asked] - lag_s)

    return _of_others(requests, during)


def arrived(requests: Requests, tokens: Array, *, since_s: float, until_s: float, own: bool = False) -> Array:
    """(n,) tokens that other tenants sent to the replica from t - since_s to t - until_s; negative: after t.

    tokens: (n,) of each request. own: those of the tenant itself instead, the request left out.
    """
    time = requests.time_s

    def during(whose: Ints, asked: Ints) -> Array:
        total = np.concatenate(([0.0], np.cumsum(tokens[whose])))
        high = np.searchsorted(time[whose], time[asked] - until_s, side="left")
        return total[high] - total[np.searchsorted(time[whose], time[asked] - since_s, side="left")]

    return _of_tenant(requests, during) if own else _of_others(requests, during)


def exposed(requests: Requests, at_s: Array, *, ahead_s: float) -> Array:
    """(n,) requests of other tenants that come to the replica within ahead_s after at_s of each request."""
    time = requests.time_s

    def during(whose: Ints, asked: Ints) -> Array:
        high = np.searchsorted(time[whose], at_s[asked] + ahead_s, side="right")
        return (high - np.searchsorted(time[whose], at_s[asked], side="right")).astype(float)

    return _of_others(requests, during)


def elsewhere(requests: Requests, tokens: Array, *, since_s: float) -> Array:
    """(n,) tokens that other tenants sent to other replicas in the since_s seconds before each request."""
    total = np.zeros(requests.n)
    time = requests.time_s
    for g in range(len(requests.tenants)):
        whose, asked = np.flatnonzero(requests.tenant != g), np.flatnonzero(requests.tenant == g)
        run = np.concatenate(([0.0], np.cumsum(tokens[whose])))
        high = np.searchsorted(time[whose], time[asked], side="left")
        total[asked] = run[high] - run[np.searchsorted(time[whose], time[asked] - since_s, side="left")]
    return total - arrived(requests, tokens, since_s=since_s, until_s=0.0)


def _area(spans: Spans, whose: Ints, at: Array) -> Array:
    """Sum over spans of rate times the part of the span before `at`."""
    rate = spans.rate[whose]
    return _ramp(spans.start_s[whose], rate, at) - _ramp(spans.end_s[whose], rate, at)


def _ramp(since: Array, rate: Array, at: Array) -> Array:
    order = np.argsort(since, kind="stable")
    knots, slope = since[order], rate[order]
    held = np.concatenate(([0.0], np.cumsum(slope)))
    offset = np.concatenate(([0.0], np.cumsum(slope * knots)))
    before = np.searchsorted(knots, at, side="right")
    return held[before] * at - offset[before]


def _of_tenant(requests: Requests, during: Callable[[Ints, Ints], Array]) -> Array:
    found = np.zeros(requests.n)
    pair = requests.replica * len(requests.tenants) + requests.tenant
    for code in np.unique(pair).tolist():
        mine = np.flatnonzero(pair == code)
        found[mine] = during(mine, mine)
    return found


def _of_others(requests: Requests, during: Callable[[Ints, Ints], Array]) -> Array:
    """What all of the replica did, less what the tenant itself did."""
    found = np.zeros(requests.n)
    for k in np.unique(requests.replica).tolist():
        mine = np.flatnonzero(requests.replica == k)
        found[mine] = during(mine, mine)
    return found - _of_tenant(requests, during)
