"""Request spans of vLLM and SGLang: queue, first token and decode in seconds, and unstreamed responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from otlp_logs import START_NS, TRACE, span, span_id, traces
from reading import ignored, lines, rows, run
from shadowprice.ingest.readers import otlp, otlp_engine

VLLM = {
    "gen_ai.request.id": "cmpl-7",
    "gen_ai.usage.prompt_tokens": 900,
    "gen_ai.usage.completion_tokens": 50,
    "gen_ai.latency.time_in_queue": 0.2,
    "gen_ai.latency.time_to_first_token": 0.5,
    "gen_ai.latency.e2e": 1.4,
    "gen_ai.latency.time_in_model_decode": 0.9,
}


def _parts(parent: int) -> list[dict[str, Any]]:
    """SGLang's children: waits 0.1 s, prefills 0.1 to 0.4 s, decodes 0.4 to 1.2 s."""
    return [
        span(11, {}, parent=parent, name="prefill_waiting", seconds=0.1),
        span(12, {}, parent=parent, name="prefill_forward", start_s=0.1, seconds=0.3),
        span(13, {}, parent=parent, name="decode_forward", start_s=0.4, seconds=0.8),
    ]


def test_a_vllm_request_is_admitted_with_its_times_in_seconds(tmp_path: Path) -> None:
    """Kills ms for s, prompt tokens counted as uncached, and a replica left out."""
    resource = {"service.instance.id": "gpu-3", "service.version": "0.11"}
    body = lines([traces(span(1, VLLM, name="llm_request"), resource=resource)])
    (row,) = rows(run(otlp, body, tmp_path))
    del row["ts"]
    assert row == {
        "decision_id": f"{TRACE}:{span_id(1)}",
        "request_id": "cmpl-7",
        "policy_version": "0.11",
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "replica": "gpu-3",
        "queue_s": 0.2,
        "ttft_s": 0.5,
        "decode_s": 0.9,
        "latency_s": 1.4,
        "tok_output": 50,
        "x_prompt_tokens": 900,
    }


def test_a_request_with_trace_context_belongs_to_its_trace(tmp_path: Path) -> None:
    """Kills a serving layer that no agent's request id meets."""
    (row,) = rows(run(otlp, lines([traces(span(1, VLLM, name="llm_request", parent=5))]), tmp_path))
    assert row["request_id"] == TRACE
    assert row["parent_id"] == f"{TRACE}:{span_id(5)}"


def test_known_cached_tokens_split_the_prompt(tmp_path: Path) -> None:
    """Kills ignoring SGLang's cached_tokens."""
    given = {**VLLM, "gen_ai.usage.cached_tokens": 640}
    (row,) = rows(run(otlp, lines([traces(span(1, given, name="Req 1"))]), tmp_path))
    assert (row["tok_input_uncached"], row["tok_cache_read"]) == (260, 640)


@pytest.mark.parametrize("share", [0.9995, 1.0])
def test_a_first_token_at_the_end_was_not_streamed(share: float, tmp_path: Path) -> None:
    """Kills a first-token time equal to the whole response, with a decode of 0."""
    given = {
        **VLLM,
        "gen_ai.latency.time_to_first_token": 1.4 * share,
        "gen_ai.latency.time_in_model_decode": 0.00004,
    }
    (row,) = rows(run(otlp, lines([traces(span(1, given, name="llm_request"))]), tmp_path))
    assert "ttft_s" not in row
    assert "decode_s" not in row
    assert row["latency_s"] == 1.4


@pytest.mark.parametrize("order", ["children first", "parent first", "lines apart"])
def test_sglangs_children_time_what_the_request_hides(order: str, tmp_path: Path) -> None:
    """Kills unused phases, and phases lost when the exporter splits or reorders a trace."""
    given = {
        **VLLM,
        "gen_ai.latency.time_to_first_token": 1.4,
        "gen_ai.latency.time_in_model_decode": 0.00004,
    }
    del given["gen_ai.latency.time_in_queue"]
    request, parts = span(1, given, name="Req 7"), _parts(1)
    body = {
        "children first": [traces(*parts, request)],
        "parent first": [traces(request, *parts)],
        "lines apart": [traces(*parts), traces(request)],
    }[order]
    items = run(otlp, lines(body), tmp_path)
    (row,) = rows(items)
    assert (row["queue_s"], row["ttft_s"], row["decode_s"]) == (0.1, 0.4, 0.8)
    assert ignored(items) == ["phase of a serving request"] * 3


def test_the_engines_own_times_win_over_its_childrens(tmp_path: Path) -> None:
    """Kills overwriting a measured first token by the end of prefill."""
    (row,) = rows(run(otlp, lines([traces(*_parts(1), span(1, VLLM, name="Req 7"))]), tmp_path))
    assert (row["queue_s"], row["ttft_s"], row["decode_s"]) == (0.2, 0.5, 0.9)


def test_phases_of_requests_that_never_come_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kills memory that grows with the file."""
    monkeypatch.setattr(otlp_engine, "MAX_WAITING", 2)
    given = {"gen_ai.latency.e2e": 1.4}
    body = [traces(*_parts(parent)) for parent in (1, 2, 3)]
    body.append(traces(*(span(parent, given, name="Req") for parent in (1, 2, 3))))
    found = rows(run(otlp, lines(body), tmp_path))
    assert ["decode_s" in row for row in found] == [False, True, True]


def test_a_request_without_engine_times_keeps_its_spans_duration(tmp_path: Path) -> None:
    """Kills a null latency where start and end are known."""
    (row,) = rows(run(otlp, lines([traces(span(1, {}, name="llm_request"))]), tmp_path))
    assert row["latency_s"] == 1.5
    assert row["ts"].timestamp() == START_NS / 1e9
