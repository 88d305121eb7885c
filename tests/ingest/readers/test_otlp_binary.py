"""OTLP as protobuf, in bytes that another encoder wrote: framed, bare, compressed, cut, hostile."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_forms import framed, protobuf, zstd
from otlp_logs import TRACE, attributes, chat, logs, span, span_id, traces
from paths import shared_data
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.readers import otlp, otlp_binary, otlp_wire
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

EVENT = {"name": "gen_ai.evaluation.result", "timeUnixNano": "1795249867000000000"}
RECORD = traces(
    span(
        1,
        chat(
            **{"shadowprice.candidates": ["gpt-4o", "b"], "shadowprice.x_low": -3, "shadowprice.x_part": 0.25}
        ),
        parent=9,
        events=[
            {
                **EVENT,
                "attributes": attributes(
                    {"gen_ai.evaluation.name": "ok", "gen_ai.evaluation.score.value": 1.0}
                ),
            }
        ],
        status={"code": 2, "message": "no"},
    ),
    span(2, {"http.method": "GET"}),
    resource={"service.version": "1.2"},
)
JUDGED = logs(
    {
        "eventName": "gen_ai.evaluation.result",
        "traceId": TRACE,
        "spanId": span_id(1),
        "timeUnixNano": "1795249867000000000",
        "attributes": attributes({"gen_ai.evaluation.name": "ok", "gen_ai.evaluation.score.label": "yes"}),
    }
)


@pytest.mark.parametrize("shape", ["bare", "framed", "framed zstd", "framed zstd json", "gzip", "bare twice"])
def test_every_framing_gives_the_rows_of_the_json(shape: str, tmp_path: Path) -> None:
    """Kills a field number, a byte order, an id in base64, and any framing that a collector writes."""
    span_bytes, log_bytes = protobuf(RECORD), protobuf(JUDGED)
    body = {
        "bare": span_bytes + log_bytes,
        "framed": framed(span_bytes, log_bytes),
        "framed zstd": framed(zstd(span_bytes), zstd(log_bytes)),
        "framed zstd json": framed(*(zstd(json.dumps(r).encode()) for r in (RECORD, JUDGED))),
        "gzip": gzip.compress(framed(span_bytes, log_bytes)),
        "bare twice": span_bytes + log_bytes,
    }[shape]
    plain = body if shape != "gzip" else framed(span_bytes, log_bytes)
    assert find_reader(plain[:65536], name="export").NAME == "otlp_binary"
    found = run(otlp_binary, body, tmp_path)
    assert found == run(otlp, lines([RECORD, JUDGED]), tmp_path)
    assert [r["decision_id"] for r in rows(found)] == [f"{TRACE}:{span_id(1)}"]
    assert rows(found)[0]["x_low"] == -3
    assert ignored(found) == ["unrelated span"]


def test_the_public_examples_say_the_same_in_both_forms(tmp_path: Path) -> None:
    """Kills taking a metric for a span, or a log record for a metric, whose outer field numbers are equal."""
    folder = shared_data("formats") / "otlp_json"
    for name in ("trace", "logs", "events", "metrics"):
        record = json.loads((folder / f"{name}.json").read_text())
        body = protobuf(record)
        assert otlp_binary.sniff(body), name
        assert run(otlp_binary, body, tmp_path) == run(otlp, lines([record]), tmp_path), name


def test_a_message_that_is_cut_off_ends_in_a_reason(tmp_path: Path) -> None:
    """Kills a crash at the end of a file that is still written, and losing what came before."""
    body = framed(protobuf(RECORD), protobuf(JUDGED))
    items = run(otlp_binary, body[:-5], tmp_path)
    assert len(rows(items)) == 1
    (reason,) = reasons(items)
    assert "cut off" in reason
    assert "nothing after this was read" in reason


def test_a_packed_file_that_is_damaged_from_its_first_byte_on_ends_in_a_reason(tmp_path: Path) -> None:
    """Kills an exception of the decompressor out of the look at the framing."""
    (reason,) = reasons(run(otlp_binary, b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\xff" * 40, tmp_path))
    assert "nothing after this was read" in reason


def test_a_damaged_message_costs_only_itself(tmp_path: Path) -> None:
    """Kills losing the rest of a file over one message."""
    items = run(otlp_binary, framed(b"\x0a\x03\x0b\x0b\x0b", b"\x0a\x02\x12\x7f", protobuf(RECORD)), tmp_path)
    assert len(rows(items)) == 1
    assert [item.line for item in items if isinstance(item, Rejected)] == [1, 2]
    assert all(reason.startswith("no OTLP: ") for reason in reasons(items))


def test_a_length_beyond_any_message_is_refused_unread(tmp_path: Path) -> None:
    """Kills memory that the log asks for."""
    (reason,) = reasons(run(otlp_binary, b"\x0a\xff\xff\xff\xff\x7f" + b"x" * 100, tmp_path))
    assert "expected at most" in reason
    (reason,) = reasons(run(otlp_binary, b"\x03\xff\xff\xff" + b"x" * 100, tmp_path))
    assert "cut off" in reason


def test_a_message_that_inflates_beyond_any_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kills a bomb inside of one compressed message."""
    monkeypatch.setattr(otlp_binary, "MAX_OBJECT_BYTES", 4 * 1024 * 1024)
    items = run(otlp_binary, framed(zstd(b"\x0a" * (32 * 1024 * 1024)), protobuf(RECORD)), tmp_path)
    assert reasons(items) == ["no OTLP: a message that inflates to more than 4194304 bytes"]
    assert len(rows(items)) == 1


