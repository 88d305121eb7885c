"""The logs of the agent and the engines: OTLP/JSON as the file exporter writes it, one batch a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson

from . import settings as s
from .context import Context
from .truth import CACHE_SEGMENT, FRESH, STALE
from .world import hex_ids, stream

REPLICAS: Final = ("vllm-0", "vllm-1")
_BATCH: Final = 64
"""Requests whose spans share one line."""
_TOOL_S: Final = 1.5
"""Mean time of a tool that does not verify."""
_ASK_SHARE: Final = 0.1
_CONTEXT_SHARE: Final = 0.2
"""Share of the prompt that the cache would have spared the engine."""
_SUMMARY_TOKENS: Final = 300
_Span = dict[str, Any]


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    """`given` as OTLP key-value pairs."""
    return [{"key": key, "value": _any_value(value)} for key, value in given.items()]


def _any_value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}  # type: ignore[reportUnknown]
    return {"stringValue": str(value)}


def _span(
    trace: str, span: str, name: str, start: float, seconds: float, given: dict[str, Any], parent: str = ""
) -> _Span:
    return {
        "traceId": trace,
        "spanId": span,
        "parentSpanId": parent,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": _nanos(start),
        "endTimeUnixNano": _nanos(start + seconds),
        "attributes": attributes(given),
        "status": {},
    }


def _nanos(seconds: float) -> str:
    """Nanoseconds as decimal text; the simulated clock ticks in milliseconds."""
    return f"{round(seconds * 1000)}000000"


def _line(spans: list[_Span], resource: dict[str, Any], scope: str) -> bytes:
    scoped = [{"scope": {"name": scope}, "spans": spans}]
    return orjson.dumps(
        {"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": scoped}]}
    )


def _batches(spans: Iterator[list[_Span]], resource: dict[str, Any], scope: str) -> Iterator[bytes]:
    waiting: list[_Span] = []
    for i, group in enumerate(spans, start=1):
        waiting += group
        if i % _BATCH == 0:
            yield _line(waiting, resource, scope)
            waiting = []
    if waiting:
        yield _line(waiting, resource, scope)


def agent_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of agent-spans.jsonl: a root span per request and one span per tool call."""
    resource = {"service.name": "support-agent", "service.version": "agent-12"}
    return _batches(_agent_spans(ctx), resource, "opentelemetry.instrumentation.agent")


def _agent_spans(ctx: Context) -> Iterator[list[_Span]]:
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "agent")
    asks = rng.random(n) < _ASK_SHARE
    tool_s = rng.gamma(4.0, _TOOL_S / 4.0, (n, 3)).round(3)
    roots = hex_ids(world.seed, "root span", n, size=8)
    ids = hex_ids(world.seed, "tool span", 4 * n, size=8)
    ends, verify_s, verify_usd = ctx.call_end.tolist(), ctx.verify_s.tolist(), ctx.verify_usd.tolist()
    verified, calls = world.verify.taken.tolist(), ctx.call_at.tolist()
    for i in range(n):
        kind = s.CLASSES[int(world.requests.task[i])]
        steps = [(tool, float(tool_s[i, j])) for j, tool in enumerate(kind.tools)]
        steps += [("ask_user", float(tool_s[i, 2]))] if asks[i] else []
        if verified[i]:
            steps.insert(1, (kind.verify_tool, verify_s[i]))
        clock = ends[i]
        spans: list[_Span] = []
        for j, (tool, seconds) in enumerate(steps):
            given = _tool_attributes(tool, cost_usd=verify_usd[i] if tool == kind.verify_tool else None)
            spans.append(
                _span(
                    ctx.request_ids[i],
                    ids[4 * i + j],
                    f"execute_tool {tool}",
                    clock,
                    seconds,
                    given,
                    roots[i],
                )
            )
            clock = round(clock + seconds, 3)
        root = _root_attributes(ctx, i)
        yield [
            _span(ctx.request_ids[i], roots[i], "invoke_agent support", calls[i], clock - calls[i], root),
            *spans,
        ]


def _tool_attributes(tool: str, *, cost_usd: float | None) -> dict[str, Any]:
    given: dict[str, Any] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
    return given if cost_usd is None else {**given, "shadowprice.cost_usd": cost_usd}


