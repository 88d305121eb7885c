"""The generic reader: stated units are applied, unstated ones refused, mistakes get their nearest name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import log_of, reasons, rows, run
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest.blocks import Block
from shadowprice.ingest.readers import mapping
from shadowprice.ingest.readers.mapping import MappingReader, load_mapping
from shadowprice.ingest.seam import Item, LogFile
from shadowprice.schemas.config import Config

HEAD = 'layer = "router"\ndecision_point = "model"\n'
CSV = (
    'format = "csv"\n'
    + HEAD
    + """
[columns]
decision_id = "id"
request_id = "req"
ts = {from = "created", unit = "ms", timezone = "UTC"}
action = "chosen"
candidates = {from = "options", split = "|"}
propensity = {from = "p", source = "logged"}
cost_usd = {from = "cost", unit = "usd_micro", null_values = [0]}
latency_s = {from = "took", unit = "us"}
tok_input_uncached = {from = "prompt", convention = "inclusive", cache_read = "cached"}
tok_output = "out"
x_difficulty = "hard"
x_kind = {from = "kind", type = "text"}
"""
)
HEADER = "id,req,created,chosen,options,p,cost,took,prompt,cached,out,hard,kind"


def reader(text: str, folder: Path) -> MappingReader:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def items(mapping: str, body: str, folder: Path) -> list[Item]:
    return run(reader(mapping, folder), body, folder)  # type: ignore[arg-type]


def json_rows(columns: str, record: Any, folder: Path, *, more: str = "") -> list[dict[str, Any]]:
    text = f'format = "jsonl"\n{HEAD}{more}\n[columns]\naction = "a"\n{columns}\n'
    found = items(text, json.dumps({"a": "x", **record}), folder)
    assert reasons(found) == []
    return rows(found)


def test_a_csv_row_arrives_in_our_units(tmp_path: Path) -> None:
    """Kills each conversion: time, money, duration, tokens, list, number and text in one row made by hand."""
    body = f"{HEADER}\n7,r1,1700000000123,b,a|b| c,0.25,1500,2500000,100,30,9,0.5,007\n"
    assert rows(items(CSV, body, tmp_path)) == [
        {
            "layer": "router",
            "decision_point": "model",
            "decision_id": "7",
            "request_id": "r1",
            "ts": datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC),
            "action": "b",
            "candidates": ["a", "b", "c"],
            "propensity": 0.25,
            "propensity_source": "logged",
            "cost_usd": 0.0015,
            "latency_s": 2.5,
            "tok_input_uncached": 70,
            "tok_cache_read": 30,
            "tok_output": 9,
            "x_difficulty": 0.5,
            "x_kind": "007",
        }
    ]


def test_a_column_beside_the_mapped_ones_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Kills a traceback of Arrow, which takes no such name, where rows are read by column."""
    mapped = reader(f'format = "csv"\n{HEAD}[columns]\naction = "chosen"\n', tmp_path)
    log = log_of(b"caf\xe9,chosen\n1,b\n", tmp_path)
    (block,) = mapped.read_columns(log, Config())
    assert isinstance(block, Block)
    assert block.frames["decisions"]["action"].to_list() == ["b"]


def test_nulls_are_those_of_every_log_and_those_of_the_mapping(tmp_path: Path) -> None:
    """Kills a cost of 0 that means unknown, and ids called 'None'."""
    body = f"{HEADER}\n7,None,-,b,,,0,,,,,null,\n"
    assert set(rows(items(CSV, body, tmp_path))[0]) == {"layer", "decision_point", "decision_id", "action"}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            "7,r,1700000000,b,b,.5,1,1,1,0,1,1,k",
            "ts from 'created': time '1700000000' ms is in the year 1970",
        ),
        ("7,r,1700000000123,b,b,x,1,1,1,0,1,1,k", "propensity from 'p': 'x' is not a number"),
        ("7,r,1700000000123,b,b,.5,1,1,10,30,1,1,k", "the convention looks exclusive"),
        ("7,r,1700000000123,b,b,.5,1,1,10,0,1.5,1,k", "tok_output from 'out': '1.5' is not a whole number"),
    ],
)
def test_a_value_that_does_not_fit_rejects_its_row(cells: str, words: str, tmp_path: Path) -> None:
    """Kills a row with one value silently missing, or an error that ends the file."""
    good = "8,r,1700000000123,b,b,.5,1,1,10,0,1,1,k"
    found = items(CSV, f"{HEADER}\n{cells}\n{good}\n", tmp_path)
    assert words in reasons(found)[0]
    assert [row["decision_id"] for row in rows(found)] == ["8"]


