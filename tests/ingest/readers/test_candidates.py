"""Lists of candidates beside the logs: recognised by their columns, in every form, and strict about times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from log_forms import parquet
from reading import lines, reasons, rows, run
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers import candidates
from shadowprice.ingest.readers.registry import find_reader

LISTS: list[dict[str, Any]] = [
    {"policy_version": "v1", "valid_from": "2026-11-03T00:00:00Z", "candidates": ["a", "b"]},
    {"policy_version": "v2", "valid_from": None, "candidates": ["b"]},
]
READ = [
    {"policy_version": "v1", "candidates": ["a", "b"], "valid_from": datetime(2026, 11, 3, tzinfo=UTC)},
    {"policy_version": "v2", "candidates": ["b"]},
]
CSV = 'policy_version,valid_from,candidates,rule\nv1,2026-11-03T01:00:00+01:00,"[""a"", ""b""]",x\nv2,,b,\n'


@pytest.mark.parametrize(
    "body",
    [lines(LISTS).encode(), parquet(LISTS), CSV.encode(), CSV.replace('"[""a"", ""b""]"', "a | b").encode()],
    ids=["jsonl", "parquet", "csv of json", "csv of bars"],
)
def test_every_form_says_the_same(body: bytes, tmp_path: Path) -> None:
    """Kills a list that is one text, a zone that is lost, and a time that is required."""
    assert rows(run(candidates, body, tmp_path), "menus") == READ
    assert find_reader(read_head(tmp_path / "log"), name="log").NAME == "candidates"


@pytest.mark.parametrize(
    "columns", ["policy_version,candidates,action", "policy_version,valid_from", "candidates,rule"]
)
def test_a_log_of_decisions_is_no_list(columns: str) -> None:
    """Kills claiming a table that has an action, and so is described by a mapping."""
    assert not candidates.sniff(f"{columns}\n1,2,3\n".encode())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"valid_from": 1762128000}, "valid_from: 1762128000 is not a time"),
        ({"valid_from": "2026-11-03", "valid_to": "2026-11-03"}, "expected a time after valid_from"),
        ({"candidates": "[1"}, "begins like a JSON list"),
        ({"policy_version": 3}, "policy_version is int, expected text"),
    ],
)
def test_a_list_that_cannot_be_used_is_rejected(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Kills a guess at the unit of a time, and a list that never holds."""
    (reason,) = reasons(run(candidates, lines([LISTS[0] | fields]), tmp_path))
    assert words in reason
