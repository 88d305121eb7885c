"""Inspect archives as files: unfinished, rewritten, damaged, hostile; bombs and names that escape."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paths import shared_data
from reading import ignored, reasons, rows, run
from shadowprice.errors import IngestError
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.readers import inspect_eval, inspect_eval_archive
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row

SPEC = {"run_id": "r1", "task_id": "t1", "task": "mail", "packages": {"inspect_ai": "0.3.190"}}
CALL = {
    "event": "model",
    "timestamp": "2026-03-01T10:00:00Z",
    "model": "openai/gpt-4o",
    "output": {"usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}},
}


def _sample(number: int = 1, **told: Any) -> bytes:
    return json.dumps({"id": number, "epoch": 1, "events": [CALL], "scores": {}, **told}).encode()


HEADER = ("header.json", json.dumps({"eval": SPEC}).encode())
START = ("_journal/start.json", json.dumps({"version": 2, "eval": SPEC, "plan": {}}).encode())


def _zip(*entries: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries:
            archive.writestr(zipfile.ZipInfo(name), body, compress_type=zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def test_an_archive_is_recognised_by_its_entries_and_another_zip_is_not() -> None:
    """Kills claiming every zip, and an archive that only its name tells."""
    body = _zip(START, ("samples/1_epoch_1.json", _sample()))
    assert find_reader(body, name="run.bin").NAME == "inspect_eval"
    assert not inspect_eval.sniff(_zip(("word/document.xml", b"<x/>"), ("a/header.json.txt", b"")))
    assert not inspect_eval.sniff(b"PK\x03\x04" + b"\xff" * 40)
    assert not inspect_eval.sniff(b"PK\x03\x04")


def test_an_unfinished_run_is_read_from_its_journal(tmp_path: Path) -> None:
    """Kills losing every sample of a run that was killed before its header was written."""
    items = run(inspect_eval, _zip(START, ("samples/1_epoch_1.json", _sample())), tmp_path)
    assert [row["tok_input_uncached"] for row in rows(items)] == [5]
    assert ignored(items) == ["index of the archive"]


def test_rows_lead_to_the_entry_that_they_came_from(tmp_path: Path) -> None:
    """Kills a provenance that names no record."""
    entries = [START, *((f"samples/{n}_epoch_1.json", _sample(n)) for n in (1, 2)), HEADER]
    items = run(inspect_eval, _zip(*entries), tmp_path)
    assert [item.line for item in items if isinstance(item, Row) and item.table == "decisions"] == [2, 3]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_entry_that_was_written_again_counts_once(tmp_path: Path) -> None:
    """Kills a sample counted twice, and the older of two versions."""
    name = "samples/1_epoch_1.json"
    items = run(inspect_eval, _zip(HEADER, (name, _sample()), (name, _sample(events=[CALL, CALL]))), tmp_path)
    assert len(rows(items)) == 2
    assert "entry that a later one replaces" in ignored(items)


@pytest.mark.parametrize(
    "name", ["../x.json", "samples/../../x.json", "/etc/x.json", "C:\\x.json", "~/x.json"]
)
def test_names_that_leave_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    """Kills following a path found in a log; the other entries are read."""
    items = run(
        inspect_eval, _zip(HEADER, (name, _sample()), ("samples/2_epoch_1.json", _sample(2))), tmp_path
    )
    assert reasons(items) == ["an entry whose name means a place outside of the archive"]
    assert len(rows(items)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_dots_inside_of_a_sample_name_are_no_escape(tmp_path: Path) -> None:
    """Kills refusing the samples of a data set whose ids hold dots."""
    assert len(rows(run(inspect_eval, _zip(HEADER, ("samples/a..b_epoch_1.json", _sample())), tmp_path))) == 1


def test_an_entry_that_inflates_beyond_what_is_held_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Kills trusting the size that the archive claims, and losing the other samples over a large one.

    All entries together may have 3.5 MB: inflating the large one to its end would cost the archive.
    """
    monkeypatch.setattr(inspect_eval_archive, "MAX_OBJECT_BYTES", 2_000_000)
    monkeypatch.setattr(inspect_eval_archive, "FREE_BYTES", 3_500_000)
    bomb = b" " * 5_000_000
    body = _zip(HEADER, ("samples/1_epoch_1.json", bomb), ("samples/2_epoch_1.json", _sample(2)))
    items = run(inspect_eval, body.replace(struct.pack("<I", len(bomb)), struct.pack("<I", 10)), tmp_path)
    assert len(reasons(items)) == 1
    assert len(rows(items)) == 1
    items = run(inspect_eval, body, tmp_path)
    assert reasons(items) == ["an entry of more than 2000000 bytes"]


