"""tau-bench: trajectories to agent decisions, trials of one task as one situation, rewards as outcomes."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import reasons, rows, run, run_file
from shadowprice.ingest.readers import tau_bench
from shadowprice.ingest.seam import Ignored, Rejected, Row
from shadowprice.schemas.config import ActionRule, Config

EXPECTED = {
    "task-0:trial-0": [
        "get_user_details",
        "search_direct_flight",
        "search_onestop_flight",
        "calculate",
        "book_reservation",
        "think",
        "calculate",
        "book_reservation",
    ],
    "task-2:trial-0": [
        "get_user_details",
        "get_reservation_details",
        "get_reservation_details",
        "get_reservation_details",
        "update_reservation_flights",
        "update_reservation_flights",
        "calculate",
    ],
}
"""Task 1 called no tool at all; its context and reward are still there."""
REWARDS = [0.0, 0.0, 0.0]


def _call(name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def _result(task: int = 3, trial: int = 1, *, tools: tuple[str, ...] = ("think", "refund_order")) -> Any:
    said = [{"role": "system", "content": "policy"}, {"role": "assistant", "content": "hello"}]
    answer = {"role": "tool", "name": "think", "tool_call_id": "c", "content": ""}
    told = {"user_id": "u", "instruction": "Fly.", "actions": [{"name": "refund_order", "kwargs": {}}]}
    return {
        "task_id": task,
        "reward": 1.0,
        "info": {"task": told, "user_cost": 0.5},
        "traj": [*said, *(m for tool in tools for m in (_call(tool), answer))],
        "trial": trial,
    }


def test_a_trajectory_becomes_its_context_its_steps_and_its_reward(tmp_path: Path) -> None:
    """Kills dropping a step, taking the simulated user's cost, and steps that do not count from 0."""
    items = run(tau_bench, json.dumps([_result()]), tmp_path)
    request = rows(items, "contexts")[0]["request_id"]
    situation = rows(items, "contexts")[0]["x_context_id"]
    assert request.endswith(":task-3:trial-1")
    shared = {
        "request_id": request,
        "session_id": situation,
        "x_context_id": situation,
        "layer": "agent",
    }
    assert rows(items) == [
        {
            **shared,
            "decision_id": f"{request}:0",
            "step": 0,
            "decision_point": "plan",
            "action": "plan",
            "action_executed": "think",
            "action_class": "read",
            "reversible": True,
        },
        {
            **shared,
            "decision_id": f"{request}:1",
            "step": 1,
            "decision_point": "act",
            "action": "act",
            "action_executed": "refund_order",
            "action_class": "commit",
            "reversible": False,
        },
    ]
    assert rows(items, "outcomes") == [
        {"request_id": request, "name": "reward", "value": 1.0, "source": "env"}
    ]


def test_trials_of_a_task_share_situation_and_session_but_not_the_request(tmp_path: Path) -> None:
    """Kills clusters per trial, which would count one task four times."""
    items = run(tau_bench, json.dumps([_result(trial=0), _result(trial=1), _result(task=4)]), tmp_path)
    found = rows(items, "contexts")
    assert found[0]["x_context_id"] == found[1]["x_context_id"] != found[2]["x_context_id"]
    assert found[0]["session_id"] == found[1]["session_id"]
    assert len({context["request_id"] for context in found}) == 3


def test_task_numbers_of_two_benchmarks_are_not_one_situation(tmp_path: Path) -> None:
    """Kills comparing task 0 of airline with task 0 of retail when both files are ingested."""
    other = _result()
    other["info"]["task"]["instruction"] = "Return the shoes."
    here = rows(run(tau_bench, json.dumps([_result()]), tmp_path), "contexts")[0]
    there = rows(run(tau_bench, json.dumps([other]), tmp_path), "contexts")[0]
    assert here["x_context_id"] != there["x_context_id"]


