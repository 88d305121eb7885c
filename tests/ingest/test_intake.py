"""Logs that move while they are read, disks that fill up and runs that meet: no row lost, none doubled."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mapped import record, tree, write_log, write_mapping
from shadowprice.errors import ConfigError, ExportError, IngestError
from shadowprice.ingest import staging
from shadowprice.ingest.files import find_inputs
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.snapshots import snapshot
from shadowprice.schemas.store import Store, open_store


def during_reading(act: Callable[[], object], *, at_batch: int = 2) -> Callable[[int, int, str], None]:
    """Progress that calls `act` once, when some batches of records are read."""
    calls = iter([act])
    heard: set[str] = set()

    def progress(done: int, total: int, label: str) -> None:
        if "records" in label:
            heard.add(label)
        if len(heard) == at_batch:
            for one in calls:
                one()

    return progress


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that is read in several batches."""
    monkeypatch.setattr(staging, "BATCH_ROWS", 10)
    return write_log(tmp_path / "logs" / "a.jsonl", [record(n) for n in range(50)])


def read(log: Path, **options: Any) -> Store:
    folder = log.parent.parent
    return ingest(log.parent, out=folder / "out", mapping=write_mapping(folder), **options)


def append(log: Path, *numbers: int) -> None:
    with log.open("a", encoding="utf-8") as target:
        for number in numbers:
            target.write(json.dumps(record(number)) + "\n")


def test_what_is_appended_while_a_log_is_read_comes_with_the_next_ingest(log: Path) -> None:
    """Kills rows that the digest does not cover, which the next run would count twice or never."""
    store = read(log, progress=during_reading(lambda: append(log, 50, 51)))
    assert store.manifest["counts"]["decisions"] == 50
    assert store.manifest["refused"] == []
    again = read(log)
    assert again.manifest["counts"]["decisions"] == 52
    assert again.manifest["counts"]["duplicates"] == 0


def test_a_log_written_over_while_it_is_read_is_refused_whole(log: Path) -> None:
    """Kills a store that holds the head of one file and the tail of another."""
    other = write_log(log.parent / "b.jsonl", [record(n) for n in range(100, 105)])

    def rewrite() -> None:
        write_log(log, [record(n, took=9) for n in range(50)])

    store = read(log, progress=during_reading(rewrite))
    assert [item["name"] for item in store.manifest["refused"]] == ["a.jsonl"]
    assert "written over or replaced while it was read" in store.manifest["refused"][0]["error"]
    assert store.manifest["counts"]["decisions"] == 5
    assert read(log).manifest["counts"]["decisions"] == 55
    assert other.is_file()


@pytest.mark.parametrize("rotated", [True, False])
def test_a_log_that_disappears_or_is_rotated_while_it_is_read_is_refused(log: Path, rotated: bool) -> None:
    """Kills rows whose file can no longer be shown; the rotated file is there for the next run."""
    write_log(log.parent / "b.jsonl", [record(n) for n in range(100, 105)])

    def go() -> None:
        if rotated:
            log.rename(log.with_name("a.1.jsonl"))
            write_log(log, [record(200)])
        else:
            log.unlink()

    store = read(log, progress=during_reading(go))
    assert [item["name"] for item in store.manifest["refused"]] == ["a.jsonl"]
    assert store.manifest["counts"]["decisions"] == 5
    assert read(log).manifest["counts"]["decisions"] == (56 if rotated else 5)


def test_a_log_that_is_gone_before_it_is_read_is_refused(log: Path) -> None:
    """Kills a traceback between the listing and the reading."""
    write_log(log.parent / "b.jsonl", [record(1)])
    store = read(log, progress=lambda done, total, label: log.unlink(missing_ok=True))
    assert "No such file" in store.manifest["refused"][0]["error"]


def test_the_check_notices_a_rewrite_of_equal_length_within_the_same_inode(tmp_path: Path) -> None:
    """Kills a comparison of sizes only; a touched but equal file is no change."""
    path = tmp_path / "a"
    path.write_text("one", encoding="utf-8")
    _, unchanged = snapshot("a", path)
    os.utime(path, ns=(1, 1))
    unchanged()
    path.write_text("two", encoding="utf-8")
    with pytest.raises(IngestError, match="written over"):
        unchanged()