def test_dotted_paths_descend_and_whole_names_come_first(tmp_path: Path) -> None:
    """Kills reading 'a.b' only as one name, or only as a path."""
    record = {"f": {"d": 1, "l": [5, 6]}, "f.x": 3}
    found = json_rows('x_d = "f.d"\nx_l = "f.l.1"\nx_x = "f.x"\nx_none = "f.q.r"', record, tmp_path)
    assert {k: v for k, v in found[0].items() if k.startswith("x_")} == {"x_d": 1, "x_l": 6, "x_x": 3}


def test_propensities_give_the_chosen_actions_propensity(tmp_path: Path) -> None:
    """Kills taking the first propensity, or leaving the source unstated."""
    columns = 'candidates = "menu"\npropensities = {from = "ps", source = "reconstructed"}'
    row = json_rows(columns, {"menu": ["w", "x"], "ps": [0.9, 0.1]}, tmp_path)[0]
    assert (row["propensity"], row["propensity_source"]) == (0.1, "reconstructed")


def test_lists_may_be_json_text(tmp_path: Path) -> None:
    """Kills a list column that only splits."""
    assert json_rows('candidates = "menu"', {"menu": '["x", "y"]'}, tmp_path)[0]["candidates"] == ["x", "y"]


def test_naive_times_are_read_in_the_stated_zone(tmp_path: Path) -> None:
    """Kills taking local wall time for UTC."""
    cell = 'ts = {from = "t", unit = "iso", timezone = "Europe/Amsterdam"}'
    row = json_rows(cell, {"t": "2026-07-01 12:00:00"}, tmp_path)[0]
    assert row["ts"] == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_constants_and_flags_are_values_of_the_mapping(tmp_path: Path) -> None:
    """Kills constants that need a column."""
    columns = 'candidates = {value = ["x", "y"]}\nexploration = "e"\npolicy_version = {value = "v1"}'
    row = json_rows(columns, {"e": "Yes"}, tmp_path)[0]
    assert (row["candidates"], row["exploration"], row["policy_version"]) == (["x", "y"], True, "v1")


def test_outcomes_of_a_record_are_numbers_flags_or_labels(tmp_path: Path) -> None:
    """Kills dropping labels, reading 'true' as text, and outcomes for records that have none."""
    outcomes = """outcomes = [
      {name = "resolved", from = "ok", source = "human", ts = {from = "at", unit = "s", timezone = "UTC"}},
      {name = "stars", from = "stars", source = "human"},
      {name = "mood", from = "mood", source = "llm_judge", key = "decision_id"},
      {name = "absent", from = "absent", source = "code"},
    ]"""
    text = (
        f'format = "jsonl"\n{HEAD}{outcomes}\n[columns]\naction = "a"\nrequest_id = "r"\ndecision_id = "d"\n'
    )
    record = {"a": "x", "r": 5, "d": "d1", "ok": "true", "at": 1700000000, "stars": "4", "mood": "fine"}
    assert rows(items(text, json.dumps(record), tmp_path), "outcomes") == [
        {
            "name": "resolved",
            "source": "human",
            "request_id": "5",
            "value": 1.0,
            "ts": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        },
        {"name": "stars", "source": "human", "request_id": "5", "value": 4.0},
        {"name": "mood", "source": "llm_judge", "decision_id": "d1", "label": "fine"},
    ]


def test_rules_say_how_far_an_action_reaches(tmp_path: Path) -> None:
    """Kills matching part of a value, or the last rule before the first."""
    rules = """action_class = [
      {match = {a = "x|del_.*"}, class = "commit", reversible = false},
      {match = {a = ".*"}, class = "read"},
    ]"""
    row = json_rows("", {}, tmp_path, more=rules)[0]
    assert (row["action_class"], row["reversible"]) == ("commit", False)
    assert json_rows("", {"a": "xx"}, tmp_path, more=rules)[0]["action_class"] == "read"


