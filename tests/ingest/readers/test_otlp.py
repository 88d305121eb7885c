"""OTLP traces: model calls, tools, sub-agents and requests, in current, older and OpenInference spelling."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from otlp_logs import START_NS, TRACE, chat, span, span_id, traces
from paths import shared_data
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.readers import otlp
from shadowprice.schemas.config import ActionRule, Config

AT = datetime(2026, 11, 21, 8, 31, 6, tzinfo=UTC)
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}


def _one(given: dict[str, Any], folder: Path, **fields: Any) -> dict[str, Any]:
    (row,) = rows(run(otlp, lines([traces(span(1, given, **fields))]), folder))
    return row


def test_a_chat_span_is_a_router_decision_between_models(tmp_path: Path) -> None:
    """Kills losing an id, mixing asked and executed model, ns read as ms, and cached tokens counted twice."""
    given = chat(
        **{
            "gen_ai.usage.cache_read.input_tokens": 30,
            "gen_ai.usage.cache_creation.input_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.conversation.id": "conv-1",
            "gen_ai.agent.name": "support",
            "tenant.id": "acme",
        }
    )
    resource = {"service.version": "1.2.3", "service.instance.id": "pod-7"}
    items = run(otlp, lines([traces(span(2, given, parent=1), resource=resource)]), tmp_path)
    assert rows(items) == [
        {
            "decision_id": f"{TRACE}:{span_id(2)}",
            "request_id": TRACE,
            "parent_id": f"{TRACE}:{span_id(1)}",
            "session_id": "conv-1",
            "tenant_id": "acme",
            "ts": AT,
            "policy_version": "1.2.3",
            "latency_s": 1.5,
            "ttft_s": 0.25,
            "layer": "router",
            "decision_point": "model",
            "action": "gpt-4o",
            "action_executed": "gpt-4o-2024-08-06",
            "_provider": "openai",
            "tok_input_uncached": 60,
            "tok_cache_read": 30,
            "tok_cache_write": 10,
            "tok_output": 20,
            "tok_reasoning": 5,
            "x_agent": "support",
        }
    ]
    assert len(items) == 1


def test_the_operation_tells_what_a_span_is_and_not_its_name(tmp_path: Path) -> None:
    """Kills keying off the span's name, which is free text: this one says chat."""
    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup_order"}
    row = _one(given, tmp_path, name="chat gpt-4o")
    assert (row["layer"], row["action_executed"]) == ("agent", "lookup_order")


def test_reasoning_is_a_part_of_the_output(tmp_path: Path) -> None:
    """Kills output plus reasoning: the count of reasoning is a breakdown, and would be paid twice."""
    row = _one(chat(**{"gen_ai.usage.reasoning.output_tokens": 15}), tmp_path)
    assert (row["tok_output"], row["tok_reasoning"]) == (20, 15)


def test_the_answer_of_a_decision_span_is_no_propensity(tmp_path: Path) -> None:
    """Kills a model's probabilities over its options taken for those of the system's choice."""
    given = {
        "openinference.span.kind": "DECISION",
        "input.value": '["refund", "escalate"]',
        "output.value": '{"refund": 0.9, "escalate": 0.1}',
    }
    items = run(otlp, lines([traces(span(1, given))]), tmp_path)
    assert not [row for row in rows(items) if "propensity" in row or "propensities" in row]
    assert len(ignored(items)) == 1


def test_older_names_and_openinference_say_the_same(tmp_path: Path) -> None:
    """Kills reading only this year's attribute names."""
    old = {
        "gen_ai.system": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 20,
        "gen_ai.usage.cached_tokens": 30,
        "session.id": "s",
    }
    phoenix = {
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 20,
        "llm.token_count.prompt_details.cache_read": 30,
        "session.id": "s",
    }
    one, two = _one(old, tmp_path), _one(phoenix, tmp_path)
    assert two.pop("action_executed") == "gpt-4o"
    assert one == two
    assert one["tok_input_uncached"] == 70
    assert one["action"] == "gpt-4o"


def test_a_span_without_operation_name_but_with_model_and_tokens_is_a_call(tmp_path: Path) -> None:
    """Kills dropping instrumentation older than gen_ai.operation.name."""
    given = chat()
    del given["gen_ai.operation.name"]
    assert _one(given, tmp_path)["decision_point"] == "model"


def test_cached_tokens_beyond_the_input_prove_exclusive_counting(tmp_path: Path) -> None:
    """Kills a negative uncached count for older Anthropic instrumentation."""
    given = chat(**{"gen_ai.usage.cache_read.input_tokens": 5000})
    row = _one(given, tmp_path)
    assert (row["tok_input_uncached"], row["tok_cache_read"]) == (100, 5000)


def test_a_logged_cost_counts_and_a_cost_of_zero_does_not(tmp_path: Path) -> None:
    """Kills free calls: 0 is how instrumentation writes 'unknown'."""
    paid = _one(chat(**{"llm.cost.total": 0.0123}), tmp_path)
    assert (paid["cost_usd"], paid["cost_source"]) == (0.0123, "logged")
    assert "cost_usd" not in _one(chat(**{"llm.cost.total": 0.0}), tmp_path)


