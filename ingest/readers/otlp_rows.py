"""Decision rows from spans, one builder per role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...schemas.config import Config
from ..actions import StepRules, step_values
from ..convert import utc_from_epoch
from . import otlp_dialects as d
from .otlp_engine import serving_columns
from .otlp_walk import Span, span_key

NS_PER_S: Final = 1_000_000_000


def base_columns(span: Span, config: Config) -> dict[str, Any]:
    """The columns that every decision of a span has: identity, time, policy and duration."""
    told = span.attributes
    parent = span.parent_id
    return {
        "decision_id": span_key(span.trace_id, span.span_id),
        "request_id": span.trace_id,
        "parent_id": span_key(span.trace_id, parent) if parent else None,
        "session_id": d.text(told, *d.SESSION),
        "tenant_id": d.tenant(span, config),
        "ts": utc_from_epoch(span.start_ns, "ns"),
        "policy_version": d.text(span.resource, "service.version"),
        "latency_s": duration_s(span),
    }


def duration_s(span: Span) -> float | None:
    """Wall time of the span in seconds; negative when its clock ran backwards, None while unfinished."""
    return None if span.end_ns is None else (span.end_ns - span.start_ns) / NS_PER_S


def context_columns(span: Span, config: Config) -> dict[str, Any]:
    """What the root span of a request says about the whole request."""
    kept = ("request_id", "session_id", "tenant_id", "ts")
    return {name: value for name, value in base_columns(span, config).items() if name in kept}


def _model(span: Span, rules: StepRules) -> dict[str, Any]:
    del rules
    told = span.attributes
    asked, ran = d.text(told, *d.REQUEST_MODEL), d.text(told, *d.RESPONSE_MODEL)
    if asked is None and ran is None:
        raise ValueError("a model call that names no model (gen_ai.request.model)")
    agent = d.text(told, *d.AGENT)
    return {
        "layer": "router",
        "decision_point": "model",
        "action": asked or ran,
        "action_executed": ran,
        "_provider": d.text(told, *d.PROVIDER),
        "ttft_s": d.first_token_s(span),
        **d.token_columns(told),
        **d.cost_columns(told),
        **({"x_agent": agent} if agent else {}),
    }


def _tool(span: Span, rules: StepRules) -> dict[str, Any]:
    named = d.text(span.attributes, *d.TOOL, d.ENTITY)
    name = named or span.name.removeprefix("execute_tool ").strip()
    if not name:
        raise ValueError("a tool call that names no tool (gen_ai.tool.name)")
    return {**step_values(name, rules), "tool_s": duration_s(span)}


def _delegate(span: Span, rules: StepRules) -> dict[str, Any]:
    # Usage on an agent span is the sum over its model calls, which have rows of their own.
    del rules
    executed = d.text(span.attributes, *d.AGENT, d.ENTITY) or span.name
    return {
        "layer": "agent",
        "decision_point": "delegate",
        "action": "delegate",
        "action_executed": executed or None,
    }


def _plan(span: Span, rules: StepRules) -> dict[str, Any]:
    return {**step_values("plan", rules), "action_executed": span.name or "plan"}


def _verify(span: Span, rules: StepRules) -> dict[str, Any]:
    return {**step_values("verify", rules), "action_executed": span.name or "verify"}


def _retrieval(span: Span, rules: StepRules) -> dict[str, Any]:
    name = d.text(span.attributes, "gen_ai.data_source.id", *d.TOOL) or span.name
    return {
        **step_values("retrieval", rules),
        "action_executed": name or "retrieval",
        "tool_s": duration_s(span),
    }


def _serving(span: Span, rules: StepRules) -> dict[str, Any]:
    del rules
    return serving_columns(span)


BUILDERS: Final[dict[d.Role, Callable[[Span, StepRules], dict[str, Any]]]] = {
    "model": _model,
    "tool": _tool,
    "agent": _delegate,
    "plan": _plan,
    "verify": _verify,
    "retrieval": _retrieval,
    "serving": _serving,
}
