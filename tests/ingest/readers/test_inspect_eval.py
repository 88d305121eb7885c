"""Inspect logs: both token conventions, judges as overhead, approvals, epochs, scores of every kind.

Logs since 0.3.184, approvals, retries, caches and limits are written by hand from FORMATS and Inspect's own
types: the public samples are older.
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
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.pricing import without_hints
from shadowprice.ingest.readers import inspect_eval
from shadowprice.ingest.seam import Item, Row

NEW = "0.3.190"
OLD = "0.3.95.dev16+g6527d0861"


def _at(second: int, event: str, **told: Any) -> dict[str, Any]:
    return {"event": event, "timestamp": f"2026-03-01T10:00:{second:02}-05:00", "span_id": "agent", **told}


def _usage(
    given: int, output: int, *, read: int = 0, total: int | None = None, **more: Any
) -> dict[str, Any]:
    counts = {"input_tokens": given, "output_tokens": output, "input_tokens_cache_read": read}
    return {**counts, "total_tokens": given + output if total is None else total, **more}


def _model(second: int, usage: Any = None, **told: Any) -> dict[str, Any]:
    output = {"model": "gpt-4o-2024-08-06", "usage": usage or _usage(100, 20), "time": 1.5}
    return _at(second, "model", **{"model": "openai/gpt-4o", "output": output, "input": ["SECRET"], **told})


def _tool(second: int, name: str = "send_email", id: str = "call_1", **told: Any) -> dict[str, Any]:
    return _at(second, "tool", id=id, function=name, arguments={"to": "SECRET"}, result="SECRET", **told)


def _sample(*events: dict[str, Any], **told: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "epoch": 1,
        "uuid": "u7",
        "input": "SECRET",
        "events": list(events),
        "scores": {},
        **told,
    }


def _log(*samples: Any, version: str = NEW) -> dict[str, Any]:
    spec = {
        "eval_id": "e1",
        "run_id": "r1",
        "task_id": "t1",
        "task": "mail",
        "model": "openai/gpt-4o",
        "packages": {"inspect_ai": version},
        "revision": {"commit": "abc123"},
    }
    return {"version": 2, "status": "success", "eval": spec, "plan": {}, "samples": list(samples)}


def _read(folder: Path, *samples: Any, version: str = NEW) -> list[Item]:
    return run(inspect_eval, json.dumps(_log(*samples, version=version)), folder)


def test_a_sample_becomes_its_context_its_calls_and_its_scores(tmp_path: Path) -> None:
    """Kills a provider inside of the model's name, local time for UTC, generation time for wall time."""
    call = _model(
        1,
        _usage(100, 20, read=900, total_cost=0.5, reasoning_tokens=8),
        completed="2026-03-01T10:00:04-05:00",
    )
    tool = _tool(5, completed="2026-03-01T10:00:09-05:00", working_time=1.25)
    items = _read(tmp_path, _sample(call, tool, scores={"exact": {"value": "C"}}))
    shared = {
        "request_id": "u7",
        "session_id": "mail:7",
        "x_context_id": "mail:7",
        "policy_version": "abc123",
    }
    assert rows(items) == [
        {
            **shared,
            "decision_id": "u7:0",
            "ts": datetime(2026, 3, 1, 15, 0, 1, tzinfo=UTC),
            "layer": "router",
            "decision_point": "model",
            "action": "gpt-4o",
            "action_executed": "gpt-4o-2024-08-06",
            "_provider": "openai",
            "latency_s": 3.0,
            "tok_input_uncached": 100,
            "tok_cache_read": 900,
            "tok_output": 20,
            "tok_reasoning": 8,
            "cost_usd": 0.5,
            "cost_source": "logged",
        },
        {
            **shared,
            "decision_id": "u7:call_1",
            "parent_id": "u7:0",
            "ts": datetime(2026, 3, 1, 15, 0, 5, tzinfo=UTC),
            "layer": "agent",
            "decision_point": "act",
            "action": "act",
            "action_executed": "send_email",
            "action_class": "commit",
            "reversible": False,
            "latency_s": 4.0,
            "tool_s": 1.25,
        },
    ]
    assert rows(items, "outcomes") == [
        {"request_id": "u7", "name": "exact", "value": 1.0, "label": "C", "source": "code"}
    ]