def test_an_archive_that_inflates_beyond_any_log_is_refused_as_a_whole(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Kills a bomb of many entries, each of them within bounds."""
    monkeypatch.setattr(inspect_eval_archive, "FREE_BYTES", 1_000_000)
    body = _zip(HEADER, *((f"samples/{n}_epoch_1.json", b" " * 2_000_000) for n in range(9)))
    with pytest.raises(IngestError, match="inflates to more than"):
        run(inspect_eval, body, tmp_path)


def test_a_list_of_entries_that_is_too_long_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Kills memory for a list of entries that claims gigabytes."""
    monkeypatch.setattr(inspect_eval_archive, "MAX_DIRECTORY_BYTES", 70_000)
    body = _zip(HEADER, *((f"samples/{n}_epoch_1.json", b"") for n in range(2000)))
    with pytest.raises(IngestError, match="a list of entries of"):
        run(inspect_eval, body, tmp_path)


def test_damaged_and_encrypted_entries_are_quarantined_one_by_one(tmp_path: Path) -> None:
    """Kills losing an archive over one of its samples."""
    good = ("samples/9_epoch_1.json", _sample(9))
    cases = {
        b"{broken": "not JSON: Expecting property name enclosed in double quotes at character 2",
        b"[1]": "a JSON list, expected an object",
        b"[" * 100_000: "nested too deep",
        b"\xff\xfe": None,
    }
    for body, reason in cases.items():
        items = run(inspect_eval, _zip(HEADER, ("samples/1_epoch_1.json", body), good), tmp_path)
        assert len(rows(items)) == 1
        assert len(reasons(items)) == 1
        assert reason is None or reasons(items) == [reason]
    whole = _zip(HEADER, ("samples/1_epoch_1.json", _sample()), good)
    flipped = bytearray(whole)
    flipped[whole.index(b"samples/1") + len("samples/1_epoch_1.json") + 12] ^= 0xFF
    items = run(inspect_eval, bytes(flipped), tmp_path)
    assert len(rows(items)) == 1
    assert reasons(items)[0].startswith("a damaged entry")
    locked = bytearray(whole)
    locked[whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 4) + 8] |= 1
    assert reasons(run(inspect_eval, bytes(locked), tmp_path)) == ["an encrypted entry"]


@pytest.mark.parametrize(
    "body", [_zip(HEADER)[:-30], b"PK\x03\x04" + b"\0" * 200, _zip(("samples/1.json", b"{}"))]
)
def test_an_archive_without_its_list_or_its_header_is_one_clear_error(body: bytes, tmp_path: Path) -> None:
    """Kills a traceback of zipfile, and tokens of an unknown convention."""
    with pytest.raises(IngestError, match=r"log: the (archive|header) cannot be read"):
        run(inspect_eval, body, tmp_path)


def test_scores_that_are_no_number_do_not_cost_their_sample(tmp_path: Path) -> None:
    """Kills rejecting a sample whose scorer gave up, which Inspect spells NaN; and a quality of NaN."""
    sample = _sample().replace(b'"scores": {}', b'"scores": {"a": {"value": NaN}, "b": {"value": 1}}')
    items = run(inspect_eval, _zip(HEADER, ("samples/1_epoch_1.json", sample)), tmp_path)
    assert [outcome["name"] for outcome in rows(items, "outcomes")] == ["b"]
    assert len(rows(items)) == 1


def _zstd_zip(body: bytes) -> bytes:
    """An archive whose sample is compressed with Zstandard (method 93), as newer writers do."""
    packed = pa.compress(body, codec="zstd", asbytes=True)
    whole = bytearray(_stored(HEADER, ("samples/1_epoch_1.json", packed)))
    for mark, method, check, size in ((b"PK\x03\x04", 8, 14, 22), (b"PK\x01\x02", 10, 16, 24)):
        at = whole.rindex(mark)
        whole[at + method : at + method + 2] = struct.pack("<H", 93)
        whole[at + check : at + check + 4] = struct.pack("<I", zlib.crc32(body))
        whole[at + size : at + size + 4] = struct.pack("<I", len(body))
    return bytes(whole)


def _stored(*entries: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, body in entries:
            archive.writestr(zipfile.ZipInfo(name), body)
    return packed.getvalue()


def test_samples_compressed_with_zstandard_are_read(tmp_path: Path, monkeypatch: Any) -> None:
    """Kills new logs read as damaged, a wrong checksum unseen, and a bomb by the other compression."""
    body = _zstd_zip(_sample())
    assert [row["tok_output"] for row in rows(run(inspect_eval, body, tmp_path))] == [2]
    broken = body.replace(struct.pack("<I", zlib.crc32(_sample())), b"\0\0\0\0")
    assert reasons(run(inspect_eval, broken, tmp_path)) == ["a damaged entry: wrong checksum"]
    monkeypatch.setattr(inspect_eval_archive, "MAX_OBJECT_BYTES", 2_000_000)
    assert reasons(run(inspect_eval, _zstd_zip(b" " * 9_000_000), tmp_path)) == [
        "an entry of more than 2000000 bytes"
    ]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_an_archive_raises_anything_but_one_clear_error(
    data: st.DataObject, tmp_path: Path
) -> None:
    """Kills a crash of zipfile or of a decompressor on bytes that were flipped, cut or repeated."""
    body = bytearray(_zip(START, ("samples/1_epoch_1.json", _sample()), HEADER))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        if data.draw(st.booleans()):
            body[at] = data.draw(st.integers(0, 255))
        else:
            del body[at : at + data.draw(st.integers(1, 40))]
        if not body:
            return
    inspect_eval.sniff(bytes(body))
    items = []
    with contextlib.suppress(IngestError):
        items = run(inspect_eval, bytes(body), tmp_path)
    assert all(isinstance(item, Row | Rejected | Ignored) for item in items)


def test_the_public_archive_survives_being_cut_anywhere(tmp_path: Path) -> None:
    """Kills a traceback for a copy that was interrupted."""
    whole = (shared_data("formats") / "inspect_eval" / "log_formats.eval").read_bytes()
    for size in range(4, len(whole), 97):
        path = tmp_path / "cut.eval"
        path.write_bytes(whole[:size])
        inspect_eval.sniff(read_head(path))
        with pytest.raises(IngestError):
            run(inspect_eval, whole[:size], tmp_path)
