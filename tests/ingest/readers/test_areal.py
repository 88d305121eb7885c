"""AReaL's rollout dumps: the version that wrote, never the one that trained, and no word on what was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import lines, reasons, rows, run, run_file
from shadowprice.ingest.checks import problem
from shadowprice.ingest.readers import areal
from shadowprice.ingest.seam import Rejected, Row

ROLLOUT: dict[str, Any] = {
    "task_id": "task-3",
    "sample_idx": 0,
    "seqlen": 96,
    "prompt_len": 32,
    "head_version": -1,
    "tail_version": 3,
    "reward": 0.5,
    "prompt": "What is 1+2?",
    "completion": "x",
}


def test_a_rollout_has_the_version_that_ended_it_and_no_lag(tmp_path: Path) -> None:
    """Kills prompt tokens counted as output, and 'kept' although rejected rollouts are dumped too."""
    (row,) = rows(run(areal, lines([ROLLOUT]), tmp_path))
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": row["decision_id"],
        "session_id": row["session_id"],
        "x_context_id": f"task-task-3:{row['session_id']}",
        "layer": "training",
        "decision_point": "keep",
        "action": "unlogged",
        "version_behaviour": "3",
        "reward": 0.5,
        "tok_output": 64,
        "x_prompt_tokens": 32,
    }
    assert "1+2" not in str(row)


@pytest.mark.parametrize(("head", "expected"), [(-1, None), (0, 0), (2, 2)])
def test_minus_one_is_no_version(head: int, expected: int | None, tmp_path: Path) -> None:
    """Kills -1 read as the oldest policy: it stands there whenever there is a prompt."""
    (row,) = rows(run(areal, lines([{**ROLLOUT, "head_version": head}]), tmp_path))
    assert row.get("x_head_version") == expected


def test_a_rollout_that_no_policy_wrote_has_no_version(tmp_path: Path) -> None:
    """Kills 'version -1' as a version of its own."""
    (row,) = rows(run(areal, lines([{**ROLLOUT, "tail_version": -1}]), tmp_path))
    assert "version_behaviour" not in row


def test_impossible_rollouts_are_rejected(tmp_path: Path) -> None:
    """Kills a negative count of output tokens, clipped or stored."""
    body = lines([{**ROLLOUT, "prompt_len": 97}, {**ROLLOUT, "tail_version": -2}, {**ROLLOUT, "task_id": ""}])
    assert reasons(run(areal, body, tmp_path)) == [
        "prompt_len 97 is more than seqlen 96",
        "tail_version: -2 is not a count, expected a whole number >= 0",
        "no field task_id",
    ]


def test_the_specimens_keep_every_rollout() -> None:
    """Kills the folder's name read as the version, and a version that is a number in one file only."""
    folder = shared_data("rl_format_specimens") / "areal/rollout"
    found = [row for path in sorted(folder.rglob("*.jsonl")) for row in rows(run_file(areal, path))]
    assert [row["version_behaviour"] for row in found] == ["0"] * 4 + ["1"] * 4 + ["3"] * 4


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, and a row that is no row of the schema."""
    items = run(areal, lines([mutated(data, ROLLOUT), ROLLOUT]), tmp_path)
    assert all(isinstance(item, Row | Rejected) for item in items)
    for item in items:
        if isinstance(item, Row):
            problem(item.table, item.values)
