"""The whole of ingest: what a run leaves behind, twice, killed half-way, on bad files and on large ones."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mapped import record, tree, write_log, write_mapping
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest import intake, staging
from shadowprice.ingest.pipeline import ingest
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.files import LOCK
from shadowprice.schemas.store import Store, open_store
from shadowprice.schemas.tables import arrow_schema

BAD_LINES = [
    '{"layer": "router", "point": "mod',
    json.dumps(record(101, took="soon")),
    json.dumps(record(102)).replace("0.5", "NaN"),
    json.dumps(record(103, p=0)),
    json.dumps(record(104, p="nan")),
    json.dumps(record(105, took=-5)),
    json.dumps(record(106, **{"in": 5, "cached": 9})),
    json.dumps(record(1, action="other")),
    "\x00\x01binary",
    "[1, 2]",
]


def read(folder: Path, out: Path, **options: Any) -> Store:
    return ingest(folder, out=out, mapping=write_mapping(folder.parent), **options)


def some_logs(folder: Path) -> Path:
    """Three logs with good rows, bad rows, repeats and outcomes, and a file of no known format."""
    write_log(folder / "a.jsonl", [*(record(n, resolved=n % 2) for n in range(50)), *BAD_LINES])
    write_log(folder / "sub" / "b.jsonl", [record(n, took=7) for n in range(40, 90)])
    write_log(
        folder / "c.jsonl",
        [record(n, layer="agent", point="verify", action="verify", kind="k") for n in range(200, 230)],
    )
    return folder


def test_every_bad_row_is_quarantined_with_its_place_and_reason(tmp_path: Path) -> None:
    """Kills dropping, repairing or dying of a bad row; good rows before and after stay."""
    store = read(some_logs(tmp_path / "logs"), tmp_path / "out")
    found = [json.loads(line) for line in (store.path / "quarantine.jsonl").read_text().splitlines()]
    words = [
        "cut off",
        "'soon' is not a number",
        "NaN is not JSON",
        "propensity of the chosen action is 0.0, expected a number in (0, 1]",
        "'nan' is not a finite number",
        "the clock runs backwards",
        "the convention looks exclusive",
        "not JSON",
        "expected an object",
    ]
    own = [entry for entry in found if "duplicate" not in entry["reason"]]
    assert [entry["row"] for entry in own] == [51, 52, 53, 54, 55, 56, 57, 59, 60]
    assert {entry["file"] for entry in own} == {"a.jsonl"}
    for entry, expected in zip(own, words, strict=True):
        assert expected in entry["reason"]
    repeats = [entry for entry in found if "duplicate" in entry["reason"]]
    assert len(repeats) == 1 + 10
    assert repeats[0]["reason"] == "duplicate decision_id, first seen at a.jsonl:2"


def test_rows_in_equal_rows_stored_plus_rows_refused(tmp_path: Path) -> None:
    """Kills any row that vanishes between the log and the store."""
    logs = some_logs(tmp_path / "logs")
    shutil.copy(logs / "c.jsonl", logs / "copy.jsonl")
    manifest = read(logs, tmp_path / "out").manifest
    counts = manifest["counts"]
    yielded = sum(
        sum(source["rows"].values()) + source["quarantined"] + sum(source["ignored"].values())
        for source in manifest["sources"]
    )
    contexts = sum(source["rows"].get("contexts", 0) for source in manifest["sources"])
    stored = counts["decisions"] + counts["outcomes"] + counts["engine_steps"]
    assert yielded == stored - counts["untaken"] + counts["duplicates"] + counts["quarantined"] + contexts
    assert counts["duplicates"] == 30
    lines = (tmp_path / "out/store/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == counts["quarantined"]


def test_ingesting_twice_changes_no_byte_and_no_time(tmp_path: Path) -> None:
    """Kills rewriting an unchanged store; taking the lock may touch its empty file."""
    logs = some_logs(tmp_path / "logs")
    read(logs, tmp_path / "out")
    before = tree(tmp_path / "out")
    kept = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != LOCK]
    times = {path: path.stat().st_mtime_ns for path in kept}
    read(logs, tmp_path / "out")
    assert tree(tmp_path / "out") == before
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())


def test_the_same_logs_elsewhere_give_the_same_bytes(tmp_path: Path) -> None:
    """Kills absolute paths, clocks and unseeded order in the store, and paths read as patterns."""
    read(some_logs(tmp_path / "one" / "logs"), tmp_path / "x")
    shutil.copytree(tmp_path / "x", tmp_path / "y1 which the pattern would find")
    some_logs(tmp_path / "two" / "logs")
    ingest([tmp_path / "two" / "logs"], out=tmp_path / "y[1]*", mapping=write_mapping(tmp_path / "two"))
    assert tree(tmp_path / "x") == tree(tmp_path / "y[1]*")


def test_adding_a_log_reads_only_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills reading everything again when one file is new; the store equals one made in one go."""
    logs = some_logs(tmp_path / "logs")
    read(logs, tmp_path / "out")
    write_log(logs / "d.jsonl", [record(n) for n in range(300, 310)])
    staged_names: list[str] = []
    whole = staging.stage

    def counted(log: Any, *args: Any, **options: Any) -> Any:
        staged_names.append(log.name)
        return whole(log, *args, **options)

    monkeypatch.setattr(intake, "stage", counted)
    read(logs, tmp_path / "out")
    assert staged_names == ["d.jsonl"]
    read(logs, tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_a_log_that_is_no_longer_given_leaves_nothing_behind(tmp_path: Path) -> None:
    """Kills rows and parts of logs that the user took away."""
    logs = some_logs(tmp_path / "logs")
    read(logs, tmp_path / "out")
    (logs / "c.jsonl").unlink()
    read(logs, tmp_path / "out")
    read(logs, tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_prices_in_the_configuration_do_not_touch_the_store_but_rules_do(tmp_path: Path) -> None:
    """Kills a needless re-ingest, and one that is left out."""
    logs = some_logs(tmp_path / "logs")
    first = read(logs, tmp_path / "out").manifest["generation"]
    priced = parse_config({"prices": {"task_value": "12 USD/task"}})
    assert read(logs, tmp_path / "out", config=priced).manifest["generation"] == first
    ruled = parse_config({"rules": [{"match": "a", "kind": "read"}]})
    assert read(logs, tmp_path / "out", config=ruled).manifest["generation"] != first
    assert read(logs, tmp_path / "out", config=Config(optional_points=())).manifest["generation"] != first


KILL = """
import os, signal, sys
from shadowprice.ingest import pipeline, staging
logs, out, mapping, at = sys.argv[1:]
staging.BATCH_ROWS = 10
heard = []
def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
def progress(*step):
    heard.append(step)
    if str(len(heard)) == at:
        die()
if at == "manifest":
    pipeline.write_manifest = die
pipeline.ingest(logs, out=out, mapping=mapping, progress=progress)
"""


def killed(logs: Path, out: Path, mapping: Path, *, at: str) -> None:
    """Run ingest in a process that kills itself at its n-th report of progress, or before the manifest."""
    run = [sys.executable, "-c", KILL, str(logs), str(out), str(mapping), at]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("at", ["2", "7", "manifest"])
def test_a_killed_run_is_run_again_to_the_bytes_of_an_undisturbed_one(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills half-written parts that are taken for whole ones, and leftovers that stay."""
    monkeypatch.setattr(staging, "BATCH_ROWS", 10)
    logs = some_logs(tmp_path / "logs")
    mapping = write_mapping(tmp_path)
    killed(logs, tmp_path / "out", mapping, at=at)
    assert not (tmp_path / "out/store/manifest.json").exists()
    read(logs, tmp_path / "out")
    read(logs, tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_a_run_that_is_killed_over_an_older_store_leaves_that_store_whole(tmp_path: Path) -> None:
    """Kills losing what was already written."""
    logs = some_logs(tmp_path / "logs")
    before = read(logs, tmp_path / "out").manifest
    write_log(logs / "d.jsonl", [record(n) for n in range(300, 310)])
    killed(logs, tmp_path / "out", write_mapping(tmp_path), at="manifest")
    store = open_store(tmp_path / "out")
    assert store.manifest == before
    assert store.decisions().collect().height == before["counts"]["decisions"]


def test_a_store_that_lost_a_file_or_has_a_broken_manifest_is_made_again(tmp_path: Path) -> None:
    """Kills trusting a manifest whose files are gone."""
    logs = some_logs(tmp_path / "logs")
    store = read(logs, tmp_path / "out")
    before = tree(tmp_path / "out")
    store.files("decisions")[0].unlink()
    next((tmp_path / "out/store/.staging").glob("*/*.parquet")).unlink()
    read(logs, tmp_path / "out")
    assert tree(tmp_path / "out") == before
    (tmp_path / "out/store/manifest.json").write_text("{", encoding="utf-8")
    read(logs, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_a_bad_file_is_recorded_and_never_stops_the_others(tmp_path: Path) -> None:
    """Kills an ingest that one stray file ends, and a stray file that nobody hears of."""
    logs = tmp_path / "logs"
    write_log(logs / "trace.csv", ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:17:03,10,2"])
    (logs / "noise.jsonl").write_bytes(random.Random(1).randbytes(5000))
    (logs / "empty.jsonl").touch()
    (logs / "broken.gz").write_bytes(b"\x1f\x8b" + b"\0" * 50)
    (logs / "na\x1b[2Jme.txt").write_text("hello", encoding="utf-8")
    (logs / ".hidden").touch()
    manifest = ingest(logs, out=tmp_path / "out").manifest
    assert manifest["counts"]["decisions"] == 1
    errors = {item["name"]: item["error"] for item in manifest["refused"]}
    assert sorted(errors) == [".hidden", "broken.gz", "empty.jsonl", "na\x1b[2Jme.txt", "noise.jsonl"]
    assert "binary data" in errors["noise.jsonl"]
    assert "the file is empty" in errors["empty.jsonl"]
    assert "compressed data cannot be read" in errors["broken.gz"]
    assert "\x1b" not in errors["na\x1b[2Jme.txt"]


def test_an_unreadable_file_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a traceback for a file without read permission (which the super-user would not notice)."""
    logs = some_logs(tmp_path / "logs")
    whole = Path.open

    def denied(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "c.jsonl":
            raise PermissionError(13, "Permission denied")
        return whole(path, *args, **options)

    monkeypatch.setattr(Path, "open", denied)
    refused = read(logs, tmp_path / "out").manifest["refused"]
    assert [item["name"] for item in refused] == ["c.jsonl"]
    assert "Permission denied" in refused[0]["error"]


def test_no_readable_file_at_all_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    """Kills an empty store that looks like a finished run, and the loss of an earlier one."""
    write_log(tmp_path / "logs" / "b.txt", ["hello"])
    write_log(tmp_path / "logs" / "a.txt", ["hello"])
    with pytest.raises(IngestError, match=r"a\.txt: no file could be read; .*not a known format") as caught:
        ingest(tmp_path / "logs", out=tmp_path / "out")
    assert "2 refused in all" in str(caught.value)
    (tmp_path / "none").mkdir()
    with pytest.raises(IngestError, match="no files"):
        ingest(tmp_path / "none", out=tmp_path / "out")
    assert not (tmp_path / "out/store/manifest.json").exists()


def test_a_format_can_be_forced_and_a_mapping_needs_its_file(tmp_path: Path) -> None:
    """Kills --format that only filters, and a mapping format without mapping."""
    log = write_log(
        tmp_path / "a.csv", ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:17:03,10,2"]
    )
    assert ingest(log, out=tmp_path / "a", format="azure_llm").manifest["counts"]["decisions"] == 1
    with pytest.raises(ConfigError, match="Did you mean 'mooncake'"):
        ingest(log, out=tmp_path / "b", format="moncake")
    with pytest.raises(ConfigError, match="--mapping"):
        ingest(log, out=tmp_path / "c", format="mapping")


def test_the_store_has_the_schema_to_the_letter(tmp_path: Path) -> None:
    """Kills a type that DuckDB changed on the way, a lost stamp, and open permissions."""
    store = read(some_logs(tmp_path / "logs"), tmp_path / "out")
    for table in ("decisions", "outcomes"):
        features = {"x_kind": arrow_schema("decisions").field("action").type} if table == "decisions" else {}
        for path in store.files(table):
            found, expected = pq.read_schema(path), arrow_schema(table, features)
            assert found.names == expected.names
            assert [str(t).replace("element", "item") for t in found.types] == list(map(str, expected.types))
            assert [field.nullable for field in found] == [field.nullable for field in expected]
            assert (found.metadata or {}).items() >= (expected.metadata or {}).items()
            assert path.stat().st_mode & 0o077 == 0
    assert store.path.joinpath(".staging").stat().st_mode & 0o077 == 0


def test_progress_counts_bytes_up_to_all_of_them(tmp_path: Path) -> None:
    """Kills a progress bar that ends early or runs backwards."""
    heard: list[tuple[int, int, str]] = []
    read(some_logs(tmp_path / "logs"), tmp_path / "out", progress=lambda *step: heard.append(step))
    done = [step[0] for step in heard]
    assert done == sorted(done)
    assert heard[-1][0] == heard[-1][1] > 0


MEASURE = """
import resource, sys
from pathlib import Path
from shadowprice.ingest import staging
from shadowprice.ingest.readers.mapping import load_mapping
from shadowprice.ingest.seam import LogFile
from shadowprice.schemas.config import Config
reader = load_mapping(sys.argv[2])
def run(path, name):
    folder = Path(sys.argv[3]) / name
    log = LogFile(path, "log", "")
    staging.stage(log, reader, Config(), folder, on_batch=lambda n: None, on_end=lambda: None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
staging.BATCH_ROWS = 500
print(run(Path(sys.argv[1]) / "small", "s"), run(Path(sys.argv[1]) / "large", "l"))
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Kills collecting rows of a whole file: ten times the rows may not take a tenth more memory."""
    for name, rows in (("small", 1_500), ("large", 15_000)):
        write_log(tmp_path / name, (record(n, resolved=1, kind=f"k{n}") for n in range(rows)))
    run = [sys.executable, "-c", MEASURE, str(tmp_path), str(write_mapping(tmp_path)), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large < 1.1 * small