def test_unknown_token_counts_stay_unknown(tmp_path: Path) -> None:
    """Kills zero-filling."""
    row = _one({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, tmp_path)
    assert not [name for name in row if name.startswith("tok_")]
    assert row["action"] == "m"


def test_a_model_call_without_any_model_is_rejected(tmp_path: Path) -> None:
    """Kills an action called None."""
    items = run(otlp, lines([traces(span(1, {"gen_ai.operation.name": "chat"}))]), tmp_path)
    assert reasons(items) == [f"span {span_id(1)}: a model call that names no model (gen_ai.request.model)"]


def test_a_tool_span_is_an_agent_step_by_the_rules(tmp_path: Path) -> None:
    """Kills tools without kind or time, and ignoring the user's rules."""
    given = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "issue_refund"}
    row = _one(given, tmp_path, parent=9)
    assert row["layer"] == "agent"
    assert row["decision_point"] == row["action"] == "act"
    assert row["action_executed"] == "issue_refund"
    assert (row["action_class"], row["reversible"]) == ("commit", False)
    assert row["tool_s"] == row["latency_s"] == 1.5
    config = Config(rules=(ActionRule(match="issue_.*", kind="defer"),))
    items = run(otlp, lines([traces(span(1, given))]), tmp_path, config)
    assert rows(items)[0]["decision_point"] == "defer"


def test_a_tool_is_named_by_its_span_when_no_attribute_names_it(tmp_path: Path) -> None:
    """Kills rejecting tools of exporters that put the name into the span's name only."""
    row = _one({"gen_ai.operation.name": "execute_tool"}, tmp_path, name="execute_tool run_tests")
    assert (row["action"], row["action_executed"]) == ("verify", "run_tests")


@pytest.mark.parametrize(
    ("kind", "name", "action", "executed"),
    [
        ("TOOL", "get_weather", "read", "get_weather"),
        ("RETRIEVER", "docs", "read", "docs"),
        ("GUARDRAIL", "pii", "verify", "pii"),
        ("EVALUATOR", "judge", "verify", "judge"),
    ],
)
def test_openinference_kinds_are_agent_steps(
    kind: str, name: str, action: str, executed: str, tmp_path: Path
) -> None:
    """Kills knowing only the GenAI dialect for agent steps."""
    row = _one({"openinference.span.kind": kind}, tmp_path, name=name)
    assert (row["layer"], row["action"], row["action_executed"]) == ("agent", action, executed)


def test_a_root_agent_tells_about_its_request_and_decides_nothing(tmp_path: Path) -> None:
    """Kills a delegation to nobody, and token roll-ups counted beside the calls they sum."""
    given = {
        **AGENT,
        "gen_ai.conversation.id": "c",
        "user.id": "u",
        "gen_ai.usage.input_tokens": 900,
        "shadowprice.x_task_class": "refund",
        "shadowprice.tenant_id": "acme",
    }
    items = run(otlp, lines([traces(span(1, given))]), tmp_path)
    assert rows(items) == []
    assert rows(items, "contexts") == [
        {
            "request_id": TRACE,
            "session_id": "c",
            "tenant_id": "acme",
            "ts": AT,
            "x_task_class": "refund",
        }
    ]


def test_an_agent_inside_of_another_is_a_delegation(tmp_path: Path) -> None:
    """Kills taking a sub-agent for a request of its own."""
    inner = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "researcher"}
    items = run(otlp, lines([traces(span(2, inner, parent=1), span(1, AGENT))]), tmp_path)
    (row,) = rows(items)
    assert (row["decision_point"], row["action"]) == ("delegate", "delegate")
    assert row["action_executed"] == "researcher"
    assert len(rows(items, "contexts")) == 1


def test_an_agent_below_a_web_servers_span_is_still_the_root(tmp_path: Path) -> None:
    """Kills a delegation invented by HTTP instrumentation around the agent."""
    items = run(otlp, lines([traces(span(2, AGENT, parent=1), span(1, {}, name="POST /chat"))]), tmp_path)
    assert rows(items) == []
    assert len(rows(items, "contexts")) == 1
    assert ignored(items) == ["unrelated span"]


def test_spans_that_are_their_own_ancestors_end(tmp_path: Path) -> None:
    """Kills an endless walk up a damaged trace."""
    items = run(otlp, lines([traces(span(2, AGENT, parent=1), span(1, {}, parent=1))]), tmp_path)
    assert rows(items)[0]["action"] == "delegate"


