"""Logs of simulated engines as congestion estimators read them; the truth stays with the simulator."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.congestion.engine import Limits, Queue, Rate
from shadowprice.estimators.congestion.requests import Requests, read_requests
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, Served, engine_steps, serve

Array = NDArray[np.float64]

EPOCH_S = 1_780_000_000
"""Second 0 of the simulated arrivals."""


def load(n: int, *, per_s: float, seed: int = 0, cached: float = 0.0) -> Arrivals:
    """Poisson arrivals: a fifth with 8,000 to 20,000 prompt tokens, the others with 200 to 2,000."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < 0.2
    prompt = np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n))
    return Arrivals(
        time_s=rng.exponential(1 / per_s, n).cumsum().round(6),
        prompt_tok=prompt,
        output_tok=rng.geometric(1 / 150, n),
        cached_tok=(cached * prompt).astype(np.int64),
    )


def decisions(given: Arrivals, served: Served, tenants: int = 20) -> pl.DataFrame:
    """What an engine logs of its requests, in the decisions layout."""
    us = ((given.time_s + EPOCH_S) * 1e6).round().astype(np.int64)
    return pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(given.n)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": pl.Series(us).cast(pl.Datetime("us", "UTC")),
            "tenant_id": [f"t{i % tenants:02d}" for i in range(given.n)],
            "replica": [f"vllm-{k}" for k in served.replica.tolist()],
            "tok_input_uncached": given.prompt_tok - given.cached,
            "tok_cache_read": given.cached,
            "tok_output": given.output_tok,
            "spec_accepted": served.spec_accepted,
            "queue_s": served.queue_s,
            "ttft_s": served.ttft_s,
            "decode_s": served.decode_s,
            "latency_s": served.latency_s,
        }
    )


def logs(given: Arrivals, settings: EngineSettings, *, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The decisions and the engine steps of one simulated engine."""
    served = serve(given, settings, seed=seed)
    return decisions(given, served), engine_steps(served.steps, epoch_s=EPOCH_S)


def requests_of(frame: pl.DataFrame) -> Requests:
    """The requests of a frame that has some."""
    found = read_requests(frame)
    assert isinstance(found, Requests), found
    return found


def rate_of(settings: EngineSettings) -> Rate:
    """The true law of a simulated engine."""
    return Rate(
        base_s=settings.base_s,
        prefill_s=settings.prefill_s,
        decode_s=settings.decode_s,
        kv_s=settings.kv_s,
        attention_s=settings.attention_s,
    )


def limits_of(settings: EngineSettings) -> Limits:
    """The true limits of a simulated engine, its reserve of one per cent included."""
    return Limits(
        token_budget=settings.token_budget,
        max_seqs=settings.max_seqs,
        kv_cap=settings.kv_cap,
        kv_admit=int(0.99 * settings.kv_cap),
    )


def queue_of(given: Arrivals) -> Queue:
    """The arrivals as the replay's engine takes them."""
    return Queue.of(given.time_s, given.prompt_tok, given.cached, given.output_tok)