def test_contexts_outcomes_and_engine_steps_are_tables_of_their_own(tmp_path: Path) -> None:
    """Kills a mapping that can only make decisions."""
    context = 'format = "json"\ntable = "contexts"\n[columns]\nrequest_id = "r"\nx_k = "k"\n'
    assert rows(items(context, '[{"r": "a", "k": 1}]', tmp_path), "contexts") == [
        {"request_id": "a", "x_k": 1}
    ]
    labels = (
        'format = "csv"\ntable = "outcomes"\noutcomes = [{name = "s", from = "v", source = "code"}]\n'
        '[columns]\nrequest_id = "r"\ndecision_id = "d"\n'
    )
    assert rows(items(labels, "r,d,v\na,b,1\n", tmp_path), "outcomes") == [
        {"name": "s", "source": "code", "request_id": "a", "decision_id": "b", "value": 1.0}
    ]
    steps = (
        'format = "csv"\ntable = "engine_steps"\n[columns]\nreplica = "e"\nrunning = "n"\n'
        'step_s = {from = "ms", unit = "ms"}\n'
    )
    assert rows(items(steps, "e,n,ms\ne0,3,31.4\n", tmp_path), "engine_steps") == [
        {"replica": "e0", "running": 3, "step_s": 0.0314}
    ]


def test_parquet_is_read_with_its_own_types(tmp_path: Path) -> None:
    """Kills nanosecond times, decimals and lists that only text formats have."""
    table = pa.table(
        {
            "a": ["x"],
            "t": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "menu": [["x", "y"]],
            "cost": pa.array(["0.25"]).cast(pa.decimal128(10, 4)),
            "f": [{"d": 2}],
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    text = f'format = "parquet"\n{HEAD}\n[columns]\naction = "a"\ncandidates = "menu"\nx_d = "f.d"\n' + (
        'ts = {from = "t", unit = "iso", timezone = "UTC"}\ncost_usd = {from = "cost", unit = "USD"}\n'
    )
    own = reader(text, tmp_path)
    row = rows(own.read(log_of(path.read_bytes(), tmp_path), Config()))[0]
    assert row["ts"] == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert (row["candidates"], row["cost_usd"], row["x_d"]) == (["x", "y"], 0.25, 2)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_parquet_time_that_utc_cannot_hold_rejects_its_row(year: int, tmp_path: Path) -> None:
    """Kills an OverflowError for a local time at the edge of the calendar."""
    path = tmp_path / "t.parquet"
    edge = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 0 if year == 1 else 23)
    pq.write_table(pa.table({"a": ["x"], "t": pa.array([edge], pa.timestamp("us"))}), path)
    zone = "Asia/Tokyo" if year == 1 else "America/New_York"
    text = f'format = "parquet"\n{HEAD}\n[columns]\naction = "a"\n' + (
        f'ts = {{from = "t", unit = "iso", timezone = "{zone}"}}\n'
    )
    own = reader(text, tmp_path)
    (reason,) = reasons(own.read(log_of(path.read_bytes(), tmp_path), Config()))
    assert "is in no year from 1 to 9999" in reason


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    """Kills a traceback from the Parquet library."""
    own = reader(f'format = "parquet"\n{HEAD}\n[columns]\naction = "a"\n', tmp_path)
    with pytest.raises(IngestError, match="not readable as Parquet"):
        list(own.read(log_of(b"PAR1 and no more PAR1", tmp_path), Config()))


def test_a_row_without_id_gets_one_that_survives_reingest(tmp_path: Path) -> None:
    """Kills random ids, and ids that two rows or two files share."""
    body = json.dumps({"a": "x"}) + "\n" + json.dumps({"a": "x"})
    text = f'format = "jsonl"\n{HEAD}\n[columns]\naction = "a"\n'
    first = [row["decision_id"] for row in rows(items(text, body, tmp_path))]
    again = [row["decision_id"] for row in rows(items(text, body, tmp_path))]
    other = [row["decision_id"] for row in rows(items(text, body + "\n", tmp_path))]
    assert first == again
    assert len({*first, *other}) == 4


def test_a_column_that_the_file_lacks_refuses_the_file_with_the_nearest_name(tmp_path: Path) -> None:
    """Kills a store full of nulls because of one mistyped column."""
    with pytest.raises(IngestError, match=r"no column 'created'.*Did you mean 'create'"):
        items(CSV, HEADER.replace("created", "create") + "\n" + ",".join(["1"] * 13), tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("layr = 1", "unknown key 'layr'. Did you mean 'layer'"),
        (
            'outcomes = [{name = "a", from = "b", source = "human", kee = 1}]',
            "unknown key 'kee'. Did you mean 'key'",
        ),
        ('outcomes = [{name = "a", from = "b"}]', "'source' is not stated"),
        ('outcomes = [{name = "a", from = "b", source = "oracle"}]', "'source' is 'oracle'"),
        (
            'outcomes = [{name = "a", from = "b", source = "code"}]',
            "outcome 'a' is keyed by request_id, which no column gives",
        ),
        ('action_class = [{match = {a = "("}, class = "read"}]', "a regular expression"),
        ('layer = "cloud"', "layer 'cloud'. Expected one of router"),
        ("", "no layer"),
    ],
)
def test_a_mapping_that_cannot_be_followed_is_refused_at_the_top(
    line: str, words: str, tmp_path: Path
) -> None:
    """Kills unknown keys that vanish, and mistakes that only show in the store."""
    layer = "" if line.startswith("layer") or not line else 'layer = "router"'
    body = "\n".join(['format = "csv"', 'decision_point = "p"', layer, line, "[columns]", 'action = "a"'])
    with pytest.raises(ConfigError) as caught:
        reader(body, tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ('ts = "t"', "'unit' is not stated. Expected unit = one of s, ms, us, ns, iso"),
        ('ts = {from = "t", unit = "iso"}', "'timezone' is not stated"),
        ('ts = {from = "t", unit = "s", timezone = "Europe/Paris"}', "timezone 'Europe/Paris' for an epoch"),
        ('ts = {from = "t", unit = "iso", timezone = "Mars/Base"}', "timezone 'Mars/Base'"),
        ('ts = {from = "t", unit = "hours"}', "unit 'hours'"),
        ('cost_usd = "c"', "'unit' is not stated. Expected unit = one of USD, cents, usd_micro"),
        ('latency_s = "l"', "'unit' is not stated"),
        ('tok_input_uncached = "n"', "'convention' is not stated"),
        ('propensity = "p"', "'source' is not stated"),
        ('propensity = {from = "p", source = "estimated"}', "'source' is 'estimated'"),
        ('propensities = "p"', "'source' is not stated"),
        ('tok_output = {from = "n", unit = "s"}', "option 'unit' does not apply"),
        ('x_Hard = "h"', "column 'x_Hard'. Expected x_ and lower-case letters"),
        ('actoin = "a"', "unknown key 'actoin'. Did you mean 'action'"),
        ('source_file = "a"', "unknown key 'source_file'"),
        ('request_id = {form = "r"}', "unknown key 'form'. Did you mean 'from'"),
        ("request_id = {null_values = [0]}", "a column needs a source"),
        ('request_id = ""', "a column needs a source"),
        ('request_id = {from = "a", value = "b"}', "either 'from' or 'value'"),
    ],
)
def test_a_column_says_its_unit_or_is_refused(column: str, words: str, tmp_path: Path) -> None:
    """Kills every default that would be wrong for half of all logs."""
    with pytest.raises(ConfigError) as caught:
        reader(f'format = "csv"\n{HEAD}\n[columns]\naction = "a"\n{column}\n', tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [("format = ", "not TOML"), (None, "No such file")])