@pytest.mark.parametrize(
    ("version", "usage", "uncached"),
    [
        (OLD, _usage(15235, 281, read=9088), 6147),
        (OLD, _usage(4, 10, read=900, total=914), 4),
        (OLD, _usage(4, 10, read=900, total=14), 4),
        (OLD, _usage(950, 10, read=900, total=1860), 950),
        (NEW, _usage(15235, 281, read=9088), 15235),
        ("0.3.184", _usage(100, 1, read=40), 100),
        ("0.3.184.dev2+gabc", _usage(100, 1, read=40), 60),
        ("0.3.183", _usage(100, 1, read=40), 60),
        ("0.4.0", _usage(100, 1, read=40), 100),
        ("", _usage(100, 1, read=40), 60),
    ],
)
def test_the_convention_changed_with_a_version_and_older_rows_tell_theirs(
    version: str, usage: dict[str, Any], uncached: int, tmp_path: Path
) -> None:
    """Kills one convention for all logs: 9,088 cached tokens of an old log would be paid twice.

    The first row is that of a public log of 0.3.95: 15,235 in, of which 9,088 cached, 281 out, 15,516 in all.
    """
    (row,) = rows(_read(tmp_path, _sample(_model(1, usage)), version=version))
    assert row["tok_input_uncached"] == uncached
    assert row["tok_cache_read"] == usage["input_tokens_cache_read"]


def test_what_scorers_call_is_overhead_and_their_scores_are_a_models_opinion(tmp_path: Path) -> None:
    """Kills the judge's tokens as demand, and its verdict as that of code."""
    spans = [
        _at(2, "span_begin", id="all", type="scorers", name="scorers"),
        _at(2, "span_begin", id="one", parent_id="all", type="scorer", name="rubric"),
        _at(2, "span_begin", id="deep", parent_id="one", type="tool", name="inner"),
    ]
    judge = [
        {**_model(3), "span_id": "one"},
        {**_model(4), "span_id": "deep"},
        {**_tool(5), "span_id": "deep"},
    ]
    scores = {"rubric": {"value": 0.75}, "exact": {"value": True}}
    items = _read(tmp_path, _sample(_model(1), *spans, *judge, scores=scores))
    assert [row["decision_id"] for row in rows(items)] == ["u7:0"]
    assert ignored(items).count("overhead call: grader") == 2
    told = [(o["name"], o["value"], o["source"]) for o in rows(items, "outcomes")]
    assert told == [("rubric", 0.75, "llm_judge"), ("exact", 1.0, "code")]


def test_graders_are_told_by_step_and_by_role_too(tmp_path: Path) -> None:
    """Kills older logs, which have steps for spans, and judges that run outside of a scorer."""
    begin, end = (_at(2, "step", action=a, type="scorer", name="rubric") for a in ("begin", "end"))
    items = _read(tmp_path, _sample(begin, _model(3), end, _model(4), _model(5, role="grader")))
    assert [row["decision_id"] for row in rows(items)] == ["u7:3"]


def test_an_approval_is_tied_to_its_call_and_to_who_gave_it(tmp_path: Path) -> None:
    """Kills an automatic policy as a person, and a verdict on the whole request."""
    asked = [
        _at(
            2,
            "approval",
            approver="human",
            decision=decision,
            call={"id": "call_1", "function": "send_email"},
        )
        for decision in ("approve", "reject", "escalate")
    ]
    auto = _at(3, "approval", approver="auto", decision="approve", call={"id": "call_1"})
    items = _read(tmp_path, _sample(_model(1), *asked, auto, _tool(4)))
    assert [(o["label"], o.get("value"), o["source"]) for o in rows(items, "outcomes")] == [
        *(("approve", 1.0, "human"), ("reject", 0.0, "human"), ("escalate", None, "human")),
        ("approve", 1.0, "code"),
    ]
    assert {o["decision_id"] for o in rows(items, "outcomes")} == {rows(items)[1]["decision_id"]}


