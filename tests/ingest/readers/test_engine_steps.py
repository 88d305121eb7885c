"""Engine load in log lines and metrics. The lines follow the engines' own formats; no sample is at hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import ignored, reasons, rows
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import engine_steps, engine_steps_metrics
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Item, LogFile, Reader, Rejected, Row
from shadowprice.schemas.config import Config

STEP = (
    "Iteration(17): 1 context requests, 512 context tokens, 9 generation requests, 11 generation tokens, "
    "iteration elapsed time: 31.40 ms"
)
STATS = (
    "Engine 000: Avg prompt throughput: 1.0 tokens/s, Avg generation throughput: 5.0 tokens/s, "
    "Running: 3 reqs, Waiting: 2 reqs, GPU KV cache usage: 12.5%, Prefix cache hit rate: 0.0%"
)
SCRAPE = """\
# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 3.4e+06
python_gc_objects_collected_total{generation="0"} 5.0
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000",note="a \\"quoted\\", one"} 1.0
"""


def _read(reader: Reader, body: str | bytes, folder: Path, name: str = "vllm-0.log") -> list[Item]:
    data = body.encode() if isinstance(body, str) else body
    path = folder / "log"
    path.write_bytes(data)
    return list(reader.read(LogFile(path, name, hashlib.sha256(data).hexdigest()), Config()))


def _steps(items: list[Item]) -> list[dict[str, Any]]:
    return rows(items, "engine_steps")


def test_an_iteration_is_a_step_with_the_time_of_its_line(tmp_path: Path) -> None:
    """Kills ms read as s, generated tokens read as sequences, and the replica left out."""
    items = _read(engine_steps, f"2026-01-03T04:05:06.789Z (EngineCore_DP0 pid=10) INFO {STEP}\n", tmp_path)
    assert _steps(items) == [
        {
            "replica": "vllm-0",
            "ts": datetime(2026, 1, 3, 4, 5, 6, 789000, tzinfo=UTC),
            "step_s": 0.0314,
            "prefill_tok": 512,
            "decode_seqs": 9,
        }
    ]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-01-03 04:05:06,789 INFO ", datetime(2026, 1, 3, 4, 5, 6, 789000, tzinfo=UTC)),
        ("2026-01-03T04:05:06.123456789+01:00 stdout F ", datetime(2026, 1, 3, 3, 5, 6, 123456, tzinfo=UTC)),
        ("[2026-01-03 04:05:06] ", datetime(2026, 1, 3, 4, 5, 6, tzinfo=UTC)),
        ("(EngineCore pid=437) INFO 01-03 04:05:06 [core.py:407] ", None),
        ("", None),
    ],
)
def test_a_year_is_never_guessed(stamp: str, expected: datetime | None, tmp_path: Path) -> None:
    """Kills this year, or the file's, put to vLLM's own stamps, which have none."""
    (row,) = _steps(_read(engine_steps, stamp + STEP + "\n", tmp_path))
    assert row.get("ts") == expected


def test_a_stamp_that_is_no_time_rejects_its_line(tmp_path: Path) -> None:
    """Kills a crash on month 13."""
    assert "is not a time" in reasons(_read(engine_steps, f"2026-13-03 04:05:06 {STEP}\n", tmp_path))[0]


def test_a_time_that_the_line_quotes_is_not_its_own(tmp_path: Path) -> None:
    """Kills the time in a message taken for the time of the line."""
    (row,) = _steps(_read(engine_steps, "x" * 90 + f" 2026-01-03 04:05:06 {STEP}\n", tmp_path))
    assert "ts" not in row


def test_dummy_and_empty_iterations_are_no_steps(tmp_path: Path) -> None:
    """Kills steps that processed nothing in the law of step times."""
    empty = STEP.replace("1 context requests, 512", "0 context requests, 0").replace("9 gen", "0 gen", 1)
    items = _read(engine_steps, f"{STEP} (dummy)\n{empty}\nINFO started\n{STEP}\n", tmp_path)
    assert ignored(items) == ["dummy iteration", "empty iteration", "other log line"]
    assert len(_steps(items)) == 1


def test_a_cut_iteration_is_rejected(tmp_path: Path) -> None:
    """Kills half a line as a step, or as a line of no interest."""
    items = _read(engine_steps, STEP[:60] + "\n", tmp_path)
    assert reasons(items) == ["an iteration line that is cut or of an unknown layout"]


def test_a_report_of_load_is_parsed_by_its_labels(tmp_path: Path) -> None:
    """Kills a parser by position: counts of preemptions may stand between, and older engines say Pending."""
    between = STATS.replace("GPU KV", "Preemptions: 4, Deferred: 1 reqs, GPU KV")
    older = STATS.replace("Waiting:", "Swapped: 0 reqs, Pending:")
    for line in (STATS, between, older):
        (row,) = _steps(_read(engine_steps, line + "\n", tmp_path))
        assert row == {"replica": "vllm-0", "running": 3, "waiting": 2}


def test_the_share_in_use_is_tokens_once_the_size_is_known(tmp_path: Path) -> None:
    """Kills a share stored as tokens, and the size of one engine taken for another's."""
    size = "(EngineCore_DP{} pid=1) INFO GPU KV cache size: 16,000 tokens\n"
    first = _steps(_read(engine_steps, size.format(0) + STATS + "\n", tmp_path))
    second = _steps(_read(engine_steps, size.format(1) + STATS + "\n", tmp_path))
    assert first[0]["kv_tok"] == 2000
    assert "kv_tok" not in second[0]