def test_damaged_compressed_messages_cost_no_memory_once_they_are_told(tmp_path: Path) -> None:
    """Kills reading them by pyarrow's read(), which never frees the 1 MiB that it was to return."""
    cut = zstd(bytes(range(256)) * 40)[:-20]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert len(reasons(run(otlp_binary, framed(*[cut] * 20, protobuf(RECORD)), tmp_path))) == 20
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 1024 * 1024


def test_values_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    """Kills a recursion error from one attribute."""

    def wrapped(tag: int, body: bytes) -> bytes:
        size, prefix = len(body), b""
        while size >= 0x80:
            prefix, size = prefix + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([tag]) + prefix + bytes([size]) + body

    value = wrapped(0x0A, b"x")
    for _ in range(400):
        value = wrapped(0x2A, wrapped(0x0A, value))  # arrayValue of one value
    pair = wrapped(0x0A, b"k") + wrapped(0x12, value)
    leaf = wrapped(0x0A, b"t" * 16) + wrapped(0x12, b"s" * 8) + b"\x39" + b"\x01" * 8 + wrapped(0x4A, pair)
    block = wrapped(0x12, wrapped(0x12, leaf))
    assert reasons(run(otlp_binary, wrapped(0x0A, block), tmp_path)) == [
        "no OTLP: nested deeper than 60 messages"
    ]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b'\n{"resourceSpans": []}\n',
        b'\n{\n  "a": 1\n}\n',
        b"\n\n\nhello world, this is text\n" * 20,
        b"\x00\x00\x00\x05hello",
        b"\x00" * 64,
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"PK\x03\x04\x14\x00",
        b"PAR1\x15\x04",
        b"\x28\xb5\x2f\xfd\x00",
    ],
)
def test_other_files_are_not_claimed(head: bytes) -> None:
    """Kills taking a line feed, the tag of a resource block, for OTLP."""
    assert not otlp_binary.sniff(head)


_SCALARS = st.one_of(
    st.text(max_size=8),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.dictionaries(st.text(max_size=6), st.one_of(_SCALARS, st.lists(_SCALARS, max_size=3)), max_size=5))
def test_attributes_are_what_another_decoder_says(told: dict[str, Any]) -> None:
    """Kills a wrong sign, byte order, text or list: the official classes wrote the bytes."""
    record = traces(span(1, told))
    body = protobuf(record)
    size, at = otlp_wire.varint(body, 1)
    assert at + size == len(body)
    (mine,) = otlp_wire.record_of(body[at:])["resourceSpans"]
    given_back = mine["scopeSpans"][0]["spans"][0].get("attributes", [])
    assert [(pair["key"], _plain(pair.get("value", {}))) for pair in given_back] == list(told.items())


def _plain(value: dict[str, Any]) -> Any:
    if "arrayValue" in value:
        return [_plain(item) for item in value["arrayValue"].get("values", [])]
    return next(iter(value.values()))


@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_to_the_bytes_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an exception from bytes that are almost OTLP, or not at all."""
    seed = data.draw(st.sampled_from([protobuf(RECORD), framed(protobuf(RECORD), protobuf(JUDGED)), b""]))
    body = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 6))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body += data.draw(st.binary(max_size=12))
    otlp_binary.sniff(bytes(body))
    for item in run(otlp_binary, bytes(body), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
