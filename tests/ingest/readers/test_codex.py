"""Codex rollouts: cumulative, repeated and empty token counts to responses; calls and refusals to steps.

No licensed sample exists: the lines are written by hand from Codex's own types and FORMATS.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pricing import without_hints
from shadowprice.ingest.readers import codex
from shadowprice.ingest.readers.agent_logs import MAX_WAITING, Waiting
from shadowprice.ingest.seam import Row


def _line(second: float, kind: str, payload: Any) -> dict[str, Any]:
    whole, part = divmod(second, 1)
    return {
        "timestamp": f"2026-03-01T10:{int(whole) // 60:02}:{int(whole) % 60:02}.{round(part * 1000):03}Z",
        "type": kind,
        "payload": payload,
    }


def _usage(given: int, cached: int, output: int, reasoning: int) -> dict[str, int]:
    return {
        "input_tokens": given,
        "cached_input_tokens": cached,
        "output_tokens": output,
        "reasoning_output_tokens": reasoning,
        "total_tokens": given + output,
    }


def _count(second: float, total: dict[str, int] | None, last: dict[str, int] | None = None) -> dict[str, Any]:
    info = None if total is None else {"total_token_usage": total, "last_token_usage": last or total}
    return _line(second, "event_msg", {"type": "token_count", "info": info, "rate_limits": None})


def _call(second: float, name: str = "exec_command", call_id: str = "call_1") -> dict[str, Any]:
    payload = {"type": "function_call", "name": name, "arguments": "{}", "call_id": call_id}
    return _line(second, "response_item", payload)


def _output(second: float, said: Any, call_id: str = "call_1") -> dict[str, Any]:
    return _line(
        second, "response_item", {"type": "function_call_output", "call_id": call_id, "output": said}
    )


META = _line(
    0, "session_meta", {"id": "0199-a", "cwd": "/w", "cli_version": "0.89.0", "model_provider": "openai"}
)
TURN = _line(0.5, "turn_context", {"cwd": "/w", "model": "gpt-5-codex", "approval_policy": "on-request"})
PROMPT = _line(1, "event_msg", {"type": "user_message", "message": "SECRET"})
SESSION = [
    META,
    TURN,
    PROMPT,
    _count(1.1, None),
    _call(3),
    _count(3.5, _usage(100, 40, 20, 5)),
    _output(6, "Chunk ID: 1\nWall time: 2.25 seconds\nOutput:\nSECRET"),
    _count(6.1, _usage(100, 40, 20, 5)),
    _count(8, _usage(260, 160, 50, 15), _usage(160, 120, 30, 10)),
]


def test_responses_are_the_rises_of_a_cumulative_count(tmp_path: Path) -> None:
    """Kills totals as counts, a repeated count as a response, and cached tokens paid in full."""
    items = run(codex, lines(SESSION), tmp_path)
    first, second = (row for row in rows(items) if row["layer"] == "router")
    assert first == {
        "request_id": "0199-a:1",
        "session_id": "0199-a",
        "decision_id": "0199-a:response-0",
        "ts": datetime(2026, 3, 1, 10, 0, 1, tzinfo=UTC),
        "policy_version": "0.89.0",
        "layer": "router",
        "decision_point": "model",
        "action": "gpt-5-codex",
        "_provider": "openai",
        "latency_s": 2.5,
        "tok_input_uncached": 60,
        "tok_cache_read": 40,
        "tok_output": 20,
        "tok_reasoning": 5,
    }
    assert [second[n] for n in ("tok_input_uncached", "tok_cache_read", "tok_output", "tok_reasoning")] == [
        *(40, 120, 30, 10)
    ]
    assert second["latency_s"] == 2.0
    assert ignored(items).count("token count without counts") == 1
    assert ignored(items).count("repeated token count") == 1
    assert reasons(items) == []


def test_a_count_without_info_is_no_response_and_no_fault(tmp_path: Path) -> None:
    """Kills a crash or a quarantine on `info: null`, which stands before the first response."""
    items = run(codex, lines([META, TURN, PROMPT, _count(1.1, None)]), tmp_path)
    assert rows(items) == []
    assert reasons(items) == []
    assert "token count without counts" in ignored(items)


def test_a_call_is_a_step_of_the_response_that_is_counted_after_it(tmp_path: Path) -> None:
    """Kills steps without a parent, and the wait for a person as time inside of the tool."""
    (step,) = (row for row in rows(run(codex, lines(SESSION), tmp_path)) if row["layer"] == "agent")
    assert step["parent_id"] == "0199-a:response-0"
    assert step["decision_id"] == "0199-a:call_1"
    assert (step["action"], step["action_executed"], step["action_class"]) == (
        "act",
        "exec_command",
        "commit",
    )
    assert (step["latency_s"], step["tool_s"]) == (3.0, 2.25)


def test_the_first_count_of_a_resumed_session_is_its_last_response(tmp_path: Path) -> None:
    """Kills the whole spend of an earlier file counted again in the file that goes on from it."""
    body = [META, TURN, PROMPT, _count(2, _usage(9000, 8000, 900, 90), _usage(500, 400, 30, 3))]
    (row,) = rows(run(codex, lines(body), tmp_path))
    assert (row["tok_input_uncached"], row["tok_cache_read"], row["tok_output"]) == (100, 400, 30)


def test_a_count_that_falls_is_quarantined_and_counting_starts_anew(tmp_path: Path) -> None:
    """Kills negative tokens, tokens clipped to 0, and every later response lost with them."""
    body = [
        *(META, TURN, PROMPT, _count(2, _usage(100, 0, 20, 0))),
        *(_count(3, _usage(40, 0, 5, 0)), _count(4, _usage(70, 0, 9, 0))),
    ]
    items = run(codex, lines(body), tmp_path)
    assert reasons(items) == ["cumulative input_tokens fell from 100 to 40, expected a count that rises"]
    assert [row["tok_input_uncached"] for row in rows(items)] == [100, 30]
    assert len({row["decision_id"] for row in rows(items)}) == 2


def test_more_cached_than_given_is_quarantined(tmp_path: Path) -> None:
    """Kills a negative count of uncached tokens."""
    items = run(codex, lines([META, TURN, PROMPT, _count(2, _usage(10, 40, 5, 0))]), tmp_path)
    assert rows(items) == []
    assert "less than its parts" in reasons(items)[0]


@pytest.mark.parametrize("said", ["exec command rejected by user", {"content": "patch rejected by user"}])
def test_a_refusal_is_a_persons_verdict_on_the_call(said: Any, tmp_path: Path) -> None:
    """Kills a refused command that looks like one that ran."""
    items = run(codex, lines([META, TURN, PROMPT, _call(3), _output(4, said)]), tmp_path)
    (outcome,) = rows(items, "outcomes")
    assert (outcome["name"], outcome["value"], outcome["label"], outcome["source"]) == (
        *("approval", 0.0, "rejected", "human"),
    )
    assert outcome["decision_id"] == rows(items)[0]["decision_id"]


def test_an_output_that_quotes_a_refusal_is_none(tmp_path: Path) -> None:
    """Kills searching a tool's output for words that a web page may hold."""
    items = run(codex, lines([META, TURN, _call(3), _output(4, "grep: patch rejected by user")]), tmp_path)
    assert rows(items, "outcomes") == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (json.dumps({"output": "x", "metadata": {"exit_code": 1, "duration_seconds": 0.4}}), 0.4),
        (json.dumps({"output": "x", "metadata": {"duration_seconds": "soon"}}), None),
        ("{broken", None),
        ("Wall time: 1.2.3 seconds", None),
        ("\n" * 50 + "Wall time: 7 seconds", None),
    ],
)
def test_tool_time_is_codexs_own_measure_or_unknown(
    said: str, expected: float | None, tmp_path: Path
) -> None:
    """Kills a crash on odd output, and a time that the tool itself printed somewhere."""
    (row,) = rows(run(codex, lines([META, TURN, _call(3), _output(4, said)]), tmp_path))
    assert row.get("tool_s") == expected


