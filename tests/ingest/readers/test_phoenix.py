"""Phoenix exports, hand-written from the client's documented frames and API answers: spans, annotations."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers import phoenix
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN, PARENT = "eee19b7ec3c1b174", "eee19b7ec3c1b173"
TOLD = {
    "llm.model_name": "gpt-4o",
    "llm.provider": "openai",
    "llm.token_count.prompt": 100,
    "llm.token_count.prompt_details.cache_read": 30,
    "llm.token_count.completion": 20,
    "llm.cost.total": 0.003,
    "session.id": "s-1",
    "user.id": "u-1",
    "input.value": "secret words",
}


def frame(**fields: Any) -> dict[str, Any]:
    """One row of `get_spans_dataframe().reset_index()`."""
    return {
        "context.span_id": SPAN,
        "context.trace_id": TRACE,
        "name": "ChatCompletion",
        "span_kind": "LLM",
        "parent_id": PARENT,
        "start_time": "2026-11-21T08:31:06.250000+00:00",
        "end_time": "2026-11-21T08:31:08.250000+00:00",
        "status_code": "OK",
        "status_message": "",
        "events": [{"name": "First Token Stream Event", "timestamp": "2026-11-21T08:31:06.750000+00:00"}],
        **{f"attributes.{name}": value for name, value in TOLD.items()},
        "cumulative_llm_token_count_prompt": 900,
        **fields,
    }


def answer(**fields: Any) -> dict[str, Any]:
    """One span as the API lists it."""
    kept = ("name", "span_kind", "parent_id", "start_time", "end_time", "status_code", "events")
    return {
        "id": "U3Bhbjox",
        "context": {"trace_id": TRACE, "span_id": SPAN},
        "attributes": dict(TOLD),
        **{name: frame()[name] for name in kept},
        **fields,
    }


def note(**fields: Any) -> dict[str, Any]:
    """One annotation as the API lists it."""
    return {
        "id": "x",
        "span_id": SPAN,
        "name": "correctness",
        "annotator_kind": "LLM",
        "result": {"label": "correct", "score": 1, "explanation": "secret words"},
        "created_at": "2026-11-22T09:00:00+00:00",
        **fields,
    }


def test_a_span_of_a_frame_is_openinferences_decision(tmp_path: Path) -> None:
    """Kills cumulative counts taken for the span's own, and an id that its annotations do not name."""
    items = run(phoenix, lines([frame()]), tmp_path)
    assert rows(items) == [
        {
            "decision_id": SPAN,
            "request_id": TRACE,
            "parent_id": PARENT,
            "session_id": "s-1",
            "tenant_id": "u-1",
            "ts": datetime(2026, 11, 21, 8, 31, 6, 250_000, tzinfo=UTC),
            "latency_s": 2.0,
            "ttft_s": 0.5,
            "layer": "router",
            "decision_point": "model",
            "action": "gpt-4o",
            "action_executed": "gpt-4o",
            "_provider": "openai",
            "tok_input_uncached": 70,
            "tok_cache_read": 30,
            "tok_output": 20,
            "cost_usd": 0.003,
            "cost_source": "logged",
        }
    ]
    assert "secret" not in repr(items)


def test_every_shape_of_the_export_says_the_same(tmp_path: Path) -> None:
    """Kills reading one shape only: frame, API answer, page of answers, nested attributes, epoch times."""
    expected = rows(run(phoenix, lines([frame()]), tmp_path))
    nested = answer(attributes={**TOLD, "llm": {"model_name": "gpt-4o"}})
    epoch = frame(start_time=1_795_249_866_250, end_time=1_795_249_868_250)
    for record in (answer(), {"data": [answer()], "next_cursor": None}, nested, epoch):
        body = lines([record])
        assert find_reader(body.encode(), name="export").NAME == "phoenix"
        assert rows(run(phoenix, body, tmp_path)) == expected


