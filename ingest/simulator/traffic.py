"""Other users of the serving engine, in bursts: short requests, and long ones that all others wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from . import settings as s
from .engine import Arrivals, EngineSettings, Served, engine_steps, replica_name, serve
from .engine_truth import external_delay
from .knobs import Knobs
from .world import EPOCH_S, Array, Flags, Ints, hex_ids, stream

SETTINGS: Final = EngineSettings(replicas=2)
FIRST_REPLICA: Final = 2
"""The agents' own calls are served by vllm-0 and vllm-1, so that the steps here hold all the work."""
BAND_SEGMENT: Final = "x_prompt_band"
LONG, SHORT = "long", "short"
REPLAYED: Final = 300
"""Long requests whose external delay is replayed; beyond them the dollars are the mean times the number."""
_DAYS: Final = 14
_BURST_AT_S: Final = 36_000.0
"""Each day's burst begins at 10:00."""
_RATE_PER_S: Final = 2.4
_LONG_SHARE: Final = 0.08
_PROMPT: Final = {SHORT: (1_500.0, 0.5), LONG: (40_000.0, 0.2)}
"""Median prompt in tokens, and the standard deviation of its logarithm."""
_OUTPUT_TOK: Final = 200
_LARGEST_PROMPT: Final = 90_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """n requests in order of time and what the engine made of them. replayed: rows of long requests whose
    external_s is known: seconds that all others waited because of each."""

    ids: list[str]
    tenant: Ints
    long: Flags
    arrivals: Arrivals
    served: Served
    replayed: Ints
    external_s: Array

    @property
    def external_usd(self) -> float:
        """USD of the waiting that the long requests caused and nobody priced."""
        return float(self.external_s.mean() * self.long.sum() * s.LATENCY_USD_PER_S)

    @property
    def replicas(self) -> tuple[str, ...]:
        """What the logs call the engine's replicas."""
        return tuple(replica_name(FIRST_REPLICA + k) for k in range(SETTINGS.replicas))

    @property
    def steps(self) -> pl.DataFrame:
        """One row per step of the engine, in the layout of the engine_steps table."""
        named = self.served.steps.with_columns(pl.col("replica") + FIRST_REPLICA)
        return engine_steps(named, epoch_s=EPOCH_S)

    @property
    def bands(self) -> list[str]:
        """(n,) how long each prompt is, as the log says it."""
        return np.where(self.long, LONG, SHORT).tolist()


def draw_traffic(seed: int, knobs: Knobs) -> Traffic:
    """As many requests as the agents have, in one burst a day; the dollars come from paired replays."""
    rng, n = stream(seed, "traffic"), knobs.requests
    day = np.sort(rng.integers(_DAYS, size=n))
    since = rng.uniform(0.0, n / _DAYS / _RATE_PER_S, n)
    time_s = np.sort((86_400.0 * day + _BURST_AT_S + since).round(3))
    long = rng.random(n) < _LONG_SHARE
    long[n // 2] = True  # so that the smallest world has one
    spread = rng.normal(size=n)
    prompt = np.where(
        long,
        _PROMPT[LONG][0] * np.exp(_PROMPT[LONG][1] * spread),
        _PROMPT[SHORT][0] * np.exp(_PROMPT[SHORT][1] * spread),
    )
    arrivals = Arrivals(
        time_s=time_s,
        prompt_tok=np.clip(prompt, 16, _LARGEST_PROMPT).astype(np.int64),
        output_tok=1 + rng.poisson(_OUTPUT_TOK * rng.gamma(4.0, 0.25, n)),
    )
    rows = np.flatnonzero(long)
    replayed = np.sort(rng.permutation(rows)[:REPLAYED])
    return Traffic(
        ids=hex_ids(seed, "traffic", n, size=16),
        tenant=rng.integers(knobs.tenants, size=n),
        long=long,
        arrivals=arrivals,
        served=serve(arrivals, SETTINGS, seed=seed),
        replayed=replayed,
        external_s=external_delay(arrivals, SETTINGS, replayed, seed=seed),
    )


def traffic_truth(traffic: Traffic) -> dict[str, pl.DataFrame]:
    """engine_requests: one row per request, external_s null where it was not replayed; engine_steps."""
    external = np.full(traffic.long.size, np.nan)
    external[traffic.replayed] = traffic.external_s
    served, given = traffic.served, traffic.arrivals
    requests = pl.DataFrame(
        {
            "request_id": traffic.ids,
            BAND_SEGMENT: traffic.bands,
            "tok_input_uncached": given.prompt_tok,
            "tok_output": given.output_tok,
            "queue_s": served.queue_s,
            "ttft_s": served.ttft_s,
            "decode_s": served.decode_s,
            "latency_s": served.latency_s,
            "preemptions": served.preemptions,
            "external_s": external,
        }
    ).with_columns(pl.col("external_s").fill_nan(None))
    return {"engine_requests": requests, "engine_steps": traffic.steps}


def congestion_failure(traffic: Traffic) -> dict[str, Any]:
    """The injected failure: long requests that were admitted although the others waited for them."""
    return {
        "mode": "serving_congestion",
        "layer": "serving",
        "decision_point": "admit",
        "segment": f"{BAND_SEGMENT}={LONG}",
        "action": "admit",
        "baseline": "price",
        "direction": "over",
        "usd": traffic.external_usd,
        "net_usd_per_decision": -traffic.external_usd / int(traffic.long.sum()),
    }
