"""The samples that come with the semantic router: its fleet trace and its made-up interactions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import lines, reasons, rows, run, run_file
from shadowprice.ingest.checks import problem
from shadowprice.ingest.convert import RELATIVE_EPOCH
from shadowprice.ingest.readers import semantic_router_samples
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Rejected, Row

FLEET: dict[str, Any] = {
    "timestamp": 0.451,
    "prompt_tokens": 467,
    "generated_tokens": 61,
    "selected_model": "llama8b",
    "complexity": "low",
    "category": "prose",
}
TALK: dict[str, Any] = {
    "user_id": "u",
    "session_id": "s1",
    "turn_idx": 1,
    "query": "a secret",
    "selected_model": "gpt-4",
    "response_quality": 0.95,
    "latency_ms": 450,
    "timestamp": "2026-01-15T10:00:00Z",
    "feedback": "positive",
}


def test_the_fleet_trace_lies_on_a_relative_clock(tmp_path: Path) -> None:
    """Kills a wall clock, and a prompt counted as uncached although the cache is not logged."""
    (row,) = rows(run(semantic_router_samples, lines([FLEET]), tmp_path))
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": row["decision_id"],
        "layer": "router",
        "decision_point": "model",
        "action": "llama8b",
        "ts": RELATIVE_EPOCH + timedelta(microseconds=451_000),
        "tok_output": 61,
        "x_prompt_tokens": 467,
        "x_complexity": "low",
        "x_category": "prose",
        "x_clock": "relative",
    }


def test_an_interaction_has_its_quality_as_an_outcome(tmp_path: Path) -> None:
    """Kills ms read as s, the query kept, and feedback that is nobody's."""
    items = run(semantic_router_samples, json.dumps([TALK]), tmp_path)
    (row,) = rows(items)
    assert (row["session_id"], row["action"], row["latency_s"]) == ("s1", "gpt-4", 0.45)
    assert row["ts"] == datetime(2026, 1, 15, 10, tzinfo=UTC)
    assert [
        (r["name"], r.get("value"), r.get("label"), r.get("source")) for r in rows(items, "outcomes")
    ] == [
        ("response_quality", 0.95, None, None),
        ("feedback", None, "positive", "human"),
    ]
    assert "secret" not in str(items)


def test_bad_records_are_rejected_one_by_one(tmp_path: Path) -> None:
    """Kills a time of None taken for the start of the trace."""
    body = lines([{**FLEET, "timestamp": None}, {**FLEET, "selected_model": ""}, FLEET])
    items = run(semantic_router_samples, body, tmp_path)
    assert len(reasons(items)) == 2
    assert len(rows(items)) == 1


def test_the_public_samples_keep_every_record() -> None:
    """Kills a lost record, and rows that the store refuses."""
    folder = shared_data("formats") / "semantic_router"
    fleet, talks = folder / "router_decisions.semantic_router.jsonl", folder / "interactions.json"
    found = run_file(semantic_router_samples, fleet)
    plain = [json.loads(line) for line in fleet.read_text().splitlines()]
    assert len(rows(found)) == len(plain) == 240
    assert sum(row["x_prompt_tokens"] for row in rows(found)) == sum(r["prompt_tokens"] for r in plain)
    talked = run_file(semantic_router_samples, talks)
    assert len(rows(talked)) == len(json.loads(talks.read_text())) == 30
    for item in [*found, *talked]:
        assert isinstance(item, Row)
        assert problem(item.table, item.values) is None
    for path in (fleet, talks):
        assert find_reader(path.read_bytes(), name="a").NAME == "semantic_router_samples"


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption about either record."""
    for item in run(semantic_router_samples, lines([mutated(data, FLEET), mutated(data, TALK)]), tmp_path):
        assert isinstance(item, Row | Rejected)
        if isinstance(item, Row):
            problem(item.table, item.values)
