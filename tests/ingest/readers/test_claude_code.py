"""Claude Code sessions: responses over several lines, exclusive caches, refusals, sub-agents, damaged lines.

Repeated usage, sub-agents and refusals are written by hand from FORMATS: the public samples hold none.
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
from paths import shared_data
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pricing import without_hints
from shadowprice.ingest.readers import claude_code
from shadowprice.ingest.readers.claude_code import MAX_OPEN
from shadowprice.ingest.seam import Row

USAGE = {
    "input_tokens": 4,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 9000,
    "output_tokens": 120,
}


def _line(kind: str, uuid: str, parent: str | None, second: int, message: Any, **more: Any) -> dict[str, Any]:
    return {
        "parentUuid": parent,
        "isSidechain": False,
        "sessionId": "s1",
        "version": "1.0.24",
        "type": kind,
        "message": message,
        "uuid": uuid,
        "timestamp": f"2026-03-01T10:00:{second:02}.000Z",
        **more,
    }


def _prompt(uuid: str, second: int, parent: str | None = None, **more: Any) -> dict[str, Any]:
    return _line("user", uuid, parent, second, {"role": "user", "content": "SECRET"}, **more)


def _said(
    uuid: str,
    parent: str | None,
    second: int,
    *tools: str,
    usage: Any = USAGE,
    id: str = "msg_1",
    **more: Any,
) -> dict[str, Any]:
    calls = [
        {"type": "tool_use", "id": f"toolu_{uuid}_{n}", "name": t, "input": {}} for n, t in enumerate(tools)
    ]
    content = calls or [{"type": "text", "text": "SECRET"}]
    message = {"id": id, "model": "claude-sonnet-4-20250514", "content": content, "usage": usage}
    return _line("assistant", uuid, parent, second, message, **{"requestId": f"req_{id}", **more})


def _result(uuid: str, parent: str, second: int, call: str, said: Any = "ok", **more: Any) -> dict[str, Any]:
    part = {"type": "tool_result", "tool_use_id": call, "content": said, "is_error": more.pop("error", False)}
    return _line("user", uuid, parent, second, {"role": "user", "content": [part]}, **more)


SESSION = [
    {"type": "summary", "summary": "SECRET", "leafUuid": "u9"},
    _prompt("u1", 0),
    _said("a1", "u1", 5, usage={**USAGE, "output_tokens": 7}),
    _said("a2", "a1", 8, "Bash"),
    _result("u2", "a2", 20, "toolu_a2_0"),
    _said("a3", "u2", 26, id="msg_2"),
]


def test_a_response_over_several_lines_is_one_row_with_its_last_usage(tmp_path: Path) -> None:
    """Kills a response paid once per line, and the usage of its first line, written before it was done."""
    items = run(claude_code, lines(SESSION), tmp_path)
    first, second = (row for row in rows(items) if row["layer"] == "router")
    assert first == {
        "request_id": "u1",
        "session_id": "s1",
        "decision_id": "msg_1:req_msg_1",
        "ts": datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC),
        "policy_version": "1.0.24",
        "layer": "router",
        "decision_point": "model",
        "action": "claude-sonnet-4-20250514",
        "latency_s": 8.0,
        "tok_input_uncached": 4,
        "tok_cache_read": 9000,
        "tok_cache_write": 300,
        "tok_output": 120,
    }
    assert (second["decision_id"], second["latency_s"]) == ("msg_2:req_msg_2", 6.0)
    assert ignored(items).count("further part of a response") == 1


def test_parts_of_parallel_responses_may_alternate(tmp_path: Path) -> None:
    """Kills closing a response as soon as another one speaks, and memory for every response of a log."""
    body = [_prompt("u1", 0)]
    for turn in range(2):
        body += [_said(f"a{n}-{turn}", "u1", 5 + turn, id=f"msg_{n}") for n in range(MAX_OPEN)]
    found = rows(run(claude_code, lines(body), tmp_path))
    assert len(found) == len({row["decision_id"] for row in found}) == MAX_OPEN
    body += [_said(f"b{n}", "u1", 9, id=f"later_{n}") for n in range(3 * MAX_OPEN)]
    assert len(rows(run(claude_code, lines(body), tmp_path))) == 4 * MAX_OPEN


def test_a_call_is_a_step_of_its_response_and_its_wall_time_is_no_tool_time(tmp_path: Path) -> None:
    """Kills the wait for an approval as work of the tool."""
    (step,) = (row for row in rows(run(claude_code, lines(SESSION), tmp_path)) if row["layer"] == "agent")
    assert step["decision_id"] == "toolu_a2_0"
    assert step["parent_id"] == "msg_1:req_msg_1"
    assert (step["action"], step["action_executed"]) == ("act", "Bash")
    assert step["latency_s"] == 12.0
    assert "tool_s" not in step


def test_a_duration_that_a_result_tells_is_the_tools(tmp_path: Path) -> None:
    """Kills milliseconds read as seconds."""
    body = [*SESSION[:4], _result("u2", "a2", 20, "toolu_a2_0", toolUseResult={"durationMs": 2500})]
    step = next(row for row in rows(run(claude_code, lines(body), tmp_path)) if row["layer"] == "agent")
    assert step["tool_s"] == 2.5


def test_cache_counts_that_are_absent_stay_unknown_and_zeros_are_kept(tmp_path: Path) -> None:
    """Kills 0 cached tokens for a log that says nothing, and unknown for one that says 0."""
    silent = _said("a1", "u1", 5, usage={"input_tokens": 20, "output_tokens": 3})
    none = {
        "input_tokens": 20,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "output_tokens": 3,
    }
    (row,) = rows(run(claude_code, lines([_prompt("u1", 0), silent]), tmp_path))
    assert "tok_cache_read" not in row
    (row,) = rows(run(claude_code, lines([_prompt("u1", 0), _said("a1", "u1", 5, usage=none)]), tmp_path))
    assert (row["tok_cache_read"], row["tok_cache_write"]) == (0, 0)


def test_a_usage_of_zeros_is_unknown_and_a_clients_message_is_no_call(tmp_path: Path) -> None:
    """Kills a free response, and a model called '<synthetic>'."""
    zero = dict.fromkeys(USAGE, 0)
    (row,) = rows(run(claude_code, lines([_prompt("u1", 0), _said("a1", "u1", 5, usage=zero)]), tmp_path))
    assert not any(name.startswith("tok_") for name in row)
    made = _said("a1", "u1", 5)
    made["message"]["model"] = "<synthetic>"
    items = run(claude_code, lines([_prompt("u1", 0), made]), tmp_path)
    assert rows(items) == []
    assert "message of the client, no model call" in ignored(items)


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ("The user doesn't want to proceed with this tool use. The tool use was rejected", {}),
        ([{"type": "text", "text": "The user doesn't want to take this action right now. STOP"}], {}),
        ("anything", {"toolUseResult": "User rejected tool use"}),
    ],
)
def test_a_refusal_is_a_persons_verdict_on_the_call(said: Any, more: dict[str, Any], tmp_path: Path) -> None:
    """Kills a refusal that looks like a failure of the tool."""
    body = [*SESSION[:4], _result("u2", "a2", 20, "toolu_a2_0", said, error=True, **more)]
    (outcome,) = rows(run(claude_code, lines(body), tmp_path), "outcomes")
    assert (outcome["name"], outcome["value"], outcome["source"]) == ("approval", 0.0, "human")
    assert (outcome["decision_id"], outcome["request_id"]) == ("toolu_a2_0", "u1")


def test_an_error_is_no_refusal_and_a_quoted_refusal_is_none(tmp_path: Path) -> None:
    """Kills a person blamed for a failing tool, or for words that a file happens to hold."""
    quoted = "cat: The user doesn't want to proceed with this tool use"
    body = [*SESSION[:4], _result("u2", "a2", 20, "toolu_a2_0", quoted, error=True)]
    (outcome,) = rows(run(claude_code, lines(body), tmp_path), "outcomes")
    assert (outcome["name"], outcome["label"], outcome["source"]) == ("error", "tool_error", "code")
    fine = _result("u2", "a2", 20, "toolu_a2_0", "The user doesn't want to proceed with this tool use")
    assert rows(run(claude_code, lines([*SESSION[:4], fine]), tmp_path), "outcomes") == []


def test_a_sub_agent_in_the_file_belongs_to_the_delegation_that_waits(tmp_path: Path) -> None:
    """Kills the cost of a sub-agent on a request of its own, and its prompt as a user's."""
    side = {"isSidechain": True}
    body = [
        *(_prompt("u1", 0), _said("a1", "u1", 2, "Task"), _prompt("s1", 3, **side)),
        *(_said("s2", "s1", 7, "Grep", id="msg_side", **side), _result("u2", "a1", 9, "toolu_a1_0")),
    ]
    found = {row["decision_id"]: row for row in rows(run(claude_code, lines(body), tmp_path))}
    delegation, side_call = found["toolu_a1_0"], found["msg_side:req_msg_side"]
    assert (delegation["decision_point"], delegation["action_executed"]) == ("delegate", "Task")
    assert side_call["parent_id"] == "toolu_a1_0"
    assert side_call["x_sidechain"] is True
    assert {row["request_id"] for row in found.values()} == {"u1"}
    assert "x_sidechain" not in delegation


