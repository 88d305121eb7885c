"""MLflow's spans in the words of OTLP: ids out of base64, attributes out of JSON text, usage and cost.

Of inputs, only the name of the model is looked up, where no attribute tells it; nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import orjson

from ..convert import as_count, missing
from .litellm_rows import decoded, text
from .otlp_flat import flat, span_of
from .otlp_walk import Attributes, Damaged, Event, Piece, Span

PREFIX: Final = "mlflow."
MAX_INPUT_CHARS: Final = 4 * 1024 * 1024
"""Longest inputs that are parsed for the model's name."""
_CONTENT: Final = ("mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.chat.messages", "mlflow.chat.tools")
_KINDS: Final = {"CHAT_MODEL": "LLM", "LLM": "LLM", "WORKFLOW": "CHAIN"}
_MODEL: Final = "LLM"
_NESTED: Final = "model call inside of another"
_OPERATION: Final = ("gen_ai.operation.name", "llm.request.type")
_FIRST_CHUNK: Final = "mlflow.chunk.item.0"
_RENAMED: Final = "First Token Stream Event"


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What a trace's info says of all its spans: attributes and resource in OTLP's words, and its name."""

    attributes: Attributes
    resource: Attributes
    name: str | None


def trace_facts(info: dict[str, Any]) -> TraceFacts:
    """The facts in `info`, whose metadata and tags are objects or lists of key and value.

    Raises: ValueError when they are something else.
    """
    metadata = _pairs(info.get("trace_metadata") or info.get("request_metadata"), "trace_metadata")
    tags = _pairs(info.get("tags"), "tags")
    attributes = {
        "session.id": text(metadata, "mlflow.trace.session"),
        "user.id": text(metadata, "mlflow.trace.user"),
    }
    version = text(metadata, "mlflow.modelId", "mlflow.source.git.commit")
    return TraceFacts(attributes, {"service.version": version}, text(tags, "mlflow.traceName"))


def pieces_of(spans: list[Any], facts: TraceFacts) -> list[Piece]:
    """The spans of one trace, and what was damaged; a model call inside of another repeats its usage."""
    found = [_piece(span, facts) for span in spans]
    by_id = {piece.span_id: piece for piece in found if isinstance(piece, Span)}
    models = {key for key, span in by_id.items() if _is_model(span)}
    for key in models:
        if _has_above(by_id[key], by_id, models):
            told = by_id[key].attributes
            for name in _OPERATION:
                told.pop(name, None)
            told["openinference.span.kind"] = _NESTED
    return found


def _piece(span: Any, facts: TraceFacts) -> Piece:
    if not isinstance(span, dict):
        return Damaged(f"a span is {type(span).__name__}, expected an object")
    try:
        return _span(cast("dict[str, Any]", span), facts)
    except ValueError as error:
        return Damaged(str(error))


def _span(fields: dict[str, Any], facts: TraceFacts) -> Span:
    context, status = _object(fields.get("context")), _object(fields.get("status"))
    told = {name: _plain(name, raw) for name, raw in _object(fields.get("attributes")).items()}
    state = fields.get("status_code") or status.get("code")
    plain = span_of(
        trace=context.get("trace_id") or fields.get("otel_trace_id") or fields.get("trace_id"),
        span=context.get("span_id") or fields.get("span_id"),
        parent=fields.get("parent_span_id") or fields.get("parent_id"),
        name=fields.get("name"),
        start=fields.get("start_time_unix_nano") or fields.get("start_time"),
        end=fields.get("end_time_unix_nano") or fields.get("end_time"),
        failed=state == 2 or str(state).upper().endswith("ERROR"),
        attributes=_words(told, facts),
        events=fields.get("events"),
        resource=facts.resource,
    )
    return replace(plain, events=_events(plain))


def _events(span: Span) -> tuple[Event, ...]:
    return tuple(
        Event(_RENAMED if event.name == _FIRST_CHUNK else event.name, event.attributes, event.time_ns)
        for event in span.events
    )


def _plain(name: str, raw: Any) -> Any:
    """The value that JSON text in an attribute spells; text that is no JSON is itself."""
    if name in _CONTENT or not isinstance(raw, str):
        return raw
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw


def _words(told: dict[str, Any], facts: TraceFacts) -> Attributes:
    """Attributes in OTLP's words; what instrumentation wrote in those words itself comes first."""
    kind = str(told.get("mlflow.spanType") or "UNKNOWN").upper()
    kind = _KINDS.get(kind, kind)
    own = flat({name: value for name, value in told.items() if not name.startswith(PREFIX)})
    found: Attributes = {
        "openinference.span.kind": kind,
        "llm.provider": told.get("mlflow.llm.provider"),
        "llm.cost.total": _object(told.get("mlflow.llm.cost")).get("total_cost"),
        **facts.attributes,
        **_usage(_object(told.get("mlflow.chat.tokenUsage"))),
    }
    if kind == _MODEL:
        named = told.get("mlflow.llm.model") or told.get("model") or _model_in(told.get("mlflow.spanInputs"))
        found["llm.model_name"] = named
    if kind == "TOOL":
        found["tool.name"] = told.get("mlflow.spanFunctionName")
    return {name: value for name, value in {**found, **own}.items() if missing(value) is not None}


def _usage(told: dict[str, Any]) -> Attributes:
    """Counts whose input holds the cached tokens: where the total counts those apart, they are added."""
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    given, made, read, write = (as_count(missing(told.get(name)), name) for name in names)
    total = as_count(missing(told.get("total_tokens")), "total_tokens")
    cached = (read or 0) + (write or 0)
    if cached and given is not None and total == given + (made or 0) + cached:
        given += cached
    return {
        "llm.token_count.prompt": given,
        "llm.token_count.completion": made,
        "llm.token_count.prompt_details.cache_read": read,
        "llm.token_count.prompt_details.cache_write": write,
    }


def _model_in(inputs: Any) -> str | None:
    if not isinstance(inputs, str) or len(inputs) > MAX_INPUT_CHARS:
        return None
    try:
        name = _object(orjson.loads(inputs)).get("model")
    except orjson.JSONDecodeError:
        return None
    return name if isinstance(name, str) else None


def _is_model(span: Span) -> bool:
    return span.attributes.get("openinference.span.kind") == _MODEL


def _has_above(span: Span, by_id: Mapping[str, Span], wanted: set[str]) -> bool:
    """Whether one of the spans above `span` is in `wanted`; a loop of parents ends."""
    seen = {span.span_id}
    above = span.parent_id
    while above is not None and above not in seen:
        if above in wanted:
            return True
        seen.add(above)
        above = by_id[above].parent_id if above in by_id else None
    return False


def _pairs(raw: Any, name: str) -> dict[str, Any]:
    value = decoded(raw, name) or {}
    if isinstance(value, list):
        listed = [item for item in cast("list[Any]", value) if isinstance(item, dict)]
        return {str(item.get("key")): item.get("value") for item in listed}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
