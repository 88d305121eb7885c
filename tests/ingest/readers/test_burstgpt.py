"""The BurstGPT trace. No sample is at hand: the rows are written from the trace's documentation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import reasons, rows, run
from shadowprice.ingest.convert import RELATIVE_EPOCH
from shadowprice.ingest.readers import burstgpt
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Rejected, Row

HEADER = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
OLDER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def test_a_request_lies_on_a_relative_clock_with_the_time_of_its_whole_response(tmp_path: Path) -> None:
    """Kills the elapsed time read as the first token's, a wall clock, and the prompt counted as uncached."""
    (row,) = rows(run(burstgpt, HEADER + "5.5,17,2.25,GPT-4,472,18,490,Conversation log\n", tmp_path))
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": row["decision_id"],
        "session_id": "17",
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": RELATIVE_EPOCH + timedelta(seconds=5.5),
        "latency_s": 2.25,
        "tok_output": 18,
        "x_prompt_tokens": 472,
        "x_model": "GPT-4",
        "x_log_type": "Conversation log",
        "x_clock": "relative",
    }


def test_older_files_lack_sessions_and_elapsed_times(tmp_path: Path) -> None:
    """Kills rejecting the first release, or filling what it lacks with 0."""
    assert find_reader(OLDER.encode(), name="a.csv").NAME == "burstgpt"
    (row,) = rows(run(burstgpt, OLDER + "5,ChatGPT,472,18,490,API log\n", tmp_path))
    assert "session_id" not in row
    assert "latency_s" not in row


def test_no_response_is_a_failure_and_no_short_answer(tmp_path: Path) -> None:
    """Kills 0 output tokens stored as a count: the trace spells a failure so."""
    items = run(burstgpt, HEADER + "5,,,ChatGPT,1087,0,1087,API log\n", tmp_path)
    (row,) = rows(items)
    assert "tok_output" not in row
    (outcome,) = rows(items, "outcomes")
    assert (outcome["name"], outcome["label"]) == ("error", "no response")
    assert outcome["decision_id"] == row["decision_id"]


def test_bad_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    """Kills an exception, or a 0, for a cell that is no number."""
    bad = "x,1,1,m,1,1,2,a\n5,1,nan,m,1,1,2,a\n5,1,1,m,-1,1,2,a\n5,1,1,m,1\n"
    items = run(burstgpt, HEADER + bad + "5,1,1,m,1,1,2,a\n", tmp_path)
    assert [type(item) for item in items] == [Rejected] * 4 + [Row]
    assert "Elapsed time" in reasons(items)[1]


@pytest.mark.parametrize("header", ["Timestamp,Model\n", "TIMESTAMP,ContextTokens,GeneratedTokens\n"])
def test_other_headers_are_not_claimed(header: str) -> None:
    """Kills recognition by a column that many traces have."""
    assert not burstgpt.sniff(header.encode())


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cells=st.lists(st.text(max_size=20), min_size=8, max_size=8))
def test_no_damage_raises(cells: list[str], tmp_path: Path) -> None:
    """Kills an unguarded type assumption."""
    body = HEADER + ",".join(cells).encode("utf-8", "replace").decode() + "\n"
    assert all(isinstance(item, Row | Rejected) for item in run(burstgpt, body, tmp_path))
