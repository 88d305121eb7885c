"""Records of JSON and CSV logs: bad ones are told apart from good ones, in bounded memory."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from log_forms import zstd
from reading import log_of
from shadowprice.errors import IngestError
from shadowprice.ingest import lines, opening
from shadowprice.ingest.lines import csv_records, json_records, printable, read_head
from shadowprice.ingest.opening import HEAD_BYTES
from shadowprice.ingest.seam import Rejected


def records(body: bytes, folder: Path) -> list[Any]:
    return list(json_records(log_of(body, folder)))


def reason_of(body: bytes, folder: Path) -> str:
    found = records(body + b'\n{"next": 1}', folder)
    assert isinstance(found[0], Rejected)
    assert found[0].line == 1
    assert found[1] == (2, {"next": 1})
    return found[0].reason


def test_a_cut_off_line_is_rejected_and_the_next_one_read(tmp_path: Path) -> None:
    """Kills stopping at the first bad line, and a reason that does not say that the line is cut."""
    assert "cut off" in reason_of(b'{"a": 1, "b": "tex', tmp_path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1}x', "not JSON: Extra data"),
        (b"12", "a JSON int, expected an object"),
        (b'"text"', "a JSON str, expected an object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested deeper than 100 levels"),
        (b"{" * 200_000, "not JSON"),
        (b'{"a": ' + b"[" * 200_000, "nested deeper"),
    ],
)
def test_a_line_that_is_no_object_is_rejected_with_its_reason(
    body: bytes, words: str, tmp_path: Path
) -> None:
    """Kills accepting NaN, scalars, broken bytes or nesting that would exhaust a reader's stack."""
    assert words in reason_of(body, tmp_path)


def test_an_object_of_the_deepest_nesting_allowed_is_read(tmp_path: Path) -> None:
    """Kills an off-by-one in the nesting cap."""
    body = b'{"a":' * 100 + b"1" + b"}" * 100
    assert not isinstance(records(body, tmp_path)[0], Rejected)


def test_blank_lines_are_no_records_and_keep_the_count_of_lines(tmp_path: Path) -> None:
    """Kills numbering records instead of lines."""
    assert records(b'\n{"a": 1}\n\n  \n{"a": 2}', tmp_path) == [(2, {"a": 1}), (5, {"a": 2})]


def test_a_byte_order_mark_is_not_part_of_the_first_record(tmp_path: Path) -> None:
    """Kills rejecting the first line of logs written on Windows."""
    assert records(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}', tmp_path) == [(1, {"a": 1}), (2, {"a": 2})]


def test_one_object_over_several_lines_is_one_record(tmp_path: Path) -> None:
    """Kills reading pretty-printed JSON as JSON Lines."""
    whole = {"a": [{"b": 1}, {"b": 2}], "c": "x" * 100_000}
    assert records(json.dumps(whole, indent=2).encode(), tmp_path) == [(1, whole)]


@pytest.mark.parametrize("rest", [b'{"b": 2}', b'{"b": 2}\n{"c": 3}'])
def test_lines_after_a_damaged_first_line_are_still_lines(rest: bytes, tmp_path: Path) -> None:
    """Kills taking a file whose first line is cut for one pretty-printed object."""
    found = records(b'{"a": [\n' + rest, tmp_path)
    assert isinstance(found[0], Rejected)
    assert found[1] == (2, {"b": 2})


def test_an_object_over_several_lines_that_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    """Kills a UnicodeDecodeError out of the look at the head: half a surrogate pair is no UTF-8."""
    found = records(b'{\n"a": "\xed\xa0\x80",\n"b": 1\n}\n', tmp_path)
    assert found
    assert all(isinstance(entry, Rejected) for entry in found)


def test_elements_of_an_array_are_records_with_their_number(tmp_path: Path) -> None:
    """Kills loading the array as one record, and Decimals in place of floats."""
    found = records(b'[{"a": 1.5},\n 3, {"a": 2}]', tmp_path)
    assert found[0] == (1, {"a": 1.5})
    assert isinstance(found[0][1]["a"], float)
    assert isinstance(found[1], Rejected)
    assert found[2] == (3, {"a": 2})


def test_an_array_that_is_cut_off_keeps_its_whole_elements_and_says_where_it_ends(tmp_path: Path) -> None:
    """Kills losing the good elements of a truncated export, or ending it in silence."""
    found = records(b'[{"a": 1}, {"a": 2}, {"a"', tmp_path)
    assert found[:2] == [(1, {"a": 1}), (2, {"a": 2})]
    assert isinstance(found[2], Rejected)
    assert "nothing after this was read" in found[2].reason


@pytest.mark.parametrize("pack", [gzip.compress, lambda body: pa.compress(body, codec="zstd", asbytes=True)])
def test_gzip_and_zstd_are_told_by_their_first_bytes(pack: Any, tmp_path: Path) -> None:
    """Kills choosing the decompressor by file name."""
    log = log_of(pack(b'{"a": 1}\n{"a": 2}\n'), tmp_path)
    assert list(json_records(log)) == [(1, {"a": 1}), (2, {"a": 2})]
    assert read_head(log.path).startswith(b'{"a": 1}')


def test_a_cut_off_gzip_file_keeps_what_came_before_the_cut(tmp_path: Path) -> None:
    """Kills dropping a whole log because its writer was killed."""
    body = b"".join(b'{"n": %d}\n' % (n * 7919 % 100_003) for n in range(60_000))
    found = records(gzip.compress(body)[:-100], tmp_path)
    assert len(found) > 1000
    assert isinstance(found[-1], Rejected)
    assert "cut off" in found[-1].reason
    assert sum(isinstance(entry, Rejected) for entry in found) == 1


