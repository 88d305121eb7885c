"""Mutations that keep the shape of a log: fields of JSON records, lines, cells of CSV, members of archives.

A random byte seldom gets past a JSON parser; a field with a value that nobody asked for does. Parquet and zip
travel as JSON in an envelope, so that their content is what is mutated.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**63),
        2**64 - 1,
        1.5,
        -0.5,
        1e300,
        5e-324,
        1e15,
        "",
        " ",
    ),
    *(
        "None",
        "null",
        "NaN",
        "-inf",
        "true",
        "x",
        "\x1b[31m",
        "\u202e",
        "9" * 400,
        "é" * 50,
        "\x00",
        "../../x",
    ),
    *("2024-13-45", "2024-02-30T25:61:61Z", "2026-11-21T08:31:06.25Z", "0001-01-01T00:00:00+23:59", "1e999"),
    *("9999-12-31T23:59:59.999999999-23:59", "{", "{}", "[]", "[1", '{"a": [{}]}', "0" * 32, "ÿ" * 32),
    *(
        [],
        {},
        [[]],
        [None],
        [1],
        [{}],
        {"a": 1},
        {"stringValue": 3},
        {"key": 1},
        [{"key": "k"}],
        [["a", "b"]],
    ),
)
"""Values that a reader did not ask for."""
ENVELOPES: Final = (b"PARQUET\n", b"ZIP\n", b"GZIP\n", b"ZSTD\n")
LOG_FOLLOWS: Final = b"\n# the log\n"
"""Between a mapping file and the log that it is for, where one input is both."""
_DEEP: Final = 120
_DAMAGE: Final = (
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError),
    *(ValueError, KeyError, TypeError, OverflowError),
)
"""What packing and unpacking raise for content that is damaged or fits no container."""


def unpacked(data: bytes) -> bytes:
    """The file that `data` stands for: what is in an envelope is packed, all else is itself."""
    for envelope in ENVELOPES:
        if data.startswith(envelope):
            try:
                return _PACKERS[envelope](data[len(envelope) :])
            except _DAMAGE:
                return data[len(envelope) :]
    return data


def enveloped(data: bytes) -> bytes | None:
    """`data`, a Parquet or zip file, as JSON in an envelope; None when it is neither or is damaged."""
    try:
        if data.startswith(b"PAR1"):
            rows = pq.read_table(io.BytesIO(data)).to_pylist()
            return ENVELOPES[0] + json.dumps(rows, default=str).encode()
        if data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {name: archive.read(name).decode() for name in archive.namelist()}
            return ENVELOPES[1] + json.dumps(members).encode()
    except _DAMAGE:
        return None
    return None


def mutated(data: bytes, rng: random.Random) -> bytes | None:
    """`data` with one mutation that knows its shape; None when it has none."""
    for envelope in ENVELOPES:
        if data.startswith(envelope):
            body = mutated(data[len(envelope) :], rng)
            return None if body is None else envelope + body
    mapping, both, log = data.partition(LOG_FOLLOWS)
    if both and rng.random() < 0.8:
        body = mutated(log, rng)
        return None if body is None else mapping + both + body
    whole = _loaded(data)
    if whole is not None:
        return _dumped(_changed(whole, rng))
    lines = data.split(b"\n")
    if len(lines) > 2 and rng.random() < 0.2:
        return b"\n".join(_shuffled(lines, rng))
    at = rng.randrange(len(lines))
    record = _loaded(lines[at])
    if record is not None:
        lines[at] = _dumped(_changed(record, rng))
    elif b"," in lines[at]:
        cells = lines[at].split(b",")
        cells[rng.randrange(len(cells))] = str(rng.choice(ODD)).encode("utf-8", "replace")
        lines[at] = b",".join(cells)
    else:
        return None
    return b"\n".join(lines)


def _loaded(body: bytes) -> Any:
    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, orjson.JSONEncodeError):  # deeper than orjson writes, or an integer beyond 64 bits
        return json.dumps(value).encode("utf-8", "replace")


def _shuffled(lines: list[bytes], rng: random.Random) -> list[bytes]:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(3)
    if action == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif action == 1:
        lines.insert(one, lines[other])
    else:
        del lines[one]
    return lines


def _changed(document: Any, rng: random.Random) -> Any:
    """`document` with one to four values replaced, removed, copied, renamed, buried or retyped."""
    for _ in range(rng.randint(1, 4)):
        places = _places(document)
        if not places:
            return document
        holder, key = rng.choice(places)
        other, its = rng.choice(places)
        action = rng.randrange(8)
        try:
            if action <= 2:
                holder[key] = copy.deepcopy(rng.choice(ODD))
            elif action == 3:
                del holder[key]
            elif action == 4:
                holder[key] = orjson.loads(orjson.dumps(other[its]))
            elif action == 5 and isinstance(holder, list):
                holder.append(orjson.loads(orjson.dumps(holder[key])))
            elif action == 5:
                holder[str(its)] = holder.pop(key)
            elif action == 6:
                holder[key] = _nearby(holder[key], rng)
            else:
                holder[key] = _buried(holder[key], rng)
        except (KeyError, IndexError, TypeError, ValueError):
            continue  # an earlier change took the place away, or the value cannot be copied
    return document


def _nearby(value: Any, rng: random.Random) -> Any:
    """`value` in another type or a little off: what a change of version does to a field."""
    if isinstance(value, bool | None):
        return rng.choice([str(value), int(bool(value)), [value]])
    if isinstance(value, int | float):
        return rng.choice([str(value), -value, value * 1000, value / 1e9, float(value), value + 1, [value]])
    if isinstance(value, str):
        inner = _loaded(value.encode("utf-8", "replace"))
        if inner is not None:
            return rng.choice([inner, json.dumps(_changed(inner, rng))])
        return rng.choice([value[: len(value) // 2], value.upper(), value * 3, [value], {"value": value}])
    return json.dumps(value)


def _buried(value: Any, rng: random.Random) -> Any:
    depth = _DEEP if rng.random() < 0.05 else rng.randint(1, 3)
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"value": value}
    return value


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of the document; level by level, so a deep one is no harm."""
    found: list[tuple[Any, Any]] = []
    level = [document]
    while level:
        here = [(node, key) for node in level for key in _keys(node)]
        found += here
        level = [node[key] for node, key in here]
    return found


def _keys(node: Any) -> list[Any]:
    return list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []


def _parquet(body: bytes) -> bytes:
    rows = [row for row in orjson.loads(body) if isinstance(row, dict)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    target = io.BytesIO()
    pq.write_table(pa.table({name: _column([row.get(name) for row in rows]) for name in names}), target)
    return target.getvalue()


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array([None if value is None else json.dumps(value) for value in values])


def _zip(body: bytes) -> bytes:
    members = orjson.loads(body)
    if not isinstance(members, dict):
        raise ValueError("no members")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text if isinstance(text, str) else json.dumps(text))
    return target.getvalue()


def _zstd(body: bytes) -> bytes:
    return pa.compress(body, "zstd", asbytes=True)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 1)


_PACKERS: Final = dict(zip(ENVELOPES, (_parquet, _zip, _gzip, _zstd), strict=True))