def test_prompts_open_requests_and_each_has_its_context_once(tmp_path: Path) -> None:
    """Kills one request for a whole session, and a context for a prompt that nothing answered."""
    second = _line(9, "event_msg", {"type": "user_message", "message": "again"})
    third = _line(20, "event_msg", {"type": "user_message", "message": "never answered"})
    body = [*SESSION, second, _count(12, _usage(300, 160, 60, 15)), third]
    items = run(codex, lines(body), tmp_path)
    assert [c["request_id"] for c in rows(items, "contexts")] == ["0199-a:1", "0199-a:2"]
    assert {row["request_id"] for row in rows(items)} == {"0199-a:1", "0199-a:2"}


def test_a_call_without_a_result_is_kept(tmp_path: Path) -> None:
    """Kills losing the last step of a session that was killed."""
    (row,) = rows(run(codex, lines([META, TURN, PROMPT, _call(3)]), tmp_path))
    assert row["action_executed"] == "exec_command"
    assert "latency_s" not in row


def test_the_header_of_a_forked_session_does_not_rename_it(tmp_path: Path) -> None:
    """Kills rows under the parent's id, which would clash with the parent's own."""
    parent = _line(0, "session_meta", {"id": "0199-parent"})
    items = run(codex, lines([META, parent, *SESSION[1:]]), tmp_path)
    assert {row["session_id"] for row in rows(items)} == {"0199-a"}