def test_csv_and_parquet_frames_say_the_same(tmp_path: Path) -> None:
    """Kills numbers as text, whole numbers as floats beside empty cells, and lists that CSV cannot hold."""
    expected = rows(run(phoenix, lines([frame()]), tmp_path))
    whole = frame(**{"attributes.llm.token_count.prompt": 100.0})
    path = tmp_path / "spans.parquet"
    pq.write_table(pa.Table.from_pylist([whole]), path)
    assert phoenix.sniff(read_head(path))
    assert rows(run_file(phoenix, path)) == expected
    out = io.StringIO()
    table = csv.DictWriter(out, whole)
    table.writeheader()
    table.writerow(whole)
    assert phoenix.sniff(out.getvalue().encode())
    (row,) = rows(run(phoenix, out.getvalue(), tmp_path))
    assert "ttft_s" not in row
    assert [{k: v for k, v in e.items() if k != "ttft_s"} for e in expected] == [row]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"decision_id": SPAN, "value": 1.0, "label": "correct", "source": "llm_judge"}),
        (
            {"annotator_kind": "HUMAN", "result": {"score": 0}},
            {"decision_id": SPAN, "value": 0.0, "source": "human"},
        ),
        (
            {"span_id": None, "trace_id": TRACE, "annotator_kind": "CODE", "result": {"label": "x"}},
            {"request_id": TRACE, "label": "x", "source": "code"},
        ),
    ],
)
def test_annotations_are_outcomes(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    """Kills a judge taken for a human, a score of 0 taken for none, and stored explanations."""
    assert find_reader(lines([note(**fields)]).encode(), name="export").NAME == "phoenix"
    items = run(phoenix, lines([note(**fields)]), tmp_path)
    (row,) = rows(items, "outcomes")
    assert row.pop("ts") == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert row == {"name": "correctness", **expected}
    assert "secret" not in repr(items)


def test_an_annotation_behind_its_span_reaches_the_whole_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kills scores of root spans, which decide nothing themselves, that no decision ever meets."""
    body = lines([frame(span_kind="AGENT", parent_id=None), note()])
    (row,) = rows(run(phoenix, body, tmp_path), "outcomes")
    assert (row["request_id"], row["decision_id"]) == (TRACE, SPAN)
    monkeypatch.setattr(phoenix, "MAX_TRACES", 0)
    (row,) = rows(run(phoenix, body, tmp_path), "outcomes")
    assert "request_id" not in row


def test_annotations_of_a_frame_say_the_same(tmp_path: Path) -> None:
    """Kills knowing the API's spelling only."""
    told = {"span_id": SPAN, "annotation_name": "correctness", "annotator_kind": "LLM", "result.score": 1.0}
    (row,) = rows(run(phoenix, lines([{**told, "result.label": "correct"}]), tmp_path), "outcomes")
    assert (row["decision_id"], row["name"], row["value"]) == (SPAN, "correctness", 1.0)


def test_an_annotation_without_a_result_is_ignored(tmp_path: Path) -> None:
    """Kills quarantining what a person merely opened."""
    assert ignored(run(phoenix, lines([note(result=None)]), tmp_path)) == [
        "annotation with neither score nor label"
    ]


def test_other_kinds_errors_and_roots_are_those_of_otlp(tmp_path: Path) -> None:
    """Kills a second, poorer idea of agent steps."""
    body = lines(
        [
            frame(span_kind="TOOL", name="get_weather"),
            frame(span_kind="AGENT", parent_id=None),
            frame(span_kind="EMBEDDING"),
            frame(status_code="ERROR"),
        ]
    )
    items = run(phoenix, body, tmp_path)
    assert [r["action"] for r in rows(items)] == ["read", "gpt-4o"]
    assert ignored(items) == ["embedding span"]
    assert [r["name"] for r in rows(items, "outcomes")] == ["error"]
    assert rows(items, "contexts")[0]["session_id"] == "s-1"


@pytest.mark.parametrize("order", [1, -1])
def test_an_agent_below_a_plain_span_is_still_the_root(order: int, tmp_path: Path) -> None:
    """Kills a delegation invented because every row of a frame stands alone."""
    plain = frame(**{"context.span_id": PARENT, "parent_id": None, "span_kind": "UNKNOWN"})
    plain = {name: value for name, value in plain.items() if not name.startswith("attributes.llm")}
    body = lines([frame(span_kind="AGENT"), {**plain, "attributes.x": 1}][::order])
    items = run(phoenix, body, tmp_path)
    assert rows(items) == []
    assert [row["session_id"] for row in rows(items, "contexts")] == ["s-1"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context.span_id": None}, "no span id"),
        ({"context.span_id": "abc"}, "span id is 'abc', expected 16 hex digits"),
        ({"start_time": None}, "no start time"),
        ({"start_time": 12}, "start time is 12, expected a time"),
        ({"attributes.llm.token_count.prompt": -1}, "is not a count"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Kills crashes, made-up ids where a frame lost its index, and clipped counts."""
    (reason,) = reasons(run(phoenix, lines([frame(**fields)]), tmp_path))
    assert message in reason


def test_the_public_attribute_maps_read_as_spans(tmp_path: Path) -> None:
    """Kills a wrapper that loses attributes of real spans."""
    folder = shared_data("formats") / "openinference"
    for path in sorted(folder.glob("*client_span*.json")):
        (row,) = rows(run(phoenix, lines([answer(attributes=json.loads(path.read_text()))]), tmp_path))
        assert (row["tok_input_uncached"], row["tok_output"]) == (97, 52), path.name


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    seeds = [frame(), answer(), note(), {"data": [answer(), note()], "next_cursor": None}]
    record = mutated(data, data.draw(st.sampled_from(seeds)))
    for item in run(phoenix, lines([record]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
