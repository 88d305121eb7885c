"""MLflow traces of three schemas, hand-written from the writer's source: no licensed sample exists.

By hand, a trace that mlflow-tracing 3.17.2 itself wrote had the shape of schema 3 here and read without loss.
"""

from __future__ import annotations

import base64
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
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers import mlflow
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

TRACE = "5b8efff798038103d269b633813fc60c"
START = 1_795_249_866_250_000_000
"""2026-11-21T08:31:06.25Z."""
USAGE = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 30}


def b64(hexed: str) -> str:
    """An id as schema 3 writes it: its bytes in base64."""
    return base64.b64encode(bytes.fromhex(hexed)).decode()


def sid(number: int) -> str:
    """A span id."""
    return f"{number:016x}"


def told(kind: str = "CHAT_MODEL", **more: Any) -> dict[str, str]:
    """Attributes as MLflow stores them: every value as JSON text."""
    given_values = {
        "mlflow.traceRequestId": f"tr-{TRACE}",
        "mlflow.spanType": kind,
        "mlflow.spanInputs": {"model": "from-inputs", "messages": ["secret words"]},
        "mlflow.llm.model": "gpt-4o",
        "mlflow.llm.provider": "openai",
        "mlflow.chat.tokenUsage": USAGE,
        "mlflow.llm.cost": {"input_cost": 0.001, "output_cost": 0.002, "total_cost": 0.003},
        **more,
    }
    return {name: json.dumps(value) for name, value in given_values.items() if value is not None}


def span(
    number: int, attributes: dict[str, str], *, parent: int | None = None, **fields: Any
) -> dict[str, Any]:
    """A span of 2 s in schema 3."""
    return {
        "trace_id": b64(TRACE),
        "span_id": b64(sid(number)),
        "parent_span_id": "" if parent is None else b64(sid(parent)),
        "name": "chat",
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 2_000_000_000,
        "events": [{"name": "mlflow.chunk.item.0", "time_unix_nano": START + 500_000_000, "attributes": {}}],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": attributes,
        **fields,
    }


def trace(*spans: dict[str, Any], assessments: list[Any] | None = None, **info: Any) -> dict[str, Any]:
    """One trace as `to_json` writes it."""
    return {
        "info": {
            "trace_id": f"tr-{TRACE}",
            "request_preview": "secret words",
            "request_time": "2026-11-21T08:31:06.250Z",
            "execution_duration_ms": 2000,
            "state": "OK",
            "trace_metadata": {
                "mlflow.trace.session": "s-1",
                "mlflow.trace.user": "u-1",
                "mlflow.trace.tokenUsage": json.dumps(USAGE),
                "mlflow.modelId": "m-7",
            },
            "tags": {"mlflow.traceName": "support"},
            "assessments": assessments or [],
            **info,
        },
        "data": {"spans": list(spans)},
    }


def judged(**fields: Any) -> dict[str, Any]:
    """A judge's assessment of the whole trace."""
    return {
        "assessment_id": "a-1",
        "assessment_name": "correctness",
        "trace_id": f"tr-{TRACE}",
        "source": {"source_type": "LLM_JUDGE", "source_id": "gpt"},
        "create_time": "2026-11-22T09:00:00Z",
        "last_update_time": "2026-11-22T09:00:00Z",
        "feedback": {"value": 0.5},
        "rationale": "secret words",
        **fields,
    }


