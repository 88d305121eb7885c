"""The logged requests served again by the fitted law: how close it comes, and how loaded each moment was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .engine import Engine, Limits, Queue, Rate
from .requests import Array, Ints, Requests

TOLERANCE: Final = 0.1
"""By how much a replayed quantile may miss the logged one (METHODS F1)."""
QUANTILES: Final = (0.5, 0.9)
WINDOW_S: Final = 60.0
"""The load at an arrival is what arrived in the minute before it."""
_SATURATED: Final = 1_000
"""Requests that are served at once to see how fast the engine can be."""
_HALF: Final = 0.5
"""Of a step: arrivals fall anywhere within one, so a time is not known better than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One replica and what it may do: its name, law and limits."""

    replica: str
    rate: Rate
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replica's requests, served by its law. rows: their row numbers, in order of arrival.

    ttft_s, latency_s: (m,) seconds from arrival. kv_token_s: (m,) tokens held in the KV cache times seconds.
    load: (m,) work that arrived in the last minute over what the engine can do in a minute. fresh: (m,) found
    the replica idle.
    """

    server: Server
    engine: Engine
    rows: Ints
    ttft_s: Array
    latency_s: Array
    kv_token_s: Array
    load: Array
    fresh: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One quantile of one time over all replicas, logged and replayed, in seconds."""

    quantity: str
    quantile: float
    logged_s: float
    replayed_s: float
    fine: bool

    def __str__(self) -> str:
        return (
            f"{self.quantity} p{self.quantile * 100:.0f}: logged {self.logged_s:.3g} s, "
            f"replayed {self.replayed_s:.3g} s"
        )


def replay(requests: Requests, server: Server) -> Replay:
    """The requests of one replica served by its law and limits, first come first served.

    Source: METHODS F1 (b).
    """
    rows = np.flatnonzero(requests.replica == requests.replicas.index(server.replica))
    engine = Engine(_queue(requests, rows), server.rate, server.limits)
    path = engine.serve()
    time = requests.time_s[rows]
    admitted, first, last = (_in_order(part, rows.size) for part in (path.admitted, path.first, path.last))
    held = requests.prompt[rows] * (last - admitted) + requests.output[rows] / 2.0 * (last - first)
    return Replay(
        server=server,
        engine=engine,
        rows=rows,
        ttft_s=first - time,
        latency_s=last - time,
        kv_token_s=held,
        load=loads(time, work(requests.rows(rows), server)),
        fresh=np.isin(np.arange(rows.size), list(path.fresh)),
    )


def fit_quality(requests: Requests, replays: list[Replay], steps_s: float) -> tuple[Fit, ...]:
    """Logged and replayed quantiles of the time to the first token and of the latency, where logged.

    Fine is a replayed quantile within TOLERANCE of the logged one, or within half of steps_s, a typical step.
    """
    found: list[Fit] = []
    rows = np.concatenate([r.rows for r in replays])
    for name in ("ttft_s", "latency_s"):
        logged = getattr(requests, name)[rows]
        made = np.concatenate([getattr(r, name) for r in replays])
        seen = np.isfinite(logged)
        if not seen.any():
            continue
        for q in QUANTILES:
            a, b = float(np.quantile(logged[seen], q)), float(np.quantile(made[seen], q))
            fine = abs(b - a) <= max(TOLERANCE * a, _HALF * steps_s)
            found.append(Fit(quantity=name, quantile=q, logged_s=a, replayed_s=b, fine=fine))
    return tuple(found)


def fit_fault(fits: tuple[Fit, ...]) -> str | None:
    """Why the replay cannot stand for the engine, or None."""
    if not fits:
        return "neither ttft_s nor latency_s of requests is logged, so the replay cannot be checked"
    wrong = [str(f) for f in fits if not f.fine]
    if not wrong:
        return None
    return (
        f"the replay misses the log by more than {TOLERANCE:.0%}: {'; '.join(wrong)}; unlogged requests, "
        "priorities, or steps slowed by something else would do that"
    )


def work(requests: Requests, server: Server) -> Array:
    """(n,) seconds that each request takes of a saturated engine; they add up to the time to serve all.

    Prompts and decoding have their own time by the law; what all steps share is split by decoded tokens, such
    that up to _SATURATED requests that arrive at once take as long as they do.
    """
    rate, todo = server.rate, requests.prompt - requests.cached
    decoded = requests.output - 1.0 - requests.accepted
    alone = rate.prefill_s * todo + rate.attention_s * todo * (requests.cached + todo / 2.0)
    alone += decoded * (rate.decode_s + rate.kv_s * (requests.prompt + requests.output / 2.0))
    some = np.unique(np.linspace(0, requests.n - 1, min(requests.n, _SATURATED)).astype(np.int64))
    at_once = replace(_queue(requests, some), time=[0.0] * some.size)
    makespan = max(Engine(at_once, rate, server.limits).serve().last.values())
    shared = max(makespan - float(alone[some].sum()), 0.0)
    split = decoded if decoded[some].any() else np.ones(requests.n)
    return alone + split * shared / float(split[some].sum())


def loads(time: Array, seconds: Array, window_s: float = WINDOW_S) -> Array:
    """(n,) work that arrived in the window before each arrival, per second of the window."""
    total = np.concatenate(([0.0], np.cumsum(seconds)))
    since = np.searchsorted(time, time - window_s)
    return (total[np.arange(time.size)] - total[since]) / window_s


def _queue(requests: Requests, rows: Ints) -> Queue:
    columns = (requests.prompt, requests.cached, requests.output, requests.accepted)
    return Queue.of(requests.time_s[rows], *(column[rows] for column in columns))


def _in_order(part: dict[int, float], n: int) -> Array:
    return np.fromiter((part[i] for i in range(n)), dtype=float, count=n)
