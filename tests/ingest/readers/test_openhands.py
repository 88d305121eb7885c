"""OpenHands: cumulative metrics of event streams, costs of result files, naive times, opinions of success.

The public sample holds results of the resolver; event streams and per-call metrics are written by hand from
OpenHands' own types.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
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
from shadowprice.ingest.readers import openhands
from shadowprice.ingest.seam import Row


def _metrics(cost: float, prompt: int, output: int, read: int = 0, write: int = 0) -> dict[str, Any]:
    usage = {
        "model": "claude-sonnet-4-20250514",
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "cache_read_tokens": read,
        "cache_write_tokens": write,
    }
    return {"accumulated_cost": cost, "accumulated_token_usage": usage, "costs": [], "token_usages": []}


def _event(id: int, second: int, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "timestamp": f"2026-03-01T10:00:{second:02}.500000",
        "source": "agent",
        "message": "SECRET",
        **more,
    }


def _action(id: int, second: int, action: str, metrics: Any = None, **args: Any) -> dict[str, Any]:
    told = {"action": action, "args": {"thought": "SECRET", **args}}
    return _event(id, second, **told, **({"llm_metrics": metrics} if metrics else {}))


def _observation(id: int, second: int, cause: int, kind: str = "run") -> dict[str, Any]:
    return _event(id, second, observation=kind, cause=cause, content="SECRET", extras={})


PROMPT = _event(0, 0, source="user", action="message", args={"content": "SECRET", "wait_for_response": False})
STREAM = [
    PROMPT,
    _event(1, 0, source="environment", action="recall", args={"query": "SECRET"}),
    _action(2, 4, "run", _metrics(0.01, 1000, 50, read=200), command="ls"),
    _observation(3, 6, 2),
    _action(4, 9, "edit", _metrics(0.025, 2500, 90, read=1100)),
    _action(5, 9, "read", _metrics(0.025, 2500, 90, read=1100)),
    _observation(6, 11, 4, "edit"),
    _action(7, 15, "finish", _metrics(0.03, 3000, 95, read=1500)),
]
CALLS = {
    "accumulated_cost": 0.03,
    "costs": [
        {"model": "gpt-4o", "cost": c, "timestamp": 1772359200.5 + n} for n, c in enumerate((0.01, 0.02))
    ],
    "token_usages": [
        {"prompt_tokens": 100 * n, "completion_tokens": n, "cache_read_tokens": 0} for n in (1, 2)
    ],
    "response_latencies": [{"model": "gpt-4o", "latency": 1.5, "response_id": "r"}],
}
RUN = {
    "instance_id": "django__django-11099",
    "test_result": {"git_patch": "SECRET", "report": {"resolved": True}},
    "instruction": "SECRET",
    "metadata": {"llm_config": {"model": "gpt-4o"}},
    "history": [_action(1, 1, "run", _metrics(9.0, 9, 9)), _observation(2, 3, 1)],
    "metrics": CALLS,
    "error": None,
}


def test_responses_of_a_stream_are_the_rises_of_cumulative_metrics(tmp_path: Path) -> None:
    """Kills totals as costs, a response counted per action that it caused, cached tokens paid in full."""
    found = [row for row in rows(run(openhands, lines(STREAM), tmp_path)) if row["layer"] == "router"]
    assert found[0] == {
        "request_id": found[0]["request_id"],
        "session_id": found[0]["session_id"],
        "decision_id": f"{found[0]['session_id']}:2:call",
        "ts": datetime(2026, 3, 1, 10, 0, 0, 500000, tzinfo=UTC),
        "layer": "router",
        "decision_point": "model",
        "action": "claude-sonnet-4-20250514",
        "latency_s": 4.0,
        "tok_input_uncached": 800,
        "tok_cache_read": 200,
        "tok_cache_write": 0,
        "tok_output": 50,
        "cost_usd": 0.01,
        "cost_source": "logged",
    }
    assert [row["cost_usd"] for row in found] == [0.01, 0.015, 0.005]
    assert [row["tok_input_uncached"] for row in found] == [800, 600, 100]
    assert found[1]["latency_s"] == 3.0


def test_steps_are_timed_by_the_observation_that_they_caused(tmp_path: Path) -> None:
    """Kills the time to the next line as the time of a tool, and steps without an observation lost."""
    steps = [row for row in rows(run(openhands, lines(STREAM), tmp_path)) if row["layer"] == "agent"]
    told = {
        row["action_executed"]: (row["action"], row.get("tool_s"), row.get("parent_id", "")[-6:])
        for row in steps
    }
    assert told == {
        "run": ("act", 2.0, "2:call"),
        "edit": ("edit", 2.0, "4:call"),
        "read": ("read", None, ""),
        "finish": ("act", None, "7:call"),
    }


def test_an_array_of_events_is_the_same_stream(tmp_path: Path) -> None:
    """Kills reading only one of the two shapes in which trajectories are exported."""
    as_array = [
        row["cost_usd"] for row in rows(run(openhands, json.dumps(STREAM), tmp_path)) if "cost_usd" in row
    ]
    assert as_array == [0.01, 0.015, 0.005]


def test_metrics_that_fall_quarantine_the_count_and_keep_the_step(tmp_path: Path) -> None:
    """Kills negative tokens, and a step lost over the count beside it."""
    body = [PROMPT, _action(1, 2, "run", _metrics(0.5, 900, 9)), _action(2, 3, "read", _metrics(0.1, 100, 1))]
    items = run(openhands, lines(body), tmp_path)
    assert reasons(items) == ["cumulative prompt_tokens fell, expected a count that rises"]
    assert [r["action_executed"] for r in rows(items) if r["layer"] == "agent"] == ["run", "read"]
    assert [r["cost_usd"] for r in rows(items) if r["layer"] == "router"] == [0.5]


def test_counts_of_zero_are_unknown(tmp_path: Path) -> None:
    """Kills a free response: models without a price log a cost of 0."""
    items = run(openhands, lines([PROMPT, _action(1, 2, "run", _metrics(0.0, 100, 5))]), tmp_path)
    call = next(row for row in rows(items) if row["layer"] == "router")
    assert "cost_usd" not in call
    items = run(openhands, lines([PROMPT, _action(1, 2, "run", _metrics(0.0, 0, 0))]), tmp_path)
    assert [row["layer"] for row in rows(items)] == ["agent"]


def test_a_row_may_prove_that_cached_tokens_come_on_top(tmp_path: Path) -> None:
    """Kills a negative count where a provider counts cached tokens apart."""
    items = run(openhands, lines([PROMPT, _action(1, 2, "run", _metrics(0.1, 10, 5, read=700))]), tmp_path)
    call = next(row for row in rows(items) if row["layer"] == "router")
    assert (call["tok_input_uncached"], call["tok_cache_read"]) == (10, 700)


@pytest.mark.parametrize(
    ("kind", "name", "source"), [("user_rejected", "approval", "human"), ("error", "error", "code")]
)
def test_refusals_and_errors_are_told_of_the_step(kind: str, name: str, source: str, tmp_path: Path) -> None:
    """Kills a refused or failed step that looks like one that ran."""
    items = run(openhands, lines([PROMPT, _action(1, 2, "run"), _observation(2, 5, 1, kind)]), tmp_path)
    (outcome,) = rows(items, "outcomes")
    assert (outcome["name"], outcome["source"]) == (name, source)
    assert outcome["decision_id"] == rows(items)[0]["decision_id"]


def test_a_question_to_the_user_defers_and_a_tool_of_a_server_has_its_own_name(tmp_path: Path) -> None:
    """Kills a message as an act, and every server tool as 'call_tool_mcp'."""
    asks = _action(1, 2, "message", wait_for_response=True)
    tells = _action(2, 3, "message", wait_for_response=False)
    calls = _action(3, 4, "call_tool_mcp", name="crm_send_email", arguments={})
    steps = rows(run(openhands, lines([PROMPT, asks, tells, calls]), tmp_path))
    assert [(s["decision_point"], s["action_executed"]) for s in steps] == [
        ("defer", "message"),
        ("act", "crm_send_email"),
    ]


def test_a_message_of_the_user_opens_a_request(tmp_path: Path) -> None:
    """Kills one request for a conversation of many tasks."""
    again = {**PROMPT, "id": 20}
    items = run(openhands, lines([*STREAM, again, _action(21, 30, "finish")]), tmp_path)
    contexts = rows(items, "contexts")
    assert len({context["request_id"] for context in contexts}) == len(contexts) == 2
    assert len({row["session_id"] for row in rows(items)}) == 1


def test_a_result_with_costs_per_call_gives_a_row_per_call(tmp_path: Path) -> None:
    """Kills the run's metrics counted beside those of its events, and a mismatched list of latencies."""
    items = run(openhands, lines([RUN]), tmp_path)
    calls = [row for row in rows(items) if row["layer"] == "router"]
    assert [(c["action"], c["cost_usd"], c["tok_input_uncached"], c["tok_output"]) for c in calls] == [
        ("gpt-4o", 0.01, 100, 1),
        ("gpt-4o", 0.02, 200, 2),
    ]
    assert calls[0]["ts"] == datetime.fromtimestamp(1772359200.5, tz=UTC)
    assert not any("latency_s" in call for call in calls)
    assert {row["x_context_id"] for row in rows(items)} == {"django__django-11099"}


