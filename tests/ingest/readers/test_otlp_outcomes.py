"""Outcomes in OTLP: evaluation events and records, OpenInference annotations, and unusual ends of calls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from otlp_logs import START_NS, TRACE, any_value, attributes, chat, logs, span, span_id, traces
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.readers import otlp

AT = datetime(2026, 11, 21, 8, 31, 6, tzinfo=UTC)
RESULT = {
    "gen_ai.evaluation.name": "helpful",
    "gen_ai.evaluation.score.value": 0.75,
    "gen_ai.evaluation.score.label": "good",
}
BOTH = {"request_id": TRACE, "decision_id": f"{TRACE}:{span_id(1)}"}


def _outcomes(folder: Path, given: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return rows(run(otlp, lines([traces(span(1, given, **fields))]), folder), "outcomes")


def _record(given: dict[str, Any], **fields: Any) -> dict[str, Any]:
    named = {"eventName": "gen_ai.evaluation.result", "timeUnixNano": str(START_NS)}
    return {**named, "attributes": attributes(given), **fields}


def test_an_evaluation_event_scores_its_span(tmp_path: Path) -> None:
    """Kills scores that are never read, or that belong to the request instead of the decision."""
    event = {
        "name": "gen_ai.evaluation.result",
        "timeUnixNano": str(START_NS),
        "attributes": attributes(RESULT),
    }
    assert _outcomes(tmp_path, chat(), events=[event]) == [
        {**BOTH, "name": "helpful", "value": 0.75, "label": "good", "ts": AT}
    ]


def test_an_evaluation_of_a_root_agent_scores_the_request(tmp_path: Path) -> None:
    """Kills an outcome tied to a decision that does not exist."""
    event = {"name": "gen_ai.evaluation.result", "attributes": attributes(RESULT)}
    (outcome,) = _outcomes(tmp_path, {"gen_ai.operation.name": "invoke_agent"}, events=[event])
    assert outcome["request_id"] == TRACE
    assert "decision_id" not in outcome


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"traceId": TRACE.upper(), "spanId": span_id(1).upper()}, BOTH),
        ({"traceId": TRACE}, {"request_id": TRACE}),
        ({}, {"request_id": "chatcmpl-1"}),
        ({"traceId": "", "spanId": ""}, {"request_id": "chatcmpl-1"}),
        ({"traceId": "0" * 32, "spanId": "0" * 16}, {"request_id": "chatcmpl-1"}),
    ],
)
def test_an_evaluation_record_is_tied_by_span_by_trace_or_by_response(
    ids: dict[str, str], expected: dict[str, str], tmp_path: Path
) -> None:
    """Kills upper-case ids that meet nothing, and all-zero ids that meet everything."""
    record = _record({**RESULT, "gen_ai.response.id": "chatcmpl-1"}, **ids)
    assert rows(run(otlp, lines([logs(record)]), tmp_path), "outcomes") == [
        {**expected, "name": "helpful", "value": 0.75, "label": "good", "ts": AT}
    ]


def test_an_evaluation_record_may_be_named_by_attribute(tmp_path: Path) -> None:
    """Kills records of SDKs that had no eventName field."""
    record = _record({**RESULT, "event.name": "gen_ai.evaluation.result"}, traceId=TRACE, eventName="")
    assert len(rows(run(otlp, lines([logs(record)]), tmp_path), "outcomes")) == 1


@pytest.mark.parametrize(
    ("given", "ids", "message"),
    [
        (RESULT, {}, "without traceId and without gen_ai.response.id"),
        ({"gen_ai.evaluation.name": "a"}, {"traceId": TRACE}, "neither score nor label"),
        ({"gen_ai.evaluation.score.value": 1.0}, {"traceId": TRACE}, "without a name"),
        ({**RESULT, "gen_ai.evaluation.score.value": "high"}, {"traceId": TRACE}, "'high' is not a number"),
        (RESULT, {"traceId": "W47/95gDgQPSabYzgT/GDA=="}, "expected 32 hex digits"),
    ],
)
def test_an_evaluation_that_says_nothing_is_rejected(
    given: dict[str, Any], ids: dict[str, str], message: str, tmp_path: Path
) -> None:
    """Kills outcomes without name, value or target."""
    (reason,) = reasons(run(otlp, lines([logs(_record(given, **ids))]), tmp_path))
    assert message in reason


def test_other_records_and_metrics_are_counted_as_ignored(tmp_path: Path) -> None:
    """Kills counts that do not reconcile."""
    metrics = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a"}, {"name": "b"}]}]}]}
    body = lines([logs({"eventName": "page_view", "body": any_value("x")}), metrics])
    assert ignored(run(otlp, body, tmp_path)) == [
        "log record that is no evaluation",
        "metric",
        "metric",
    ]


def test_annotations_are_outcomes_with_their_judge(tmp_path: Path) -> None:
    """Kills losing the second annotation, the judge's kind, or counting two spellings of one result twice."""
    given = chat(
        **{
            "annotations.0.annotation.name": "correct",
            "annotations.0.annotation.score": 1,
            "annotations.0.annotation.annotator_kind": "HUMAN",
            "annotations.1.annotation.name": "tone",
            "annotations.1.annotation.label": "rude",
            "annotations.1.annotation.annotator_kind": "LLM",
            "evaluations.0.evaluation.name": "correct",
            "evaluations.0.evaluation.score": 1,
            "evaluations.0.evaluation.annotator_kind": "HUMAN",
            "evaluation.name": "exact",
            "evaluation.score": 0.5,
            "evaluation.annotator_kind": "CODE",
            "trace.annotations.0.annotation.name": "solved",
            "trace.annotations.0.annotation.score": 0,
        }
    )
    found = {outcome["name"]: outcome for outcome in _outcomes(tmp_path, given)}
    assert len(_outcomes(tmp_path, given)) == 4
    assert found == {
        "correct": {**BOTH, "name": "correct", "value": 1.0, "source": "human"},
        "tone": {**BOTH, "name": "tone", "label": "rude", "source": "llm_judge"},
        "exact": {**BOTH, "name": "exact", "value": 0.5, "source": "code"},
        "solved": {"request_id": TRACE, "name": "solved", "value": 0.0},
    }


def test_errors_and_unusual_ends_are_labels_without_a_value(tmp_path: Path) -> None:
    """Kills an error that is taken for a quality of 1, or that becomes a feature of the choice."""
    given = chat(**{"error.type": "timeout", "gen_ai.response.finish_reasons": ["length"]})
    assert _outcomes(tmp_path, given, status={"code": 2}) == [
        {**BOTH, "name": "error", "label": "timeout", "source": "code"},
        {**BOTH, "name": "finish_reason", "label": "length", "source": "code"},
    ]
    (row,) = rows(run(otlp, lines([traces(span(1, given))]), tmp_path))
    assert not [name for name in row if name.startswith("x_")]


def test_usual_ends_leave_no_outcome(tmp_path: Path) -> None:
    """Kills one outcome row per call."""
    assert _outcomes(tmp_path, chat(**{"gen_ai.response.finish_reasons": ["stop"]})) == []


def test_a_failed_span_that_is_no_decision_leaves_no_outcome(tmp_path: Path) -> None:
    """Kills errors of HTTP spans counted as errors of the request."""
    items = run(otlp, lines([traces(span(1, {"http.method": "GET"}, status={"code": 2}))]), tmp_path)
    assert rows(items, "outcomes") == []