def test_a_file_that_is_no_gzip_after_its_magic_bytes_is_refused(tmp_path: Path) -> None:
    """Kills a traceback for a damaged file."""
    with pytest.raises(IngestError, match="compressed data cannot be read"):
        records(b"\x1f\x8b" + b"\0" * 100, tmp_path)


def test_a_cut_off_zstd_file_costs_no_memory_once_it_is_told(tmp_path: Path) -> None:
    """Kills reading it by pyarrow's read(), which never frees the bytes that it was to return."""
    packed = zstd(b"".join(b'{"n": %d}\n' % (n * 7919 % 100_003) for n in range(60_000)))[:-100]
    tracemalloc.start()
    try:
        assert isinstance(records(packed, tmp_path)[-1], Rejected)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            assert isinstance(records(packed, tmp_path)[-1], Rejected)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 10 * HEAD_BYTES


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills reading on while a small file inflates without end."""
    monkeypatch.setattr(opening, "FREE_INFLATION_BYTES", 1_000_000)
    with pytest.raises(IngestError, match="inflates to more than"):
        records(gzip.compress(b'{"a": 1}\n' * 500_000), tmp_path)


def test_a_line_that_is_too_long_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    """Kills holding a 50 MB line in memory, and losing the lines around it."""
    path = tmp_path / "long"
    with path.open("wb") as target:
        target.write(b'{"a": 1}\n{"b": "')
        for _ in range(50):
            target.write(b"x" * 1_000_000)
        target.write(b'"}\n{"c": 3}\n')
    script = (
        "import resource, sys; from pathlib import Path;"
        "from shadowprice.ingest.lines import json_records; from shadowprice.ingest.seam import LogFile;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print([getattr(r, 'reason', r) for r in json_records(LogFile(Path(sys.argv[1]), 'log', ''))]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    told, grown_kib = done.stdout.splitlines()
    assert told == "[(1, {'a': 1}), 'line of 50000010 bytes, expected at most 16777216', (3, {'c': 3})]"
    assert int(grown_kib) < 45_000, "KiB; one line of 16 MiB, twice for its slices"


def test_a_csv_cell_may_hold_newlines_and_keeps_the_line_it_begins_on(tmp_path: Path) -> None:
    """Kills splitting CSV at newlines, and counting records instead of lines."""
    log = log_of('q,n\n"a\nb",1\nc,2\n', tmp_path)
    assert list(csv_records(log)) == [(2, {"q": "a\nb", "n": "1"}), (4, {"q": "c", "n": "2"})]


def test_a_csv_row_with_another_number_of_cells_is_rejected(tmp_path: Path) -> None:
    """Kills filling missing cells or dropping extra ones."""
    found = list(csv_records(log_of("a,b\n1\n1,2,3\n4,5\n", tmp_path)))
    assert [getattr(entry, "reason", entry) for entry in found] == [
        "1 cells, expected 2 as in the header",
        "3 cells, expected 2 as in the header",
        (4, {"a": "4", "b": "5"}),
    ]


def test_a_csv_row_that_is_not_utf8_or_too_long_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a decoding error that ends the file, and unbounded lines."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1000)
    body = b"a,b\n\xff,2\n" + b"x" * 5000 + b",1\n3,4\n"
    found = list(csv_records(log_of(body, tmp_path)))
    assert [getattr(entry, "reason", entry) for entry in found] == [
        "not UTF-8",
        "line of 5003 bytes, expected at most 1000",
        (4, {"a": "3", "b": "4"}),
    ]


def test_a_csv_cell_beyond_its_cap_is_rejected_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills an unclosed quote that swallows the rest of the file into one cell."""
    before = csv.field_size_limit()
    monkeypatch.setattr(lines, "MAX_CELL_CHARS", 100)
    try:
        found = list(csv_records(log_of('a,b\n"' + "y" * 200 + '",1\n3,4\n', tmp_path)))
    finally:
        csv.field_size_limit(before)  # the limit is the whole process's, other tests read CSV too
    assert "not CSV" in found[0].reason  # type: ignore[union-attr]
    assert found[-1] == (3, {"a": "3", "b": "4"})


def test_a_csv_column_whose_name_is_not_utf8_costs_no_other_column(tmp_path: Path) -> None:
    """Kills a name that no table can have, half of a surrogate pair: a spreadsheet wrote it as Latin-1."""
    found = list(csv_records(log_of(b"a,caf\xe9\n1,2\n", tmp_path)))
    assert found == [(2, {"a": "1", "caf\\udce9": "2"})]


@pytest.mark.parametrize(("header", "words"), [("", "no header"), ("a,b,a\n1,2,3", "'a' appears twice")])
def test_a_csv_header_that_names_no_columns_is_refused(header: str, words: str, tmp_path: Path) -> None:
    """Kills one column silently hiding another of the same name."""
    with pytest.raises(IngestError, match=words):
        list(csv_records(log_of(header, tmp_path)))


def test_printable_text_cannot_steer_a_terminal() -> None:
    """Kills printing ANSI codes, bidirectional overrides or raw bytes from file names."""
    hostile = "a\x1b[31m\u202eb\nc\udc80<script>"
    assert printable(hostile) == "a\\x1b[31m\\u202eb\\nc\\udc80<script>"
