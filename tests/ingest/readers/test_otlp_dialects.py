"""The same facts in other spellings, written from their sources: OpenLLMetry, OpenInference, older names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from otlp_logs import START_NS, TRACE, chat, span, span_id, traces
from reading import ignored, lines, rows, run
from shadowprice.ingest.readers import otlp

OPENLLMETRY = {
    "gen_ai.system": "OpenAI",
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 20,
    "gen_ai.usage.cache_read_input_tokens": 30,
    "gen_ai.usage.reasoning_tokens": 5,
    "llm.usage.total_tokens": 120,
    "traceloop.workflow.name": "support",
    "traceloop.association.properties.session_id": "s-1",
    "traceloop.association.properties.user_id": "u-1",
}
OLDEST = {
    "llm.request.type": "chat",
    "llm.vendor": "OpenAI",
    "llm.request.model": "gpt-4o",
    "llm.response.model": "gpt-4o-2024-08-06",
    "llm.usage.prompt_tokens": 100,
    "llm.usage.completion_tokens": 20,
    "llm.usage.cache_read_input_tokens": 30,
    "llm.usage.reasoning_tokens": 5,
    "session.id": "s-1",
    "enduser.id": "u-1",
}


def _one(given: dict[str, Any], folder: Path, **fields: Any) -> dict[str, Any]:
    (row,) = rows(run(otlp, lines([traces(span(1, given, **fields))]), folder))
    return row


@pytest.mark.parametrize("given", [OPENLLMETRY, OLDEST], ids=["openllmetry", "oldest"])
def test_a_call_says_the_same_in_every_spelling(given: dict[str, Any], tmp_path: Path) -> None:
    """Kills calls without tokens, session or user because a name moved."""
    row = _one(given, tmp_path)
    assert (row["action"], row["action_executed"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (row["tok_input_uncached"], row["tok_cache_read"]) == (70, 30)
    assert (row["tok_output"], row["tok_reasoning"]) == (20, 5)
    assert (row["session_id"], row["tenant_id"], row["_provider"]) == ("s-1", "u-1", "OpenAI")


def test_openllmetrys_kinds_are_requests_agents_and_tools(tmp_path: Path) -> None:
    """Kills an agent log in which only the model calls are seen."""
    kind, name = "traceloop.span.kind", "traceloop.entity.name"
    body = traces(
        span(1, {kind: "workflow", name: "support"}, name="support.workflow"),
        span(2, {kind: "task", name: "fetch"}, parent=1, name="fetch.task"),
        span(3, {kind: "agent", name: "researcher"}, parent=1, name="researcher.agent"),
        span(4, {kind: "tool", name: "get_weather"}, parent=3, name="get_weather.tool"),
        span(5, OPENLLMETRY, parent=3, name="openai.chat"),
    )
    items = run(otlp, lines([body]), tmp_path)
    assert [(r["decision_point"], r["action_executed"]) for r in rows(items)] == [
        ("delegate", "researcher"),
        ("act", "get_weather"),
        ("model", "gpt-4o-2024-08-06"),
    ]
    assert len(rows(items, "contexts")) == 1
    assert ignored(items) == ["task span"]


@pytest.mark.parametrize("kind", ["rerank", "embedding"])
def test_request_types_that_choose_no_model_are_ignored_by_name(kind: str, tmp_path: Path) -> None:
    """Kills embeddings counted as chats, and an unexplained 'unrelated span'."""
    items = run(otlp, lines([traces(span(1, {**OPENLLMETRY, "llm.request.type": kind}))]), tmp_path)
    assert ignored(items) == [f"{kind} span"]


def test_an_unknown_request_type_does_not_hide_a_call(tmp_path: Path) -> None:
    """Kills taking OpenLLMetry's type 'unknown' for an operation that is no decision."""
    assert _one({**OPENLLMETRY, "llm.request.type": "unknown"}, tmp_path)["decision_point"] == "model"


@pytest.mark.parametrize("name", ["First Token Stream Event", "llm.content.completion.chunk"])
def test_the_first_chunks_event_times_the_first_token(name: str, tmp_path: Path) -> None:
    """Kills the last chunk's time, and a first token that only the newest attribute could tell."""
    later = [{"name": name, "timeUnixNano": str(START_NS + ms * 1_000_000)} for ms in (900, 250, 600)]
    other = {"name": "exception", "timeUnixNano": str(START_NS + 1)}
    assert _one(OPENLLMETRY, tmp_path, events=[other, *later])["ttft_s"] == 0.25
    told = {**OPENLLMETRY, "gen_ai.response.time_to_first_chunk": 0.1}
    assert _one(told, tmp_path, events=later)["ttft_s"] == 0.1


def test_a_cost_told_in_parts_is_their_sum_only_when_both_are_there(tmp_path: Path) -> None:
    """Kills half a cost stored as the whole."""
    both = chat(**{"llm.cost.prompt": 0.01, "llm.cost.completion": 0.02})
    assert _one(both, tmp_path)["cost_usd"] == pytest.approx(0.03)
    assert "cost_usd" not in _one(chat(**{"llm.cost.prompt": 0.01}), tmp_path)


def test_tokens_of_zero_on_a_failure_are_unknown(tmp_path: Path) -> None:
    """Kills failures that look like free calls."""
    given = chat(**{"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0})
    row = _one(given, tmp_path, status={"code": 2})
    assert not [name for name in row if name.startswith("tok_")]
    assert _one(chat(**{"gen_ai.usage.output_tokens": 0}), tmp_path)["tok_output"] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"gen_ai.response.finish_reasons": ["length"]},
        {"gen_ai.response.finish_reason": "length"},
        {"llm.response.finish_reason": "length"},
        {"llm.finish_reason": "length"},
        {"gen_ai.completion.0.finish_reason": "length"},
    ],
)
def test_an_unusual_end_is_told_in_every_spelling(given: dict[str, Any], tmp_path: Path) -> None:
    """Kills answers that were cut off and look complete."""
    (row,) = rows(run(otlp, lines([traces(span(1, {**OPENLLMETRY, **given}))]), tmp_path), "outcomes")
    assert (row["name"], row["label"]) == ("finish_reason", "length")
    assert row["decision_id"] == f"{TRACE}:{span_id(1)}"
