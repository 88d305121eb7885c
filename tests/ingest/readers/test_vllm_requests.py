"""Requests in benchmark results and SGLang's metrics files, written here from the writers' sources."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.convert import RELATIVE_EPOCH
from shadowprice.ingest.readers import vllm_requests, vllm_requests_sglang
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

BENCH: dict[str, Any] = {
    "date": "20260103-120000",
    "model_id": "m",
    "duration": 3.0,
    "completed": 1,
    "failed": 1,
    "request_throughput": 0.6,
    "input_lens": [100, 200],
    "output_lens": [3, 0],
    "ttfts": [0.25, 0.0],
    "itls": [[0.1, 0.15], []],
    "latencies": [0.5, 0.0],
    "start_times": [812.5, 812.0],
    "queue_times": [7.0, 7.0],
    "generated_texts": ["a secret", ""],
    "errors": ["", "Traceback: a secret"],
}

SGLANG: dict[str, Any] = {
    "request_parameters": json.dumps({"rid": "r1", "text": "a secret", "stream": True}),
    "id": "r1",
    "finish_reason": {"type": "stop", "matched": 2},
    "prompt_tokens": 120,
    "completion_tokens": 40,
    "cached_tokens": 100,
    "e2e_latency": 2.0,
    "queue_time": 0.125,
    "request_received_ts": 1790000000.5,
    "prefill_finished_time": 1790000001.0,
    "weight_version": "v7",
}


def test_a_benchmarked_request_lies_on_the_clients_clock(tmp_path: Path) -> None:
    """Kills the client's own wait read as the engine's queue, a wall clock, and texts kept."""
    items = run(vllm_requests, json.dumps(BENCH), tmp_path)
    row = rows(items)[0]
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": row["decision_id"],
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": RELATIVE_EPOCH + timedelta(seconds=0.5),
        "ttft_s": 0.25,
        "decode_s": 0.25,
        "latency_s": 0.5,
        "tok_output": 3,
        "x_prompt_tokens": 100,
        "x_model": "m",
        "x_clock": "relative",
    }
    assert "secret" not in str(items)


def test_a_failed_request_has_no_times_and_an_outcome(tmp_path: Path) -> None:
    """Kills a failure as a request served in 0 s with 0 tokens."""
    items = run(vllm_requests, json.dumps(BENCH), tmp_path)
    row = rows(items)[1]
    assert not {"ttft_s", "latency_s", "decode_s", "tok_output"} & row.keys()
    (outcome,) = rows(items, "outcomes")
    assert (outcome["decision_id"], outcome["name"]) == (row["decision_id"], "error")


def test_results_without_latencies_have_them_as_the_sum_of_their_parts(tmp_path: Path) -> None:
    """Kills a lost latency in the results of earlier versions and of SGLang."""
    body = {name: value for name, value in BENCH.items() if name not in ("latencies", "start_times")}
    row = rows(run(vllm_requests, json.dumps(body), tmp_path))[0]
    assert row["latency_s"] == 0.5
    assert "ts" not in row


def test_an_answer_that_did_not_stream_has_no_first_token(tmp_path: Path) -> None:
    """Kills a first token at the very end, which says that prefill took all the time."""
    body = {**BENCH, "ttfts": [0.4999, 0.0], "itls": [[0.0001], []]}
    row = rows(run(vllm_requests, json.dumps(body), tmp_path))[0]
    assert not {"ttft_s", "decode_s"} & row.keys()
    assert row["latency_s"] == 0.5


def test_arrays_that_do_not_match_reject_the_result(tmp_path: Path) -> None:
    """Kills the times of one request given to another."""
    assert (
        "different lengths"
        in reasons(run(vllm_requests, json.dumps({**BENCH, "ttfts": [0.25]}), tmp_path))[0]
    )


def test_results_may_be_appended_and_are_known_by_their_lengths(tmp_path: Path) -> None:
    """Kills two runs in one file as one, and totals without requests claimed as requests."""
    found = rows(run(vllm_requests, lines([BENCH, BENCH]), tmp_path))
    assert len({row["decision_id"] for row in found}) == 4
    assert find_reader(json.dumps(BENCH).encode(), name="a").NAME == "serving_bench"
    totals = {name: value for name, value in BENCH.items() if not isinstance(value, list)}
    assert not vllm_requests.sniff(json.dumps(totals).encode())


def test_an_sglang_request_has_its_queue_and_its_cache(tmp_path: Path) -> None:
    """Kills cached tokens counted twice, and the prompt in the parameters kept."""
    items = run(vllm_requests_sglang, lines([SGLANG]), tmp_path)
    assert rows(items) == [
        {
            "decision_id": "sglang:r1",
            "request_id": "r1",
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": datetime.fromtimestamp(1790000000.5, UTC),
            "policy_version": "v7",
            "tok_input_uncached": 20,
            "tok_cache_read": 100,
            "tok_output": 40,
            "queue_s": 0.125,
            "latency_s": 2.0,
            "ttft_s": 0.5,
            "decode_s": 1.5,
            "x_prompt_tokens": 120,
            "x_stream": True,
        }
    ]
    assert "secret" not in str(items)
    assert find_reader(lines([SGLANG]).encode(), name="a").NAME == "sglang_requests"


def test_times_that_a_version_does_not_log_stay_unknown(tmp_path: Path) -> None:
    """Kills a queue of 0 s and an arrival in 1970: what is not measured is left out or 0."""
    body = {"request_parameters": "not json", "id": "r2", "prompt_tokens": 0, "request_received_ts": 0.0}
    (row,) = rows(run(vllm_requests_sglang, lines([body]), tmp_path))
    assert row.keys() == {"decision_id", "request_id", "layer", "decision_point", "action"}


def test_health_checks_are_no_demand_and_aborts_are_told(tmp_path: Path) -> None:
    """Kills the engine's own probes counted as load, and an aborted request that looks served."""
    body = lines([{**SGLANG, "id": "HEALTH_CHECK_1"}, {**SGLANG, "finish_reason": {"type": "abort"}}])
    items = run(vllm_requests_sglang, body, tmp_path)
    assert ignored(items) == ["health check"]
    assert [row["label"] for row in rows(items, "outcomes")] == ["abort"]


@pytest.mark.parametrize("cached", [121, -1, 1.5])
def test_more_cached_than_prompt_is_rejected(cached: float, tmp_path: Path) -> None:
    """Kills a negative count of uncached tokens."""
    assert (
        len(reasons(run(vllm_requests_sglang, lines([{**SGLANG, "cached_tokens": cached}]), tmp_path))) == 1
    )


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption in either reader."""
    items = run(vllm_requests, lines([mutated(data, BENCH)]), tmp_path)
    items += run(vllm_requests_sglang, lines([mutated(data, SGLANG)]), tmp_path)
    assert all(isinstance(item, Row | Rejected | Ignored) for item in items)
    for item in items:
        if isinstance(item, Row):
            problem(item.table, item.values)
