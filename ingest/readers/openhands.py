"""OpenHands: event streams (JSON Lines or an array), and result files with one run (`history`) per line.

`prompt_tokens` includes cached ones unless a row proves otherwise. `llm_metrics` of an event is cumulative: a
response is the rise since the event before. Result files keep `costs` per call; where these name no model,
the run's total stands at the decision point `run`. Naive times are taken as UTC. Filled: steps, tool time,
cost, tokens, `success` (a model's opinion of the run), a test report's `resolved`, refusals, errors. Never:
candidates, first token, tenant; histories without ids and times say nothing about latency.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from ...schemas.columns import REPEATED_CONTEXT
from ...schemas.config import Config
from ..actions import StepRules, step_rules, step_values
from ..convert import as_count, as_real, input_tokens, missing, utc_from_epoch
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
    spender,
    why,
)
from .peek import top_keys

NAME: Final = "openhands"
_RUNS: Final = (
    frozenset({"instruction", "base_commit", "git_patch"}),
    frozenset({"instance_id", "test_result", "instruction"}),
)
"""Keys in front of the history of a result, by the two programs that write results."""
_EVENT: Final = frozenset({"id", "timestamp", "source"})
_DETAILS: Final = frozenset({"message", "args", "extras", "cause", "llm_metrics"})
_HOUSEKEEPING: Final = frozenset(
    {
        *("message", "system", "null", "recall", "condensation", "condensation_request"),
        *("change_agent_state", "agent_state_changed", "loop_recovery", "start", "stop", "pause", "resume"),
    }
)
_DIGITS: Final = 12
"""Decimals of a cost that are no rounding error of a difference: far below a billionth of a token's price."""
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens")