def test_a_gold_action_that_no_rule_knows_commits(tmp_path: Path) -> None:
    """Kills leaving a database write without action class because its verb is unusual."""
    result = _result(tools=("frobnicate", "wobble"))
    result["info"]["task"]["actions"] = [{"name": "frobnicate", "kwargs": {}}]
    steps = rows(run(tau_bench, json.dumps([result]), tmp_path))
    assert [step.get("action_class") for step in steps] == ["commit", None]


def test_a_gold_action_whose_name_is_no_text_is_no_tools(tmp_path: Path) -> None:
    """Kills a TypeError for a name that cannot be looked up."""
    result = _result(tools=("frobnicate",))
    result["info"]["task"]["actions"] = [{"name": ["frobnicate"]}]
    (step,) = rows(run(tau_bench, json.dumps([result]), tmp_path))
    assert "action_class" not in step


def test_a_users_rule_reclassifies_a_tool(tmp_path: Path) -> None:
    """Kills ignoring the configuration."""
    config = Config(rules=(ActionRule(match="think", kind="verify"),))
    assert rows(run(tau_bench, json.dumps([_result()]), tmp_path, config))[0]["action"] == "verify"


def test_an_unscored_trajectory_keeps_its_steps_without_an_outcome(tmp_path: Path) -> None:
    """Kills a reward of 0 for a trajectory that was never scored."""
    items = run(tau_bench, json.dumps([{**_result(), "reward": None}]), tmp_path)
    assert rows(items, "outcomes") == []
    assert len(rows(items)) == 2


def test_a_malformed_trajectory_is_rejected_whole_and_the_next_one_is_read(tmp_path: Path) -> None:
    """Kills half a trajectory, whose missing steps would count as decisions not taken."""
    bad = _result()
    bad["traj"][-2]["tool_calls"][0]["function"] = {"arguments": "{}"}
    items = run(tau_bench, json.dumps([bad, _result(trial=2), 7, {"task_id": 1}]), tmp_path)
    assert len(rows(items)) == 2
    assert reasons(items) == [
        "a tool call is named None, expected text",
        "a JSON int, expected an object",
        "no field trial",
    ]


def test_a_file_that_is_cut_off_keeps_what_came_before(tmp_path: Path) -> None:
    """Kills losing 199 trajectories over the last one."""
    body = json.dumps([_result(), _result(trial=2)])
    items = run(tau_bench, body[:-40], tmp_path)
    assert len(rows(items, "contexts")) == 1
    assert len(reasons(items)) == 1


def test_the_public_airline_runs_are_read_whole() -> None:
    """Kills any lost trajectory, tool call or reward of the published file."""
    path = shared_data("tau_bench") / "historical_trajectories" / "gpt-4o-airline.json"
    items = run_file(tau_bench, path)
    contexts, steps, rewards = rows(items, "contexts"), rows(items), rows(items, "outcomes")
    assert len({c["request_id"] for c in contexts}) == len(contexts) == 200
    assert len({c["x_context_id"] for c in contexts}) == 50
    assert Counter(step["action"] for step in steps) == {
        "read": 678,
        "act": 250,
        "plan": 188,
        "delegate": 48,
    }
    assert sum(r["value"] for r in rewards) == 84
    assert len({step["decision_id"] for step in steps}) == 1164


def test_the_three_public_trajectories_give_exactly_these_steps() -> None:
    """Kills a reader that reorders tool calls or mixes trajectories; written from the file by hand."""
    items = run_file(tau_bench, shared_data("formats") / "tau_bench" / "gpt-4o-airline.head3.json")
    by_task: dict[str, list[str]] = {}
    for step in rows(items):
        by_task.setdefault(step["request_id"].split(":", 1)[1], []).append(step["action_executed"])
    assert by_task == EXPECTED
    assert [outcome["value"] for outcome in rows(items, "outcomes")] == REWARDS


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere in the reader."""
    record = mutated(data, copy.deepcopy(_result()))
    for item in run(tau_bench, json.dumps([record, _result(trial=9)]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
