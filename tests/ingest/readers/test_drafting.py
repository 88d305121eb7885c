"""Drafted mapping files: ingest accepts them, guesses are marked, and no value of the log is in them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import rows, run_file
from shadowprice.errors import IngestError
from shadowprice.ingest.opening import printable
from shadowprice.ingest.readers import draft_rules
from shadowprice.ingest.readers.draft_rules import Seen, duration_options, time_options, token_options
from shadowprice.ingest.readers.drafting import draft_mapping
from shadowprice.ingest.readers.mapping import MappingReader
from shadowprice.ingest.readers.mapping_spec import parse_mapping

CALL = {
    "call_id": "c1",
    "request_id": "r1",
    "user": {"team": "blue"},
    "created_at": 1_790_000_000_123,
    "chosen_model": "small",
    "options": ["small", "large"],
    "usage": {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 7},
    "cost": 0.002,
    "latency_ms": 120,
    "confidence": 0.9,
    "difficulty": 0.3,
    "prompt": "a secret question",
    "resolved": True,
}


def jsonl(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "calls.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def drafted(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The draft's text, and the rows that a reader made from it yields for the same file."""
    draft = draft_mapping(path)
    reader = MappingReader(parse_mapping(draft.text.encode(), path))
    found = rows(run_file(reader, path))  # type: ignore[arg-type]
    assert draft.rows == len(found)
    return draft.text, found


def test_a_log_of_calls_is_drafted_with_its_units(tmp_path: Path) -> None:
    """Kills each guess that reads a column as another, or in another unit."""
    text, (row,) = drafted(jsonl(tmp_path, CALL))
    assert {
        name: row[name] for name in ("decision_id", "request_id", "tenant_id", "action", "candidates")
    } == {
        "decision_id": "c1",
        "request_id": "r1",
        "tenant_id": "blue",
        "action": "small",
        "candidates": ["small", "large"],
    }
    assert (row["latency_s"], row["cost_usd"], row["ts"].timestamp()) == (0.12, 0.002, 1_790_000_000.123)
    assert (row["tok_input_uncached"], row["tok_cache_read"], row["tok_output"]) == (6, 4, 7)
    assert (row["layer"], row["decision_point"]) == ("router", "model")
    assert 'unit = "USD"}  # CHECK' in text
    assert "[[outcomes]]  # CHECK" in text


def test_a_classifier_confidence_is_never_drafted_as_a_propensity(tmp_path: Path) -> None:
    """Kills weighting by a number that is no probability of the choice."""
    text, (row,) = drafted(jsonl(tmp_path, CALL))
    assert "propensity" not in row
    assert '# x_confidence = "confidence"' in text


def test_features_are_offered_not_taken_and_texts_are_only_named(tmp_path: Path) -> None:
    """Kills adjusting for what happened after the choice, and prompts in the store or in the draft."""
    text, (row,) = drafted(jsonl(tmp_path, CALL))
    assert not [name for name in row if name.startswith("x_")]
    assert '\n# x_difficulty = "difficulty"' in text
    assert "# Not read (texts and lists): prompt" in text
    assert "secret" not in text


def test_cached_tokens_beyond_the_input_prove_the_exclusive_convention() -> None:
    """Kills negative uncached tokens; without such a row the guess is marked."""
    prompt, cached = Seen(path="in", cells=(5, 5)), Seen(path="cached", cells=(None, 9))
    assert token_options(prompt, cached, None).options == {"convention": "exclusive", "cache_read": "cached"}
    usual = token_options(prompt, Seen(path="cached", cells=(1, 2)), None)
    assert (usual.options or {})["convention"] == "inclusive"
    assert usual.why is not None


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1_790_000_000, "s"),
        (1_790_000_000_000, "ms"),
        (1_790_000_000_000_000, "us"),
        (1_790_000_000_000_000_000, "ns"),
        ("2026-11-03T10:00:00Z", "iso"),
    ],
)
def test_the_unit_of_a_time_follows_from_its_size(value: Any, unit: str) -> None:
    """Kills seconds read as milliseconds."""
    assert (time_options(Seen(path="at", cells=(value,))).options or {})["unit"] == unit