EXPECTED = {
    "decision_id": f"{TRACE}:{sid(2)}",
    "request_id": TRACE,
    "parent_id": f"{TRACE}:{sid(1)}",
    "session_id": "s-1",
    "tenant_id": "u-1",
    "ts": datetime(2026, 11, 21, 8, 31, 6, 250_000, tzinfo=UTC),
    "policy_version": "m-7",
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


def test_a_chat_model_span_is_a_decision_with_ids_out_of_base64(tmp_path: Path) -> None:
    """Kills ids that no other layer's trace meets, the trace's roll-up of tokens, and stored content."""
    items = run(mlflow, lines([trace(span(2, told(), parent=1))]), tmp_path)
    assert rows(items) == [EXPECTED]
    assert rows(items, "contexts") == [
        {"request_id": TRACE, "session_id": "s-1", "tenant_id": "u-1", "x_trace_name": "support"}
    ]
    assert "secret" not in repr(items)


def test_schemas_2_and_4_say_the_same(tmp_path: Path) -> None:
    """Kills reading one spelling only: hex ids in a context, or beside a trace id of the store's own."""
    three = span(2, told(), parent=1)
    four = {
        **three,
        "trace_id": f"tr-{TRACE}",
        "otel_trace_id": TRACE,
        "span_id": sid(2),
        "parent_span_id": sid(1),
        "status": {"code": "OK"},
    }
    two = {
        "name": "chat",
        "context": {"span_id": f"0x{sid(2)}", "trace_id": f"0x{TRACE}"},
        "parent_id": f"0x{sid(1)}",
        "start_time": START,
        "end_time": START + 2_000_000_000,
        "status_code": "OK",
        "status_message": "",
        "attributes": told(),
        "events": [{"name": "mlflow.chunk.item.0", "timestamp": START + 500_000_000, "attributes": {}}],
    }
    listed = [
        {"key": "mlflow.trace.session", "value": "s-1"},
        {"key": "mlflow.trace.user", "value": "u-1"},
        {"key": "mlflow.modelId", "value": "m-7"},
    ]
    older = trace(two, trace_metadata=None, request_metadata=listed)
    for record in (trace(four), older):
        assert rows(run(mlflow, lines([record]), tmp_path)) == [EXPECTED]


def test_a_frame_of_traces_says_the_same(tmp_path: Path) -> None:
    """Kills `search_traces` saved as JSON or as Parquet."""
    info = trace()["info"]
    row = {name: info[name] for name in ("trace_id", "state", "request_time", "trace_metadata", "tags")}
    row |= {"spans": [span(2, told(), parent=1)], "assessments": [judged()]}
    body = lines([row])
    assert mlflow.sniff(body.encode())
    assert rows(run(mlflow, body, tmp_path)) == [EXPECTED]
    path = tmp_path / "traces.parquet"
    texts = {**row, "spans": json.dumps(row["spans"]), "assessments": json.dumps(row["assessments"])}
    pq.write_table(pa.Table.from_pylist([texts]), path)
    assert mlflow.sniff(read_head(path))
    items = run_file(mlflow, path)
    assert rows(items) == [EXPECTED]
    assert len(rows(items, "outcomes")) == 1


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, (70, 30, None)),
        ({**USAGE, "total_tokens": 150}, (100, 30, None)),
        ({**USAGE, "total_tokens": None}, (70, 30, None)),
        (
            {"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": 900, "total_tokens": 6},
            (5, None, 900),
        ),
    ],
)
def test_cached_tokens_are_counted_once_by_the_rows_own_total(
    usage: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    """Kills one convention for all instrumentations: some count cached tokens inside, some apart."""
    (row,) = rows(run(mlflow, lines([trace(span(2, told(**{"mlflow.chat.tokenUsage": usage})))]), tmp_path))
    names = ("tok_input_uncached", "tok_cache_read", "tok_cache_write")
    assert tuple(row.get(name) for name in names) == expected


def test_a_model_call_inside_of_another_counts_once(tmp_path: Path) -> None:
    """Kills tokens that a wrapper and the client below it both report."""
    body = trace(span(1, told("LLM")), span(2, told("CHAIN"), parent=1), span(3, told(), parent=2))
    items = run(mlflow, lines([body]), tmp_path)
    assert [r["decision_id"] for r in rows(items)] == [f"{TRACE}:{sid(1)}"]
    assert ignored(items) == ["chain span", "model call inside of another span"]


def test_agents_tools_and_checks_are_agent_steps(tmp_path: Path) -> None:
    """Kills seeing model calls only, and a root agent that delegates to nobody."""
    body = trace(
        span(1, told("AGENT"), name="support"),
        span(2, told("TOOL"), parent=1, name="get_weather"),
        span(3, told("RETRIEVER"), parent=1, name="docs"),
        span(4, told("AGENT"), parent=1, name="researcher"),
        span(5, told("PARSER"), parent=1),
    )
    items = run(mlflow, lines([body]), tmp_path)
    assert [(r["action"], r["action_executed"]) for r in rows(items)] == [
        ("read", "get_weather"),
        ("read", "docs"),
        ("delegate", "researcher"),
    ]
    assert ignored(items) == ["parser span"]


def test_the_models_name_is_found_in_the_inputs_when_no_attribute_tells_it(tmp_path: Path) -> None:
    """Kills losing the calls of older versions, which log the model among the inputs only."""
    (row,) = rows(run(mlflow, lines([trace(span(2, told(**{"mlflow.llm.model": None})))]), tmp_path))
    assert row["action"] == "from-inputs"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"value": 0.5, "source": "llm_judge"}),
        ({"source": {"source_type": "HUMAN"}, "feedback": {"value": True}},
         {"value": 1.0, "label": "true", "source": "human"}),
        ({"source": {"source_type": "CODE"}, "feedback": {"value": "yes"}, "span_id": sid(2)},
         {"label": "yes", "source": "code", "decision_id": f"{TRACE}:{sid(2)}"}),
        ({"assessment_name": None, "name": "correctness", "create_time": None, "last_update_time": None,
          "create_time_ms": 1_795_338_000_000}, {"value": 0.5, "source": "llm_judge"}),
    ],
)  # fmt: skip
def test_assessments_are_outcomes(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    """Kills a flag without a number, a label turned into one, and rationales in the store."""
    items = run(mlflow, lines([trace(span(2, told()), assessments=[judged(**fields)])]), tmp_path)
    (row,) = rows(items, "outcomes")
    assert row.pop("ts") == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert row == {"request_id": TRACE, "name": "correctness", **expected}
    assert "secret" not in repr(items)


def test_a_judges_cost_is_told_beside_its_score(tmp_path: Path) -> None:
    """Kills verification that looks free."""
    given_metadata = {"mlflow.assessment.judgeCost": "0.0004"}
    items = run(
        mlflow, lines([trace(span(2, told()), assessments=[judged(metadata=given_metadata)])]), tmp_path
    )
    (_, cost) = rows(items, "outcomes")
    assert (cost["name"], cost["value"], cost["label"]) == ("judge_cost_usd", 0.0004, "correctness")


def test_assessments_that_are_no_score_are_ignored_by_reason(tmp_path: Path) -> None:
    """Kills overridden scores counted beside their successors, and expected answers counted as scores."""
    listed = [
        judged(valid=False),
        judged(feedback=None, expectation={"value": "Paris"}),
        judged(feedback={"value": None}),
        judged(feedback={"value": ["a"]}),
        judged(feedback={"value": "words " * 99}),
    ]
    assert ignored(run(mlflow, lines([trace(span(2, told()), assessments=listed)]), tmp_path)) == [
        "assessment that another one overrides",
        "expectation: what should have been, no score",
        "assessment without a value",
        "assessment that is no number, flag or short label",
        "assessment that is no number, flag or short label",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"span_id": "abc"}, "span id is 'abc', expected 16 hex digits or their bytes in base64"),
        ({"trace_id": None}, "no trace id"),
        ({"start_time_unix_nano": None}, "no start time"),
        ({"attributes": told(**{"mlflow.chat.tokenUsage": {"input_tokens": -1}})}, "-1 is not a count"),
        ({"attributes": told(**{"mlflow.llm.model": None, "mlflow.spanInputs": None})}, "names no model"),
    ],
)
def test_a_damaged_span_costs_only_itself(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Kills losing a trace over one span, and made-up ids."""
    body = trace({**span(2, told()), **fields}, span(3, told()))
    items = run(mlflow, lines([body]), tmp_path)
    assert [r["decision_id"] for r in rows(items)] == [f"{TRACE}:{sid(3)}"]
    (reason,) = reasons(items)
    assert message in reason


def test_it_is_recognised_by_its_fields_and_is_no_otlp() -> None:
    """Kills claiming every object with info and data."""
    head = lines([trace(span(2, told()))]).encode()
    assert find_reader(head, name="export").NAME == "mlflow"
    assert not mlflow.sniff(b'{"info": {"a": 1}, "data": []}\n')


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    whole = trace(span(1, told("AGENT")), span(2, told(), parent=1), assessments=[judged()])
    for item in run(mlflow, lines([mutated(data, whole)]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