@pytest.mark.parametrize(
    ("name", "engine", "replica"),
    [
        ("logs/vllm-0.log.2.gz", "EngineCore_DP0", "vllm-0"),
        ("vllm-0", "Engine 001:", "vllm-0:1"),
        ("a.b.txt", "EngineCore", "a.b"),
        (".log", "DP3 TP0", ".log:3"),
    ],
)
def test_a_replica_is_the_file_and_the_engine_in_it(
    name: str, engine: str, replica: str, tmp_path: Path
) -> None:
    """Kills two engines as one, and the rotated log of an engine as another engine."""
    (row,) = _steps(_read(engine_steps, f"{engine} {STEP}\n", tmp_path, name))
    assert row["replica"] == replica


def test_sglang_batches_are_reports_of_load(tmp_path: Path) -> None:
    """Kills an engine whose log says nothing: prompts are counted in the batch that processed them."""
    prefill = (
        "[2026-01-03 04:05:06 TP0] Prefill batch. #new-seq: 1, #new-token: 40, #cached-token: 7, "
        "token usage: 0.02, #running-req: 5, #queue-req: 6, \n"
    )
    decode = (
        "[2026-01-03 04:05:07 DP1 TP0] Decode batch. #running-req: 2, #token: 1234, token usage: 0.05, "
        "gen throughput (token/s): 4.77, #queue-req: 0, \n"
    )
    assert engine_steps.sniff(prefill.encode())
    found = _steps(_read(engine_steps, prefill + decode, tmp_path))
    assert [{k: v for k, v in row.items() if k != "ts"} for row in found] == [
        {"replica": "vllm-0", "prefill_tok": 40, "running": 5, "waiting": 6},
        {"replica": "vllm-0:1", "running": 2, "waiting": 0, "kv_tok": 1234},
    ]


@pytest.mark.parametrize(
    "head", [f'{{"message": "{STEP}"}}\n', f'[{{"m": "{STEP}"}}]', f'{{\n "m": "{STEP}"\n']
)
def test_json_that_quotes_a_line_is_no_engine_log(head: str) -> None:
    """Kills searching the text of other formats."""
    assert not engine_steps.sniff(head.encode())
    assert engine_steps.sniff(f"INFO {STEP}\n".encode())


def test_a_scrape_is_one_report_per_engine(tmp_path: Path) -> None:
    """Kills the engines of a server added up, a counter read as load, and usage read as tokens."""
    items = _read(engine_steps_metrics, SCRAPE, tmp_path, "metrics.prom")
    assert _steps(items) == [
        {"replica": "metrics", "running": 3, "waiting": 2, "kv_tok": 4000},
        {"replica": "metrics:1", "running": 4},
    ]
    assert ignored(items) == ["other metric"] * 3
    assert find_reader(SCRAPE.encode(), name="a").NAME == "engine_metrics"


def test_the_usage_of_older_engines_has_another_name(tmp_path: Path) -> None:
    """Kills a lost load: before `kv_cache_usage_perc` the gauge was `gpu_cache_usage_perc`."""
    body = SCRAPE.replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    assert _steps(_read(engine_steps_metrics, body, tmp_path))[0]["kv_tok"] == 4000


