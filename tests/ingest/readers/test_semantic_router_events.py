"""The semantic router's log events, written here from the writer's source."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.readers import semantic_router_events
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

DECISION: dict[str, Any] = {
    "level": "info",
    "ts": "2026-01-03T04:05:06.789",
    "event": "routing_decision",
    "reason_code": "auto_routing",
    "request_id": "r1",
    "original_model": "auto",
    "selected_model": "small",
    "decision": "math",
    "routing_latency_ms": 3,
}
USAGE: dict[str, Any] = {
    "ts": "2026-01-03T04:05:09.000",
    "event": "llm_usage",
    "request_id": "r1",
    "model": "small-lora",
    "prompt_tokens": 100,
    "cached_prompt_tokens": 60,
    "cache_write_tokens": 0,
    "completion_tokens": 20,
    "completion_latency_ms": 2000,
    "cost": 0.001,
    "currency": "USD",
}


def test_a_decision_and_its_usage_are_one_row(tmp_path: Path) -> None:
    """Kills two decisions for one request, what ran taken for the choice, and cached tokens counted twice."""
    assert rows(run(semantic_router_events, lines([DECISION, USAGE]), tmp_path)) == [
        {
            "decision_id": "r1:model",
            "request_id": "r1",
            "layer": "router",
            "decision_point": "model",
            "action": "small",
            "action_executed": "small-lora",
            "ts": datetime(2026, 1, 3, 4, 5, 6, 789000, tzinfo=UTC),
            "policy_version": "math",
            "latency_s": 2.0,
            "tok_input_uncached": 40,
            "tok_cache_read": 60,
            "tok_cache_write": 0,
            "tok_output": 20,
            "cost_usd": 0.001,
            "cost_source": "logged",
            "x_original_model": "auto",
            "x_reason_code": "auto_routing",
        }
    ]


def test_cost_0_in_an_unknown_currency_is_unpriced(tmp_path: Path) -> None:
    """Kills a free call: that is how a model without a price is logged."""
    (row,) = rows(
        run(
            semantic_router_events, lines([DECISION, {**USAGE, "cost": 0.0, "currency": "unknown"}]), tmp_path
        )
    )
    assert "cost_usd" not in row


def test_a_cached_answer_costs_nothing(tmp_path: Path) -> None:
    """Kills the stored answer's tokens paid again."""
    cached = {**USAGE, "cost": 0.0, "from_cache": True, "currency": None, "cached_prompt_tokens": None}
    (row,) = rows(run(semantic_router_events, lines([DECISION, cached]), tmp_path))
    assert (row["cost_usd"], row["tok_input_uncached"], row["cache_hit_kind"]) == (0.0, 0, "response")


def test_a_model_that_the_caller_named_was_no_choice(tmp_path: Path) -> None:
    """Kills a caller's wish taken for a preference of the router."""
    (row,) = rows(
        run(semantic_router_events, lines([{**DECISION, "reason_code": "model_specified"}]), tmp_path)
    )
    assert (row["propensity"], row["propensity_source"]) == (1.0, "deterministic")


def test_halves_of_a_request_are_rows_too(tmp_path: Path) -> None:
    """Kills requests lost whose other half is in the next file."""
    body = lines(
        [DECISION, {**DECISION, "request_id": "r2"}, {**USAGE, "request_id": "r3"}, {"event": "started"}]
    )
    items = run(semantic_router_events, body, tmp_path)
    assert [(row["request_id"], row["action"]) for row in rows(items)] == [
        ("r3", "small-lora"),
        ("r1", "small"),
        ("r2", "small"),
    ]
    assert ignored(items) == ["other log event"]


def test_a_request_decided_twice_keeps_both(tmp_path: Path) -> None:
    """Kills the first decision silently overwritten: the store says that the id repeats."""
    again = {**DECISION, "selected_model": "big"}
    items = run(semantic_router_events, lines([DECISION, again]), tmp_path)
    assert [row["action"] for row in rows(items)] == ["small", "big"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({**DECISION, "request_id": ""}, "no field request_id"),
        ({**DECISION, "selected_model": None}, "no field selected_model"),
        ({**USAGE, "model": "-"}, "no field model"),
        ({**USAGE, "prompt_tokens": -1}, "prompt_tokens: -1 is not a count, expected a whole number >= 0"),
    ],
)
def test_damaged_events_are_rejected(record: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Kills an event without its request stored under an empty id."""
    assert reasons(run(semantic_router_events, lines([record]), tmp_path)) == [reason]


def test_events_are_recognised() -> None:
    """Kills a log whose first lines are other events going unread."""
    head = lines([{"event": "started"}, DECISION]).encode()
    assert find_reader(head, name="a").NAME == "semantic_router_events"
    assert find_reader(lines([USAGE]).encode(), name="a").NAME == "semantic_router_events"


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption in either event."""
    body = lines([mutated(data, DECISION), mutated(data, USAGE)])
    for item in run(semantic_router_events, body, tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
        if isinstance(item, Row):
            problem(item.table, item.values)
