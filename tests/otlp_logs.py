"""OTLP/JSON as tests write it: spans, log records and their envelopes."""

from __future__ import annotations

from typing import Any

TRACE = "5b8efff798038103d269b633813fc60c"
START_NS = 1_795_249_866_000_000_000
"""2026-11-21T08:31:06Z."""


def any_value(value: Any) -> dict[str, Any]:
    """`value` as an OTLP AnyValue; whole numbers are text there."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    return {"stringValue": value}


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    """`given` as OTLP key-value pairs."""
    return [{"key": key, "value": any_value(value)} for key, value in given.items()]


def span_id(number: int) -> str:
    """A span id of 16 hex digits."""
    return f"{number:016x}"


def span(
    number: int,
    given: dict[str, Any],
    *,
    parent: int | None = None,
    name: str = "",
    start_s: float = 0.0,
    seconds: float = 1.5,
    **fields: Any,
) -> dict[str, Any]:
    """A finished span that starts `start_s` after START_NS."""
    start = START_NS + round(start_s * 1e9)
    return {
        "traceId": TRACE,
        "spanId": span_id(number),
        **({} if parent is None else {"parentSpanId": span_id(parent)}),
        "name": name,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + round(seconds * 1e9)),
        "attributes": attributes(given),
        **fields,
    }


def traces(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """One TracesData."""
    block = {"resource": {"attributes": attributes(resource or {})}, "scopeSpans": [{"spans": list(spans)}]}
    return {"resourceSpans": [block]}


def logs(*records: dict[str, Any]) -> dict[str, Any]:
    """One LogsData."""
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": list(records)}]}]}


def chat(**more: Any) -> dict[str, Any]:
    """Attributes of a chat span by current conventions, with `more` by attribute name ('_' for '.')."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        **more,
    }
