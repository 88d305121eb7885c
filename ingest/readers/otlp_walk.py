"""Spans, log records and metrics of OTLP/JSON, walked by hand: protobuf's own parser reads hex ids as base64.

Field names are accepted in camelCase and snake_case, integers as text or numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from ..convert import as_count

TRACE_ID_DIGITS: Final = 32
SPAN_ID_DIGITS: Final = 16
MAX_VALUE_DEPTH: Final = 8
"""Deepest nesting of an attribute value; GenAI messages need 4."""
_HEX: Final = re.compile(r"[0-9a-f]+")
_CONTAINERS: Final = {
    "spans": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}
SIGNALS: Final = frozenset(names[0] for names in _CONTAINERS.values())

Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A span with decoded attributes; times in ns since 1970, end_ns None when it is unfinished."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int | None
    attributes: Attributes
    resource: Attributes
    events: tuple[Event, ...]
    failed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """A named event of a span, or a log record; ids and time are None where the log has none."""

    name: str
    attributes: Attributes
    time_ns: int | None
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class Damaged:
    """A piece that cannot be read, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: engine load and the like, not a decision."""


Piece = Span | Event | Metric | Damaged


def pieces(record: dict[str, Any]) -> Iterator[Piece]:
    """Every span, log record and metric of one TracesData, LogsData, MetricsData or ResourceSpans."""
    found = False
    for signal, (outer, inner, leaf) in _CONTAINERS.items():
        blocks = field(record, outer)
        if blocks is None and field(record, inner) is not None:
            blocks = [record]
        if blocks is not None:
            found = True
            yield from _resources(blocks, signal=signal, inner=inner, leaf=leaf)
    if not found:
        yield Damaged(f"no OTLP: expected one of {', '.join(sorted(SIGNALS))}")


def field(container: dict[str, Any], name: str) -> Any:
    """The value of `name` in camelCase, else in snake_case; None when both are absent."""
    value = container.get(name)
    return container.get(_snake(name)) if value is None else value


def span_key(trace_id: str, span_id: str) -> str:
    """The decision id of a span: span ids alone are unique within a trace only."""
    return f"{trace_id}:{span_id}"


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def _resources(blocks: Any, *, signal: str, inner: str, leaf: str) -> Iterator[Piece]:
    if not isinstance(blocks, list):
        yield Damaged(f"the list of {inner} holders is {type(blocks).__name__}")
        return
    for block in cast("list[Any]", blocks):
        try:
            resource = attributes(field(_object(block, "resource block"), "resource") or {})
            scopes = _list(field(block, inner) or [], inner)
            leaves = [
                item for scope in scopes for item in _list(field(_object(scope, inner), leaf) or [], leaf)
            ]
        except ValueError as error:
            yield Damaged(str(error))
            continue
        for item in leaves:
            yield _piece(item, signal=signal, resource=resource)


def _piece(item: Any, *, signal: str, resource: Attributes) -> Piece:
    if signal == "metrics":
        return Metric()
    try:
        fields = _object(item, signal)
        return _span(fields, resource) if signal == "spans" else _record(fields)
    except ValueError as error:
        return Damaged(str(error))


def _span(fields: dict[str, Any], resource: Attributes) -> Span:
    start = _time(fields, "startTimeUnixNano")
    if start is None:
        raise ValueError("startTimeUnixNano is missing")
    status = field(fields, "status") or {}
    parent = _hex_id(fields, "parentSpanId", SPAN_ID_DIGITS)
    events = [_object(event, "event") for event in _list(fields.get("events") or [], "events")]
    return Span(
        trace_id=_required_id(fields, "traceId", TRACE_ID_DIGITS),
        span_id=_required_id(fields, "spanId", SPAN_ID_DIGITS),
        parent_id=parent,
        name=str(fields.get("name") or ""),
        start_ns=start,
        end_ns=_time(fields, "endTimeUnixNano"),
        attributes=attributes(fields),
        resource=resource,
        events=tuple(
            Event(str(e.get("name") or ""), attributes(e), _time(e, "timeUnixNano")) for e in events
        ),
        failed=_object(status, "status").get("code") in (2, "2", "STATUS_CODE_ERROR"),
    )


def _record(fields: dict[str, Any]) -> Event:
    told = attributes(fields)
    name = field(fields, "eventName") or told.get("event.name") or ""
    return Event(
        name=str(name),
        attributes=told,
        time_ns=_time(fields, "timeUnixNano") or _time(fields, "observedTimeUnixNano"),
        trace_id=_hex_id(fields, "traceId", TRACE_ID_DIGITS),
        span_id=_hex_id(fields, "spanId", SPAN_ID_DIGITS),
    )


def attributes(holder: dict[str, Any]) -> Attributes:
    """The decoded attributes of a span, event, record or resource; a key that repeats keeps its last value.

    Raises: ValueError when they are not a list of key and value.
    """
    pairs = _list(_object(holder, "resource").get("attributes") or [], "attributes")
    told: Attributes = {}
    for pair in pairs:
        try:
            key, value = pair["key"], pair["value"]
            plain = value["stringValue"] if len(value) == 1 else None
        except (KeyError, TypeError):
            key = plain = None
        if type(plain) is str and type(key) is str:  # what nearly all are
            told[key] = plain
        else:
            key = _key(pair)
            told[key] = _value(pair.get("value"))
    return told


def _key(pair: Any) -> str:
    key = _object(pair, "attribute").get("key")
    if not isinstance(key, str):
        raise ValueError(f"an attribute's key is {key!r}, expected text")
    return key


def _value(any_value: Any, depth: int = 0) -> Any:
    """The Python value of an OTLP AnyValue; None for an absent one."""
    if not any_value and any_value in (None, {}):
        return None
    if depth > MAX_VALUE_DEPTH:
        raise ValueError(f"an attribute's value nests deeper than {MAX_VALUE_DEPTH}")
    holder = _object(any_value, "an attribute's value")
    for name, raw in holder.items():
        decode = _SCALARS.get(name)
        if decode is not None and raw is not None:
            return decode(raw)
    return _nested(holder, depth)


def _nested(holder: dict[str, Any], depth: int) -> Any:
    array, pairs = field(holder, "arrayValue"), field(holder, "kvlistValue")
    if array is not None:
        items = _list(_object(array, "arrayValue").get("values") or [], "arrayValue")
        return [_value(item, depth + 1) for item in items]
    if pairs is not None:
        items = _list(_object(pairs, "kvlistValue").get("values") or [], "kvlistValue")
        return {_key(item): _value(item.get("value"), depth + 1) for item in items}
    return None  # bytesValue: no convention that is read here uses it


def _string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"stringValue is {raw!r}")
    return raw


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"boolValue is {raw!r}")
    return raw


def _integer(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError(f"intValue is {raw!r}")
    return int(raw)


def _double(raw: Any) -> float:
    # "NaN" and "Infinity" are legal here; whoever needs a finite number refuses them by the field's name.
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"doubleValue is {raw!r}")
    return float(raw)


_SCALARS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("stringValue", "string_value"), _string),
    **dict.fromkeys(("boolValue", "bool_value"), _flag),
    **dict.fromkeys(("intValue", "int_value"), _integer),
    **dict.fromkeys(("doubleValue", "double_value"), _double),
}


def _time(fields: dict[str, Any], name: str) -> int | None:
    """Nanoseconds since 1970; None for absent or 0, which OTLP writes for "not yet"."""
    try:
        return as_count(field(fields, name)) or None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _required_id(fields: dict[str, Any], name: str, digits: int) -> str:
    found = _hex_id(fields, name, digits)
    if found is None:
        raise ValueError(f"{name} is missing")
    return found


def _hex_id(fields: dict[str, Any], name: str, digits: int) -> str | None:
    raw = field(fields, name)
    if raw is None or raw == "":
        return None
    if type(raw) is str and len(raw) == digits and _HEX.fullmatch(raw) and raw[-1] != "0":
        return raw  # what nearly all are
    text = raw.lower() if isinstance(raw, str) else ""
    if len(text) != digits or not _HEX.fullmatch(text):
        raise ValueError(f"{name} is {raw!r}, expected {digits} hex digits (base64 is not OTLP/JSON)")
    return text if text.strip("0") else None


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, expected a list")
    return cast("list[Any]", value)
