"""One sample of an Inspect log to rows: its context, model calls, tool calls, approvals, scores and errors.

Scorers run inside spans (before 0.3.9x: steps) of type scorer; what they call is overhead of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ...schemas.columns import REPEATED_CONTEXT
from ..actions import StepRules, step_values
from ..convert import Convention, as_count, as_real, input_tokens, missing, utc_from_text
from ..seam import Ignored, Item, Rejected, Row
from .agent_logs import approval, as_object, as_objects, as_text, as_time, error_outcome, why

MAX_NESTING: Final = 20
"""Depth of events inside of tool events, as older logs keep the steps of sub-agents."""
MAX_SCORES: Final = 200
_SCORING: Final = ("scorer", "scorers")
_GRADES: Final = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""The numbers that Inspect itself gives to these values."""
_APPROVED: Final = {"approve": 1.0, "reject": 0.0, "terminate": 0.0}
_ASIDE: Final = frozenset(
    {
        *("sample_init", "sample_limit", "sandbox", "state", "store", "input", "subtask", "logger", "info"),
        *("step", "span_begin", "span_end", "error", "score_edit"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eval:
    """What the log says of the whole evaluation; `exclusive`: cached tokens surely come on top."""

    name: str
    task: str
    commit: str | None
    exclusive: bool


@dataclass(slots=True, kw_only=True)
class _Scene:
    """The sample's shared columns, and what earlier events said."""

    run: Eval
    rules: StepRules
    shared: dict[str, Any]
    spans: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[str] = field(default_factory=list[str])
    judges: set[str] = field(default_factory=set[str])
    last_call: str | None = None

    @property
    def request(self) -> str:
        """The sample's id as a request."""
        return str(self.shared["request_id"])

    def scorer(self, event: dict[str, Any]) -> str | None:
        """The scorer in which the event happened; None for the agent's own."""
        span = event.get("span_id")
        inside = self.spans.get(span) if isinstance(span, str) else None
        return inside or (self.steps[-1] if self.steps else None)


def sample_items(line: int, sample: dict[str, Any], run: Eval, rules: StepRules) -> list[Item]:
    """The items of `sample`, the record `line` of its file.

    Raises: ValueError when it is malformed in a way that leaves out steps of unknown number.
    """
    scene = _Scene(run=run, rules=rules, shared=_shared(sample, run))
    steps: list[Item] = []
    started: datetime | None = None
    for number, event in enumerate(_events(sample)):
        if started is None:
            started = utc_from_text(event["timestamp"]) if missing(event.get("timestamp")) else None
        steps += _event(line, number, event, scene)
    if not steps:
        steps.append(Ignored(line, "sample whose events were not logged"))
    context = {name: value for name, value in scene.shared.items() if name != "policy_version"}
    outcomes = [*_scores(sample, scene), *_ends(sample, scene)]
    return [
        Row("contexts", line, {**context, "ts": started}),
        *steps,
        *(Row("outcomes", line, outcome) for outcome in outcomes),
    ]


def _shared(sample: dict[str, Any], run: Eval) -> dict[str, Any]:
    own, epoch = sample.get("id"), as_count(sample.get("epoch"), "epoch") or 1
    if isinstance(own, bool) or not isinstance(own, int | str) or own == "":
        raise ValueError("no field id")
    situation = f"{run.task}:{own}"
    return {
        "request_id": as_text(sample, "uuid") or f"{run.name}:{own}:epoch-{epoch}",
        "session_id": situation,
        REPEATED_CONTEXT: situation,
        "policy_version": run.commit,
    }


def _events(sample: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every event in order, those inside of an event after it; no recursion, which depth would break."""
    told = sample.get("events")
    if told is None:
        told = as_object(sample.get("transcript"), "transcript").get("events")
    stack = [iter(as_objects(told, "events"))]
    while stack:
        event = next(stack[-1], None)
        if event is None:
            stack.pop()
            continue
        yield event
        inner = event.get("events")
        if inner:
            if len(stack) >= MAX_NESTING:
                raise ValueError(f"events nested deeper than {MAX_NESTING} levels")
            stack.append(iter(as_objects(inner, "events")))


def _event(line: int, number: int, event: dict[str, Any], scene: _Scene) -> list[Item]:
    kind = as_text(event, "event")
    if kind == "span_begin":
        _enter_span(event, scene)
    elif kind == "step" and event.get("type") == "scorer":
        _enter_step(event, scene)
    elif kind in ("model", "tool") and event.get("pending") is True:
        return [Ignored(line, "unfinished call")]
    elif kind == "model":
        return [_model(line, number, event, scene)]
    elif kind == "tool":
        return _tool(line, number, event, scene)
    elif kind == "approval":
        return [Row("outcomes", line, _approval(event, scene))]
    elif kind == "score":
        return [Ignored(line, "score event; the sample's scores are read")]
    return [Ignored(line, "event that is no decision" if kind in _ASIDE else "event of another kind")]


def _enter_span(event: dict[str, Any], scene: _Scene) -> None:
    own, above = event.get("id"), event.get("parent_id")
    inside = scene.spans.get(above) if isinstance(above, str) else None
    name = as_text(event, "name") or "scorer"
    if isinstance(own, str) and (inside is not None or event.get("type") in _SCORING):
        scene.spans[own] = name if event.get("type") == "scorer" or inside is None else inside


def _enter_step(event: dict[str, Any], scene: _Scene) -> None:
    if event.get("action") == "begin":
        scene.steps.append(as_text(event, "name") or "scorer")
    elif scene.steps:
        scene.steps.pop()


def _model(line: int, number: int, event: dict[str, Any], scene: _Scene) -> Item:
    scorer = scene.scorer(event)
    if scorer is not None or event.get("role") == "grader":
        scene.judges.add(scorer or "")
        return Ignored(line, "overhead call: grader")
    try:
        values = _model_values(event, scene)
    except ValueError as error:
        return Rejected(line, why(error))  # of the call's counts; the steps around it are whole
    scene.last_call = f"{scene.request}:{number}"
    return Row("decisions", line, {**values, "decision_id": scene.last_call})


def _model_values(event: dict[str, Any], scene: _Scene) -> dict[str, Any]:
    provider, _, rest = (as_text(event, "model") or "").partition("/")
    if not provider:
        raise ValueError("a model call without a model")
    output = as_object(event.get("output"), "output")
    took = _took(event)
    return {
        **scene.shared,
        "ts": as_time(event),
        "layer": "router",
        "decision_point": "model",
        "action": rest or provider,
        "action_executed": as_text(output, "model"),
        "_provider": provider if rest else None,
        "latency_s": took if took is not None else as_real(output.get("time"), "output.time"),
        **_spent(event.get("cache"), as_object(output.get("usage"), "output.usage"), scene.run),
    }


def _took(event: dict[str, Any]) -> float | None:
    """Wall time of the event, retries included; the time that it worked where no end is logged."""
    if missing(event.get("completed")) is None:
        return as_real(event.get("working_time"), "working_time")
    return (as_time(event, "completed") - as_time(event)).total_seconds()


def _spent(cache: Any, usage: dict[str, Any], run: Eval) -> dict[str, Any]:
    """Tokens and cost; a response from Inspect's own cache repeats the usage of the call that wrote it."""
    if cache == "read":
        stored = {"tok_input_uncached": 0, "tok_output": 0, "cost_usd": 0.0, "cost_source": "logged"}
        return {**stored, "cache_hit_kind": "response"}
    columns: dict[str, Any] = {} if cache != "write" else {"cache_hit_kind": "none"}
    cost = as_real(usage.get("total_cost"), "total_cost")
    if cost:
        columns |= {"cost_usd": cost, "cost_source": "logged"}
    total = as_count(usage.get("input_tokens"), "input_tokens")
    read = as_count(usage.get("input_tokens_cache_read"), "input_tokens_cache_read")
    write = as_count(usage.get("input_tokens_cache_write"), "input_tokens_cache_write")
    output = as_count(usage.get("output_tokens"), "output_tokens")
    if not any((total, read, write, output)):
        return columns
    summed = as_count(usage.get("total_tokens"), "total_tokens")
    convention = (
        "exclusive" if run.exclusive else _told_by(total or 0, (read or 0) + (write or 0), output, summed)
    )
    return {
        **columns,
        **input_tokens(total, read, write, convention=convention),
        "tok_output": output,
        "tok_reasoning": as_count(usage.get("reasoning_tokens"), "reasoning_tokens"),
    }


def _told_by(total: int, cached: int, output: int | None, summed: int | None) -> Convention:
    """The convention of an older row: cached tokens that are no part of the input are part of the sum."""
    on_top = cached > total or summed == total + cached + (output or 0)
    return "exclusive" if on_top and cached else "inclusive"


def _tool(line: int, number: int, event: dict[str, Any], scene: _Scene) -> list[Item]:
    if scene.scorer(event) is not None:
        return [Ignored(line, "overhead call: tool of a scorer")]
    name = as_text(event, "function")
    if name is None:
        raise ValueError("a tool call without a function")
    handed_over = as_text(event, "agent") is not None
    took, at = _took(event), as_time(event)
    worked = as_real(event.get("working_time"), "working_time")
    values = {
        **scene.shared,
        "decision_id": f"{scene.request}:{as_text(event, 'id') or number}",
        "parent_id": scene.last_call,
        "ts": at,
        **step_values("delegate" if handed_over else name, scene.rules),
        "action_executed": name,
        "latency_s": took,
        "tool_s": took if worked is None else worked,
    }
    items: list[Item] = [Row("decisions", line, values)]
    error = as_object(event.get("error"), "error")
    if error:
        label = as_text(error, "type") or "tool_error"
        items.append(Row("outcomes", line, error_outcome(values, label, ts=at)))
    return items


def _approval(event: dict[str, Any], scene: _Scene) -> dict[str, Any]:
    decision = as_text(event, "decision")
    if decision is None:
        raise ValueError("an approval without a decision")
    call = as_text(as_object(event.get("call"), "call"), "id")
    target = {"request_id": scene.request, "decision_id": f"{scene.request}:{call}" if call else None}
    by = "human" if event.get("approver") == "human" else "code"
    return approval(target, decision, _APPROVED.get(decision), by=by, ts=as_time(event))


def _scores(sample: dict[str, Any], scene: _Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, told in as_object(sample.get("scores"), "scores").items():
        value = as_object(told, "a score").get("value")
        parts = (
            {f"{name}.{key}": part for key, part in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        source = "llm_judge" if name in scene.judges or name.startswith("model_graded") else "code"
        for part, single in parts.items():
            number, label = _graded(single)
            if number is not None or label is not None:
                shared = {"request_id": scene.request, "name": part, "source": source}
                found.append({**shared, "value": number, "label": label})
    if len(found) > MAX_SCORES:
        raise ValueError(f"{len(found)} scores, expected at most {MAX_SCORES}")
    return found


def _graded(value: Any) -> tuple[float | None, str | None]:
    """Number and label of a score: letters as Inspect counts them, other text as a label; NaN is no score."""
    if isinstance(value, bool):
        return float(value), None
    if isinstance(value, int | float):
        return (None if value != value else as_real(value)), None
    if isinstance(value, str) and value:
        return _GRADES.get(value), value
    return None, None


def _ends(sample: dict[str, Any], scene: _Scene) -> Iterator[dict[str, Any]]:
    request = {"request_id": scene.request}
    if sample.get("error"):
        yield error_outcome(request, "sample_error", ts=None)
    limit = as_object(sample.get("limit"), "limit")
    if limit:
        yield {**request, "name": "limit", "label": as_text(limit, "type") or "limit", "source": "code"}