def sniff(head: bytes) -> bool:
    """Whether records are events with an action or an observation, or results of runs."""
    return any(
        any(run <= keys for run in _RUNS)
        or (keys >= _EVENT and keys & {"action", "observation"} and keys & _DETAILS and "kind" not in keys)
        for keys in top_keys(head)
    )


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per run or user message its context, model calls, steps and outcomes; a malformed run is Rejected."""
    rules, name = step_rules(config), log.digest[:16]
    stream = _Stream(rules=rules, name=name)
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, told = record
        try:
            if "history" in told:
                yield from _run(line, told, _Stream(rules=rules, name=f"{name}:{line}"))
            else:
                yield from _event(line, told, stream)
        except ValueError as error:
            yield Rejected(line, why(error))
    yield from stream.waiting.rest()


@dataclass(slots=True, kw_only=True)
class _Stream:
    """What earlier events said; `metered`: money and tokens come with the events, not with the run."""

    rules: StepRules
    name: str
    situation: str | None = None
    model: str | None = None
    metered: bool = True
    turn: int = 0
    opened: int = -1
    count: int = 0
    asked: datetime | None = None
    cost: float = 0.0
    used: dict[str, int] = field(default_factory=dict[str, int])
    waiting: Waiting = field(default_factory=Waiting)

    def base(self) -> dict[str, Any]:
        """The columns that every row of the present request shares."""
        shared = {"request_id": f"{self.name}:{self.turn}", "session_id": self.situation or self.name}
        return shared if self.situation is None else {**shared, REPEATED_CONTEXT: self.situation}

    def opening(self, line: int, ts: datetime | None) -> Iterator[Row]:
        """The context of the present request, once, when its first decision is there."""
        if self.opened != self.turn:
            self.opened = self.turn
            yield Row("contexts", line, {**self.base(), "ts": ts})


def _run(line: int, told: dict[str, Any], stream: _Stream) -> list[Item]:
    metrics = as_object(told.get("metrics"), "metrics")
    settings = as_object(as_object(told.get("metadata"), "metadata").get("llm_config"), "llm_config")
    stream.situation, stream.model = _instance(told), as_text(settings, "model")
    stream.metered = not metrics
    items: list[Item] = list(stream.opening(line, None))
    items += _totals(line, metrics, stream)
    for event in _flat(told["history"]):
        items += _event(line, event, stream)
    items += stream.waiting.rest()
    return [*items, *(Row("outcomes", line, outcome) for outcome in _verdicts(told, stream))]


def _instance(told: dict[str, Any]) -> str | None:
    issue = as_object(told.get("issue"), "issue")
    place = [as_text(issue, "owner"), as_text(issue, "repo"), as_count(issue.get("number"), "issue.number")]
    return as_text(told, "instance_id") or ("{}/{}#{}".format(*place) if None not in place else None)


def _flat(history: Any) -> list[dict[str, Any]]:
    """The events; older results keep pairs of an action and its observation."""
    if not isinstance(history, list):
        raise ValueError(f"history is {type(history).__name__}, expected a list")
    listed = cast("list[Any]", history)
    flat = [
        event for item in listed for event in (cast("list[Any]", item) if isinstance(item, list) else [item])
    ]
    return as_objects(flat, "history")


def _totals(line: int, metrics: dict[str, Any], stream: _Stream) -> list[Row]:
    """A row per call where calls name their model, else one for the run."""
    costs = metrics.get("costs")
    if isinstance(costs, list) and costs and all(isinstance(c, dict) and c.get("model") for c in costs):
        calls = cast("list[dict[str, Any]]", costs)
        usages, waits = (_beside(metrics, n, len(calls)) for n in ("token_usages", "response_latencies"))
        return [
            Row("decisions", line, _call(call, usage, wait, stream))
            for call, usage, wait in zip(calls, usages, waits, strict=True)
        ]
    usage = as_object(metrics.get("accumulated_token_usage"), "accumulated_token_usage")
    spent = _spent(_tokens(usage), as_real(metrics.get("accumulated_cost"), "accumulated_cost"))
    if not spent:
        return []
    ids = {**stream.base(), "decision_id": f"{stream.name}:run"}
    return [Row("decisions", line, {**ids, **spender(as_text(usage, "model") or stream.model), **spent})]


def _beside(metrics: dict[str, Any], name: str, calls: int) -> list[dict[str, Any]]:
    """What list `name` says of each call; nothing where its length shows that calls are missing in it."""
    listed = as_objects(metrics.get(name), name)
    return listed if len(listed) == calls else [{} for _ in range(calls)]


def _call(
    call: dict[str, Any], usage: dict[str, Any], wait: dict[str, Any], stream: _Stream
) -> dict[str, Any]:
    stream.count += 1
    at = missing(call.get("timestamp"))
    return {
        **stream.base(),
        "decision_id": f"{stream.name}:call-{stream.count}",
        "ts": None if at is None else utc_from_epoch(at, "s"),
        **spender(as_text(call, "model")),
        "latency_s": as_real(wait.get("latency"), "latency"),
        **_spent(_tokens(usage), as_real(call.get("cost"), "cost")),
    }


def _event(line: int, event: dict[str, Any], stream: _Stream) -> list[Item]:
    action, observation = event.get("action"), event.get("observation")
    if isinstance(action, str) and action:
        return _action(line, action, event, stream)
    if isinstance(observation, str) and observation:
        return _observation(line, observation, event, stream)
    raise ValueError("neither an action nor an observation that is named by text")


def _action(line: int, action: str, event: dict[str, Any], stream: _Stream) -> list[Item]:
    ts = as_time(event) if missing(event.get("timestamp")) is not None else None
    if event.get("source") == "user":
        if action == "message":
            stream.turn += 1
            stream.asked = ts
        return [Ignored(line, "message or command of the user")]
    stream.count += 1
    own = event.get("id")
    key = str(own) if isinstance(own, int) else f"step-{stream.count}"
    shared = {**stream.base(), "ts": ts}
    step, call = _step(action, event, stream.rules), dict[str, Any]()
    items: list[Item] = []
    try:
        call = _response(event, stream) if stream.metered else {}
    except ValueError as error:
        items.append(Rejected(line, why(error)))  # of the count; the step itself is whole
    if call or step:
        items += stream.opening(line, ts)
    if call:
        began = {"ts": stream.asked or ts, "latency_s": seconds(stream.asked, ts)}
        call = {**shared, **began, "decision_id": f"{stream.name}:{key}:call", **call}
        items.append(Row("decisions", line, call))
    if step is None:
        return [*items, Ignored(line, "message or housekeeping")]
    parent = {"parent_id": call["decision_id"]} if call else {}
    row = Row("decisions", line, {**shared, "decision_id": f"{stream.name}:{key}", **parent, **step})
    return [*items, *(stream.waiting.hold(key, row) if isinstance(own, int) else [row])]


def _step(action: str, event: dict[str, Any], rules: StepRules) -> dict[str, Any] | None:
    args = as_object(event.get("args"), "args")
    if action == "message" and (event.get("source") == "agent" and args.get("wait_for_response") is True):
        return {**step_values("ask_user", rules), "action_executed": action}
    if action in _HOUSEKEEPING:
        return None
    return step_values(as_text(args, "name") or action if action == "call_tool_mcp" else action, rules)


def _response(event: dict[str, Any], stream: _Stream) -> dict[str, Any]:
    """What the model call behind the event cost; empty when the event counts none, or repeats a count."""
    metrics = as_object(event.get("llm_metrics"), "llm_metrics")
    if not metrics:
        return {}
    usage = as_object(metrics.get("accumulated_token_usage"), "accumulated_token_usage")
    cost, used = as_real(metrics.get("accumulated_cost"), "accumulated_cost") or 0.0, _tokens(usage)
    before_cost, stream.cost = stream.cost, cost
    before, stream.used = stream.used, used
    fallen = next((name for name in used if used[name] < before.get(name, 0)), None)
    if fallen is not None or cost < before_cost:
        raise ValueError(f"cumulative {fallen or 'accumulated_cost'} fell, expected a count that rises")
    rise = {name: count - before.get(name, 0) for name, count in used.items()}
    spent = _spent(rise, round(cost - before_cost, _DIGITS))
    tool = as_object(event.get("tool_call_metadata"), "tool_call_metadata")
    named = as_text(as_object(tool.get("model_response"), "model_response"), "model")
    return {**spender(named or as_text(usage, "model") or stream.model), **spent} if spent else {}


def _tokens(usage: dict[str, Any]) -> dict[str, int]:
    return {name: as_count(usage[name], name) or 0 for name in _TOKENS if usage.get(name) is not None}


def _spent(used: dict[str, int], cost: float | None) -> dict[str, Any]:
    """The token and cost columns; 0 is how unknown counts and prices are logged."""
    columns: dict[str, Any] = {}
    if any(used.values()):
        total, read, write = used.get("prompt_tokens"), used.get(_TOKENS[2]), used.get(_TOKENS[3])
        apart = total is not None and (read or 0) + (write or 0) > total
        columns = input_tokens(total, read, write, convention="exclusive" if apart else "inclusive")
        columns["tok_output"] = used.get("completion_tokens")
    return {**columns, "cost_usd": cost, "cost_source": "logged"} if cost else columns


def _observation(line: int, observation: str, event: dict[str, Any], stream: _Stream) -> list[Item]:
    ts = as_time(event) if missing(event.get("timestamp")) is not None else None
    stream.asked = ts
    cause = event.get("cause")
    row = stream.waiting.take(str(cause)) if isinstance(cause, int) else None
    if row is None:
        return [Ignored(line, "observation")]
    spent = seconds(row.values["ts"], ts)
    items: list[Item] = [Row("decisions", row.line, {**row.values, "latency_s": spent, "tool_s": spent})]
    if observation == "user_rejected":
        return [*items, Row("outcomes", line, approval(row.values, "rejected", 0.0, by="human", ts=ts))]
    if observation == "error":
        return [*items, Row("outcomes", line, error_outcome(row.values, "tool_error", ts=ts))]
    return [*items, Ignored(line, "observation")]


def _verdicts(told: dict[str, Any], stream: _Stream) -> Iterator[dict[str, Any]]:
    """What the result says of the run: the resolver asked a model for its success, a report ran the tests."""
    request = {"request_id": f"{stream.name}:0"}
    result = told.get("test_result")
    report = result.get("report") if isinstance(result, dict) else None
    found = {
        "success": (told.get("success"), "llm_judge"),
        "resolved": (report.get("resolved") if isinstance(report, dict) else None, "env"),
    }
    for name, (value, source) in found.items():
        if isinstance(value, bool):
            yield {**request, "name": name, "value": float(value), "source": source}
    if missing(told.get("error")) is not None:
        yield error_outcome(request, "run_error", ts=None)