@pytest.mark.parametrize(
    ("given", "fields", "reason"),
    [
        (chat(), {"endTimeUnixNano": "0"}, "unfinished span"),
        (chat(), {"endTimeUnixNano": None}, "unfinished span"),
        ({"http.method": "GET"}, {}, "unrelated span"),
        ({"gen_ai.operation.name": "embeddings"}, {}, "embeddings span"),
        ({"gen_ai.operation.name": "create_agent"}, {}, "create_agent span"),
        ({"openinference.span.kind": "DECISION"}, {}, "decision span"),
    ],
)
def test_spans_that_decide_nothing_are_ignored_by_reason(
    given: dict[str, Any], fields: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Kills unfinished spans with a latency since 1970, and dropping without counting."""
    items = run(otlp, lines([traces(span(1, given, **fields))]), tmp_path)
    assert ignored(items) == [reason]
    assert len(items) == 1


def test_a_clock_that_runs_backwards_is_kept_for_the_checks(tmp_path: Path) -> None:
    """Kills clipping a negative duration to 0 in the reader."""
    assert _one(chat(), tmp_path, seconds=-2.0)["latency_s"] == -2.0


def test_tenants_come_from_the_attribute_that_the_config_names(tmp_path: Path) -> None:
    """Kills billing a team's calls to the user although the team is known."""
    given = chat(**{"organization.id": "org", "team.id": "team", "user.id": "user"})
    body = lines([traces(span(1, given))])
    assert rows(run(otlp, body, tmp_path))[0]["tenant_id"] == "team"
    assert rows(run(otlp, body, tmp_path, Config(tenant="organization")))[0]["tenant_id"] == "org"
    body = lines([traces(span(1, chat()), resource={"tenant.id": "of-the-resource"})])
    assert rows(run(otlp, body, tmp_path))[0]["tenant_id"] == "of-the-resource"


def test_a_recipe_on_a_chat_span_makes_its_choice_identifiable(tmp_path: Path) -> None:
    """Kills ignoring logged propensities, the one thing that raises the evidence grade."""
    given = chat(
        **{
            "shadowprice.candidates": ["gpt-4o", "gpt-4o-mini"],
            "shadowprice.propensities": [0.1, 0.9],
            "shadowprice.x_difficulty": 0.4,
            "shadowprice.keep_prob": 0.5,
        }
    )
    row = _one(given, tmp_path)
    assert row["candidates"] == ["gpt-4o", "gpt-4o-mini"]
    assert (row["propensity"], row["propensity_source"]) == (0.1, "logged")
    assert (row["x_difficulty"], row["keep_prob"]) == (0.4, 0.5)


def test_a_recipe_alone_makes_a_decision_of_any_span(tmp_path: Path) -> None:
    """Kills needing GenAI conventions to log a home-made router or cache."""
    given = {"shadowprice.decision_point": "reuse", "shadowprice.action": "recompute"}
    row = _one(given, tmp_path, name="cache lookup")
    assert (row["layer"], row["decision_point"], row["action"]) == ("serving", "reuse", "recompute")
    assert row["latency_s"] == 1.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (chat(**{"shadowprice.propensty": 0.5}), "did you mean shadowprice.propensity?"),
        ({"shadowprice.propensity": 0.5}, "shadowprice.propensity on a span that is no decision"),
        ({"shadowprice.x_a": 1}, "shadowprice.x_a on a span that is no decision"),
        ({**AGENT, "shadowprice.action": "x"}, "shadowprice.action on a span that is no decision"),
        (
            {"shadowprice.decision_point": "own", "shadowprice.action": "x"},
            "shadowprice.layer is missing for the decision point 'own'",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_rejected(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Kills a typo in an attribute's name that silently costs the propensities."""
    (reason,) = reasons(run(otlp, lines([traces(span(1, given))]), tmp_path))
    assert message in reason


def test_public_attribute_maps_in_both_dialects_agree(tmp_path: Path) -> None:
    """Kills a dialect that reads other numbers from the same public call."""
    folder = shared_data("formats") / "openinference"
    seen: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        seen[path.stem] = _one(json.loads(path.read_text()), tmp_path)
    tool = seen.pop("otel_genai_tool_execution_span")
    assert (tool["action"], tool["action_executed"]) == ("read", "get_weather")
    assert {(r["tok_input_uncached"], r["tok_output"], r["_provider"]) for r in seen.values()} == {
        (97, 52, "openai")
    }
    assert {name: (r["action"], r["action_executed"]) for name, r in seen.items()} == {
        "openinference_client_span_input_output_only": ("gpt-4-0613", "gpt-4-0613"),
        "openinference_client_span_tool_calls": ("gpt-4-0613", "gpt-4-0613"),
        "otel_genai_client_span_tool_calls": ("gpt-4", "gpt-4-0613"),
        "otel_genai_deprecated_client_span_tool_calls": ("gpt-4", "gpt-4-0613"),
    }


def test_both_dialects_on_one_span_give_names_from_one_and_cost_from_the_other(tmp_path: Path) -> None:
    """Kills preferring one dialect as a whole."""
    given = chat(**{"openinference.span.kind": "LLM", "llm.model_name": "other", "llm.cost.total": 0.5})
    row = _one(given, tmp_path)
    assert (row["action"], row["cost_usd"]) == ("gpt-4o", 0.5)


def test_times_keep_microseconds(tmp_path: Path) -> None:
    """Kills floats for nanoseconds, which lose the last digits of an epoch."""
    fields = {
        "startTimeUnixNano": str(START_NS + 123_456_789),
        "endTimeUnixNano": str(START_NS + 123_457_789),
    }
    row = _one(chat(), tmp_path, **fields)
    assert row["ts"].microsecond == 123_456
    assert row["latency_s"] == 1e-06