def test_a_report_of_the_tests_is_an_outcome_of_the_environment(tmp_path: Path) -> None:
    """Kills a verdict of tests that counts as a model's opinion, and an error's text in the store."""
    items = run(openhands, lines([{**RUN, "error": "SECRET"}]), tmp_path)
    told = [(o["name"], o.get("value"), o.get("label"), o["source"]) for o in rows(items, "outcomes")]
    assert told == [("resolved", 1.0, None, "env"), ("error", None, "run_error", "code")]


def test_costs_that_name_no_model_stand_on_the_run(tmp_path: Path) -> None:
    """Kills a made-up model name, and costs that disappear."""
    told = {**RUN, "metadata": None, "metrics": {"accumulated_cost": 0.5, "costs": [0.2, 0.3]}}
    items = run(openhands, lines([told]), tmp_path)
    (spent,) = (row for row in rows(items) if "cost_usd" in row)
    assert (spent["decision_point"], spent["action"], spent["cost_usd"]) == ("run", "run", 0.5)


def test_pairs_of_action_and_observation_are_read_like_a_flat_history(tmp_path: Path) -> None:
    """Kills older results, whose history nests them."""
    flat, paired = (
        run(openhands, lines([{**RUN, "history": h}]), tmp_path) for h in (RUN["history"], [RUN["history"]])
    )
    assert [row["action"] for row in rows(flat)] == [row["action"] for row in rows(paired)]


