"""Spans as stores export them, with plain attributes, as the spans that the reader of OTLP takes.

Stores spell ids as hex, 0x-hex or base64, and times as text or as numbers whose size tells their unit.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from ..convert import TIME_UNITS, missing, utc_from_epoch, utc_from_text
from .otlp_walk import SPAN_ID_DIGITS, TRACE_ID_DIGITS, Attributes, Event, Span

MAX_DEPTH: Final = 8
"""Deepest nesting that is joined into dotted names, as of OTLP's own attribute values."""
_HEX: Final = re.compile(r"(?:0x)?([0-9a-fA-F]+)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_NS_PER_US: Final = 1000


def flat(told: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Attributes:
    """`told` with objects inside of objects joined into dotted names; lists stay, nothings go.

    Raises: ValueError when objects nest deeper than MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"attributes nest deeper than {MAX_DEPTH}")
    found: Attributes = {}
    for key, value in told.items():
        if isinstance(value, dict):
            inside = cast("dict[str, Any]", value)
            found |= flat({str(k): v for k, v in inside.items()}, f"{prefix}{key}.", depth + 1)
        elif missing(value) is not None:
            found[f"{prefix}{key}"] = value
    return found


def span_of(
    *,
    trace: Any,
    span: Any,
    parent: Any,
    name: Any,
    start: Any,
    end: Any,
    failed: bool,
    attributes: Attributes,
    events: Any = None,
    resource: Attributes | None = None,
) -> Span:
    """The span with these facts, its ids in hex and its times in ns.

    Raises: ValueError when an id or the start is absent or unreadable.
    """
    began = instant_ns(start, "start time")
    if began is None:
        raise ValueError("no start time")
    return Span(
        trace_id=_required(trace, TRACE_ID_DIGITS, "trace id"),
        span_id=_required(span, SPAN_ID_DIGITS, "span id"),
        parent_id=hex_id(parent, SPAN_ID_DIGITS, "parent id"),
        name=name if isinstance(name, str) else "",
        start_ns=began,
        end_ns=instant_ns(end, "end time"),
        attributes=attributes,
        resource=resource or {},
        events=tuple(_events(events)),
        failed=failed,
    )


def hex_id(value: Any, digits: int, name: str) -> str | None:
    """`value` (hex, 0x-hex, or base64 of the id's bytes) as `digits` lower-case hex digits; None when absent.

    Raises: ValueError for anything else.
    """
    found = missing(value)
    if found is None:
        return None
    text = found if isinstance(found, str) else ""
    match = _HEX.fullmatch(text)
    if match and len(match[1]) <= digits and (len(match[1]) == digits or text.startswith("0x")):
        return match[1].lower().zfill(digits)
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) * 2 != digits:
        raise ValueError(f"{name} is {found!r}, expected {digits} hex digits or their bytes in base64")
    return raw.hex()


def instant_ns(value: Any, name: str) -> int | None:
    """Nanoseconds since 1970 of ISO text (naive is UTC) or of a number, in the unit that gives a sane year.

    Raises: ValueError when no unit does, or the text is no time.
    """
    found = missing(value)
    if found is None or found == 0:
        return None
    if isinstance(found, str) and "-" in found[1:]:
        return (utc_from_text(found) - _EPOCH) // _US * _NS_PER_US
    for unit in TIME_UNITS:  # the sane years of two units do not overlap
        try:
            when = utc_from_epoch(found, unit)
        except ValueError:
            continue
        exact = int(found) if unit == "ns" and not isinstance(found, float) else None
        return (when - _EPOCH) // _US * _NS_PER_US if exact is None else exact
    raise ValueError(f"{name} is {found!r}, expected a time")


def _required(value: Any, digits: int, name: str) -> str:
    found = hex_id(value, digits, name)
    if found is None:
        raise ValueError(f"no {name}")
    return found


def _events(listed: Any) -> list[Event]:
    """The events of a span; what is no object is no event.

    Raises: ValueError when a time is unreadable.
    """
    found: list[Event] = []
    for event in cast("list[Any]", listed) if isinstance(listed, list) else []:
        if not isinstance(event, dict):
            continue
        told = cast("dict[str, Any]", event)
        at = next((told[key] for key in ("time_unix_nano", "timestamp") if told.get(key)), None)
        inside = told.get("attributes")
        attributes = flat(cast("dict[str, Any]", inside)) if isinstance(inside, dict) else {}
        found.append(Event(str(told.get("name") or ""), attributes, instant_ns(at, "event time")))
    return found