def test_a_mapping_file_that_cannot_be_read_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    """Kills a traceback for a missing or broken mapping file."""
    path = tmp_path / "map.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_mapping(path)


def test_a_mapping_claims_the_files_that_its_pattern_names(tmp_path: Path) -> None:
    """Kills a mapping that takes files which another reader knows."""
    own = reader(f'files = "*.audit.csv"\n{CSV}', tmp_path)
    assert own.claims("logs/a.audit.csv")
    assert not own.claims("logs/a.csv")
    assert not own.claims_rest
    assert reader(CSV, tmp_path).claims_rest


def test_of_parquet_only_mapped_columns_are_read_and_all_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills prompts that enter memory, and an error that does not know the columns beside the mapped ones."""
    path = tmp_path / "log"
    pq.write_table(pa.table({"act": ["a", "b"], "deep": [{"n": 1}, {"n": 2}], "prompt": ["p", "q"]}), path)
    log = LogFile(path, "log", "0" * 64)
    text = f'format = "parquet"\n{HEAD}[columns]\naction = "act"\nx_n = "deep.n"\n'
    asked: list[set[str]] = []
    whole = mapping.parquet_records

    def noted(log: LogFile, *, columns: set[str]) -> Any:
        asked.append(columns)
        return whole(log, columns=columns)

    monkeypatch.setattr(mapping, "parquet_records", noted)
    found = rows(list(reader(text, tmp_path).read(log, Config())))
    assert [(row["action"], row["x_n"]) for row in found] == [("a", 1.0), ("b", 2.0)]
    assert asked == [{"act", "deep", "deep.n"}]
    with pytest.raises(IngestError, match=r"no column 'prompd'.*Did you mean 'prompt'"):
        list(reader(text.replace('"act"', '"prompd"'), tmp_path).read(log, Config()))
