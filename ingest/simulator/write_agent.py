"""The agent's log: a root span per request and a span per step; one skipped verification leaves none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from . import settings as s
from .context import Context, realised, spent
from .otlp import Entry, span, span_lines
from .world import hex_ids, stream
from .write_steps import MAX_SPANS, Call, chosen, step_calls

_TOOL_S: Final = 1.5
"""Mean time of a tool that does not verify."""
_ASK_SHARE: Final = 0.1
"""Share of requests in which the agent asks the user, which changes nothing here."""
_MAX_TOOLS: Final = 4


def agent_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of agent-spans.jsonl."""
    resource = {"service.name": "support-agent", "service.version": "agent-12"}
    return span_lines(_spans(ctx), resource=resource, scope="opentelemetry.instrumentation.agent")


def _spans(ctx: Context) -> Iterator[list[Entry]]:
    n = ctx.world.requests.n
    stepwise = ctx.world.episodes is not None
    per_request = MAX_SPANS if stepwise else _MAX_TOOLS
    roots = hex_ids(ctx.world.seed, "root span", n, size=8)
    ids = hex_ids(ctx.world.seed, "tool span", per_request * n, size=8)
    delegates = _delegate_calls(ctx)
    asked = hex_ids(ctx.world.seed, "delegate span", len(delegates), size=8)
    own_id = dict(zip(delegates, asked, strict=True))
    for i, calls in enumerate(step_calls(ctx) if stepwise else _tool_calls(ctx)):
        if not ctx.kept[i]:
            continue
        named = list(zip(ids[per_request * i : per_request * (i + 1)], calls, strict=False))
        if i in delegates:
            named.insert(-1, (own_id[i], delegates[i]))
        yield _request_spans(ctx, i, roots[i], named)


def _request_spans(ctx: Context, i: int, root: str, named: list[tuple[str, Call]]) -> list[Entry]:
    """The root span of request i and, one after the other, the spans of its steps."""
    clock = float(ctx.call_end[i])
    steps: list[Entry] = []
    sampled = {} if ctx.keep_prob is None else {"shadowprice.keep_prob": ctx.keep_prob[i]}
    for own, call in named:
        ids = (ctx.request_ids[i], own, root)
        given = {**call.attributes, **sampled}
        steps.append(span(ids, name=call.name, start_s=clock, seconds=call.seconds, attributes=given))
        clock += call.seconds
    start = float(ctx.call_at[i])
    opening = span(
        (ctx.request_ids[i], root, ""),
        name="invoke_agent support",
        start_s=start,
        seconds=clock - start,
        attributes=_root(ctx, i),
    )
    return [opening, *steps]


def _tool_calls(ctx: Context) -> Iterator[list[Call]]:
    """Per request the tools in order, the verifying one among them if the agent verified."""
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "agent")
    asks = (rng.random(n) < _ASK_SHARE).tolist()
    seconds = rng.gamma(4.0, _TOOL_S / 4.0, (n, _MAX_TOOLS)).round(3).tolist()
    for i, verified in enumerate(world.verify.taken.tolist()):
        kind = s.CLASSES[int(world.requests.task[i])]
        names = [*kind.tools, "ask_user"] if asks[i] else list(kind.tools)
        calls = [Call.tool(name, seconds[i][j]) for j, name in enumerate(names)]
        if verified:
            paid = {"shadowprice.cost_usd": float(ctx.verify_usd[i])}
            calls.insert(1, Call.tool(kind.verify_tool, float(ctx.verify_s[i]), paid))
        yield calls


def _delegate_calls(ctx: Context) -> dict[int, Call]:
    """The decision to confirm or to act at once, by request."""
    point = ctx.world.delegate
    if point is None:
        return {}
    seconds, usd = realised(ctx.world, point).tolist(), spent(ctx.world, point).tolist()
    reach = {"shadowprice.action_class": "deploy", "shadowprice.reversible": False}
    return {
        i: Call(
            "decide delegate", seconds[j], {**chosen(ctx, point, j), "shadowprice.cost_usd": usd[j], **reach}
        )
        for j, i in enumerate(point.request.tolist())
    }


def _root(ctx: Context, i: int) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": ctx.sessions[i],
        "shadowprice.tenant_id": ctx.tenants[i],
        "shadowprice.x_task_class": ctx.tasks[i],
        "shadowprice.x_difficulty": float(ctx.world.requests.x_difficulty[i]),
        "shadowprice.x_prompt_tokens": int(ctx.world.requests.x_prompt_tokens[i]),
    }
