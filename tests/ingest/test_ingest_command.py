"""The ingest command: draft, then ingest; a pipe; pseudonyms; what is said and what is kept quiet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from door import knock
from mapped import record, write_log, write_mapping

Capture = pytest.CaptureFixture[str]

COMMAND = [sys.executable, "-m", "shadowprice", "ingest"]


def test_a_drafted_mapping_is_one_that_ingest_accepts(capfd: Capture, tmp_path: Path) -> None:
    """Kills a draft with anything but TOML on stdout, or one that must be mended before it can be used."""
    log = write_log(tmp_path / "calls.jsonl", [record(n, resolved=n % 2) for n in range(30)])
    said = knock(capfd, "ingest", "--draft-mapping", log)
    assert (said.code, said.err) == (0, "")
    mapping = tmp_path / "drafted.toml"
    mapping.write_text(said.out, encoding="utf-8")
    assert knock(capfd, "ingest", log, "--mapping", mapping, "--out", tmp_path / "out", "--quiet").code == 0
    rows = pl.read_parquet(tmp_path / "out/store/decisions/**/*.parquet")
    assert rows["decision_id"].sort().to_list() == sorted(f"d{n}" for n in range(30))
    assert rows["latency_s"].unique().to_list() == [0.12]
    assert not (tmp_path / "store").exists()


def test_the_guess_of_a_unit_is_shown_where_it_is_made(capfd: Capture, tmp_path: Path) -> None:
    """Kills a guess that nobody can see: here milliseconds without a unit in their name."""
    log = write_log(tmp_path / "calls.jsonl", [record(n) for n in range(3)])
    said = knock(capfd, "ingest", "--draft-mapping", log, "--json")
    assert said.json["data"]["rows"] == 3
    line = next(x for x in said.json["data"]["mapping"].splitlines() if x.startswith("latency_s"))
    assert "# CHECK: median 120" in line


@pytest.mark.parametrize("samples", [["absent.jsonl"], ["a", "b"], ["s3://bucket/key"]])
def test_a_draft_wants_one_local_sample(samples: list[str], capfd: Capture) -> None:
    """Kills a traceback, and a draft of the first of many."""
    said = knock(capfd, "ingest", "--draft-mapping", *samples)
    assert (said.code, said.out) == (2, "")
    assert "expected one sample" in said.err.lower()


def test_a_known_format_is_said_to_need_no_mapping(capfd: Capture, tmp_path: Path) -> None:
    """Kills a mapping that replaces a reader which knows more."""
    log = tmp_path / "a.csv"
    log.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,10,2\n", encoding="utf-8")
    assert "is read without a mapping, as azure_llm" in knock(capfd, "ingest", "--draft-mapping", log).err


def test_a_pipe_is_ingested_in_silence_with_quiet(tmp_path: Path) -> None:
    """Kills progress among the results, and a pipe that must become a file first."""
    body = "".join(json.dumps(record(n)) + "\n" for n in range(5))
    options = ["-", "--out", str(tmp_path / "out"), "--mapping", str(write_mapping(tmp_path)), "--quiet"]
    done = subprocess.run([*COMMAND, *options], input=body, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "decisions                5" in done.stdout


def test_pseudonyms_are_asked_for_by_the_option(capfd: Capture, tmp_path: Path) -> None:
    """Kills an option that is taken and not passed on."""
    log = write_log(tmp_path / "calls.jsonl", [record(1)])
    (tmp_path / "key").write_text("0123456789abcdef" * 4, encoding="utf-8")
    options = ["--mapping", write_mapping(tmp_path), "--out", tmp_path / "out", "--json"]
    said = knock(capfd, "ingest", log, *options, "--pseudonymise", tmp_path / "key")
    assert said.json["status"] == "ok"
    ids = pl.read_parquet(tmp_path / "out/store/decisions/**/*.parquet")["decision_id"].to_list()
    assert [text[:2] for text in ids] == ["p-"]
    again = knock(capfd, "ingest", log, *options)
    assert again.code == 2
    assert again.json["data"]["error"]["type"] == "ConfigError"