def test_of_two_waiting_delegations_none_is_blamed(tmp_path: Path) -> None:
    """Kills a guess where the file cannot tell which sub-agent speaks."""
    body = [
        _prompt("u1", 0),
        _said("a1", "u1", 2, "Task", "Task"),
        _said("s2", None, 7, id="m", isSidechain=True),
    ]
    side = next(row for row in rows(run(claude_code, lines(body), tmp_path)) if row.get("x_sidechain"))
    assert "parent_id" not in side


def test_a_file_of_a_sub_agent_alone_is_a_request_of_its_session(tmp_path: Path) -> None:
    """Kills rows that no session holds when agent-*.jsonl is read by itself."""
    side = {"isSidechain": True, "agentId": "abc123"}
    (row,) = rows(run(claude_code, lines([_prompt("x", 0, **side), _said("y", "x", 4, **side)]), tmp_path))
    assert (row["request_id"], row["session_id"], row["latency_s"]) == ("s1:abc123", "s1", 4.0)


def test_only_what_a_person_typed_opens_a_request(tmp_path: Path) -> None:
    """Kills a request per caveat of the client, per summary of a compaction and per tool result."""
    body = [
        *(_prompt("u1", 0), _prompt("m1", 1, "u1", isMeta=True), _said("a1", "m1", 5, "Read")),
        *(_result("u2", "a1", 6, "toolu_a1_0"), _prompt("c1", 7, isCompactSummary=True)),
        *(_said("a2", "c1", 9, id="msg_2"), _prompt("u3", 20, "a2")),
    ]
    items = run(claude_code, lines(body), tmp_path)
    assert [context["request_id"] for context in rows(items, "contexts")] == ["u1"]
    assert {row["request_id"] for row in rows(items)} == {"u1"}


