"""Parquet logs: told by their columns, read as the objects that JSON would have been, within limits."""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shadowprice.errors import IngestError
from shadowprice.ingest import columnar
from shadowprice.ingest.columnar import parquet_records, plain_json
from shadowprice.ingest.lines import json_records
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers.peek import top_keys
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import LogFile, Row
from shadowprice.schemas.config import Config

SPEND = {
    "request_id": "r1",
    "call_type": "acompletion",
    "spend": 0.002,
    "model": "gpt-4o",
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "startTime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "endTime": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    "metadata": "{}",
}


def parquet(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "log"
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def log_of(path: Path) -> LogFile:
    return LogFile(path, "log", "0" * 64)


def test_a_known_format_is_recognised_and_read_from_parquet(tmp_path: Path) -> None:
    """Kills a SpendLogs export that is unknown because Parquet tells its columns at its end."""
    path = parquet(tmp_path, SPEND)
    reader = find_reader(read_head(path), name="log")
    assert reader.NAME == "litellm_spend"
    found = list(reader.read(log_of(path), Config()))
    assert [type(item) for item in found] == [Row]
    values = found[0].values  # type: ignore[union-attr]
    assert (values["cost_usd"], values["latency_s"], values["ts"]) == (0.002, 1.0, SPEND["startTime"])


def test_the_head_of_a_parquet_file_tells_its_columns(tmp_path: Path) -> None:
    """Kills a sniff that meets compressed pages; and the head of one whose end was lost."""
    path = parquet(tmp_path, {"a b": 1, 'q"': 2})
    assert top_keys(read_head(path)) == (frozenset({"a b", 'q"'}),)
    path.write_bytes(path.read_bytes()[:-8])
    assert top_keys(read_head(path)) == ()
    with pytest.raises(IngestError, match="not readable as Parquet"):
        list(json_records(log_of(path)))


def test_objects_in_lists_may_hold_a_field_that_is_always_null(tmp_path: Path) -> None:
    """Kills a cast of whole batches, which Arrow refuses for these: spans without a status are such."""
    spans = [{"id": number, "status": None} for number in range(3)]
    path = parquet(tmp_path, {"n": 1, "spans": spans}, {"n": 2, "spans": spans[:1]})
    found = [item for item in parquet_records(log_of(path)) if isinstance(item, tuple)]
    assert [row["spans"] for _, row in found] == [spans, spans[:1]]


def test_values_are_spelled_as_json_would(tmp_path: Path) -> None:
    """Kills a datetime, decimal, map or bytes that reaches a reader made for JSON."""
    whole = {
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "took": timedelta(milliseconds=1500),
        "cost": Decimal("0.25"),
        "blob": b"\x00",
        "nan": float("nan"),
        "deep": [{"n": 1, "at": datetime(2026, 1, 2)}],
    }
    (_, row), *_ = list(json_records(log_of(parquet(tmp_path, whole))))  # type: ignore[misc]
    assert row == {
        "at": "2026-01-02T00:00:00+00:00",
        "day": "2026-01-02",
        "took": 1.5,
        "cost": 0.25,
        "blob": None,
        "nan": None,
        "deep": [{"n": 1, "at": "2026-01-02T00:00:00"}],
    }
    assert plain_json([("k", Decimal(1)), ("l", None)]) == {"k": 1.0, "l": None}


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    """Kills prompts that are loaded for nothing; an absent column is no error, none at all loses no row."""
    path = parquet(tmp_path, {"id": 1, "prompt": "secret"}, {"id": 2, "prompt": "secret"})
    assert list(parquet_records(log_of(path), columns=("id", "none"))) == [(1, {"id": 1}), (2, {"id": 2})]
    assert list(parquet_records(log_of(path), columns=())) == [(1, {}), (2, {})]


def test_a_column_that_inflates_beyond_any_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills allocating what a small hostile file says it holds."""
    path = tmp_path / "log"
    table = pa.table({"prompt": ["x" * 1_000_000 + str(n) for n in range(4)]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    monkeypatch.setattr(columnar, "FREE_INFLATION_BYTES", 1_000_000)
    with pytest.raises(IngestError, match=r"row group 0 inflates to \d+ bytes"):
        list(parquet_records(log_of(path)))


def test_a_row_that_python_cannot_hold_is_rejected_and_the_others_are_read(tmp_path: Path) -> None:
    """Kills a file that is lost, or a traceback, for one cell that is not UTF-8 or in the year 20000."""
    texts = pa.array([b"good", b"\xff", b"also good"], pa.binary()).view(pa.string())
    path = tmp_path / "log"
    pq.write_table(pa.table({"text": texts, "at": pa.array([0, 0, 2**59], pa.timestamp("us"))}), path)
    first, *others = parquet_records(log_of(path))
    assert first[1]["text"] == "good"  # type: ignore[index]
    assert [(item.line, item.reason[:25]) for item in others] == [  # type: ignore[union-attr]
        (2, "not UTF-8"),
        (3, "a value that cannot be he"),
    ]


def test_a_damaged_parquet_file_never_ends_in_a_traceback(tmp_path: Path) -> None:
    """Kills an error of pyarrow that nobody catches: bytes of a good file are changed one by one."""
    path = parquet(tmp_path, {**SPEND, "tags": ["a"]}, {**SPEND, "tags": []})
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(200):
        body = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            body[rng.randrange(4, len(body))] = rng.randrange(256)
        path.write_bytes(body)
        with contextlib.suppress(IngestError):
            read_head(path)
            list(json_records(log_of(path)))


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    """Kills a bar that stands still while a large Parquet file is read."""
    path = parquet(tmp_path, *({"n": n} for n in range(10_000)))
    heard: list[int] = []
    log = LogFile(path, "log", "", heard=heard.append)
    assert sum(1 for _ in parquet_records(log)) == 10_000
    assert heard == sorted(heard)
    assert (len(heard), heard[-1]) == (3, path.stat().st_size)
