"""SWE-agent: totals of a run on one row, its steps beside it, and demonstrations refused."""

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
from reading import ignored, reasons, rows, run, run_file
from shadowprice.ingest.checks import problem
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.pricing import without_hints
from shadowprice.ingest.readers import swe_agent
from shadowprice.ingest.seam import LogFile, Row
from shadowprice.schemas.config import ActionRule, Config

STEP = {
    "action": "find_file x.py\n",
    "observation": "found",
    "response": "look",
    "thought": "",
    "state": "{}",
}
STATS = {
    "total_cost": 9.5,
    "instance_cost": 1.25,
    "tokens_sent": 1000,
    "tokens_received": 90,
    "api_calls": 3,
}
REPLAY = {"agent": {"model": {"name": "gpt-4o"}}, "problem_statement": {"id": "django__django-11099"}}
"""The settings of newer versions, written by hand from SWE-agent's own types: no sample holds them."""


def _run(*actions: str, **info: Any) -> dict[str, Any]:
    steps = [{**STEP, "action": action} for action in actions] or [STEP]
    told = {"exit_status": "submitted", "submission": "diff --git", "model_stats": STATS, **info}
    return {"environment": "swe_main", "trajectory": steps, "history": [], "info": told}


def test_a_run_becomes_one_row_of_totals_and_a_step_per_action(tmp_path: Path) -> None:
    """Kills a cost per step, which the log does not hold, and total_cost, which sums over other runs."""
    items = run(swe_agent, json.dumps(_run("find_file x.py\n", "rm x.py\n", "submit\n")), tmp_path)
    totals, *steps = rows(items)
    request = rows(items, "contexts")[0]["request_id"]
    assert totals == {
        "request_id": request,
        "session_id": request,
        "decision_id": f"{request}:run",
        "layer": "agent",
        "decision_point": "run",
        "action": "run",
        "tok_input_uncached": 1000,
        "tok_output": 90,
        "cost_usd": 1.25,
        "cost_source": "logged",
    }
    assert [(s["step"], s["action"], s["action_executed"], s["action_class"]) for s in steps] == [
        (0, "read", "find_file", "read"),
        (1, "act", "rm", "commit"),
        (2, "act", "submit", "draft"),
    ]
    assert not any("cost_usd" in step or "tok_output" in step for step in steps)
    assert {step["parent_id"] for step in steps} == {totals["decision_id"]}


def test_the_exit_status_is_told_and_a_submission_is_no_success(tmp_path: Path) -> None:
    """Kills a quality of 1 for every run that submitted something."""
    (outcome,) = rows(run(swe_agent, json.dumps(_run()), tmp_path), "outcomes")
    assert (outcome["name"], outcome["label"]) == ("exit_status", "submitted")
    assert "value" not in outcome


def test_counts_and_costs_of_zero_are_unknown(tmp_path: Path) -> None:
    """Kills a free run: models without a price or a counter log 0."""
    free = {"instance_cost": 0.0, "tokens_sent": 1000, "tokens_received": 90}
    totals = rows(run(swe_agent, json.dumps(_run(model_stats=free)), tmp_path))[0]
    assert "cost_usd" not in totals
    assert totals["tok_input_uncached"] == 1000
    none = {"instance_cost": 0, "tokens_sent": 0, "tokens_received": 0}
    items = run(swe_agent, json.dumps(_run(model_stats=none)), tmp_path)
    assert [row["decision_point"] for row in rows(items)] == ["act"]
    assert ignored(items) == ["run without cost or tokens"]


def test_newer_runs_name_their_model_and_their_instance(tmp_path: Path) -> None:
    """Kills a model that is known but left in the settings, and runs of one instance as two situations."""
    body = json.dumps({**_run(), "replay_config": json.dumps(REPLAY)})
    items = run(swe_agent, body, tmp_path)
    totals, step = rows(items)
    assert (totals["layer"], totals["decision_point"], totals["action"]) == ("router", "model", "gpt-4o")
    assert totals["x_context_id"] == step["session_id"] == "django__django-11099"


def test_settings_of_another_shape_cost_no_run(tmp_path: Path) -> None:
    """Kills losing a run over the settings of an agent that retries with several models."""
    for told in ("not json", json.dumps({"agent": [1]}), {"agent": {"agent_configs": []}}, 3):
        items = run(swe_agent, json.dumps({**_run(), "replay_config": told}), tmp_path)
        assert reasons(items) == []
        assert rows(items)[0]["decision_point"] == "run"