def test_lines_written_out_of_order_have_no_latency(tmp_path: Path) -> None:
    """Kills a negative latency, which would quarantine the tokens with it."""
    items = run(claude_code, lines([_prompt("u1", 30), _said("a1", "u1", 5)]), tmp_path)
    assert "latency_s" not in rows(items)[0]
    assert rows(items)[0]["tok_output"] == 120


def test_bad_counts_quarantine_their_line_alone(tmp_path: Path) -> None:
    """Kills negative tokens, and the session lost with them."""
    bad = _said("a1", "u1", 5, usage={**USAGE, "cache_read_input_tokens": -3})
    items = run(claude_code, lines([_prompt("u1", 0), bad, _said("a2", "u1", 6, id="msg_2")]), tmp_path)
    assert len(reasons(items)) == 1
    assert "is not a count" in reasons(items)[0]
    assert [row["decision_id"] for row in rows(items)] == ["msg_2:req_msg_2"]


def test_a_line_read_twice_gives_the_same_ids(tmp_path: Path) -> None:
    """Kills ids of line numbers: a resumed session repeats the lines of the one before."""
    once = rows(run(claude_code, lines(SESSION), tmp_path))
    again = rows(run(claude_code, lines([*SESSION[:2], *SESSION]), tmp_path))
    assert {row["decision_id"] for row in once} == {row["decision_id"] for row in again}


def test_sessions_are_told_by_their_chain_of_parents() -> None:
    """Kills claiming other chats, and missing a first line that is longer than the head."""
    assert claude_code.sniff(lines(SESSION).encode())
    assert claude_code.sniff(lines([_prompt("u1", 0)]).encode()[:120])
    assert not claude_code.sniff(b'{"type": "user", "message": {}, "uuid": "a", "sessionId": "b"}\n')
    assert not claude_code.sniff(b'{"text": "sessionId parentUuid isSidechain"}\n')


def test_no_text_of_prompt_or_response_is_kept(tmp_path: Path) -> None:
    """Kills storing what was said, also in reasons."""
    body = [
        *SESSION,
        _line("user", "z", None, 40, "SECRET"),
        _line("user", "z", None, 40, {"content": ["SECRET"]}),
    ]
    items = run(claude_code, lines(body), tmp_path)
    assert len(reasons(items)) == 2
    assert "SECRET" not in repr(items)


def test_the_public_sessions_are_read_as_counted_by_hand() -> None:
    """Kills a lost response or tool call; each file's lines were counted with grep."""
    folder = shared_data("formats") / "claude_code_jsonl"
    found = {path.stem: run_file(claude_code, path) for path in sorted(folder.glob("*.jsonl"))}
    counts = {
        name: [sum(row["layer"] == layer for row in rows(items)) for layer in ("router", "agent")]
        for name, items in found.items()
    }
    assert counts == {
        "edge_cases": [4, 3],
        "representative_messages": [5, 2],
        "session_b": [1, 0],
        "todowrite_examples": [6, 3],
    }
    tools = [row["action"] for row in rows(found["todowrite_examples"]) if row["layer"] == "agent"]
    assert tools == ["plan"] * 3
    assert [len(reasons(items)) for items in found.values()] == [7, 0, 0, 0]
    assert sum(row.get("tok_output", 0) for row in rows(found["representative_messages"])) == 445


def test_the_damaged_lines_of_the_public_sample_each_say_why() -> None:
    """Kills an unexplained quarantine: the sample holds these seven on purpose."""
    items = run_file(claude_code, shared_data("formats") / "claude_code_jsonl" / "edge_cases.jsonl")
    assert reasons(items) == [
        "no field message.content",
        "message is str, expected an object",
        "a JSON str, expected an object",
        "no field type",
        "a JSON int, expected an object",
        "a JSON list, expected an object",
        "an item of message.content is str, expected an object",
    ]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_session_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a column that the schema does not have."""
    body = "".join(json.dumps(line) + "\n" for line in mutated(data, copy.deepcopy(SESSION)))
    claude_code.sniff(body.encode())
    for item in run(claude_code, body, tmp_path):
        if isinstance(item, Row):
            problem(item.table, without_hints(item.values))
