"""A serving engine richer than any model that an estimator assumes: continuous batching, step by step."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ...errors import ConfigError
from .engine_draws import draw
from .engine_loop import Loop, Marks
from .engine_records import (
    Array,
    Arrivals,
    EngineSettings,
    Ints,
    Served,
    engine_steps,
    replica_name,
)

__all__ = ["Arrivals", "EngineSettings", "Served", "engine_steps", "replica_name", "serve"]

_STEP_COLUMNS: Final = ("prefill_tok", "decode_seqs", "kv_tok", "running", "waiting")


def serve(arrivals: Arrivals, settings: EngineSettings, *, seed: int) -> Served:
    """What becomes of `arrivals`: their waits and seconds, and every step of the engine.

    Each replica serves first come first served: a step decodes all running sequences and processes prompts
    in chunks up to the token budget; a full KV cache preempts the youngest. The order of the rows of
    `arrivals` does not matter.

    Raises: ConfigError if a request cannot fit into the KV cache or names a replica that is not there.
    """
    order, queued = canonical(arrivals, settings)
    draws = draw(queued, settings, seed=seed)
    paths: list[Marks] = []
    for mine in by_replica(queued, settings):
        marks, _ = Loop(queued, settings, draws, mine).base(set())
        paths.append(marks)
    back = np.argsort(order)
    admitted, first, last = (
        _gather([getattr(path, name) for path in paths], queued.n)[back]
        for name in ("admitted", "first", "last")
    )
    preempted = _gather([path.preempted for path in paths], queued.n)[back]
    replica = places(queued, settings)
    return Served(
        queue_s=admitted - arrivals.time_s,
        ttft_s=first - arrivals.time_s,
        decode_s=last - first,
        preemptions=preempted.astype(np.int64),
        spec_drafted=draws.drafted[back],
        spec_accepted=draws.accepted[back],
        replica=replica[back],
        steps=pl.concat([_step_frame(path, queued.time_s[replica == k], k) for k, path in enumerate(paths)]),
    )


def canonical(arrivals: Arrivals, settings: EngineSettings) -> tuple[Ints, Arrivals]:
    """The order in which requests queue (by time, then size), and the arrivals in it."""
    largest = arrivals.prompt_tok + arrivals.output_tok - 1
    if arrivals.n and int(largest.max()) > settings.kv_cap:
        raise ConfigError(
            f"a request of {int(largest.max())} tokens",
            where="serving engine",
            expected=f"at most kv_cap, {settings.kv_cap}",
            cure="Raise kv_cap or drop the request.",
        )
    given = np.zeros(arrivals.n, dtype=np.int64) if arrivals.replica is None else arrivals.replica
    if ((given < 0) | (given >= settings.replicas)).any():
        raise ConfigError(
            f"replica {int(given.max())}",
            where="serving engine",
            expected=f"0 to {settings.replicas - 1}",
        )
    keys = (given, arrivals.cached, arrivals.output_tok, arrivals.prompt_tok, arrivals.time_s)
    order = np.lexsort(keys).astype(np.int64)
    return order, Arrivals(
        time_s=arrivals.time_s[order],
        prompt_tok=arrivals.prompt_tok[order],
        output_tok=arrivals.output_tok[order],
        cached_tok=arrivals.cached[order],
        replica=None if arrivals.replica is None else arrivals.replica[order],
    )


def places(queued: Arrivals, settings: EngineSettings) -> Ints:
    """(n,) replica of each request in canonical order: as given, or in turn."""
    return np.arange(queued.n) % settings.replicas if queued.replica is None else queued.replica


def by_replica(queued: Arrivals, settings: EngineSettings) -> list[list[int]]:
    """The requests of each replica, positions in canonical order."""
    where = places(queued, settings)
    return [np.flatnonzero(where == k).tolist() for k in range(settings.replicas)]


def _gather(parts: list[dict[int, float]] | list[dict[int, int]], n: int) -> Array:
    values = np.zeros(n)
    for part in parts:
        values[list(part)] = list(part.values())
    return values


def _step_frame(path: Marks, time_s: Array, replica: int) -> pl.DataFrame:
    """One row per step; waiting: arrived by its start, neither running nor done."""
    rows = path.steps
    sizes = [row[0].size for row in rows]
    starts = np.concatenate([row[0] for row in rows]) if rows else np.zeros(0)
    took = np.concatenate([row[1] for row in rows]) if rows else np.zeros(0)
    kv = np.concatenate([row[4] for row in rows]) if rows else np.zeros(0)
    prefill, decoding, running, done = (
        np.repeat(np.array([row[at] for row in rows], dtype=np.int64), sizes) for at in (2, 3, 5, 6)
    )
    waiting = np.searchsorted(time_s, starts, side="right") - running - done
    counts = (prefill, decoding, kv.astype(np.int64), running, waiting.astype(np.int64))
    return pl.DataFrame(
        {
            "replica": np.full(starts.size, replica),
            "end_s": starts + took,
            "step_s": took,
            **dict(zip(_STEP_COLUMNS, counts, strict=True)),
        }
    )
