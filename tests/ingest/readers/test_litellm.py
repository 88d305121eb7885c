"""LiteLLM logging payloads: ids, times, tokens, money, overhead, the recipe, and damaged files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm_logs import TRACE, payload, routing
from mutation import mutated
from paths import shared_data
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.readers import litellm
from shadowprice.ingest.seam import Ignored, Rejected, Row
from shadowprice.schemas.config import Config

AT = datetime(2026, 11, 21, 8, 31, 6, 250000, tzinfo=UTC)


def _rows(folder: Path, *, config: Config | None = None, **fields: Any) -> list[dict[str, Any]]:
    return rows(run(litellm, lines([payload(**fields)]), folder, config))


def test_a_call_is_a_router_decision_between_models(tmp_path: Path) -> None:
    """Kills losing a column of the mapping, response_time as latency, and provider prefixes in names."""
    usage = {
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    metadata = {"usage_object": usage, "user_api_key_team_id": "team-a"}
    assert _rows(tmp_path, metadata=metadata, request_tags=["b", "a"]) == [
        {
            "decision_id": "chatcmpl-1",
            "request_id": TRACE,
            "tenant_id": "team-a",
            "ts": AT,
            "latency_s": 2.0,
            "ttft_s": 0.5,
            "decode_s": 1.5,
            "layer": "router",
            "decision_point": "model",
            "action": "fast",
            "action_executed": "gpt-4o-mini",
            "_provider": "openai",
            "tok_input_uncached": 36,
            "tok_cache_read": 64,
            "tok_output": 20,
            "tok_reasoning": 8,
            "cost_usd": 0.003,
            "cost_source": "logged",
            "x_tags": "a|b",
        }
    ]


def test_the_latency_of_a_stream_is_not_its_response_time(tmp_path: Path) -> None:
    """Kills response_time as latency: of a stream it is the first token, .27 s of .51 s in LiteLLM's own."""
    start = payload()["startTime"]
    (row,) = _rows(tmp_path, response_time=0.27, endTime=start + 0.51, completionStartTime=start + 0.27)
    assert row["latency_s"] == pytest.approx(0.51, abs=1e-6)


@pytest.mark.parametrize("spelled", ["gpt-4o-mini", "openai/gpt-4o-mini"])
def test_a_model_has_one_name_with_and_without_its_provider(spelled: str, tmp_path: Path) -> None:
    """Kills two arms for one model: the Router writes its provider in front, a direct call does not."""
    (row,) = _rows(tmp_path, model=spelled, model_group=None)
    assert row["action"] == row["action_executed"] == "gpt-4o-mini"


def test_attempts_are_calls_of_one_request_and_the_failed_one_is_not_priced(tmp_path: Path) -> None:
    """Kills a request per retry: trace_id is what its attempts share, and each is a call of its own."""
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "response_cost": 0.0}
    attempts = [payload(id="chatcmpl-0", status="failure", **nothing), payload()]
    failed, answered = rows(run(litellm, lines(attempts), tmp_path))
    assert failed["request_id"] == answered["request_id"] == TRACE
    assert failed["decision_id"] != answered["decision_id"]
    assert "cost_usd" not in failed
    assert answered["cost_usd"] == 0.003


def test_the_prefix_of_an_id_is_kept(tmp_path: Path) -> None:
    """Kills ids that the application's own records do not hold any more."""
    (row,) = _rows(tmp_path, id="chatcmpl-AbC-1", litellm_call_id=None, trace_id=None)
    assert row["decision_id"] == row["request_id"] == "chatcmpl-AbC-1"


@pytest.mark.parametrize("stream", [None, False])
def test_a_call_that_does_not_stream_has_no_first_token(stream: bool | None, tmp_path: Path) -> None:
    """Kills taking completionStartTime, which then is the end, for the first token."""
    (row,) = _rows(tmp_path, stream=stream)
    assert "ttft_s" not in row
    assert "decode_s" not in row


def test_a_stream_whose_first_token_is_its_end_was_not_observed(tmp_path: Path) -> None:
    """Kills a first token at the very end and a decode of 0 s."""
    same = payload()["endTime"]
    (row,) = _rows(tmp_path, completionStartTime=same)
    assert "ttft_s" not in row


def test_stored_times_are_naive_text_in_utc(tmp_path: Path) -> None:
    """Kills local time, and refusing payloads that were stored before they were exported."""
    (row,) = _rows(
        tmp_path,
        startTime="2026-11-21 08:31:06.250000",
        endTime="2026-11-21 08:31:07",
        completionStartTime="",
    )
    assert row["ts"] == AT
    assert row["latency_s"] == 0.75