def test_epochs_are_trials_of_one_situation(tmp_path: Path) -> None:
    """Kills a cluster per epoch, and one request for all epochs of a sample."""
    items = _read(tmp_path, *({**_sample(_model(1)), "uuid": None, "epoch": n} for n in (1, 2)))
    contexts = rows(items, "contexts")
    assert {c["x_context_id"] for c in contexts} == {c["session_id"] for c in contexts} == {"mail:7"}
    assert [c["request_id"] for c in contexts] == ["e1:t1:7:epoch-1", "e1:t1:7:epoch-2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", ("score", 1.0, "C")),
        ("P", ("score", 0.5, "P")),
        ("I", ("score", 0.0, "I")),
        ("N", ("score", 0.0, "N")),
        (False, ("score", 0.0, None)),
        (3, ("score", 3.0, None)),
        ("harmful", ("score", None, "harmful")),
        ({"depth": 2}, ("score.depth", 2.0, None)),
        (None, None),
        ([1, 2], None),
    ],
)
def test_scores_of_every_kind(value: Any, expected: Any, tmp_path: Path) -> None:
    """Kills a letter without its number, a number for a label, and 0 for a score that was not given."""
    found = rows(_read(tmp_path, _sample(_model(1), scores={"score": {"value": value}})), "outcomes")
    assert [(o["name"], o.get("value"), o.get("label")) for o in found] == ([expected] if expected else [])


def test_a_response_from_inspects_own_cache_is_free_and_a_miss_is_a_miss(tmp_path: Path) -> None:
    """Kills paying again for a response that was stored, whose usage the log repeats."""
    hit, miss = rows(_read(tmp_path, _sample(_model(1, cache="read"), _model(2, cache="write"))))
    assert (hit["cost_usd"], hit["tok_input_uncached"], hit["cache_hit_kind"]) == (0.0, 0, "response")
    assert (miss["tok_input_uncached"], miss["cache_hit_kind"]) == (100, "none")


def test_errors_limits_and_hand_overs_are_told(tmp_path: Path) -> None:
    """Kills a failed tool that looks like one that worked, and a sub-agent called by an unusual name."""
    failed = _tool(2, error={"type": "timeout", "message": "SECRET"})
    handed = _tool(3, "researcher", id="call_2", agent="researcher")
    sample = _sample(
        _model(1), failed, handed, error={"message": "SECRET"}, limit={"type": "token", "limit": 9}
    )
    items = _read(tmp_path, sample)
    told = [(o["name"], o["label"], o.get("decision_id")) for o in rows(items, "outcomes")]
    assert told == [
        *(("error", "timeout", "u7:call_1"), ("error", "sample_error", None), ("limit", "token", None)),
    ]
    assert [(row["decision_point"], row["action_executed"]) for row in rows(items)][2] == (
        "delegate",
        "researcher",
    )


def test_events_inside_of_a_tool_event_are_read_and_their_depth_is_bounded(tmp_path: Path) -> None:
    """Kills the spend of sub-agents in older logs, and recursion that a log can exhaust."""
    nested = _tool(2, "sub_agent", events=[_model(3), _tool(4, "read_file", id="call_9")])
    found = rows(_read(tmp_path, _sample(_model(1), nested)))
    assert [row.get("action_executed") for row in found] == [
        *("gpt-4o-2024-08-06", "sub_agent", "gpt-4o-2024-08-06", "read_file"),
    ]
    deep: dict[str, Any] = _tool(2)
    for _ in range(25):
        deep = _tool(2, events=[deep])
    assert reasons(_read(tmp_path, _sample(deep))) == ["events nested deeper than 20 levels"]


def test_bad_counts_quarantine_the_call_and_keep_the_steps(tmp_path: Path) -> None:
    """Kills negative tokens, and the steps of a sample lost with a call."""
    items = _read(tmp_path, _sample(_model(1, _usage(-5, 1)), _tool(2)))
    assert "is not a count" in reasons(items)[0]
    assert [row["layer"] for row in rows(items)] == ["agent"]


def test_a_usage_of_zeros_is_unknown(tmp_path: Path) -> None:
    """Kills a free call: one that failed logs zeros."""
    (row,) = rows(_read(tmp_path, _sample(_model(1, _usage(0, 0)))))
    assert not any(name.startswith("tok_") for name in row)