def test_a_relative_clock_and_a_time_without_a_zone_are_told() -> None:
    """Kills a trace in the year 1970, and a local time that is silently UTC."""
    assert time_options(Seen(path="at", cells=(0, 12.5))).options is None
    assert time_options(Seen(path="at", cells=("2026-11-03 10:00:00",))).why is not None


def test_a_duration_without_a_unit_in_its_name_is_marked() -> None:
    """Kills milliseconds stored as seconds without a word."""
    assert duration_options(Seen(path="took_ms", cells=(1,))).why is None
    guessed = duration_options(Seen(path="took", cells=(900, 1500)))
    assert (guessed.options, guessed.why is None) == ({"unit": "ms"}, False)


def test_a_column_that_refuses_the_sample_becomes_a_comment(tmp_path: Path) -> None:
    """Kills a draft that sends half of the log to the quarantine."""
    records = [{**CALL, "call_id": f"c{n}", "latency_ms": "soon" if n % 2 else 5} for n in range(10)]
    text, found = drafted(jsonl(tmp_path, *records))
    assert len(found) == 10
    assert '# latency_s = "latency_ms"  # not mapped' in text
    assert "soon" not in text


def test_csv_with_another_delimiter_and_parquet_are_drafted_alike(tmp_path: Path) -> None:
    """Kills a draft for JSON only."""
    flat = {"id": "d1", "model": "small", "latency_s": 0.5, "options": "small|large", "score": 1}
    table = tmp_path / "calls.csv"
    with table.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, flat, delimiter=";")
        writer.writeheader()
        writer.writerow(flat)
    columns = tmp_path / "calls.parquet"
    pq.write_table(pa.Table.from_pylist([flat]), columns)
    for path in (table, columns):
        _, (row,) = drafted(path)
        assert (row["decision_id"], row["action"], row["latency_s"]) == ("d1", "small", 0.5)
        assert row["candidates"] == ["small", "large"]


def test_without_a_choice_the_draft_says_so(tmp_path: Path) -> None:
    """Kills a made-up action, and a draft that ingest would refuse."""
    text, (row,) = drafted(jsonl(tmp_path, {"timestamp": 5, "input_length": 3}))
    assert row["action"] == "unknown"
    assert "no column looks like a choice" in text


def test_a_sample_without_records_is_refused(tmp_path: Path) -> None:
    """Kills an empty mapping."""
    path = tmp_path / "log"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(IngestError, match="no record to draft from"):
        draft_mapping(path)


_KEYS = st.text(min_size=1, max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**19) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=5,
)
_NAMED = st.sampled_from(["id", "ts", "cost", "latency", "prompt_tokens", "options", "p", "user.id", 'a"b\n'])


@given(st.lists(st.dictionaries(_KEYS | _NAMED, _VALUES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_whatever_stands_in_a_log_the_draft_is_a_mapping(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    """Kills column names that break TOML or escape from a comment, and values that end in a traceback."""
    path = tmp_path_factory.mktemp("draft") / "log"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    try:
        draft = draft_mapping(path)
    except IngestError:
        return
    assert parse_mapping(draft.text.encode(), path).spec.files == "log"
    assert all(printable(line) == line for line in draft.text.splitlines())


def test_every_drafted_column_is_one_that_a_mapping_knows() -> None:
    """Kills a rule for a column that was renamed."""
    for name in draft_rules.NAMES.keys() - {"cache_read", "cache_write"}:
        options = {
            "ts": ', unit = "s"',
            "cost_usd": ', unit = "USD"',
            "propensity": ', source = "logged"',
            "propensities": ', source = "logged"',
            "tok_input_uncached": ', convention = "inclusive"',
        }.get(name, ', unit = "s"' if name.endswith("_s") else "")
        head = 'format = "jsonl"\nlayer = "router"\ndecision_point = "model"\n[columns]\n'
        text = f'{head}{name} = {{from = "a"{options}}}\n'
        extra = "" if name == "action" else 'action = "a"\n'
        assert name in parse_mapping((text + extra).encode(), Path("m.toml")).cells
