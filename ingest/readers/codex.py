"""Codex rollouts (JSON Lines `timestamp, type, payload`): a router decision per response, a step per tool.

`input_tokens` includes cached ones. token_count events are cumulative, repeated and may hold no counts: a
response is the rise since the last one, and the first total of a file counts as its `last_token_usage`,
since a resumed session starts from an earlier file's total. Filled: model, tokens, times, tools, a person's
refusal. Never: cost (it is priced), first token, candidates, tenant, success. Times are those of the log's
lines, so a tool's wall time includes waiting for an approval; tool_s is there only where Codex tells it.
Rollouts of 2025 without the `payload` wrapper hold no tokens and are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from ...schemas.config import Config
from ..actions import StepRules, step_rules, step_values
from ..convert import as_count, as_real, input_tokens
from ..lines import json_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .agent_logs import Waiting, approval, as_object, as_text, as_time, seconds, why

NAME: Final = "codex"
_KINDS: Final = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted"})
_FIRST_LINE: Final = re.compile(
    rb'\s*\{"timestamp":\s*"[^"]{10,40}",(?:\s*"ordinal":\s*\d+,)?\s*"type":\s*"(?:session_meta|turn_context'
    rb'|response_item|event_msg|compacted)",\s*"payload":\s*\{'
)
"""The start of a first line that is longer than the head: it may hold all instructions of a session."""
_PEEKED: Final = 20
_COUNTS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_REFUSALS: Final = ("exec command rejected by user", "patch rejected by user")
_WALL_TIME: Final = re.compile(r"(?:[^\n]{0,80}\n){0,3}?Wall time: ([0-9]{1,9}(?:\.[0-9]{1,9})?) seconds")
_MAX_OUTPUT: Final = 1024 * 1024


def sniff(head: bytes) -> bool:
    """Whether lines are wrapped items of a rollout, told by the values of their `type`."""
    for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n", _PEEKED)[:_PEEKED]:
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        kind: Any = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind in _KINDS:
            return isinstance(value.get("payload"), dict) and "timestamp" in value
    return _FIRST_LINE.match(head) is not None


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per user prompt its context, then model responses and tool calls in the order in which they ended."""
    session = _Session(name=log.digest[:16], rules=step_rules(config))
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, told = record
        try:
            yield from _items(line, told, session)
        except ValueError as error:
            yield Rejected(line, why(error))
    yield from session.waiting.rest()


@dataclass(slots=True, kw_only=True)
class _Session:
    """What earlier lines said: who runs, in which turn, since when the model works, what was counted."""

    name: str
    rules: StepRules
    named: bool = False
    provider: str | None = None
    version: str | None = None
    model: str | None = None
    turn: int = 0
    opened: int = -1
    responses: int = 0
    asked: datetime | None = None
    counted: dict[str, int] | None = None
    waiting: Waiting = field(default_factory=Waiting)

    def base(self, ts: datetime) -> dict[str, Any]:
        """The columns that every row of the present turn shares."""
        request = f"{self.name}:{self.turn}"
        return {"request_id": request, "session_id": self.name, "ts": ts, "policy_version": self.version}

    def opening(self, line: int, ts: datetime) -> Iterator[Row]:
        """The context of the present turn, once, when its first decision is there."""
        if self.opened != self.turn:
            self.opened = self.turn
            told = {n: v for n, v in self.base(ts).items() if n != "policy_version"}
            yield Row("contexts", line, told)


def _items(line: int, told: dict[str, Any], session: _Session) -> Iterator[Item]:
    kind = as_text(told, "type")
    if kind is None or "payload" not in told:
        raise ValueError(f"no field {'payload' if kind else 'type'}")
    payload, ts = as_object(told["payload"], "payload"), as_time(told)
    name = as_text(payload, "type") or ""
    if kind == "session_meta":
        yield _header(line, payload, session)
    elif kind == "turn_context":
        session.model = as_text(payload, "model") or session.model
        yield Ignored(line, "settings of a turn")
    elif kind == "event_msg" and name == "token_count":
        yield from _response(line, payload, ts, session)
    elif kind == "event_msg" and name == "user_message":
        session.turn += 1
        session.asked = ts
        yield Ignored(line, "user prompt")
    elif kind == "response_item" and name in _CALLS:
        yield from _call(line, payload, ts, session)
    elif kind == "response_item" and name in _OUTPUTS:
        yield from _result(line, payload, ts, session)
    else:
        yield Ignored(line, "message, event or compaction" if kind in _KINDS else "line of an unknown type")


