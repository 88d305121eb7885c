"""Claude Code sessions (JSON Lines): a router decision per model response, an agent decision per tool call.

`input_tokens` excludes cached ones. A response spans lines that repeat its usage; they are one row, and the
last usage counts. A request is a user prompt; a sub-agent's lines (x_sidechain) belong to the prompt, and to
the one delegation that waits for a result, where both are in the file. Filled: model, tokens, tools, a
person's refusal, errors. Never: cost (it is priced), first token, candidates, tenant, success. Times are
those of the log's lines: a tool's wall time includes waiting for an approval, so tool_s is there only where
a result tells its duration. A resumed session repeats old lines; by their ids they count once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from ...schemas.config import Config
from ..actions import StepRules, step_rules, step_values
from ..convert import as_count, as_seconds, input_tokens
from ..lines import json_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .agent_logs import (
    Waiting,
    approval,
    as_object,
    as_objects,
    as_text,
    as_time,
    error_outcome,
    seconds,
    why,
)
from .peek import top_keys

NAME: Final = "claude_code"
_LINE: Final = frozenset({"sessionId", "parentUuid", "isSidechain"})
_ASIDE: Final = frozenset(
    {"summary", "system", "file-history-snapshot", "queue-operation", "progress", "attachment"}
)
_SYNTHETIC: Final = "<synthetic>"
_REFUSALS: Final = (
    "The user doesn't want to proceed with this tool use",
    "The user doesn't want to take this action right now",
)
_REFUSED: Final = "User rejected tool use"
_DURATIONS: Final = ("durationMs", "totalDurationMs")
MAX_OPEN: Final = 64
"""Responses whose further lines are waited for; parallel sub-agents interleave a few."""
MAX_REMEMBERED: Final = 8192
"""Lines whose time and prompt are remembered for the lines that answer them."""


def sniff(head: bytes) -> bool:
    """Whether lines belong to a session and form a chain of parents."""
    return any(keys >= _LINE for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per user prompt its context, then model responses, tool calls and what became of them."""
    session = _Session(rules=step_rules(config))
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, told = record
        try:
            yield from _items(line, told, session)
        except ValueError as error:
            yield Rejected(line, why(error))
    yield from session.open.values()
    yield from session.waiting.rest()


@dataclass(frozen=True, slots=True)
class _Seen:
    """When a line was written, and the prompt that it goes back to."""

    ts: datetime
    request: str | None


@dataclass(slots=True, kw_only=True)
class _Session:
    """What earlier lines said: their times and prompts, open responses, tool calls without a result."""

    rules: StepRules
    seen: dict[str, _Seen] = field(default_factory=dict[str, _Seen])
    latest: dict[str, str] = field(default_factory=dict[str, str])
    opened: dict[str, None] = field(default_factory=dict[str, None])
    open: dict[str, Row] = field(default_factory=dict[str, Row])
    waiting: Waiting = field(default_factory=Waiting)


def _items(line: int, told: dict[str, Any], session: _Session) -> Iterator[Item]:
    kind = as_text(told, "type")
    if kind is None:
        raise ValueError("no field type")
    if kind not in ("user", "assistant"):
        yield Ignored(line, f"{kind} line" if kind in _ASIDE else "line of another type")
        return
    message = as_object(told.get("message"), "message")
    content = message.get("content")
    if content is None:
        raise ValueError("no field message.content")
    parts = [] if isinstance(content, str) else as_objects(content, "message.content")
    ts = as_time(told)
    results = [part for part in parts if part.get("type") == "tool_result"]
    request = _remember(told, ts, session, prompt=kind == "user" and not results)
    if kind == "assistant":
        yield from _response(line, told, message, parts, ts=ts, request=request, session=session)
    elif results:
        yield Ignored(line, "tool result")
        for part in results:
            yield from _result(line, part, told if len(results) == 1 else {}, ts=ts, session=session)
    else:
        yield Ignored(line, "prompt")


def _remember(told: dict[str, Any], ts: datetime, session: _Session, *, prompt: bool) -> str:
    """The request that the line belongs to: its own prompt, its parent's, or the session's latest."""
    own, name = as_text(told, "uuid"), as_text(told, "sessionId")
    if name is None:
        raise ValueError("no field sessionId")
    side = told.get("isSidechain") is True
    written = told.get("isMeta") is True or told.get("isCompactSummary") is True
    parent = session.seen.get(as_text(told, "parentUuid") or "")
    if prompt and own and not side and not written:
        request = own
        session.latest[name] = own
    elif parent is not None and parent.request is not None:
        request = parent.request
    else:
        alone = f"{name}:{as_text(told, 'agentId') or 'side'}" if side else name
        request = session.latest.get(name, alone)
    if own:
        session.seen[own] = _Seen(ts, request)
    for memory in (session.seen, session.latest):
        if len(memory) > MAX_REMEMBERED:
            del memory[next(iter(memory))]
    return request


