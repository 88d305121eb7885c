"""OTLP files as they arrive: cut, reordered, doubled, mixed, oddly spelled; rows or reasons, no crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from otlp_logs import TRACE, attributes, chat, logs, span, span_id, traces
from paths import shared_data
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.readers import otlp
from shadowprice.ingest.seam import Ignored, Rejected, Row


def _snake(node: Any) -> Any:
    if isinstance(node, list):
        return [_snake(item) for item in node]
    if isinstance(node, dict):
        return {
            "".join(f"_{c.lower()}" if c.isupper() else c for c in key): _snake(value)
            for key, value in node.items()
        }
    return node


def test_snake_case_and_plain_integers_are_read_too(tmp_path: Path) -> None:
    """Kills reading camelCase only, or integers as text only."""
    record = traces(span(1, chat()))
    spelled = json.loads(json.dumps(_snake(record)))
    one = spelled["resource_spans"][0]["scope_spans"][0]["spans"][0]
    one["start_time_unix_nano"] = int(one["start_time_unix_nano"])
    one["attributes"][-1]["value"] = {"int_value": 20}
    assert rows(run(otlp, lines([spelled]), tmp_path)) == rows(run(otlp, lines([record]), tmp_path))


@pytest.mark.parametrize("shape", ["line", "pretty object", "array", "bare blocks", "array of blocks"])
def test_every_envelope_gives_the_same_rows(shape: str, tmp_path: Path) -> None:
    """Kills accepting only one object per line."""
    record = traces(span(1, chat()), span(2, chat()))
    block = record["resourceSpans"][0]
    body = {
        "line": json.dumps(record),
        "pretty object": json.dumps(record, indent=2),
        "array": json.dumps([record], indent=2),
        "bare blocks": lines([block]),
        "array of blocks": json.dumps([block]),
    }[shape]
    assert otlp.sniff(body.encode())
    assert [r["decision_id"] for r in rows(run(otlp, body, tmp_path))] == [
        f"{TRACE}:{span_id(1)}",
        f"{TRACE}:{span_id(2)}",
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("traceId", "W47/95gDgQPSabYzgT/GDA==", "expected 32 hex digits (base64 is not OTLP/JSON)"),
        ("traceId", "", "traceId is missing"),
        ("traceId", "0" * 32, "traceId is missing"),
        ("spanId", "eee19b7ec3c1b17", "expected 16 hex digits"),
        ("spanId", 12, "expected 16 hex digits"),
        ("parentSpanId", "xyz", "expected 16 hex digits"),
        ("startTimeUnixNano", None, "startTimeUnixNano is missing"),
        ("startTimeUnixNano", "soon", "startTimeUnixNano: 'soon' is not a number"),
        ("startTimeUnixNano", "1795249866", "check the unit"),
        ("attributes", {"a": 1}, "attributes is dict, expected a list"),
        ("attributes", [{"key": 1}], "an attribute's key is 1"),
        ("attributes", [{"key": "a", "value": {"intValue": "1.5"}}], "invalid literal"),
        ("attributes", [{"key": "a", "value": {"boolValue": "yes"}}], "boolValue is 'yes'"),
        ("attributes", [{"key": "a", "value": {"stringValue": 1}}], "stringValue is 1"),
        ("status", "bad", "status is str, expected an object"),
        ("events", {}, None),
        ("events", [1], "event is int, expected an object"),
    ],
)
def test_a_damaged_span_is_rejected_and_its_neighbour_is_read(
    field: str, value: Any, message: str | None, tmp_path: Path
) -> None:
    """Kills ids decoded as base64, exceptions, and losing a whole batch over one span."""
    items = run(otlp, lines([traces({**span(1, chat()), field: value}, span(2, chat()))]), tmp_path)
    assert rows(items)[-1]["decision_id"] == f"{TRACE}:{span_id(2)}"
    if message is not None:
        (reason,) = reasons(items)
        assert message in reason


def test_ids_are_lower_case(tmp_path: Path) -> None:
    """Kills two spellings of one trace that never meet."""
    one = {**span(1, chat()), "traceId": TRACE.upper()}
    assert rows(run(otlp, lines([traces(one)]), tmp_path))[0]["request_id"] == TRACE


def test_attribute_values_that_nest_without_end_are_rejected(tmp_path: Path) -> None:
    """Kills a recursion error from one attribute."""
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(20):
        value = {"arrayValue": {"values": [value]}}
    one = {**span(1, {}), "attributes": [{"key": "deep", "value": value}]}
    (reason,) = reasons(run(otlp, lines([traces(one)]), tmp_path))
    assert "nests deeper than 8" in reason


def test_nested_values_of_moderate_depth_are_decoded(tmp_path: Path) -> None:
    """Kills dropping lists and maps of attributes."""
    pairs = [{"key": "k", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"boolValue": False}]}}}]
    given = [{"key": "shadowprice.x_map", "value": {"kvlistValue": {"values": pairs}}}]
    one = {**span(1, chat()), "attributes": [*attributes(chat()), *given]}
    (reason,) = reasons(run(otlp, lines([traces(one)]), tmp_path))
    assert "shadowprice.x_map: {'k': [1, False]} is not a number" in reason


def test_a_nan_matters_only_where_it_is_used(tmp_path: Path) -> None:
    """Kills rejecting a call over a NaN that nobody reads, and storing one that somebody does."""
    noise = [{"key": "my.own", "value": {"doubleValue": "NaN"}}]
    fine = {**span(1, chat()), "attributes": [*attributes(chat()), *noise]}
    used = [{"key": "shadowprice.propensity", "value": {"doubleValue": "NaN"}}]
    bad = {**span(2, chat()), "attributes": [*attributes(chat()), *used]}
    items = run(otlp, lines([traces(fine, bad)]), tmp_path)
    assert len(rows(items)) == 1
    assert "shadowprice.propensity: nan is not a finite number" in reasons(items)[0]


def test_a_mixed_file_ends_in_rows_and_reasons(tmp_path: Path) -> None:
    """Kills stopping at the first line of another format, and counts that do not reconcile."""
    body = lines([traces(span(1, chat())), {"litellm_call_id": "x"}, {"resourceSpans": 5}])
    body += "not json\n" + lines([logs({"eventName": "x"}), {"resourceSpans": [7]}])
    items = run(otlp, body + json.dumps(traces(span(2, chat())))[:200], tmp_path)
    assert [item.line for item in items] == [1, 2, 3, 4, 5, 6, 7]
    assert len(rows(items)) == 1
    assert len(ignored(items)) == 1
    assert len(reasons(items)) == 5
    assert reasons(items)[0].startswith("no OTLP: expected one of resourceLogs")


def test_a_doubled_span_has_the_same_id_twice(tmp_path: Path) -> None:
    """Kills ids that depend on the position, which would count an exported-twice span twice."""
    found = rows(run(otlp, lines([traces(span(1, chat())), traces(span(1, chat()))]), tmp_path))
    assert found[0] == found[1]


def test_the_order_of_lines_does_not_change_the_rows(tmp_path: Path) -> None:
    """Kills state that leaks from one line to the next."""
    records = [traces(span(n, chat())) for n in (1, 2, 3)]
    forth = rows(run(otlp, lines(records), tmp_path))
    back = rows(run(otlp, lines(records[::-1]), tmp_path))
    assert forth == back[::-1]


def test_the_public_examples_of_the_protocol_hold_no_decision() -> None:
    """Kills decisions invented from spans, records and metrics of other applications."""
    folder = shared_data("formats") / "otlp_json"
    found = {name: run_file(otlp, folder / f"{name}.json") for name in ("trace", "logs", "events", "metrics")}
    assert {name: ignored(items) for name, items in found.items()} == {
        "trace": ["unrelated span"],
        "logs": ["log record that is no evaluation"],
        "events": ["log record that is no evaluation"],
        "metrics": ["metric"] * 4,
    }
    assert not any(reasons(items) or rows(items) for items in found.values())


_EVENT = {"name": "gen_ai.evaluation.result", "attributes": attributes({"gen_ai.evaluation.name": "a"})}
_SEEDS = [
    traces(
        span(1, chat(**{"shadowprice.candidates": ["a", "b"]}), events=[_EVENT], status={"code": 2}),
        span(2, {"gen_ai.operation.name": "invoke_agent"}, parent=1),
        span(3, {"gen_ai.latency.e2e": 1.0, "gen_ai.usage.cached_tokens": 3}, name="llm_request"),
    ),
    logs({"eventName": "gen_ai.evaluation.result", "traceId": TRACE, "attributes": _EVENT["attributes"]}),
]


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    record = mutated(data, data.draw(st.sampled_from(_SEEDS)))
    for item in run(otlp, lines([record]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
