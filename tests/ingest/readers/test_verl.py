"""verl's rollout dumps: kept rollouts of a step, their prompt's group, scores, and ids that count anew."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import lines, reasons, rows, run, run_file
from shadowprice.ingest.checks import problem
from shadowprice.ingest.readers import verl
from shadowprice.ingest.seam import LogFile, Rejected, Row
from shadowprice.schemas.config import Config

ROLLOUT: dict[str, Any] = {
    "input": "What is 1+2?",
    "output": "#### 3",
    "gts": "3",
    "score": 1.0,
    "step": 7,
    "request_id": "r7-0-0",
    "acc": True,
    "format": 0.5,
    "pred": "#### 3",
}


def test_a_rollout_is_kept_by_the_update_of_its_step(tmp_path: Path) -> None:
    """Kills a reward put on another scale, a propensity made up, and the prompt or the answer kept."""
    items = run(verl, lines([ROLLOUT]), tmp_path)
    (row,) = rows(items)
    group = f"prompt-{hashlib.sha256(b'What is 1+2?').hexdigest()[:16]}"
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": "r7-0-0",
        "session_id": group,
        "x_context_id": f"step-7:{group}",
        "layer": "training",
        "decision_point": "keep",
        "action": "keep",
        "kept": True,
        "reward": 1.0,
        "update_id": "step-7",
    }
    assert "1+2" not in str(items)
    assert "####" not in str(items)


def test_extra_scores_are_outcomes_and_texts_are_not(tmp_path: Path) -> None:
    """Kills x_* named by a log, and a model's answer kept as a label."""
    items = run(verl, lines([ROLLOUT]), tmp_path)
    assert [(row["name"], row["value"], row["source"]) for row in rows(items, "outcomes")] == [
        ("acc", 1.0, "code"),
        ("format", 0.5, "code"),
    ]


def test_the_uids_of_two_steps_are_two_requests(tmp_path: Path) -> None:
    """Kills tying the rollouts of all steps into one request: in the v1 layout `uid` counts anew."""
    plain = {name: value for name, value in ROLLOUT.items() if name != "request_id"}
    body = lines([{**plain, "uid": "u0_0_0", "step": step} for step in (1, 2)])
    first, second = (row["request_id"] for row in rows(run(verl, body, tmp_path)))
    assert (first, second) == ("step-1:u0_0_0", "step-2:u0_0_0")


def test_updates_of_two_runs_are_two_updates(tmp_path: Path) -> None:
    """Kills one update 'step-7' for every run in the store: runs count their steps alike."""
    (tmp_path / "7.jsonl").write_text(lines([ROLLOUT]))
    found = {
        rows(verl.read(LogFile(tmp_path / "7.jsonl", f"{name}/7.jsonl", "d"), Config()))[0]["update_id"]
        for name in ("run-a", "run-b")
    }
    assert found == {"run-a:step-7", "run-b:step-7"}


def test_a_rollout_without_prompt_has_no_group(tmp_path: Path) -> None:
    """Kills one cluster of all rollouts whose prompt is missing."""
    (row,) = rows(run(verl, lines([{**ROLLOUT, "input": ""}]), tmp_path))
    assert "session_id" not in row
    assert "x_context_id" not in row


def test_damaged_records_are_rejected_one_by_one(tmp_path: Path) -> None:
    """Kills a step or a score taken as 0, and a log that turns values into names."""
    many = {f"s{i}": 1.0 for i in range(101)}
    body = lines(
        [{**ROLLOUT, "step": None}, {**ROLLOUT, "score": "x"}, {"gts": 1}, {**ROLLOUT, **many}, ROLLOUT]
    )
    items = run(verl, body, tmp_path)
    assert len(rows(items)) == 1
    assert reasons(items) == [
        "step is null, expected the number of the update",
        "score: 'x' is not a number",
        "no field input",
        "103 scores, expected at most 100",
    ]


def test_the_specimens_keep_every_rollout() -> None:
    """Kills a lost row, a group that is not four rollouts of one prompt, and rows that the store refuses."""
    items = run_file(verl, shared_data("rl_format_specimens") / "verl/rollout_data/1.jsonl")
    found = rows(items)
    assert len(found) == 16
    assert sum(row["reward"] for row in found) == 7.0
    assert (
        sorted(sum(r["session_id"] == g for r in found) for g in {r["session_id"] for r in found}) == [4] * 4
    )
    assert all(problem(item.table, item.values) is None for item in items if isinstance(item, Row))


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a row that is no row of the schema."""
    items = run(verl, lines([mutated(data, ROLLOUT), ROLLOUT]), tmp_path)
    assert all(isinstance(item, Row | Rejected) for item in items)
    for item in items:
        if isinstance(item, Row):
            problem(item.table, item.values)