def test_the_name_of_a_file_is_an_instance_only_where_it_is_spelled_like_one(tmp_path: Path) -> None:
    """Kills two unrelated runs that are both called run.traj as trials of one task."""
    for name, expected in (("a/pydicom__pydicom-1458.traj", "pydicom__pydicom-1458"), ("a/run.traj", None)):
        path = tmp_path / "log"
        path.write_text(json.dumps(_run()))
        items = list(swe_agent.read(LogFile(path, name, "d" * 64), Config()))
        assert rows(items, "contexts")[0].get("x_context_id") == expected


def test_a_step_is_told_by_its_command_behind_a_change_of_folder(tmp_path: Path) -> None:
    """Kills a trajectory of nothing but 'cd', and an empty action as a decision."""
    items = run(swe_agent, json.dumps(_run("cd /repo && pytest -q", "", "  \n")), tmp_path)
    assert [(row["action"], row["action_executed"]) for row in rows(items)[1:]] == [("verify", "pytest")]
    assert ignored(items) == ["step without an action"] * 2


def test_the_time_of_a_step_is_its_tools_and_a_users_rule_wins(tmp_path: Path) -> None:
    """Kills execution_time in another unit, and ignoring the configuration."""
    body = json.dumps({**_run(), "trajectory": [{**STEP, "execution_time": 0.5}]})
    config = Config(rules=(ActionRule(match="find_file", kind="verify"),))
    step = rows(run(swe_agent, body, tmp_path, config))[1]
    assert (step["tool_s"], step["action"]) == (0.5, "verify")


def test_a_demonstration_is_recognised_and_refused(tmp_path: Path) -> None:
    """Kills an imitation written by hand as a run that an agent paid for."""
    demo = {"history": [{"role": "user", "content": "x", "agent": "main", "message_type": "observation"}]}
    body = json.dumps(demo)
    assert swe_agent.sniff(body.encode())
    (reason,) = reasons(run(swe_agent, body, tmp_path))
    assert "demonstration" in reason
    assert "no totals" in reason


def test_only_trajectories_of_actions_and_observations_are_claimed() -> None:
    """Kills claiming any object that has a trajectory, or any chat history."""
    assert swe_agent.sniff(json.dumps({**_run(), "pad": "x" * 10}).encode()[:150])
    assert not swe_agent.sniff(b'{"trajectory": [[1.0, 2.0]], "info": {}}')
    assert not swe_agent.sniff(b'{"history": [{"role": "user", "content": "trajectory message_type"}]}')


def test_no_text_of_prompt_or_response_is_kept(tmp_path: Path) -> None:
    """Kills storing what was said: commands keep their first word only."""
    secret = {
        **STEP,
        "action": "echo SECRET",
        "observation": "SECRET",
        "response": "SECRET",
        "thought": "SECRET",
    }
    items = run(swe_agent, json.dumps({**_run(), "trajectory": [secret]}), tmp_path)
    assert "SECRET" not in repr(items)


def test_the_public_run_is_read_as_written_down_by_hand() -> None:
    """Kills a lost or reordered step of the published run."""
    items = run_file(swe_agent, shared_data("formats") / "swe_agent_traj" / "pydicom__pydicom-1458.traj")
    totals, *steps = rows(items)
    assert (totals["cost_usd"], totals["tok_input_uncached"], totals["tok_output"]) == (1.26719, 122612, 1369)
    assert [step["action_executed"] for step in steps] == [
        *("create", "edit", "python", "find_file", "open", "edit", "edit", "edit", "edit"),
        *("python", "rm", "submit"),
    ]
    assert {row["x_context_id"] for row in rows(items)} == {"pydicom__pydicom-1458"}
    assert Counter(reasons(items)) == {}


def test_the_public_demonstration_is_claimed_and_refused() -> None:
    """Kills a demonstration that no reader knows, which would ask for a mapping file."""
    path = shared_data("formats") / "swe_agent_traj" / "function_calling_simple.traj"
    assert swe_agent.sniff(read_head(path))
    assert len(reasons(run_file(swe_agent, path))) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_run_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a column that the schema does not have."""
    body = json.dumps(mutated(data, copy.deepcopy({**_run("ls", "rm x"), "replay_config": REPLAY})))
    swe_agent.sniff(body.encode())
    for item in run(swe_agent, body, tmp_path):
        if isinstance(item, Row):
            problem(item.table, without_hints(item.values))