def test_a_malformed_run_is_rejected_whole_and_the_next_one_is_read(tmp_path: Path) -> None:
    """Kills half a run, whose missing steps would count as decisions not taken."""
    bad = {**RUN, "history": [*RUN["history"], {"neither": 1}]}
    items = run(openhands, lines([bad, {**RUN, "history": "x"}, RUN]), tmp_path)
    assert reasons(items) == [
        "neither an action nor an observation that is named by text",
        "history is str, expected a list",
    ]
    assert len(rows(items, "contexts")) == 1


def test_events_and_results_are_told_by_their_fields() -> None:
    """Kills claiming any line with an action, newer events of another shape, and missing a cut first line."""
    assert openhands.sniff(lines(STREAM).encode())
    assert openhands.sniff(json.dumps(STREAM).encode())
    assert openhands.sniff(json.dumps(RUN).encode()[:200])
    assert not openhands.sniff(b'{"action": "run", "history": []}\n')
    assert not openhands.sniff(
        b'{"id": "e", "timestamp": "t", "source": "agent", "kind": "ActionEvent", "action": {}}\n'
    )


def test_no_text_of_prompt_or_output_is_kept(tmp_path: Path) -> None:
    """Kills storing what was said."""
    assert "SECRET" not in repr(run(openhands, lines([*STREAM, RUN]), tmp_path))


def test_the_public_results_are_read_as_counted_by_hand() -> None:
    """Kills a lost step: the two histories hold 3 and 23 actions of the agent beside its first message."""
    path = shared_data("formats") / "openhands_events" / "output.jsonl"
    assert openhands.sniff(read_head(path))
    items = run_file(openhands, path)
    spent = [row for row in rows(items) if row["decision_point"] == "run"]
    assert [row["cost_usd"] for row in spent] == [0.070713, 1.152933]
    assert [row["x_context_id"] for row in spent] == ["neubig/pr-viewer#5", "neubig/pr-viewer#1"]
    steps = [row for row in rows(items) if row["decision_point"] != "run"]
    assert Counter(row["action_executed"] for row in steps) == {"run": 3, "run_ipython": 21, "finish": 2}
    assert [(o["name"], o["value"], o["source"]) for o in rows(items, "outcomes")] == [
        ("success", 1.0, "llm_judge")
    ] * 2
    assert reasons(items) == []
    assert ignored(items).count("observation") == 24


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_events_or_runs_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a column that the schema does not have."""
    body = lines(mutated(data, copy.deepcopy([*STREAM, RUN])))
    openhands.sniff(body.encode())
    for item in run(openhands, body, tmp_path):
        if isinstance(item, Row):
            problem(item.table, without_hints(item.values))
