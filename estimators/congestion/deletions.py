"""What others would have waited less without a request: the path with it against the path without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .engine import Engine
from .replay import Replay
from .requests import Array, Ints, Requests

BINS: Final = (0.0, 0.4, 0.6, 0.8, 1.0, np.inf)
"""Edges of the loads within which a price is fitted."""
SIZES: Final = 3
"""Groups of requests by size within a load: every one is sampled alike, for the long ones say most."""
PER_STRATUM: Final = 200
FEWEST: Final = 20
"""Requests per stratum that are deleted even if the work then exceeds the bound."""
BUDGET: Final = 1_000_000
"""Requests that the paired paths may serve in all; about a quarter of a minute."""
PATHS: Final = (4, 64)
"""Paths with slightly moved arrivals to which the deletions are dealt: at least, and at most."""
_PATHS_SHARE: Final = 0.125
"""Of the budget, for these paths."""
BEHIND: Final = 20_000
"""Requests behind a deleted one after which its path ends, whether it met the other or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """m requests that were deleted, one at a time.

    rows: (m,) row numbers. delay_s: (m,) seconds that all others waited because of each: its marginal
    external delay. own_s: (m,) the part that its own tenant waited. weight: (m,) requests that each stands
    for. suffered_s: (tenants,) estimated seconds that each tenant waited because of single requests, summed
    over all requests. cut: paths that ended before they met.
    """

    rows: Ints
    delay_s: Array
    own_s: Array
    weight: Array
    suffered_s: Array
    cut: int


def load_bins(load: Array) -> Ints:
    """(n,) which of the BINS each load is in."""
    return np.clip(np.searchsorted(BINS, load, side="right") - 1, 0, len(BINS) - 2).astype(np.int64)


def delete_each(
    requests: Requests,
    replays: list[Replay],
    *,
    rng: np.random.Generator,
    among: NDArray[np.bool_] | None = None,
    budget: int = BUDGET,
) -> Deletions:
    """Marginal external delay of a stratified sample of requests, by load and size.

    among: (n,) requests that may be drawn, None for all; budget: requests that the paths may serve in all.

    D_i = sum over j of latency_j(with i) - latency_j(without i). The engine is deterministic, so both paths
    have the same luck; but where they never idle, the least shift of a step goes on to move who meets whom.
    So the sample is dealt to several paths, whose arrivals are moved by about the time between two: their
    luck then averages out. Up to PER_STRATUM requests of each load and size, fewer where the paths are long.

    Source: METHODS F1 (b), J.
    """
    picked, weight = _sample(requests, replays, rng, among, budget)
    paths = int(np.clip(_PATHS_SHARE * budget / requests.n, *PATHS))
    deal = rng.permutation(np.arange(picked.size) % paths)
    found = [np.zeros(picked.size), np.zeros(picked.size), np.zeros(len(requests.tenants)), np.zeros(1)]
    for one in replays:
        place = np.searchsorted(picked, one.rows)
        known = picked[np.minimum(place, picked.size - 1)] == one.rows
        for k in range(paths):
            mine = np.flatnonzero(known & (deal[np.minimum(place, picked.size - 1)] == k))
            if mine.size:
                _delete(requests, one, jittered(one.engine, rng), mine, place[mine], weight, found)
    delay, own, suffered, cut = found
    return Deletions(
        rows=picked, delay_s=delay, own_s=own, weight=weight, suffered_s=suffered, cut=int(cut[0])
    )


def jittered(engine: Engine, rng: np.random.Generator) -> Engine:
    """The same engine with every arrival later by up to the usual time between two, in the same order."""
    queue, time = engine.queue, np.array(engine.queue.time)
    gap = float(np.median(np.diff(time))) if time.size > 1 else 0.0
    moved = np.sort(time + rng.uniform(0.0, max(gap, engine.rate.base_s), time.size))
    return Engine(replace(queue, time=moved.tolist()), engine.rate, engine.limits)


def _delete(
    requests: Requests,
    one: Replay,
    engine: Engine,
    mine: Ints,
    place: Ints,
    weight: Array,
    found: list[Array],
) -> None:
    """Add what deleting `mine`, positions in the replay, says to `found`: delay, own, suffered, cut."""
    delay, own, suffered, cut = found
    base = engine.serve(set(mine.tolist()))
    for i, k in zip(mine.tolist(), place.tolist(), strict=True):
        alone = engine.without(i, base, behind=BEHIND).last
        others = one.rows[np.fromiter(alone, dtype=np.int64, count=len(alone))]
        waited = np.array([base.last[j] - end for j, end in alone.items()])
        tenant = requests.tenant[others]
        delay[k], own[k] = waited.sum(), waited[tenant == requests.tenant[one.rows[i]]].sum()
        suffered += weight[k] * np.bincount(tenant, weights=waited, minlength=suffered.size)
        cut += others.size >= BEHIND


def _sample(
    requests: Requests,
    replays: list[Replay],
    rng: np.random.Generator,
    among: NDArray[np.bool_] | None,
    budget: int,
) -> tuple[Ints, Array]:
    """Sorted row numbers, and how many requests each stands for."""
    rows = np.concatenate([r.rows for r in replays])
    level = load_bins(np.concatenate([r.load for r in replays]))
    ahead = np.concatenate([_ahead(r) for r in replays])
    if among is not None:
        rows, level, ahead = rows[among[rows]], level[among[rows]], ahead[among[rows]]
    size = requests.prompt[rows] + requests.output[rows]
    strata: list[Ints] = []
    for b in np.unique(level).tolist():
        inside = np.flatnonzero(level == b)
        strata += [
            part
            for part in np.array_split(inside[np.argsort(size[inside], kind="stable")], SIZES)
            if part.size
        ]
    each = float(sum(np.minimum(ahead[part], BEHIND).mean() for part in strata))
    count = int(np.clip(budget / each, FEWEST, PER_STRATUM))
    taken = [rng.permutation(part)[:count] for part in strata]
    weight = np.concatenate([np.full(t.size, p.size / t.size) for t, p in zip(taken, strata, strict=True)])
    picked = rows[np.concatenate(taken)]
    order = np.argsort(picked)
    return picked[order], weight[order]


def _ahead(one: Replay) -> Ints:
    """(m,) requests until the replica is next found idle: how long a path without one is, about."""
    idle = np.append(np.flatnonzero(one.fresh), one.rows.size)
    at = np.arange(one.rows.size)
    return idle[np.searchsorted(idle, at, side="right")] - at
