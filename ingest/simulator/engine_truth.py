"""True external delay of requests: what the others wait because of them, by replay without them."""

from __future__ import annotations

import numpy as np

from .engine import by_replica, canonical
from .engine_draws import draw
from .engine_loop import Loop
from .engine_records import Array, Arrivals, EngineSettings, Ints


def external_delay(
    arrivals: Arrivals,
    settings: EngineSettings,
    sampled: Ints,
    *,
    seed: int,
    usd_per_s: Array | None = None,
) -> Array:
    """(m,) seconds that the others would have waited less without request i, for each i of `sampled`.

    D_i = sum over j != i of latency_j(with i) - latency_j(without i), on common random numbers: the luck of
    a step belongs to its oldest request. Replayed from i's arrival until both paths are idle before the same
    request, or to the end. Each request keeps its replica. With usd_per_s, (n,) what a second costs each
    request, the sum is in USD. sampled: rows of `arrivals`.
    """
    order, queued = canonical(arrivals, settings)
    where = np.argsort(order)[sampled]
    price = np.ones(queued.n) if usd_per_s is None else usd_per_s[order]
    draws = draw(queued, settings, seed=seed)
    delay: dict[int, float] = {}
    wanted = set(where.tolist())
    for mine in by_replica(queued, settings):
        loop = Loop(queued, settings, draws, mine)
        marks, before = loop.base(wanted)
        for i, state in before.items():
            alone = loop.without(i, state, marks.fresh)
            delay[i] = sum(float(price[j]) * (marks.last[j] - last) for j, last in alone.last.items())
    return np.array([delay[i] for i in where.tolist()])
