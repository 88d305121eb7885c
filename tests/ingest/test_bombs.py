"""A line of any length, or the few bytes that inflate to one: one clear answer, in bounded memory."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest
from shadowprice.errors import IngestError
from shadowprice.ingest import lines
from shadowprice.ingest.lines import any_records, csv_records
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import LogFile, Rejected

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
HELD_MIB: Final = 56
"""A line of 16 MiB twice, for its slices, and what reading a large file loads besides."""
MAPPING: Final = """
format = "%s"
layer = "router"
decision_point = "model"

[columns]
decision_id = "id"
action = "model"
"""
MEASURED: Final = """
import resource, sys
from shadowprice.cli import run
code = run(sys.argv[1:])
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(code, max(peaks) // 1024, file=sys.stderr)
"""

Log = Callable[[Path, int], None]


def _around(begin: bytes, end: bytes, *, fill: bytes = b"") -> Log:
    """A log in which `begin` and `end` stand around any number of bytes; without `fill` they are a hole."""

    def write(path: Path, size: int) -> None:
        with path.open("wb") as target:
            target.write(begin)
            for _ in range(size // MIB if fill else 0):
                target.write(fill * (MIB // len(fill)))
            target.seek(len(begin) + size)
            target.write(end)

    return write


def _packed(write: Log) -> Log:
    def pack(path: Path, size: int) -> None:
        plain = path.with_suffix(".plain")
        write(plain, size)
        with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=1) as target:
            while chunk := source.read(MIB):
                target.write(chunk)
        plain.unlink()

    return pack


LINE: Final = _around(b'{"id": "1", "model": "a"}\n{"id": "', b'"}\n{"id": "3", "model": "a"}\n')
ROW: Final = _around(b"id,model\n1,a\n2,", b"\n3,a\n")
CELL: Final = _around(b'id,model\n1,a\n2,"', b'y"\n3,a\n', fill=b"y" * 255 + b"\n")


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Caps of 1 MiB for a line and 64 KiB for a cell."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", MIB)
    monkeypatch.setattr(lines, "MAX_CELL_CHARS", 64 * 1024)
    before = csv.field_size_limit()
    yield
    csv.field_size_limit(before)  # the limit is the whole process's, other tests read CSV too


@pytest.mark.usefixtures("small_caps")
@pytest.mark.parametrize("pack", [_packed, lambda write: write], ids=["gzip", "plain"])
@pytest.mark.parametrize(
    ("write", "line", "reason"),
    [
        (LINE, 2, "line of 16777227 bytes, expected at most 1048576"),
        (ROW, 3, "line of 16777219 bytes, expected at most 1048576"),
        (CELL, 3, "not CSV: field larger than field limit (65536); not read up to line 65539"),
    ],
    ids=["jsonl", "csv line", "csv cell"],
)
def test_a_record_beyond_its_cap_costs_itself_alone(
    write: Log, line: int, reason: str, pack: Callable[[Log], Log], tmp_path: Path
) -> None:
    """Kills holding it in memory, losing its neighbours, and rejecting each of its pieces."""
    pack(write)(tmp_path / "log", 16 * MIB)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        first, rejected, last = any_records(LogFile(tmp_path / "log", "log", ""))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rejected == Rejected(line, reason)
    assert [record[1]["id"] for record in (first, last) if not isinstance(record, Rejected)] == ["1", "3"]
    assert peak - before < 6 * MIB, "the cap twice, for its slices, and the buffers of the file"


@pytest.mark.usefixtures("small_caps")
def test_a_row_too_large_at_the_end_of_the_file_is_told(tmp_path: Path) -> None:
    """Kills losing an unclosed quote with all that it swallowed."""
    _around(b'id,model\n1,a\n2,"', b"", fill=b"y" * 255 + b"\n")(tmp_path / "log", MIB)
    _, rejected = csv_records(LogFile(tmp_path / "log", "log", ""))
    assert rejected == Rejected(3, "not CSV: field larger than field limit (65536); not read up to line 4098")


@pytest.mark.usefixtures("small_caps")
def test_a_header_beyond_its_cap_is_told_by_its_length(tmp_path: Path) -> None:
    """Kills calling it no header."""
    _around(b"id,", b"\n")(tmp_path / "log", 2 * MIB)
    with pytest.raises(IngestError, match="log:1: line of 2097156 bytes, expected at most 1048576"):
        list(csv_records(LogFile(tmp_path / "log", "log", "")))


def test_a_first_line_that_no_head_holds_is_told_by_its_length() -> None:
    """Kills an answer that is silent about why no format can be told."""
    with pytest.raises(IngestError, match="a first line of more than 65536 bytes, not a known format"):
        find_reader(b'{"id": "' + b"x" * 65528, name="log")


def _answer(log: Path, form: str, *, piped: bool) -> tuple[int, list[str], int]:
    """How an ingest of `log` ended, what it said, and its peak of memory in MiB."""
    mapping = log.parent / "log.mapping.toml"
    mapping.write_text(MAPPING % form)
    options = ["--mapping", str(mapping), "--out", str(log.parent / "run"), "--quiet"]
    command = [sys.executable, "-c", MEASURED, "ingest", "-" if piped else str(log), *options]
    with log.open("rb") as stdin:
        pipes: dict[str, Any] = {"stdin": stdin} if piped else {}
        done = subprocess.run(command, capture_output=True, text=True, check=False, **pipes)
    *said, last = done.stderr.splitlines()
    code, peak_mib = map(int, last.split())
    return code, said, peak_mib


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "form", "piped"),
    [
        (LINE, "jsonl", False),
        (ROW, "csv", True),
        (_packed(LINE), "jsonl", True),
        (_packed(ROW), "csv", False),
    ],
    ids=["jsonl", "csv piped", "gzip of jsonl piped", "gzip of csv"],
)
def test_a_line_of_a_gigabyte_takes_no_more_memory_than_a_short_one(
    write: Log, form: str, piped: bool, tmp_path: Path
) -> None:
    """Kills memory that grows with the line, and reading a bomb to its end."""
    write(tmp_path / "log", 1)
    _, _, usual_mib = _answer(tmp_path / "log", form, piped=piped)
    write(tmp_path / "log", GIB)
    code, said, peak_mib = _answer(tmp_path / "log", form, piped=piped)
    assert peak_mib < usual_mib + HELD_MIB
    if (tmp_path / "log").stat().st_size > GIB:
        kept = (tmp_path / "run" / "store" / "quarantine.jsonl").read_text().splitlines()
        assert (code, said, len(kept)) == (0, [], 1)
        assert "expected at most 16777216" in kept[0]
    else:
        assert (code, len(said)) == (2, 1)
        assert "compressed data inflates to more than" in said[0]
