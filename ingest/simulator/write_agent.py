"""The agent's log: a root span per request and a span per tool call; skipped verification leaves none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from . import settings as s
from .context import Context
from .otlp import Entry, span, span_lines
from .world import hex_ids, stream

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
    roots = hex_ids(ctx.world.seed, "root span", n, size=8)
    ids = hex_ids(ctx.world.seed, "tool span", _MAX_TOOLS * n, size=8)
    for i, calls in enumerate(_tool_calls(ctx)):
        clock = float(ctx.call_end[i])
        tools: list[Entry] = []
        for j, (tool, seconds, cost_usd) in enumerate(calls):
            given: dict[str, Any] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
            if cost_usd is not None:
                given["shadowprice.cost_usd"] = cost_usd
            own = (ctx.request_ids[i], ids[_MAX_TOOLS * i + j], roots[i])
            name = f"execute_tool {tool}"
            tools.append(span(own, name=name, start_s=clock, seconds=seconds, attributes=given))
            clock += seconds
        start = float(ctx.call_at[i])
        root = (ctx.request_ids[i], roots[i], "")
        spent = clock - start
        opening = span(
            root, name="invoke_agent support", start_s=start, seconds=spent, attributes=_root(ctx, i)
        )
        yield [opening, *tools]


def _tool_calls(ctx: Context) -> Iterator[list[tuple[str, float, float | None]]]:
    """Per request the tools in order: name, seconds, and USD where the call is paid for."""
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "agent")
    asks = (rng.random(n) < _ASK_SHARE).tolist()
    seconds = rng.gamma(4.0, _TOOL_S / 4.0, (n, _MAX_TOOLS)).round(3).tolist()
    for i, verified in enumerate(world.verify.taken.tolist()):
        kind = s.CLASSES[int(world.requests.task[i])]
        names = [*kind.tools, "ask_user"] if asks[i] else list(kind.tools)
        calls: list[tuple[str, float, float | None]] = [
            (name, seconds[i][j], None) for j, name in enumerate(names)
        ]
        if verified:
            calls.insert(1, (kind.verify_tool, float(ctx.verify_s[i]), float(ctx.verify_usd[i])))
        yield calls


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
