"""Logs in other forms: each is the same content in other bytes, which readers must tell apart."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import json_format
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

Records = list[dict[str, Any]]
MAPPED: Final = "rollouts"
CALLS: Final = "litellm"
_IDS: Final = ("traceId", "spanId", "parentSpanId")
_KINDS: Final = {"resourceSpans": TracesData, "resourceLogs": LogsData, "resourceMetrics": MetricsData}
_INNER: Final = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}


def records_of(path: Path) -> Records:
    """The records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines_of(records: Records) -> bytes:
    """JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def zstd(body: bytes) -> bytes:
    """`body` as one zstd frame, as a stream writes it."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(body)
    return sink.getvalue().to_pybytes()


def parquet(records: Records) -> bytes:
    """`records` as Parquet, nested as they are; it has no type for an empty object, which becomes null."""
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_without_empty(records)), target)
    return target.getvalue()


def _without_empty(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_empty(item) for item in node]
    if isinstance(node, dict):
        return {key: None if value == {} else _without_empty(value) for key, value in node.items()}
    return node


def sheet(records: Records) -> bytes:
    """`records` as CSV: flags and numbers as Python's csv module spells them, objects as JSON text."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(records[0]))
    writer.writeheader()
    for record in records:
        cells = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in record.items()}
        writer.writerow(cells)
    return target.getvalue().encode()


def protobuf(record: dict[str, Any]) -> bytes:
    """`record` of OTLP/JSON in protobuf, by the official classes (whose JSON wants ids in base64)."""
    (name,) = record
    message = json_format.ParseDict(_base64(record), _KINDS[name](), ignore_unknown_fields=True)
    return message.SerializeToString()


def _base64(node: Any) -> Any:
    if isinstance(node, list):
        return [_base64(item) for item in node]
    if isinstance(node, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode() if key in _IDS else _base64(value)
            for key, value in node.items()
        }
    return node


def framed(*messages: bytes) -> bytes:
    """`messages` as the collector's file exporter writes them: each behind its length."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def bare(records: Records) -> bytes:
    """OTLP export requests one behind the other, which is how protobuf joins them to one."""
    return b"".join(map(protobuf, records))


def merged(records: Records) -> bytes:
    """OTLP as one object over many lines."""
    (name,) = records[0]
    return json.dumps({name: [block for record in records for block in record[name]]}, indent=1).encode()


def span_by_span(records: Records) -> Records:
    """OTLP with a line for each span or log record, in their order: what a small batch size writes."""
    found: Records = []
    for record in records:
        (name,) = record
        scopes, entries = _INNER[name]
        for block in record[name]:
            for scope in block[scopes]:
                for entry in scope[entries]:
                    found.append({name: [{**block, scopes: [{**scope, entries: [entry]}]}]})
    return found


Form = Callable[[Records], bytes]
ANY: Final[dict[str, Form]] = {
    "gzip": lambda records: gzip.compress(lines_of(records)),
    "gzip in two members": lambda records: (
        b"".join(gzip.compress(lines_of([r])) for r in records[:2]) + gzip.compress(lines_of(records[2:]))
    ),
    "zstd": lambda records: zstd(lines_of(records)),
    "array": lambda records: json.dumps(records).encode(),
    "pretty array": lambda records: json.dumps(records, indent=2).encode(),
    "byte order mark, CRLF": lambda records: b"\xef\xbb\xbf" + lines_of(records).replace(b"\n", b"\r\n"),
    "parquet": parquet,
}
"""Forms of every log, by name."""
OTLP: Final[dict[str, Form]] = {
    "one object": merged,
    "protobuf, framed": lambda records: framed(*map(protobuf, records)),
    "protobuf, framed and packed": lambda records: framed(*(zstd(protobuf(r)) for r in records)),
    "protobuf, bare": bare,
    "protobuf, bare in gzip": lambda records: gzip.compress(bare(records)),
}
"""Forms of OTLP alone."""


def outcome_sheet(records: Records) -> tuple[Records, str]:
    """The labels of OTLP as a table that a team might export, a row per request, and the mapping of it."""
    rows: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for record in span_by_span(records):
        entry = record["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
        told = {pair["key"]: next(iter(pair["value"].values())) for pair in entry["attributes"]}
        name = told["gen_ai.evaluation.name"]
        sources[name] = told["annotator_kind"].lower()
        row = rows.setdefault(entry["traceId"], {"request": entry["traceId"]})
        row |= {name: told["gen_ai.evaluation.score.value"], f"{name}_at": int(entry["timeUnixNano"]) // 1000}
    columns = ["request", *(column for name in sources for column in (name, f"{name}_at"))]
    outcomes = ",\n".join(
        f'{{name = "{name}", from = "{name}", source = "{source}", '
        f'ts = {{from = "{name}_at", unit = "us", timezone = "UTC"}}}}'
        for name, source in sources.items()
    )
    mapping = f'table = "outcomes"\nfiles = "outcomes.*"\noutcomes = [{outcomes}]\n'
    mapping += '[columns]\nrequest_id = "request"\n'
    return [{column: row.get(column) for column in columns} for row in rows.values()], mapping


def spend_rows(calls: Records) -> Records:
    """LiteLLM payloads as rows of its spend table: the id of the request alone, JSON in text."""
    kept = ("startTime", "endTime", "completionStartTime", "call_type", "model", "model_group", "status")
    counts = ("prompt_tokens", "completion_tokens", "total_tokens", "custom_llm_provider", "session_id")
    return [
        {
            "request_id": call["id"],
            "spend": call["response_cost"],
            **{name: call[name] for name in (*kept, *counts)},
            "cache_hit": str(call["cache_hit"]),
            "cache_key": "Cache OFF",
            "request_tags": json.dumps(call["request_tags"]),
            "metadata": json.dumps(call["metadata"]),
        }
        for call in calls
    ]
