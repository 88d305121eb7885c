"""The public serving traces: Azure (naive times of 100 ns) and Mooncake (relative milliseconds)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import lines, reasons, rows, run, run_file
from shadowprice.ingest.convert import RELATIVE_EPOCH
from shadowprice.ingest.readers import azure_llm, mooncake
from shadowprice.ingest.seam import Rejected, Row

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
REQUEST = {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}


def test_an_azure_row_is_an_admitted_request_with_its_time_cut_to_microseconds(tmp_path: Path) -> None:
    """Kills rounding the seventh digit up, local time for UTC, and a prompt counted as uncached."""
    items = run(azure_llm, HEADER + "2023-11-16 18:17:03.9799609,4808,10\n", tmp_path)
    (row,) = rows(items)
    assert row == {
        "decision_id": row["request_id"],
        "request_id": row["request_id"],
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC),
        "tok_output": 10,
        "x_prompt_tokens": 4808,
    }


def test_bad_azure_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    """Kills an exception, or a 0, for a cell that is no count or no time."""
    bad = "yesterday,1,1\n2023-11-16 18:17:03.9,1.5,1\n2023-11-16 18:17:03.9,1\n2023-11-16 18:17:03.9,-4,1\n"
    items = run(azure_llm, HEADER + bad + "2023-11-16 18:17:05,7,8\n", tmp_path)
    assert [item.line for item in items] == [2, 3, 4, 5, 6]
    assert [type(item) for item in items] == [Rejected] * 4 + [Row]
    assert "is not a time" in reasons(items)[0]
    assert "not a whole number" in reasons(items)[1]


def test_the_public_azure_trace_keeps_every_request() -> None:
    """Kills a lost row; the count is that of the file's lines, the sums are awk's."""
    path = shared_data("azure_llm_2023") / "AzureLLMInferenceTrace_code.csv"
    found = rows(run_file(azure_llm, path))
    plain = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert len(found) == len({row["decision_id"] for row in found}) == len(plain) == 8819
    assert sum(row["x_prompt_tokens"] for row in found) == sum(int(cells[1]) for cells in plain)
    assert sum(row["tok_output"] for row in found) == sum(int(cells[2]) for cells in plain)


def test_a_mooncake_row_lies_on_a_relative_clock_and_claims_no_reuse(tmp_path: Path) -> None:
    """Kills ms read as s, a wall clock, and blocks counted as cached although no cache was replayed."""
    (row,) = rows(run(mooncake, lines([REQUEST]), tmp_path))
    assert row == {
        "decision_id": row["request_id"],
        "request_id": row["request_id"],
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": RELATIVE_EPOCH + timedelta(milliseconds=27482),
        "tok_output": 52,
        "x_prompt_tokens": 6955,
        "x_prefix_blocks": 3,
        "x_clock": "relative",
    }


def test_damaged_mooncake_lines_leave_the_others_alone(tmp_path: Path) -> None:
    """Kills losing the rest of a trace over a cut or foreign line."""
    body = lines([REQUEST, {**REQUEST, "hash_ids": "46"}, {"spend": 1}, {**REQUEST, "timestamp": None}])
    items = run(mooncake, body + json.dumps(REQUEST)[:30], tmp_path)
    assert len(rows(items)) == 1
    assert [item.line for item in items] == [1, 2, 3, 4, 5]
    assert reasons(items)[0] == "hash_ids is '46', expected a list"
    assert reasons(items)[1] == "no field hash_ids"


def test_equal_requests_keep_their_own_rows(tmp_path: Path) -> None:
    """Kills ids made of contents: two users may send the same prompt in the same millisecond."""
    found = rows(run(mooncake, lines([REQUEST, REQUEST]), tmp_path))
    assert len({row["decision_id"] for row in found}) == 2


def test_the_public_mooncake_trace_keeps_every_request() -> None:
    """Kills a lost row of the 3,993."""
    found = rows(run_file(mooncake, shared_data("mooncake_fast25") / "synthetic_trace.jsonl"))
    assert len(found) == 3993


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), cells=st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_no_damage_raises(data: st.DataObject, cells: list[str], tmp_path: Path) -> None:
    """Kills an unguarded type assumption in either reader."""
    items = run(mooncake, lines([mutated(data, REQUEST), REQUEST]), tmp_path)
    items += run(azure_llm, HEADER + ",".join(cells).encode("utf-8", "replace").decode() + "\n", tmp_path)
    assert all(isinstance(item, Row | Rejected) for item in items)
