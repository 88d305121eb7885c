"""LiteLLM spend logs: JSON in text, flags in text, naive times, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm_logs import payload, routing, spend
from mutation import mutated
from paths import shared_data
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.readers import litellm, litellm_spend
from shadowprice.ingest.seam import Ignored, Rejected, Row
from shadowprice.schemas.config import Config


def _csv(*records: dict[str, Any]) -> str:
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return sheet.getvalue()


def _rows(folder: Path, config: Config | None = None, **fields: Any) -> list[dict[str, Any]]:
    return rows(run(litellm_spend, lines([spend(**fields)]), folder, config))


def test_a_row_of_the_table_is_a_router_decision(tmp_path: Path) -> None:
    """Kills losing a column of the mapping, and times that are not UTC."""
    metadata = {
        "routing_decision": routing(routed_model="cheap"),
        "usage_object": {"prompt_tokens_details": {"cached_tokens": 25}},
    }
    (row,) = _rows(tmp_path, metadata=metadata, team_id="team-a", request_tags='["b", "a"]')
    assert {name: value for name, value in row.items() if not name.startswith("x_")} == {
        "decision_id": "chatcmpl-1",
        "request_id": "chatcmpl-1",
        "session_id": "sess-1",
        "tenant_id": "team-a",
        "ts": datetime(2026, 11, 21, 8, 31, 6, 250000, tzinfo=UTC),
        "latency_s": 2.0,
        "ttft_s": 0.5,
        "decode_s": 1.5,
        "layer": "router",
        "decision_point": "model",
        "action": "cheap",
        "action_executed": "gpt-4o-mini",
        "_provider": "openai",
        "policy_version": "fp-9",
        "exploration": False,
        "propensity": 1.0,
        "propensity_source": "deterministic",
        "tok_input_uncached": 75,
        "tok_cache_read": 25,
        "tok_output": 20,
        "cost_usd": 0.003,
        "cost_source": "logged",
    }
    assert row["x_tags"] == "a|b"
    assert row["x_score"] == 0.31


def test_json_lines_an_array_and_csv_say_the_same(tmp_path: Path) -> None:
    """Kills a CSV whose cells stay text or whose empty cells become values."""
    record = spend(metadata={"routing_decision": routing()})
    one = rows(run(litellm_spend, lines([record]), tmp_path))
    assert rows(run(litellm_spend, json.dumps([record], indent=1), tmp_path)) == one
    assert rows(run(litellm_spend, _csv(record), tmp_path)) == one


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_metadata_is_decoded_as_often_as_it_is_text(layers: int, tmp_path: Path) -> None:
    """Kills decoding once: exports of the table hold JSON text in JSON text."""
    metadata: Any = {"original_model_group": "frontier"}
    for _ in range(layers):
        metadata = json.dumps(metadata)
    (row,) = rows(run(litellm_spend, lines([{**spend(), "metadata": metadata}]), tmp_path))
    assert row["action"] == "frontier"
    assert row["action_executed"] == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("told", "key", "kind", "count"),
    [
        ("True", "k", "response", 2),
        ("False", "k", "none", 2),
        ("False", "Cache OFF", None, 1),
        ("None", "k", None, 1),
        ("", "Cache OFF", None, 1),
        (None, None, None, 1),
    ],
)
def test_cache_hit_is_text(told: Any, key: Any, kind: str | None, count: int, tmp_path: Path) -> None:
    """Kills the truth of the text 'False'."""
    found = _rows(tmp_path, cache_hit=told, cache_key=key, spend=0.0 if told == "True" else 0.003)
    assert len(found) == count
    assert found[0].get("cache_hit_kind") == kind


def test_the_key_pays_where_the_config_says_so(tmp_path: Path) -> None:
    """Kills ignoring api_key, the one tenant that every row has."""
    (row,) = _rows(tmp_path, Config(tenant="key"), team_id="team-a")
    assert row["tenant_id"] == "hash-1"


def test_a_row_without_a_team_has_no_tenant(tmp_path: Path) -> None:
    """Kills the tenant ''."""
    (row,) = _rows(tmp_path, team_id="")
    assert "tenant_id" not in row


def test_a_call_that_did_not_stream_has_no_first_token(tmp_path: Path) -> None:
    """Kills completionStartTime == endTime as a first token; the table has no stream flag."""
    (row,) = _rows(tmp_path, completionStartTime="2026-11-21 08:31:08.250000")
    assert "ttft_s" not in row


def test_a_failure_is_known_by_its_metadata_too(tmp_path: Path) -> None:
    """Kills zeros as facts for failures of releases without a status column."""
    metadata = {"status": "failure", "error_information": {"error_class": "Timeout"}}
    items = run(
        litellm_spend,
        lines([spend(metadata=metadata, status=None, spend=0.0, prompt_tokens=0, completion_tokens=0)]),
        tmp_path,
    )
    assert not {name for name in rows(items)[0] if name.startswith(("tok_", "cost_"))}
    assert rows(items, "outcomes")[0]["label"] == "Timeout"


def test_a_tool_call_through_the_gateway_is_an_agent_step(tmp_path: Path) -> None:
    """Kills a router decision between tools."""
    (row,) = _rows(
        tmp_path, call_type="call_mcp_tool", mcp_namespaced_tool_name="crm-send_email", model="MCP: crm"
    )
    assert (row["layer"], row["decision_point"]) == ("agent", "act")
    assert row["action_executed"] == "crm-send_email"
    assert row["tool_s"] == 2.0


def test_overhead_calls_are_counted_by_origin(tmp_path: Path) -> None:
    """Kills judge calls that count as user requests."""
    items = run(
        litellm_spend, lines([spend(metadata={"internal_call_origin": "shadow_eval_judge"})]), tmp_path
    )
    assert ignored(items) == ["overhead call: shadow_eval_judge"]


def test_a_call_in_both_logs_is_one_decision(tmp_path: Path) -> None:
    """Kills counting a call twice when the payload and the table are both given."""
    (logged,) = rows(run(litellm, lines([payload()]), tmp_path))
    (stored,) = _rows(tmp_path)
    assert logged["decision_id"] == stored["decision_id"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metadata": "{'routing_decision': None}"}, "metadata is text that is no JSON"),
        ({"metadata": "[1]"}, "metadata is list, expected an object"),
        ({"request_id": ""}, "no field request_id"),
        ({"startTime": "today"}, "startTime: "),
        ({"spend": "a lot"}, "'a lot' is not a number"),
        ({"request_tags": "{"}, "request_tags is text that is no JSON"),
    ],
)
def test_a_damaged_row_is_rejected_with_its_reason(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Kills exceptions, and repairs in silence; both as JSON and as CSV."""
    record = {**spend(), **fields}
    for body in (lines([record, spend()]), _csv(record, spend())):
        items = run(litellm_spend, body, tmp_path)
        assert message in reasons(items)[0]
        assert len(rows(items)) == 1