def _header(line: int, payload: dict[str, Any], session: _Session) -> Item:
    if session.named:
        return Ignored(line, "header of the session that this one was forked from")
    session.named = True
    session.name = as_text(payload, "id") or session.name
    session.provider = as_text(payload, "model_provider")
    session.version = as_text(payload, "cli_version")
    return Ignored(line, "session header")


def _response(line: int, payload: dict[str, Any], ts: datetime, session: _Session) -> Iterator[Item]:
    info = as_object(payload.get("info"), "info")
    if not info:
        yield Ignored(line, "token count without counts")
        return
    total = _counts(info, "total_token_usage")
    before, session.counted = session.counted, total
    if before == total:
        yield Ignored(line, "repeated token count")
        return
    rise = _first(info, total) if before is None else _rise(before, total)
    if not any(rise.values()):
        yield Ignored(line, "token count without a response")
        return
    if session.model is None:
        raise ValueError("a response before any turn_context that names the model")
    started = session.asked or ts
    values = {
        **session.base(started),
        "decision_id": f"{session.name}:response-{session.responses}",
        "layer": "router",
        "decision_point": "model",
        "action": session.model,
        "_provider": session.provider,
        "latency_s": seconds(session.asked, ts),
        **input_tokens(rise["input_tokens"], rise["cached_input_tokens"], None, convention="inclusive"),
        "tok_output": rise["output_tokens"],
        "tok_reasoning": rise["reasoning_output_tokens"],
    }
    session.responses += 1
    session.asked = None
    yield from session.opening(line, started)
    yield Row("decisions", line, values)


def _counts(info: dict[str, Any], name: str) -> dict[str, int]:
    usage = as_object(info.get(name), name)
    return {field: as_count(usage.get(field), f"{name}.{field}") or 0 for field in _COUNTS}


def _first(info: dict[str, Any], total: dict[str, int]) -> dict[str, int]:
    """The first response of a file; its total may hold the responses of the file that it goes on from."""
    return _counts(info, "last_token_usage") if info.get("last_token_usage") else total


def _rise(before: dict[str, int], total: dict[str, int]) -> dict[str, int]:
    fallen = next((name for name in _COUNTS if total[name] < before[name]), None)
    if fallen is not None:
        raise ValueError(
            f"cumulative {fallen} fell from {before[fallen]} to {total[fallen]}, expected a count that rises"
        )
    return {name: total[name] - before[name] for name in _COUNTS}


def _call(line: int, payload: dict[str, Any], ts: datetime, session: _Session) -> Iterator[Item]:
    shell = payload.get("type") == "local_shell_call"
    name = "shell" if shell else as_text(payload, "name")
    call_id = as_text(payload, "call_id") or as_text(payload, "id")
    if name is None or call_id is None:
        raise ValueError(f"a tool call without {'a name' if name is None else 'call_id'}")
    values = {
        **session.base(ts),
        "decision_id": f"{session.name}:{call_id}",
        "parent_id": f"{session.name}:response-{session.responses}",  # its count is logged after its calls
        **step_values(name, session.rules),
    }
    yield from session.opening(line, ts)
    yield from session.waiting.hold(call_id, Row("decisions", line, values))


def _result(line: int, payload: dict[str, Any], ts: datetime, session: _Session) -> Iterator[Item]:
    session.asked = ts
    said = _said(payload.get("output"))
    measured = _tool_seconds(said)
    call = session.waiting.take(as_text(payload, "call_id") or "")
    if call is None:
        yield Ignored(line, "result of a call that is not in this file")
        return
    timed = {"latency_s": seconds(call.values["ts"], ts), "tool_s": measured}
    yield Row("decisions", call.line, {**call.values, **timed})
    if said.startswith(_REFUSALS):
        yield Row("outcomes", line, approval(call.values, "rejected", 0.0, by="human", ts=ts))
    else:
        yield Ignored(line, "tool result")


def _said(output: Any) -> str:
    content = output.get("content") if isinstance(output, dict) else output
    return content if isinstance(content, str) else ""


def _tool_seconds(said: str) -> float | None:
    """What Codex measured around the tool: in the JSON that wraps the output, or in its first lines."""
    if said.startswith("{") and len(said) <= _MAX_OUTPUT:
        try:
            told: Any = orjson.loads(said)
        except orjson.JSONDecodeError:
            return None
        metadata: Any = told.get("metadata") if isinstance(told, dict) else None
        spent = metadata.get("duration_seconds") if isinstance(metadata, dict) else None
        return as_real(spent) if isinstance(spent, int | float) and not isinstance(spent, bool) else None
    found = _WALL_TIME.match(said)
    return as_real(found.group(1)) if found else None
