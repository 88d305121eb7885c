"""What more of an engine's resources would save: the same requests replayed with a little more of each.

The engines of one log seldom differ, so the answer is what the step-time law implies, not what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from ..confidence import LEVEL, interval
from ..gates import MIN_CLUSTERS
from ..jackknife import cluster_sums, weighted_mean
from .replay import Replay, Server, replay
from .requests import Array, Requests
from .token_prices import time_blocks

Resource = Literal["prefill", "decode", "kv_cache"]

STEP: Final = 0.02
"""How much more and less of a resource is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityGain:
    """Seconds that a request waits less per relative increase of a resource, at the margin: - dL / d log C.

    A hundredth of it is what 1 % more of the resource saves.
    prefill: speed at prompts. decode: speed of everything else in a step. kv_cache: tokens that it holds. The
    interval is that of a mean over stretches of time. value None with the reason. label: always
    'model-implied', as no capacity varied.
    """

    resource: Resource
    value: float | None
    lower: float | None
    upper: float | None
    level: float
    n: int
    clusters: int
    label: str
    reason: str | None = None


def capacity_gains(requests: Requests, replays: list[Replay]) -> tuple[CapacityGain, ...]:
    """The marginal gain of each resource, in seconds per request (paper Eq. 9 per unit of relative capacity).

    Each is the difference of two replays, with STEP more and STEP less of it, over 2 STEP. Dividing by what
    a per cent of each costs tells which to buy. Not identified: a cache that never was full in the log.

    Source: METHODS F1; paper Eq. 9.
    """
    return tuple(_gain(requests, replays, name, change) for name, change in _CHANGES.items())


def _gain(
    requests: Requests,
    replays: list[Replay],
    name: Resource,
    change: Callable[[Server, float], Server | None],
) -> CapacityGain:
    saved: list[Array] = []
    for one in replays:
        more, less = (change(one.server, factor) for factor in (1.0 + STEP, 1.0 - STEP))
        if more is None or less is None:
            reason = "the cache was never full in the log, so it does not show what a larger one would save"
            return _unknown(name, len(requests.time_s), 0, reason)
        saved.append((replay(requests, less).latency_s - replay(requests, more).latency_s) / (2.0 * STEP))
    rows = np.concatenate([r.rows for r in replays])
    blocks = np.unique(time_blocks(requests.time_s)[rows], return_inverse=True)[1]
    clusters = int(blocks.max()) + 1
    if clusters < MIN_CLUSTERS:
        reason = f"requests from {clusters} stretches of time; {MIN_CLUSTERS:.0f} are needed for an interval"
        return _unknown(name, rows.size, clusters, reason)
    sums = cluster_sums(np.concatenate(saved)[:, None], np.ones(rows.size), blocks, clusters)
    mean = weighted_mean(sums)
    value = float(mean.theta[0])
    lower, upper = interval(value, float(np.sqrt(mean.cov[0, 0])), mean.df)
    return CapacityGain(
        resource=name,
        value=value,
        lower=lower,
        upper=upper,
        level=LEVEL,
        n=rows.size,
        clusters=clusters,
        label=_LABEL,
    )


def _faster_prefill(server: Server, factor: float) -> Server:
    rate = server.rate
    quick = replace(rate, prefill_s=rate.prefill_s / factor, attention_s=rate.attention_s / factor)
    return replace(server, rate=quick)


def _faster_decode(server: Server, factor: float) -> Server:
    rate = server.rate
    quick = replace(
        rate, base_s=rate.base_s / factor, decode_s=rate.decode_s / factor, kv_s=rate.kv_s / factor
    )
    return replace(server, rate=quick)


def _larger_cache(server: Server, factor: float) -> Server | None:
    limits = server.limits
    if limits.kv_cap is None:
        return None
    admit = None if limits.kv_admit is None else int(limits.kv_admit * factor)
    return replace(server, limits=replace(limits, kv_cap=int(limits.kv_cap * factor), kv_admit=admit))


def _unknown(name: Resource, n: int, clusters: int, reason: str) -> CapacityGain:
    return CapacityGain(
        resource=name, value=None, lower=None, upper=None, level=LEVEL, n=n, clusters=clusters, label=_LABEL,
        reason=reason,
    )  # fmt: skip


_LABEL: Final = "model-implied"
_CHANGES: Final[dict[Resource, Callable[[Server, float], Server | None]]] = {
    "prefill": _faster_prefill,
    "decode": _faster_decode,
    "kv_cache": _larger_cache,
}
