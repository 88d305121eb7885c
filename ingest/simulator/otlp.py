"""OTLP/JSON as the collector's file exporter writes it: spans or log records, one batch a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import orjson

_BATCH: Final = 64
"""Requests whose spans or records share one line."""

Entry = dict[str, Any]


def span_lines(groups: Iterable[list[Entry]], *, resource: Entry, scope: str) -> Iterator[bytes]:
    """Lines of TracesData; the spans of one group stay in one line."""
    for batch in _batches(groups):
        yield _line("resourceSpans", "scopeSpans", {"scope": {"name": scope}, "spans": batch}, resource)


def record_lines(groups: Iterable[list[Entry]], *, resource: Entry, scope: str) -> Iterator[bytes]:
    """Lines of LogsData; the records of one group stay in one line."""
    for batch in _batches(groups):
        yield _line("resourceLogs", "scopeLogs", {"scope": {"name": scope}, "logRecords": batch}, resource)


def span(
    ids: tuple[str, str, str], *, name: str, start_s: float, seconds: float, attributes: dict[str, Any]
) -> Entry:
    """A finished span. ids: trace, span and parent ('' for none), in hex. start_s: epoch."""
    trace, own, parent = ids
    return {
        "traceId": trace,
        "spanId": own,
        "parentSpanId": parent,
        "name": name,
        "kind": 1,
        "startTimeUnixNano": nanos(start_s),
        "endTimeUnixNano": nanos(start_s + seconds),
        "attributes": pairs(attributes),
        "status": {},
    }


def nanos(epoch_s: float) -> str:
    """Nanoseconds as decimal text; the simulated clock ticks in milliseconds."""
    return f"{round(epoch_s * 1000)}000000"


def pairs(given: dict[str, Any]) -> list[Entry]:
    """`given` as OTLP key-value pairs."""
    return [{"key": key, "value": _any_value(value)} for key, value in given.items()]


def _any_value(value: object) -> Entry:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in cast("list[object]", value)]}}
    return {"stringValue": str(value)}


def _line(outer: str, inner: str, scoped: Entry, resource: Entry) -> bytes:
    return orjson.dumps({outer: [{"resource": {"attributes": pairs(resource)}, inner: [scoped]}]})


def _batches(groups: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    waiting: list[Entry] = []
    for count, group in enumerate(groups, start=1):
        waiting += group
        if count % _BATCH == 0:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
