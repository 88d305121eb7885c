"""OTLP's protobuf messages as the objects that OTLP/JSON would hold: ids in hex, only fields that are read.

Decoded by hand like the JSON: the wire format and these field numbers are frozen, and no library is needed.
Source: opentelemetry-proto 1.x, trace/v1, logs/v1, metrics/v1, common/v1, resource/v1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

MAX_DEPTH: Final = 60
"""Messages inside of messages: a record's own shape needs 6, every level of an attribute's value 2."""
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED: Final = {_I64: 8, _I32: 4}
_MAX_VARINT_BYTES: Final = 10

Signal = Literal["spans", "logs", "metrics"]
Value = int | bytes
"""A field as it lies on the wire: a number, or the bytes of a fixed or length-delimited one."""


class WireError(ValueError):
    """The bytes are no message."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A message: field number -> (name, wire type, decoder or the shape inside); repeated names are lists."""

    fields: dict[int, tuple[str, int, Callable[[Any], Any] | _Shape]]
    repeated: frozenset[str] = frozenset()
    default: dict[str, Any] = field(default_factory=dict[str, Any])


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a text field is not UTF-8") from error


def _hex(raw: bytes) -> str:
    return raw.hex()


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _fixed(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _double(raw: bytes) -> float:
    return struct.unpack("<d", raw)[0]


_ANY: Final = _Shape(
    {1: ("stringValue", _LEN, _text), 2: ("boolValue", _VARINT, bool), 3: ("intValue", _VARINT, _signed)}
)
_PAIR: Final = _Shape({1: ("key", _LEN, _text), 2: ("value", _LEN, _ANY)}, default={"key": ""})
_ANY.fields[4] = ("doubleValue", _I64, _double)
_ANY.fields[5] = ("arrayValue", _LEN, _Shape({1: ("values", _LEN, _ANY)}, frozenset({"values"})))
_ANY.fields[6] = ("kvlistValue", _LEN, _Shape({1: ("values", _LEN, _PAIR)}, frozenset({"values"})))
_ATTRIBUTES: Final = frozenset({"attributes"})
_RESOURCE: Final = _Shape({1: ("attributes", _LEN, _PAIR)}, _ATTRIBUTES)
_EVENT: Final = _Shape(
    {1: ("timeUnixNano", _I64, _fixed), 2: ("name", _LEN, _text), 3: ("attributes", _LEN, _PAIR)},
    _ATTRIBUTES,
)
_SPAN: Final = _Shape(
    {
        1: ("traceId", _LEN, _hex),
        2: ("spanId", _LEN, _hex),
        4: ("parentSpanId", _LEN, _hex),
        5: ("name", _LEN, _text),
        7: ("startTimeUnixNano", _I64, _fixed),
        8: ("endTimeUnixNano", _I64, _fixed),
        9: ("attributes", _LEN, _PAIR),
        11: ("events", _LEN, _EVENT),
        15: ("status", _LEN, _Shape({3: ("code", _VARINT, int)})),
    },
    frozenset({"attributes", "events"}),
)
_RECORD: Final = _Shape(
    {
        1: ("timeUnixNano", _I64, _fixed),
        6: ("attributes", _LEN, _PAIR),
        9: ("traceId", _LEN, _hex),
        10: ("spanId", _LEN, _hex),
        11: ("observedTimeUnixNano", _I64, _fixed),
        12: ("eventName", _LEN, _text),
    },
    _ATTRIBUTES,
)


def _block(scopes: str, leaves: str, leaf: _Shape) -> _Shape:
    scope = _Shape({2: (leaves, _LEN, leaf)}, frozenset({leaves}))
    return _Shape({1: ("resource", _LEN, _RESOURCE), 2: (scopes, _LEN, scope)}, frozenset({scopes}))


_BLOCKS: Final[dict[Signal, tuple[str, _Shape]]] = {
    "spans": ("resourceSpans", _block("scopeSpans", "spans", _SPAN)),
    "logs": ("resourceLogs", _block("scopeLogs", "logRecords", _RECORD)),
    "metrics": ("resourceMetrics", _block("scopeMetrics", "metrics", _Shape({}))),
}


def record_of(block: bytes) -> dict[str, Any]:
    """The OTLP/JSON record with the one resource block whose bytes are `block`; empty when it holds nothing.

    The three signals share their outer field numbers; the first leaf tells which one this is.
    Raises: WireError when the bytes are no such message.
    """
    signal = signal_of(block)
    if signal is None:
        return {}
    name, shape = _BLOCKS[signal]
    return {name: [_decoded(block, shape, 0)]}


def signal_of(block: bytes, *, cut: bool = False) -> Signal | None:
    """The signal of a resource block, by the fields of its first leaf; None without one. cut: may end early.

    Raises: WireError when the bytes are no such message.
    """
    for number, kind, scope in fields_of(block, cut=cut):
        if kind != _LEN or number not in (1, 2, 3):
            raise WireError(f"field {number} of wire type {kind} in a resource block")
        if number != 2:
            continue
        for inner, inner_kind, leaf in fields_of(cast("bytes", scope), cut=cut):
            if inner_kind != _LEN or inner not in (1, 2, 3):
                raise WireError(f"field {inner} of wire type {inner_kind} in a scope block")
            if inner == 2:
                return _signal_of_leaf(cast("bytes", leaf), cut=cut)
    return None


def fields_of(body: bytes, *, cut: bool = False) -> Iterator[tuple[int, int, Value]]:
    """The fields of a message in order: number, wire type and value. cut: `body` may end within a field.

    Raises: WireError when the bytes are no message.
    """
    at = 0
    while at < len(body):
        try:
            tag, at = varint(body, at)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, at = varint(body, at)
                yield number, kind, value
                continue
            size, at = varint(body, at) if kind == _LEN else (_FIXED.get(kind, -1), at)
        except IndexError:
            if cut:
                return
            raise WireError("the message ends within a field") from None
        if size < 0 or number == 0:
            raise WireError(f"wire type {kind} of field {number} is none that OTLP uses")
        if at + size > len(body) and not cut:
            raise WireError("the message ends within a field")
        yield number, kind, body[at : at + size]
        at += size


def varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins at byte `at`, and where it ends.

    Raises: IndexError when the bytes end within it; WireError when it is longer than 64 bits.
    """
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise WireError("a number of more than 64 bits")


def _signal_of_leaf(leaf: bytes, *, cut: bool) -> Signal:
    sizes = {
        (number, kind): len(value) if isinstance(value, bytes) else 0
        for number, kind, value in fields_of(leaf, cut=cut)
    }
    if (7, _I64) in sizes or (8, _I64) in sizes or (sizes.get((1, _LEN)), sizes.get((2, _LEN))) == (16, 8):
        return "spans"
    # a log record may hold anything but a name in field 1, where a metric has its own
    return "metrics" if (1, _LEN) in sizes else "logs"


def _decoded(body: bytes, shape: _Shape, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise WireError(f"nested deeper than {MAX_DEPTH} messages")
    found = dict(shape.default)
    for number, kind, raw in fields_of(body):
        name, expected, decode = shape.fields.get(number, ("", -1, bool))
        if kind != expected:
            continue  # a field that nobody reads, or of another version
        value = _decoded(cast("bytes", raw), decode, depth + 1) if isinstance(decode, _Shape) else decode(raw)
        if name in shape.repeated:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found