def test_the_public_row_of_the_table_is_read() -> None:
    """Kills any change to the reading of the real writer's output; expected values written by hand."""
    items = run_file(litellm_spend, shared_data("formats") / "litellm" / "spend_logs_payload.json")
    (row,) = rows(items)
    assert row == {
        "decision_id": "chatcmpl-2283081b-dc89-41f6-93e6-d4f914774027",
        "request_id": "chatcmpl-2283081b-dc89-41f6-93e6-d4f914774027",
        "session_id": "1234567890",
        "ts": datetime(2025, 1, 24, 9, 20, 46, 847371, tzinfo=UTC),
        "latency_s": 0.004583,
        "layer": "router",
        "decision_point": "model",
        "action": "gpt-4o",
        "action_executed": "gpt-4o",
        "_provider": "openai",
        "tok_input_uncached": 10,
        "tok_output": 20,
        "cost_usd": 0.00022500000000000002,
        "cost_source": "logged",
    }
    assert len(items) == 1


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_row_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    record = mutated(data, {**spend(), "metadata": {"routing_decision": routing()}})
    for item in run(litellm_spend, lines([record]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
    if isinstance(record, dict) and record:
        for item in run(litellm_spend, _csv(record).encode("utf-8", "replace"), tmp_path):
            assert isinstance(item, Row | Rejected | Ignored)