def test_unreadable_lines_are_quarantined_one_by_one(tmp_path: Path) -> None:
    """Kills losing a session over one line."""
    bad = [{"silly": 1}, {"type": "event_msg"}, _line(3, "event_msg", [1]), {**PROMPT, "timestamp": "noon"}]
    items = run(codex, lines([*bad, *SESSION]) + '{"timestamp": "2026', tmp_path)
    assert len(rows(items)) == 3
    assert reasons(items)[:3] == ["no field type", "no field payload", "payload is list, expected an object"]
    assert "'noon' is not a time" in reasons(items)[3]
    assert "cut off" in reasons(items)[4]


def test_a_response_of_an_unknown_model_is_quarantined(tmp_path: Path) -> None:
    """Kills a made-up model name."""
    items = run(codex, lines([META, PROMPT, _count(2, _usage(10, 0, 5, 0))]), tmp_path)
    assert reasons(items) == ["a response before any turn_context that names the model"]


def test_calls_that_wait_for_a_result_are_bounded(tmp_path: Path) -> None:
    """Kills memory that grows with a log of calls that were never answered."""
    waiting = Waiting()
    left = [row for n in range(MAX_WAITING + 2) for row in waiting.hold(f"c{n}", Row("decisions", n, {}))]
    assert [row.line for row in left] == [0, 1]
    assert len(waiting.rest()) == MAX_WAITING
    body = [META, TURN, *(_call(3, call_id=f"c{n}") for n in range(MAX_WAITING + 10))]
    found = rows(run(codex, lines(body), tmp_path))
    assert len({row["decision_id"] for row in found}) == MAX_WAITING + 10


def test_rollouts_are_told_by_the_values_of_their_type() -> None:
    """Kills claiming every log of timestamp, type and payload, and missing a first line beyond the head."""
    assert codex.sniff(lines(SESSION).encode())
    long = {**META, "payload": {"id": "a", "base_instructions": "x" * 200_000}}
    assert codex.sniff(json.dumps(long).encode()[: 64 * 1024])
    assert not codex.sniff(b'{"timestamp": "2026-03-01T10:00:00Z", "type": "order", "payload": {}}\n')
    assert not codex.sniff(b'{"timestamp": "2026-03-01T10:00:00Z", "type": ["event_msg"], "payload": {}}\n')
    assert not codex.sniff(b'{"type": "event_msg", "payload": "text", "timestamp": 1}\n')


def test_no_text_of_prompt_or_output_is_kept(tmp_path: Path) -> None:
    """Kills storing what was said."""
    assert "SECRET" not in repr(run(codex, lines(SESSION), tmp_path))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_session_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a column that the schema does not have."""
    body = lines(mutated(data, copy.deepcopy(SESSION)))
    codex.sniff(body.encode())
    for item in run(codex, body, tmp_path):
        if isinstance(item, Row):
            problem(item.table, without_hints(item.values))