@pytest.mark.parametrize("place", ["decisions-0.parquet", "done.json", "part-", "manifest.json"])
def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(
    place: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a full disk that is told as an unreadable log, whose rows would be missing from the store."""
    write_log(log.parent / "b.jsonl", [record(n) for n in range(100, 105)])
    import pyarrow.parquet as pq

    whole_write, whole_replace = pq.write_table, Path.replace

    def full(name: str) -> None:
        if place in name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_table(table: Any, where: Any, **options: Any) -> None:
        full(str(where))
        whole_write(table, where, **options)

    def replace(path: Path, target: Any) -> Path:
        full(Path(target).name)
        return whole_replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(staging.pq, "write_table", write_table)
        patched.setattr(Path, "replace", replace)
        with pytest.raises(ExportError, match="cannot be written: No space left on device"):
            read(log)
    assert not (log.parent.parent / "out/store/manifest.json").exists()
    store = read(log)
    assert store.manifest["counts"]["decisions"] == 55
    assert store.manifest["refused"] == []


HOLD = """
import sys, time
from shadowprice.ingest.pipeline import ingest
logs, out, mapping = sys.argv[1:]
def progress(*step):
    print("reading", flush=True)
    sys.stdin.readline()
ingest(logs, out=out, mapping=mapping, progress=progress)
"""


def test_a_second_run_on_one_store_is_refused_while_the_first_one_works(log: Path) -> None:
    """Kills two runs that sweep each other's parts away."""
    folder = log.parent.parent
    command = [sys.executable, "-c", HOLD, str(log.parent), str(folder / "out"), str(write_mapping(folder))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "reading\n"
        with pytest.raises(ExportError, match="another run is writing here"):
            read(log)
        first.communicate("\n" * 1000, timeout=60)
        assert first.returncode == 0
    before = open_store(folder / "out").manifest
    assert before["counts"]["decisions"] == 50
    assert read(log).manifest == before


def test_a_run_inside_the_folder_of_logs_is_no_log(log: Path) -> None:
    """Kills a second run that reads the store, report and lock of the first as logs."""
    mapping = write_mapping(log.parent.parent)
    for out in (log.parent / "run", log.parent):
        first = ingest(log.parent, out=out, mapping=mapping).manifest
        assert first["refused"] == []
        assert ingest(log.parent, out=out, mapping=mapping).manifest == first
    (log.parent / "run" / "report.json").write_text("{}", encoding="utf-8")
    assert (
        ingest(log.parent, out=log.parent.parent / "beside", mapping=mapping).manifest["sources"]
        == (first["sources"])
    )


def test_a_pattern_means_what_matches_it_and_names_count_from_its_beginning(tmp_path: Path) -> None:
    """Kills a pattern that the shell did not expand; hidden files and links out stay recorded."""
    for name in ("2026-11/a.jsonl", "2026-11/x/b.jsonl", "2026-12/a.jsonl", "other/a.jsonl"):
        write_log(tmp_path / "logs" / name, [record(1)])
    (tmp_path / "secret").write_text("{}", encoding="utf-8")
    (tmp_path / "logs" / "2026-11" / "out.jsonl").symlink_to(tmp_path / "secret")
    (tmp_path / "logs" / "other" / "out.jsonl").symlink_to(tmp_path / "secret")
    found = find_inputs([tmp_path / "logs" / "2026-*" / "**" / "*.jsonl"])
    assert [name for name, _ in found.files] == ["2026-11/a.jsonl", "2026-11/x/b.jsonl", "2026-12/a.jsonl"]
    assert [item.name for item in found.refused] == ["2026-11/out.jsonl"]
    with pytest.raises(IngestError, match="no file matches"):
        find_inputs([tmp_path / "logs" / "2027-*"])


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    """Kills reading other files than the one that was named."""
    for name in ("a[1].jsonl", "a1.jsonl"):
        write_log(tmp_path / name, [record(1)])
    assert [name for name, _ in find_inputs([tmp_path / "a[1].jsonl"]).files] == ["a[1].jsonl"]


def test_a_run_that_cannot_write_its_folder_says_so(log: Path, tmp_path: Path) -> None:
    """Kills a traceback where the folder is a file."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises((ExportError, ConfigError, OSError)) as caught:
        ingest(log.parent, out=tmp_path / "taken", mapping=write_mapping(tmp_path))
    assert "taken" in str(caught.value)


def test_what_was_ingested_is_not_touched_by_a_run_that_adds_to_it(log: Path) -> None:
    """Kills reading, or writing, the parts of earlier logs again when a log is added."""
    read(log)
    folder = log.parent.parent / "out/store/.staging"
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    time.sleep(0.01)
    write_log(log.parent / "b.jsonl", [record(n) for n in range(100, 105)])
    assert read(log).manifest["counts"]["decisions"] == 55
    assert times.items() <= {p: p.stat().st_mtime_ns for p in folder.rglob("*.parquet")}.items()
    assert tree(folder)
