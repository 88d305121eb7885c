"""Engines that short and long requests share, and engines whose long prompts are read elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from .engine import Arrivals, EngineSettings, Served, replica_name, serve
from .world import EPOCH_S, Array, Flags, Ints

HOURS: Final = 12
SETTINGS: Final = EngineSettings(replicas=2)
_PER_S: Final = 0.5
_TENANTS: Final = 24
_LONG_SHARE: Final = 0.35
"""Share of long prompts among the requests of the tenants that send any, which are half of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CongestionTruth:
    """wait_s: mean seconds that a short request waits longer for its first token because of the long ones,
    from two runs of the engine, with and without them."""

    wait_s: float


def congestion_world(*, seed: int, shared: bool = True) -> tuple[pl.DataFrame, CongestionTruth]:
    """The requests of two replicas over HOURS in the decisions layout.

    shared: all requests meet in one engine per replica. Otherwise long prompts go to an engine of their own
    behind the same name, as where prompts are processed apart from answers: the log looks the same, and no
    short request waits for a long one.
    """
    rng = np.random.default_rng(seed)
    n = int(HOURS * 3600 * _PER_S)
    tenant = rng.integers(_TENANTS, size=n)
    long = (tenant >= _TENANTS // 2) & (rng.random(n) < _LONG_SHARE)
    given = Arrivals(
        time_s=np.sort(rng.uniform(0, HOURS * 3600, n)).round(6),
        prompt_tok=np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n)),
        output_tok=rng.geometric(1 / 60, n),
        replica=rng.integers(SETTINGS.replicas, size=n),
    )
    alone = serve(_some(given, ~long), SETTINGS, seed=seed)
    if not shared:
        apart = serve(_some(given, long), SETTINGS, seed=seed)
        return _log(given, tenant, _both(alone, apart, long)), CongestionTruth(wait_s=0.0)
    served = serve(given, SETTINGS, seed=seed)
    waits = (served.queue_s, served.ttft_s, served.decode_s)
    longer = float((served.ttft_s[~long] - alone.ttft_s).mean())
    return _log(given, tenant, waits), CongestionTruth(wait_s=longer)


def _some(given: Arrivals, rows: Flags) -> Arrivals:
    assert given.replica is not None
    return Arrivals(
        time_s=given.time_s[rows],
        prompt_tok=given.prompt_tok[rows],
        output_tok=given.output_tok[rows],
        replica=given.replica[rows],
    )


def _both(alone: Served, apart: Served, long: Flags) -> tuple[Array, Array, Array]:
    """Queue, first token and decoding in seconds of short and long requests, in their common order."""
    parts: list[Array] = []
    for name in ("queue_s", "ttft_s", "decode_s"):
        whole = np.zeros(long.size)
        whole[~long], whole[long] = getattr(alone, name), getattr(apart, name)
        parts.append(whole)
    return parts[0], parts[1], parts[2]


def _log(given: Arrivals, tenant: Ints, waits: tuple[Array, Array, Array]) -> pl.DataFrame:
    us = ((given.time_s + EPOCH_S) * 1e6).round().astype(np.int64)
    assert given.replica is not None
    queue, first, decode = waits
    return pl.DataFrame(
        {
            "decision_id": [f"q{i:06d}" for i in range(given.n)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": pl.Series(us).cast(pl.Datetime("us", "UTC")),
            "tenant_id": [f"t{g:02d}" for g in tenant],
            "replica": [replica_name(int(k)) for k in given.replica],
            "tok_input_uncached": given.prompt_tok,
            "tok_output": given.output_tok,
            "queue_s": queue,
            "ttft_s": first,
            "decode_s": decode,
            "latency_s": first + decode,
        }
    )