def test_a_malformed_sample_is_rejected_whole_and_the_next_one_is_read(tmp_path: Path) -> None:
    """Kills half a sample, whose missing steps would count as decisions not taken."""
    nameless = _tool(2)
    del nameless["function"]
    items = _read(tmp_path, _sample(_model(1), nameless), 7, {"epoch": 1}, _sample(_model(1)))
    assert reasons(items) == [
        "a tool call without a function",
        "a sample is int, expected an object",
        "no field id",
    ]
    assert [row["decision_id"] for row in rows(items)] == ["u7:0"]
    assert [item.line for item in items if isinstance(item, Row)] == [4, 4]


def test_samples_without_events_and_logs_without_samples_say_so(tmp_path: Path) -> None:
    """Kills silence over a log that was written without its events."""
    bare = {"id": 1, "epoch": 1, "scores": {"exact": {"value": 1}}}
    items = _read(tmp_path, bare)
    assert "sample whose events were not logged" in ignored(items)
    assert len(rows(items, "outcomes")) == 1
    body = {name: value for name, value in _log().items() if name != "samples"}
    assert ignored(run(inspect_eval, json.dumps(body), tmp_path)) == ["log without samples"]
    assert "no field eval" in reasons(run(inspect_eval, json.dumps({**body, "eval": None}), tmp_path))


def test_unfinished_calls_are_no_decisions(tmp_path: Path) -> None:
    """Kills a call counted twice by a log that was written while it ran."""
    items = _read(tmp_path, _sample(_model(1, pending=True), _tool(2, pending=True), _model(3)))
    assert len(rows(items)) == 1
    assert ignored(items).count("unfinished call") == 2


def test_no_text_of_prompt_argument_or_result_is_kept(tmp_path: Path) -> None:
    """Kills storing what was said."""
    assert "SECRET" not in repr(_read(tmp_path, _sample(_model(1), _tool(2, error={"message": "SECRET"}))))


def test_logs_are_told_by_their_fields() -> None:
    """Kills claiming any object with samples, and missing a log whose spec fills the head."""
    assert inspect_eval.sniff(json.dumps(_log()).encode())
    assert inspect_eval.sniff(json.dumps(_log(), indent=2).encode()[:90])
    assert not inspect_eval.sniff(b'{"samples": [], "results": {}, "text": "eval plan"}')
    assert not inspect_eval.sniff(lines([{"eval": 1}]).encode())


def test_the_public_logs_are_read_as_counted_by_hand() -> None:
    """Kills a lost call or score, and a judge's call as a decision."""
    folder = shared_data("formats") / "inspect_eval"
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*")):
        if path.name == "LICENSE":
            continue
        assert inspect_eval.sniff(read_head(path))
        items = run_file(inspect_eval, path)
        counts = [len(rows(items, table)) for table in ("contexts", "decisions", "outcomes")]
        found[path.name[:16]] = [*counts, ignored(items).count("overhead call: grader"), len(reasons(items))]
    assert found == {
        "2024-11-05T13-32": [1, 1, 1, 1, 0],
        "2025-02-11T15-17": [10, 10, 0, 0, 0],
        "2025-05-12T20-28": [3, 3, 3, 3, 0],
        "log_formats.eval": [1, 1, 1, 0, 0],
        "log_formats.json": [1, 1, 1, 0, 0],
        "log_read_sample.": [1, 1, 1, 0, 0],
        "log_tool_call_er": [1, 0, 0, 0, 0],
    }


def test_both_forms_of_a_log_give_the_same_rows() -> None:
    """Kills ids of the file: a log that was converted would count twice."""
    folder = shared_data("formats") / "inspect_eval"
    archive, plain = (run_file(inspect_eval, folder / f"log_formats.{form}") for form in ("eval", "json"))
    assert rows(archive) == rows(plain)
    assert rows(archive, "outcomes") == rows(plain, "outcomes")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_log_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a column that the schema does not have."""
    span = _at(2, "span_begin", id="one", parent_id="all", type="scorer", name="rubric")
    approval = _at(2, "approval", approver="human", decision="approve", call={"id": "call_1"})
    sample = _sample(
        _model(1), span, approval, _tool(3), scores={"a": {"value": {"b": 1}}}, limit={"type": "token"}
    )
    body = json.dumps(mutated(data, copy.deepcopy(_log(sample))))
    inspect_eval.sniff(body.encode())
    for item in run(inspect_eval, body, tmp_path):
        if isinstance(item, Row):
            problem(item.table, without_hints(item.values))