def test_a_failure_knows_neither_tokens_nor_cost(tmp_path: Path) -> None:
    """Kills zeros for unknown, and a failure without its error."""
    error = {"error_code": "429", "error_class": "RateLimitError"}
    fields = {"prompt_tokens": 0, "completion_tokens": 0, "response_cost": 0.0, "error_information": error}
    items = run(litellm, lines([payload(status="failure", **fields)]), tmp_path)
    (row,) = rows(items)
    assert not {name for name in row if name.startswith(("tok_", "cost_"))}
    assert rows(items, "outcomes") == [
        {
            "request_id": TRACE,
            "decision_id": "chatcmpl-1",
            "name": "error",
            "label": "RateLimitError",
            "source": "code",
            "ts": AT + timedelta(seconds=2),
        }
    ]


def test_a_cost_of_zero_with_tokens_is_unpriced(tmp_path: Path) -> None:
    """Kills free calls of models that LiteLLM cannot price."""
    (row,) = _rows(tmp_path, response_cost=0.0)
    assert "cost_usd" not in row
    assert row["tok_input_uncached"] == 100


def test_no_prompt_tokens_means_that_none_were_counted(tmp_path: Path) -> None:
    """Kills 0 for usage that the stream did not report."""
    (row,) = _rows(tmp_path, prompt_tokens=0, completion_tokens=0)
    assert not {name for name in row if name.startswith("tok_")}


def test_cached_tokens_beyond_the_prompt_prove_exclusive_counting(tmp_path: Path) -> None:
    """Kills a negative uncached count when an exclusive provider is passed through."""
    metadata = {"usage_object": {"cache_read_input_tokens": 500, "cache_creation_input_tokens": 7}}
    (row,) = _rows(tmp_path, metadata=metadata)
    assert (row["tok_input_uncached"], row["tok_cache_read"], row["tok_cache_write"]) == (100, 500, 7)


def test_usage_is_found_in_the_response_where_metadata_has_none(tmp_path: Path) -> None:
    """Kills losing cached tokens of payloads from before usage_object."""
    (row,) = _rows(tmp_path, response={"usage": {"prompt_tokens_details": {"cached_tokens": 10}}})
    assert row["tok_cache_read"] == 10


@pytest.mark.parametrize(
    ("fields", "request_id", "session_id"),
    [
        ({}, TRACE, None),
        ({"session_id": "s-1"}, TRACE, "s-1"),
        ({"trace_id": "conversation 7"}, "conversation 7", "conversation 7"),
        ({"trace_id": None}, "chatcmpl-1", None),
        ({"trace_id": "", "id": None}, "call-1", None),
    ],
)
def test_ids_of_request_and_session(
    fields: dict[str, Any], request_id: str, session_id: str | None, tmp_path: Path
) -> None:
    """Kills a made-up trace id as session, and losing the caller's session id that came out as trace_id."""
    (row,) = _rows(tmp_path, **fields)
    assert row["request_id"] == request_id
    assert row.get("session_id") == session_id


