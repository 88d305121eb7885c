"""The serving log: decisions of the semantic cache with the logging recipe, and vLLM request spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson

from .context import Context
from .otlp import Entry, span, span_lines
from .traffic import BAND_SEGMENT, Traffic
from .truth import CACHE_SEGMENT, FRESH, STALE
from .world import EPOCH_S, hex_ids, stream
from .write_steps import chosen

REPLICAS: Final = ("vllm-0", "vllm-1")
_CONTEXT_SHARE: Final = 0.2
"""Share of the prompt that the cache would have spared the engine."""
_SUMMARY_TOKENS: Final = 300


def serving_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of serving-spans.jsonl: the cache's decisions, then the engines that recomputed."""
    ids = hex_ids(ctx.world.seed, "cache span", ctx.world.reuse.request.size, size=8)
    cache = {"service.name": "semantic-cache", "service.version": "cache-4"}
    yield from span_lines(_cache_spans(ctx, ids), resource=cache, scope="semantic-cache")
    for replica, name in enumerate(REPLICAS):
        engine = {"service.name": "vllm", "service.instance.id": name}
        yield from span_lines(_engine_spans(ctx, ids, replica), resource=engine, scope="vllm.llm_engine")
    traffic = ctx.world.traffic
    for replica, name in enumerate(traffic.replicas if traffic is not None else ()):
        assert traffic is not None
        engine = {"service.name": "vllm", "service.instance.id": name}
        others = _traffic_spans(ctx.world.seed, traffic, replica)
        yield from span_lines(others, resource=engine, scope="vllm.llm_engine")


def step_lines(traffic: Traffic) -> Iterator[bytes]:
    """The lines of engine-steps.jsonl: what each step processed and held, and how long it took."""
    for row in traffic.steps.iter_rows(named=True):
        stamped = row | {"ts": round(row["ts"].timestamp() * 1e6), "step_s": round(row["step_s"], 9)}
        yield orjson.dumps(stamped)


STEP_MAPPING: Final = """\
# How shadowprice reads engine-steps.jsonl: ours = theirs.
format = "jsonl"
files = "engine-steps.jsonl*"
table = "engine_steps"

[columns]
replica = "replica"
ts = {from = "ts", unit = "us", timezone = "UTC"}
step_s = {from = "step_s", unit = "s"}
prefill_tok = "prefill_tok"
decode_seqs = "decode_seqs"
kv_tok = "kv_tok"
running = "running"
waiting = "waiting"
"""


def _cache_spans(ctx: Context, ids: list[str]) -> Iterator[list[Entry]]:
    for j, i in enumerate(ctx.world.reuse.request.tolist()):
        if not ctx.kept[i]:
            continue
        own = (ctx.request_ids[i], ids[j], "")
        paid = {"shadowprice.cost_usd": float(ctx.reuse_usd[j])}
        given = {**chosen(ctx, ctx.world.reuse, j), **paid, **_entry(ctx, j), **_request(ctx, i)}
        seconds = float(ctx.reuse_s[j])
        start = float(ctx.call_at[i]) - seconds
        yield [span(own, name="cache lookup", start_s=start, seconds=seconds, attributes=given)]


def _entry(ctx: Context, j: int) -> dict[str, Any]:
    seen = ctx.world.lookups
    return {
        "shadowprice.cache_hit_kind": "semantic",
        "shadowprice.cache_similarity": float(seen.similarity[j]),
        "shadowprice.cache_age_s": float(seen.age_s[j]),
        f"shadowprice.{CACHE_SEGMENT}": STALE if seen.stale[j] else FRESH,
    }


def _request(ctx: Context, i: int) -> dict[str, Any]:
    return {
        "shadowprice.x_task_class": ctx.tasks[i],
        "shadowprice.x_difficulty": float(ctx.world.requests.x_difficulty[i]),
        "shadowprice.tenant_id": ctx.tenants[i],
        "shadowprice.session_id": ctx.sessions[i],
    }


def _engine_spans(ctx: Context, parents: list[str], replica: int) -> Iterator[list[Entry]]:
    """One request span per recomputation; the replicas take turns."""
    point, n = ctx.world.reuse, len(parents)
    rng = stream(ctx.world.seed, "engine")
    waits, firsts = rng.uniform(0.02, 0.2, n).tolist(), rng.uniform(0.1, 0.3, n).tolist()
    ids = hex_ids(ctx.world.seed, "engine span", n, size=8)
    recomputed = np.flatnonzero(point.taken == point.actions.index("recompute")).tolist()
    for j in recomputed[replica :: len(REPLICAS)]:
        i, total = int(point.request[j]), float(ctx.reuse_s[j])
        if not ctx.kept[i]:
            continue
        wait = round(waits[j] * total, 3)
        first = round(wait + firsts[j] * (total - wait), 3)
        given = {
            "gen_ai.request.id": ctx.request_ids[i],
            "gen_ai.usage.prompt_tokens": int(_CONTEXT_SHARE * ctx.world.requests.x_prompt_tokens[i]),
            "gen_ai.usage.completion_tokens": _SUMMARY_TOKENS,
            "gen_ai.latency.time_in_queue": wait,
            "gen_ai.latency.time_to_first_token": first,
            "gen_ai.latency.e2e": total,
            "gen_ai.latency.time_in_model_decode": round(total - first, 3),
        }
        if ctx.keep_prob is not None:
            given["shadowprice.keep_prob"] = ctx.keep_prob[i]
        own = (ctx.request_ids[i], ids[j], parents[j])
        start = float(ctx.call_at[i]) - total
        yield [span(own, name="llm_request", start_s=start, seconds=total, attributes=given)]


def _traffic_spans(seed: int, traffic: Traffic, replica: int) -> Iterator[list[Entry]]:
    """One request span for each of the engine's other requests, with the times that the engine had."""
    served, given = traffic.served, traffic.arrivals
    ids = hex_ids(seed, "traffic span", len(traffic.ids), size=8)
    bands = traffic.bands
    for j in np.flatnonzero(served.replica == replica).tolist():
        told = {
            "gen_ai.request.id": traffic.ids[j],
            "gen_ai.usage.prompt_tokens": int(given.prompt_tok[j]),
            "gen_ai.usage.completion_tokens": int(given.output_tok[j]),
            "gen_ai.latency.time_in_queue": float(served.queue_s[j].round(6)),
            "gen_ai.latency.time_to_first_token": float(served.ttft_s[j].round(6)),
            "gen_ai.latency.e2e": float(served.latency_s[j].round(6)),
            "gen_ai.latency.time_in_model_decode": float(served.decode_s[j].round(6)),
            "shadowprice.tenant_id": f"team-{int(traffic.tenant[j]):03d}",
            f"shadowprice.{BAND_SEGMENT}": bands[j],
        }
        own = (traffic.ids[j], ids[j], "")
        start, spent = EPOCH_S + float(given.time_s[j]), float(served.latency_s[j])
        yield [span(own, name="llm_request", start_s=start, seconds=spent, attributes=told)]