def _root_attributes(ctx: Context, i: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": ctx.sessions[i],
        "shadowprice.tenant_id": ctx.tenants[i],
        "shadowprice.x_task_class": ctx.tasks[i],
        "shadowprice.x_difficulty": float(ctx.world.requests.x_difficulty[i]),
        "shadowprice.x_prompt_tokens": int(ctx.world.requests.x_prompt_tokens[i]),
    }


def serving_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of serving-spans.jsonl: the cache's decisions, then the engines that recomputed."""
    yield from _batches(_reuse_spans(ctx), {"service.name": "semantic-cache"}, "semantic-cache")
    for replica, name in enumerate(REPLICAS):
        resource = {"service.name": "vllm", "service.instance.id": name}
        yield from _batches(_engine_spans(ctx, replica), resource, "vllm.llm_engine")


def _reuse_spans(ctx: Context) -> Iterator[list[_Span]]:
    point = ctx.world.reuse
    ids = _cache_span_ids(ctx)
    for j, i in enumerate(point.request.tolist()):
        given = {
            "shadowprice.layer": point.layer,
            "shadowprice.decision_point": point.decision_point,
            "shadowprice.action": point.actions[int(point.taken[j])],
            "shadowprice.candidates": list(point.actions),
            "shadowprice.propensities": point.propensity[j].tolist(),
            "shadowprice.propensity_source": "logged",
            "shadowprice.cost_usd": float(ctx.reuse_usd[j]),
            **_entry(ctx, j),
            "shadowprice.x_task_class": ctx.tasks[i],
            "shadowprice.x_difficulty": float(ctx.world.requests.x_difficulty[i]),
            "shadowprice.tenant_id": ctx.tenants[i],
            "shadowprice.session_id": ctx.sessions[i],
        }
        start = _lookup_at(ctx, j)
        yield [_span(ctx.request_ids[i], ids[j], "cache lookup", start, float(ctx.reuse_s[j]), given)]


def _entry(ctx: Context, j: int) -> dict[str, Any]:
    seen = ctx.world.lookups
    return {
        "shadowprice.cache_hit_kind": "semantic",
        "shadowprice.cache_similarity": float(seen.similarity[j]),
        "shadowprice.cache_age_s": float(seen.age_s[j]),
        f"shadowprice.{CACHE_SEGMENT}": STALE if seen.stale[j] else FRESH,
    }


def _cache_span_ids(ctx: Context) -> list[str]:
    return hex_ids(ctx.world.seed, "cache span", ctx.world.reuse.request.size, size=8)


def _lookup_at(ctx: Context, j: int) -> float:
    """Epoch of lookup `j`: the cache is asked before the model is called."""
    return float(ctx.call_at[ctx.world.reuse.request[j]]) - float(ctx.reuse_s[j])


def _engine_spans(ctx: Context, replica: int) -> Iterator[list[_Span]]:
    point, parents = ctx.world.reuse, _cache_span_ids(ctx)
    rng = stream(ctx.world.seed, "engine")
    waits, firsts = rng.uniform(0.02, 0.2, len(parents)), rng.uniform(0.1, 0.3, len(parents))
    ids = hex_ids(ctx.world.seed, "engine span", len(parents), size=8)
    prompts = (_CONTEXT_SHARE * ctx.world.requests.x_prompt_tokens).astype(int)
    recomputed = np.flatnonzero(point.taken == point.actions.index("recompute")).tolist()
    for j in recomputed[replica :: len(REPLICAS)]:
        i, total = int(point.request[j]), float(ctx.reuse_s[j])
        wait = round(float(waits[j]) * total, 3)
        first = round(wait + float(firsts[j]) * (total - wait), 3)
        given = {
            "gen_ai.request.id": ctx.request_ids[i],
            "gen_ai.usage.prompt_tokens": int(prompts[i]),
            "gen_ai.usage.completion_tokens": _SUMMARY_TOKENS,
            "gen_ai.latency.time_in_queue": wait,
            "gen_ai.latency.time_to_first_token": first,
            "gen_ai.latency.e2e": total,
            "gen_ai.latency.time_in_model_decode": round(total - first, 3),
        }
        yield [_span(ctx.request_ids[i], ids[j], "llm_request", _lookup_at(ctx, j), total, given, parents[j])]