@pytest.mark.parametrize(("level", "expected"), [("team", "t"), ("organization", "o"), ("key", "k")])
def test_who_pays_follows_the_config(level: Any, expected: str, tmp_path: Path) -> None:
    """Kills a fixed idea of who the tenant is."""
    metadata = {"user_api_key_team_id": "t", "user_api_key_org_id": "o", "user_api_key_hash": "k"}
    (row,) = _rows(tmp_path, metadata=metadata, config=Config(tenant=level))
    assert row["tenant_id"] == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"metadata": {"internal_call_origin": "autorouter_classifier"}},
            "overhead call: autorouter_classifier",
        ),
        ({"metadata": {"is_silent_experiment": True}}, "overhead call: silent experiment"),
        ({"call_type": "aembedding"}, "aembedding call"),
        ({"call_type": "image_generation"}, "image_generation call"),
    ],
)
def test_overhead_and_other_calls_are_counted_but_are_no_demand(
    fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Kills judge and classifier calls that count as user requests."""
    items = run(litellm, lines([payload(**fields)]), tmp_path)
    assert ignored(items) == [reason]
    assert len(items) == 1


@pytest.mark.parametrize("holder", ["spend_logs_metadata", "requester_metadata"])
def test_a_recipe_in_the_metadata_sets_columns(holder: str, tmp_path: Path) -> None:
    """Kills ignoring what identification needs, in either place where callers can put it."""
    recipe = {"candidates": ["fast", "frontier"], "propensities": [0.7, 0.3], "x_difficulty": 0.2}
    (row,) = _rows(tmp_path, metadata={holder: {"shadowprice": recipe}})
    assert (row["propensity"], row["propensity_source"]) == (0.7, "logged")
    assert row["x_difficulty"] == 0.2


def test_a_recipe_with_an_unknown_name_rejects_the_call(tmp_path: Path) -> None:
    """Kills a typo that silently costs the propensities."""
    metadata = {"spend_logs_metadata": {"shadowprice": {"propensty": 1}}}
    (reason,) = reasons(run(litellm, lines([payload(metadata=metadata)]), tmp_path))
    assert "did you mean shadowprice.propensity?" in reason


def test_an_evaluation_is_an_outcome_of_an_llm_judge(tmp_path: Path) -> None:
    """Kills losing the gateway's own scores."""
    told = {"eval_name": "faithful", "overall_score": 0.8, "passed": True, "judge_model": "j", "iteration": 2}
    items = run(litellm, lines([payload(metadata={"eval_information": told})]), tmp_path)
    assert rows(items, "outcomes") == [
        {
            "request_id": TRACE,
            "decision_id": "chatcmpl-1",
            "name": "faithful",
            "value": 0.8,
            "label": "passed",
            "source": "llm_judge",
            "ts": AT + timedelta(seconds=2),
        }
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "", "litellm_call_id": None}, "no field id or litellm_call_id"),
        ({"startTime": None}, "no field startTime"),
        ({"startTime": 1_795_249_866_250.0}, "check the unit"),
        ({"model": None, "model_group": None}, "no model, model_group or routed_model"),
        ({"model": 7}, "model is 7, expected text"),
        ({"prompt_tokens": -3}, "is not a count"),
        ({"prompt_tokens": True}, "True is not a number"),
        ({"metadata": {"routing_decision": [1]}}, "routing_decision is list, expected an object"),
        ({"metadata": {"routing_decision": {"score": "high"}}}, "'high' is not a number"),
        ({"metadata": {"routing_decision": {"tier_boundaries": 3}}}, "tier_boundaries is 3"),
        ({"request_tags": 5}, "request_tags is 5, expected a list"),
        ({"response_cost": "free"}, "'free' is not a number"),
    ],
)
def test_a_damaged_call_is_rejected_with_its_reason(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Kills exceptions, and repairs in silence."""
    items = run(litellm, lines([payload(**fields), payload()]), tmp_path)
    assert message in reasons(items)[0]
    assert len(rows(items)) == 1


def test_the_generated_payloads_of_litellm_give_these_rows() -> None:
    """Kills any change to the reading of the real writer's output; expected values written by hand."""
    path = shared_data("formats") / "litellm" / "standard_logging_payload.generated.jsonl"
    items = run_file(litellm, path)
    columns = ("session_id", "action", "action_executed", "tok_input_uncached", "tok_output", "cost_usd")
    assert [tuple(row.get(name) for name in columns) for row in rows(items)] == [
        ("s1", "gpt-4o", "gpt-4o", 10, 20, 0.00022500000000000002),
        ("tr-1", "gpt-4o-mini", "gpt-4o-mini", 13, 5, 4.95e-06),
        (None, "gpt-4o", "gpt-4o", None, None, None),
        (None, "fast", "gpt-4o-mini", 10, 20, 1.35e-05),
        (None, "frontier", "claude-3-5-sonnet-20241022", 10, 20, None),
    ]
    assert [row.get("ttft_s") for row in rows(items)] == [None, 0.271499, None, None, None]
    assert [row["latency_s"] for row in rows(items)] == [0.078869, 0.512924, 0.00265, 0.003131, 0.002692]
    assert [outcome["label"] for outcome in rows(items, "outcomes")] == ["RateLimitError"]
    assert len(items) == 6


def test_a_payload_from_before_litellm_call_id_is_read() -> None:
    """Kills relying on fields of this year's release."""
    path = shared_data("formats") / "litellm" / "standard_logging_payload.2025.json"
    (row,) = rows(run_file(litellm, path))
    assert row["request_id"] == row["decision_id"] == "chatcmpl-2299b6a2-82a3-465a-b47c-04e685a2227f"
    assert row["ts"] == datetime(2025, 1, 24, 9, 20, 46, 847371, tzinfo=UTC)
    assert row["latency_s"] == 0.004583


def test_a_mixed_and_cut_file_ends_in_rows_and_reasons(tmp_path: Path) -> None:
    """Kills stopping at the first bad line, and counts that do not reconcile."""
    body = lines([payload(), {"resourceSpans": []}, payload(id="chatcmpl-2")]) + json.dumps(payload())[:80]
    items = run(litellm, body, tmp_path)
    assert [item.line for item in items] == [1, 2, 3, 4]
    assert [row["decision_id"] for row in rows(items)] == ["chatcmpl-1", "chatcmpl-2"]


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_payload_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    told = {"eval_name": "a", "overall_score": 0.8, "passed": True}
    recipe = {"shadowprice": {"candidates": ["a", "b"], "propensities": [0.5, 0.5]}}
    usage = {"prompt_tokens_details": {"cached_tokens": 1}}
    metadata = {"routing_decision": routing(), "usage_object": usage, "eval_information": told}
    whole = payload(metadata={**metadata, "spend_logs_metadata": recipe}, cache_hit=False, cache_key="k")
    for item in run(litellm, lines([mutated(data, whole)]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