def _response(
    line: int,
    told: dict[str, Any],
    message: dict[str, Any],
    parts: list[dict[str, Any]],
    *,
    ts: datetime,
    request: str,
    session: _Session,
) -> Iterator[Item]:
    model = as_text(message, "model")
    if model is None or model == _SYNTHETIC:
        yield Ignored(line, "message of the client, no model call")
        return
    ids = [as_text(message, "id"), as_text(told, "requestId")]
    key = ":".join(part for part in ids if part) or as_text(told, "uuid")
    if key is None:
        raise ValueError("no field message.id, requestId or uuid")
    known = session.open.get(key)
    asked = session.seen.get(as_text(told, "parentUuid") or "") if known is None else None
    shared: dict[str, Any] = known.values if known else _base(told, asked.ts if asked else ts, request)
    values = {
        **shared,
        "decision_id": key,
        "layer": "router",
        "decision_point": "model",
        "action": model,
        "latency_s": seconds(shared["ts"], ts) if known or asked else None,
        **_tokens(as_object(message.get("usage"), "usage")),
    }
    if known is None and values.get("x_sidechain"):
        values["parent_id"] = _delegation(session)
    yield from _opening(line, values, session)
    yield from _keep_open(Row("decisions", known.line if known else line, values), session)
    if known is not None:
        yield Ignored(line, "further part of a response")
    for part in parts:
        if part.get("type") in ("tool_use", "server_tool_use"):
            yield from _call(line, part, values, ts=ts, session=session)


def _base(told: dict[str, Any], ts: datetime, request: str) -> dict[str, Any]:
    shared = {
        "request_id": request,
        "session_id": as_text(told, "sessionId"),
        "ts": ts,
        "policy_version": as_text(told, "version"),
    }
    return {**shared, "x_sidechain": True} if told.get("isSidechain") is True else shared


def _delegation(session: _Session) -> str | None:
    """The delegation that waits for a result, when there is only one."""
    found = [
        row.values["decision_id"] for row in session.waiting if row.values["decision_point"] == "delegate"
    ]
    return found[0] if len(found) == 1 else None


def _opening(line: int, values: dict[str, Any], session: _Session) -> Iterator[Row]:
    """The context of the request, once, when its first decision is there."""
    request = values["request_id"]
    if request not in session.opened:
        session.opened[request] = None
        if len(session.opened) > MAX_REMEMBERED:
            del session.opened[next(iter(session.opened))]
        yield Row("contexts", line, {name: values[name] for name in ("request_id", "session_id", "ts")})


def _keep_open(row: Row, session: _Session) -> Iterator[Row]:
    session.open[row.values["decision_id"]] = row
    if len(session.open) > MAX_OPEN:
        yield session.open.pop(next(iter(session.open)))


def _tokens(usage: dict[str, Any]) -> dict[str, Any]:
    """The token columns; a usage without any token is that of a call that failed."""
    total, output = usage.get("input_tokens"), usage.get("output_tokens")
    read, write = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    if not any((total, output, read, write)):
        return {}
    columns = input_tokens(total, read, write, convention="exclusive")
    return {
        **columns,
        "tok_output": as_count(output, "output_tokens"),
    }


def _call(
    line: int, part: dict[str, Any], response: dict[str, Any], *, ts: datetime, session: _Session
) -> Iterator[Row]:
    name, call_id = as_text(part, "name"), as_text(part, "id")
    if name is None or call_id is None:
        raise ValueError(f"a tool call without {'a name' if name is None else 'an id'}")
    kept = ("request_id", "session_id", "policy_version", "x_sidechain")
    values = {
        **{name: response[name] for name in kept if name in response},
        "decision_id": call_id,
        "parent_id": response["decision_id"],
        "ts": ts,
        **step_values(name, session.rules),
    }
    yield from session.waiting.hold(call_id, Row("decisions", line, values))


def _result(
    line: int, part: dict[str, Any], told: dict[str, Any], *, ts: datetime, session: _Session
) -> Iterator[Item]:
    """The call that the result answers; `told` is its line when that speaks of no other result."""
    measured = told.get("toolUseResult")
    spent = _duration(cast("dict[str, Any]", measured)) if isinstance(measured, dict) else None
    call = session.waiting.take(as_text(part, "tool_use_id") or "")
    if call is None:
        return
    timed = {"latency_s": seconds(call.values["ts"], ts), "tool_s": spent}
    yield Row("decisions", call.line, {**call.values, **timed})
    if part.get("is_error") is not True:
        return
    if measured == _REFUSED or _said(part.get("content")).startswith(_REFUSALS):
        yield Row("outcomes", line, approval(call.values, "rejected", 0.0, by="human", ts=ts))
    else:
        yield Row("outcomes", line, error_outcome(call.values, "tool_error", ts=ts))


def _duration(measured: dict[str, Any]) -> float | None:
    told = next((measured[name] for name in _DURATIONS if measured.get(name) is not None), None)
    return as_seconds(told, "ms")


def _said(content: Any) -> str:
    first: Any = content[0] if isinstance(content, list) and content else content
    text: Any = first.get("text") if isinstance(first, dict) else first
    return text if isinstance(text, str) else ""