def test_scrapes_one_after_the_other_are_several_reports(tmp_path: Path) -> None:
    """Kills the last scrape overwriting all before it."""
    body = SCRAPE + SCRAPE.replace(" 3.0\n", " 7.0\n")
    assert [row["running"] for row in _steps(_read(engine_steps_metrics, body, tmp_path))] == [3, 4, 7, 4]


@pytest.mark.parametrize("at", ["1790000000500", "1790000000.5"])
def test_samples_may_carry_their_time_in_ms_or_s(at: str, tmp_path: Path) -> None:
    """Kills ms read as s: both text formats are in use."""
    body = f'sglang:num_running_reqs{{dp_rank="0"}} 2 {at}\nsglang:num_used_tokens{{dp_rank="0"}} 90 {at}\n'
    assert _steps(_read(engine_steps_metrics, body, tmp_path)) == [
        {
            "replica": "vllm-0",
            "ts": datetime.fromtimestamp(1790000000.5, UTC),
            "running": 2,
            "kv_tok": 90,
        }
    ]


def test_a_gauge_that_is_no_count_rejects_its_report(tmp_path: Path) -> None:
    """Kills NaN stored, or 2.5 requests."""
    items = _read(
        engine_steps_metrics, "vllm:num_requests_running NaN\nvllm:num_requests_waiting 2.5\n", tmp_path
    )
    assert len(reasons(items)) == 2
    assert _steps(items) == []


@pytest.mark.parametrize(
    "line",
    [
        "vllm:a" + " " * 65_000 + "!",
        "vllm:num_requests_running{" + "a" * 60_000 + "} 1",
        "vllm:num_requests_running{" + 'a="' * 20_000 + "} 1",
        "Prefill batch" * 5_000,
        "Iteration(1): 1 context requests" * 2_000,
        "9" * 65_000,
    ],
)
def test_hostile_lines_take_no_time(line: str, tmp_path: Path) -> None:
    """Kills an expression that backtracks: each of these is read at once, or the suite hangs here."""
    for reader in (engine_steps, engine_steps_metrics):
        reader.sniff(line.encode())
        assert len(_read(reader, line + "\n", tmp_path)) == 1


def test_a_line_of_many_megabytes_is_one_line(tmp_path: Path) -> None:
    """Kills a whole prompt held in memory, and its pieces taken for lines of their own."""
    body = b"x" * 3_000_000 + STEP.encode() + b"\n" + STEP.encode() + b"\n\xff\xfe" + STEP.encode()
    items = _read(engine_steps, body, tmp_path)
    assert [item.line for item in items] == [1, 2, 3]
    assert len(_steps(items)) == 2


def test_steps_without_a_time_are_kept_and_equal_ones_are_no_repeats(tmp_path: Path) -> None:
    """Kills equal steps of one second merged into one, with or without a year in their stamps."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "vllm-0.log").write_text(f"INFO 01-03 04:05:06 {STEP}\n" * 2 + "INFO bye\n")
    (logs / "vllm-1.log").write_text(f"2026-01-03 04:05:06 INFO {STEP}\n" * 2)
    store = ingest(logs, out=tmp_path / "out")
    found = store.scan("engine_steps").select("replica", "prefill_tok", "step_s").collect()
    assert sorted(found.rows()) == [
        ("vllm-0", 512, 0.0314),
        ("vllm-0", 512, 0.0314),
        ("vllm-1", 512, 0.0314),
        ("vllm-1", 512, 0.0314),
    ]
    assert store.manifest["counts"]["quarantined"] == 0


@settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded conversion: bytes of the lines are cut, repeated or replaced."""
    body = (
        f"2026-01-03 04:05:06 {STEP}\n{STATS}\nGPU KV cache size: 16,000 tokens\n{STATS}\n{SCRAPE}".encode()
    )
    for _ in range(3):
        at = data.draw(st.integers(0, len(body)))
        body = (
            body[:at]
            + data.draw(st.binary(max_size=4) | st.sampled_from([b"9" * 30, b"-", b'"', b"{"]))
            + body[at:]
        )
    for reader in (engine_steps, engine_steps_metrics):
        for item in _read(reader, body, tmp_path):
            assert isinstance(item, Row | Rejected | Ignored)
            if isinstance(item, Row):
                problem(item.table, item.values)
