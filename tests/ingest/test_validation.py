"""A file against the shared tables: every fault with row and cure, none in what we wrote ourselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from door import knock
from shadowprice.errors import IngestError, SchemaError
from shadowprice.ingest.validation import KEPT, validate

Capture = pytest.CaptureFixture[str]
GOOD: dict[str, Any] = {
    "decision_id": "d1",
    "layer": "router",
    "decision_point": "model",
    "action": "small",
    "candidates": ["small", "large"],
    "propensities": [0.9, 0.1],
    "propensity": 0.9,
    "ts": "2026-11-02T08:00:00+00:00",
    "x_score": 0.4,
}


def jsonl(folder: Path, *rows: dict[str, Any] | str) -> Path:
    path = folder / "decisions.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def test_our_own_files_have_no_fault(audited: Path) -> None:
    """Kills: a rule that ingest or the estimators break themselves."""
    files = (
        *validate(audited),
        *validate(audited / "ledger.parquet"),
        *validate(audited / "estimates.parquet"),
    )
    assert {one.table for one in files} >= {"decisions", "outcomes", "ledger", "estimates"}
    assert [(one.file, one.faults) for one in files if one.count] == []
    assert all(one.rows > 0 for one in files)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layer": None}, "layer is missing"),
        ({"layer": "cloud"}, "layer"),
        ({"propensities": [0.9, 0.3]}, "sum to 1.2"),
        ({"propensity": 0.5}, "propensities give the chosen action 0.9"),
        ({"action": "huge"}, "not among the candidates"),
        ({"quality": 7.0}, "[0, 1]"),
        ({"cost_usd": -1}, ">= 0"),
        ({"ts": "yesterday"}, "expected a time"),
        ({"ts": "2026-11-02T08:00:00"}, "zone"),
        ({"x_score": float("inf")}, "finite"),
        ({"tok_output": 1.5}, "whole number"),
    ],
)
def test_each_fault_of_a_row_is_told_with_its_row(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Kills: a rule of the tables that is not looked at, and a row number that is off by one."""
    path = jsonl(tmp_path, GOOD, {**GOOD, "decision_id": "d2", **change})
    (one,) = validate(path)
    assert (one.table, one.rows, one.count) == ("decisions", 2, 1)
    assert one.faults[0].row == 2
    assert told in one.faults[0].found


def test_columns_are_checked_before_rows(tmp_path: Path) -> None:
    """Kills: a misspelt column that is passed over, and one that is repeated for every row."""
    rows = [{**GOOD, "decision_id": f"d{k}", "latency": 1.0} for k in range(5)]
    (one,) = validate(jsonl(tmp_path, *rows))
    assert [(f.row, f.cure) for f in one.faults] == [(None, "Did you mean latency_s?")]
    bare = [{k: v for k, v in row.items() if k not in ("layer", "latency")} for row in rows]
    (one,) = validate(jsonl(tmp_path, *bare))
    assert one.faults[0].found == "column layer is missing"


def test_an_id_that_comes_twice_names_the_first_row(tmp_path: Path) -> None:
    """Kills: duplicates that ingest would count once without a word."""
    (one,) = validate(jsonl(tmp_path, GOOD, {**GOOD, "decision_id": "d2"}, GOOD))
    assert [(f.row, f.found) for f in one.faults] == [(3, "decision_id is that of row 1")]


def test_csv_and_parquet_meet_the_same_rules(tmp_path: Path) -> None:
    """Kills: text of a CSV that is never a number, and a Parquet type that is not looked at."""
    path = tmp_path / "d.csv"
    path.write_text(
        "decision_id,layer,decision_point,action,candidates,propensities,ts,cost_usd,incident\n"
        'd1,router,model,a,"[""a"",""b""]","[0.5,0.5]",2026-11-02T08:00:00+00:00,0.5,true\n'
        "d2,router,model,a,,,,cheap,maybe\n"
    )
    (one,) = validate(path)
    assert [(f.row, f.found.split(" is ")[0]) for f in one.faults] == [(2, "cost_usd")]
    wrong = pl.DataFrame({**{k: [v] for k, v in GOOD.items() if k != "ts"}, "latency_s": ["fast"]})
    wrong.write_parquet(tmp_path / "d.parquet")
    (one,) = validate(tmp_path / "d.parquet")
    assert one.faults[0].found.startswith("latency_s has type")


def test_a_ledger_that_lies_about_its_intervals_is_caught(audited: Path, tmp_path: Path) -> None:
    """Kills: a value outside its own interval, and a missing one without a reason."""
    frame = pl.read_parquet(audited / "ledger.parquet").filter(pl.col("nmv").is_not_null()).head(3)
    changed = frame.with_columns(
        nmv=pl.when(pl.int_range(3) == 1).then(1e6).when(pl.int_range(3) == 0).then("nmv"),
        grade=pl.col("grade"),
    )
    changed.write_parquet(tmp_path / "ledger.parquet")
    (one,) = validate(tmp_path / "ledger.parquet")
    assert [(f.row, f.found.split(",")[0]) for f in one.faults] == [
        (2, "nmv is 1000000.0"),
        (3, "no value and no reason"),
    ]


def test_faults_are_counted_and_bounded(tmp_path: Path) -> None:
    """Kills: a million lines on a terminal, and a count that stops at the bound."""
    rows = [{**GOOD, "decision_id": f"d{k}", "quality": 2.0} for k in range(KEPT + 30)]
    (one,) = validate(jsonl(tmp_path, *rows))
    assert (len(one.faults), one.count) == (KEPT, KEPT + 30)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    """Kills: a foreign log that is called sound because nothing in it was recognised."""
    with pytest.raises(SchemaError, match="mapping"):
        validate(jsonl(tmp_path, {"model": "m", "spend": 1.0}))
    with pytest.raises(SchemaError, match="no table"):
        validate(jsonl(tmp_path, GOOD), "decision")
    with pytest.raises(IngestError):
        validate(tmp_path / "absent.jsonl")
    with pytest.raises(IngestError):
        validate(jsonl(tmp_path, "\x00\x01", "[1]"))


def test_the_command_ends_with_two_on_a_fault_and_prints_nothing_that_moves(
    tmp_path: Path, capfd: Capture
) -> None:
    """Kills: exit 0 for a broken file, an escape sequence of a hostile one, prose in --json."""
    bad = jsonl(tmp_path, {**GOOD, "layer": "\x1b[2J\u202e", "y\x1b[1A": 1}, "{" * 5000)
    said = knock(capfd, "schema", "validate", bad)
    assert said.code == 2
    assert all(char.isprintable() for char in (said.out + said.err).replace("\n", ""))
    told = knock(capfd, "schema", "validate", bad, "--json", "--quiet")
    assert (told.json["verb"], told.json["status"], told.err) == ("schema validate", "faults", "")
    assert told.json["data"]["faults"] == told.json["data"]["files"][0]["count"]
    good = knock(capfd, "schema", "validate", jsonl(tmp_path, GOOD))
    assert good.code == 0
    assert "1 rows of decisions, no fault" in good.out
