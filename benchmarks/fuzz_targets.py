"""What is fuzzed: each reader, the mapping reader with its mapping, drafting, recognition, and staging whole.

A target takes bytes and returns; ShadowpriceError is the answer to a bad file, anything else is a bug.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from fuzz_mutations import LOG_FOLLOWS, unpacked
from shadowprice.errors import ShadowpriceError
from shadowprice.ingest.checks import problem
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers.drafting import draft_mapping
from shadowprice.ingest.readers.mapping import MappingReader, load_mapping
from shadowprice.ingest.readers.mapping_spec import parse_mapping
from shadowprice.ingest.readers.registry import READERS, find_reader
from shadowprice.ingest.seam import Ignored, LogFile, Reader, Rejected, Row
from shadowprice.ingest.staging import Staged, stage, staged
from shadowprice.schemas.config import Config

Target = Callable[[bytes], None]
SEEDED_BY: Final = {"recognise": "every", "stage": "every", "mapping_columns": "mapping"}
"""The seeds of the targets that have none of their own; `every` are logs of all formats."""
STAGING: Final = ("stage", "mapping_columns")
"""Targets that write Parquet for each input."""
PLACES: Final = {
    "prime_rl": "step_3/train/effective/traces.jsonl",
    "prime_rl_tokens": "token_exports/step_1/rank_0.jsonl",
}


def targets(folder: Path) -> dict[str, Target]:
    """Name -> target; inputs are written to `folder`, which is best in memory."""
    own = {reader.NAME: partial(_read, reader, _place(folder, reader.NAME)) for reader in READERS}
    return own | {
        "mapping": partial(_mapping, folder / "log"),
        "mapping_columns": partial(_mapping_columns, folder),
        "mapping_file": partial(_mapping_file, folder / "own.mapping.toml"),
        "draft": partial(_draft, folder),
        "recognise": partial(_recognise, folder / "log"),
        "stage": partial(_stage, folder),
    }


def _place(folder: Path, name: str) -> Path:
    """Where a log of this reader lies: one trainer's tells its step and that it is finished."""
    place = folder / PLACES.get(name, "log")
    place.parent.mkdir(parents=True, exist_ok=True)
    (place.parent / "STABLE").touch()
    return place


def _log(path: Path, data: bytes) -> LogFile:
    body = unpacked(data)
    path.write_bytes(body)
    return LogFile(path, str(path), hashlib.sha256(body).hexdigest(), len(body))


def _read(reader: Reader, path: Path, data: bytes) -> None:
    """Everything that the reader yields, each row held against the schema as staging does."""
    try:
        for item in reader.read(_log(path, data), Config()):
            if isinstance(item, Row):
                problem(item.table, item.values)
            elif not isinstance(item, Rejected | Ignored) or item.line < 1:
                raise AssertionError(f"not an item of a file: {item!r}")
    except ShadowpriceError:
        pass


def _mapping(path: Path, data: bytes) -> None:
    text, _, log = data.partition(LOG_FOLLOWS)
    try:
        reader = MappingReader(parse_mapping(text, path))
    except ShadowpriceError:
        return
    _read(reader, path, log)


def _mapping_columns(folder: Path, data: bytes) -> None:
    """A mapping followed by column stages the bytes that it stages record by record."""
    text, _, body = data.partition(LOG_FOLLOWS)
    try:
        reader = MappingReader(parse_mapping(text, folder / "log"))
    except ShadowpriceError:
        return
    log = _log(folder / "log", body)
    by_column, by_record = (_staged_bytes(log, way, folder / "way") for way in (reader, _ByRecord(reader)))
    if by_column != by_record:
        raise AssertionError(f"by column {by_column}, by record {by_record}")


class _ByRecord:
    """The reader of a mapping that looks at no column as a whole."""

    NAME = MappingReader.NAME

    def __init__(self, reader: MappingReader) -> None:
        self.sniff, self.read = reader.sniff, reader.read


def _staged_bytes(log: LogFile, reader: Reader, target: Path) -> str | dict[str, bytes]:
    shutil.rmtree(target, ignore_errors=True)
    try:
        stage(log, reader, Config(), target, on_batch=_nothing, on_end=_nothing)
    except ShadowpriceError as error:
        return str(error)
    return {path.name: path.read_bytes() for path in target.iterdir()}


def _mapping_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with suppress(ShadowpriceError):
        load_mapping(path)


def _draft(folder: Path, data: bytes) -> None:
    """A draft must be a mapping that can be loaded."""
    log = _log(folder / "log", data)
    try:
        draft = draft_mapping(log.path)
    except ShadowpriceError:
        return
    path = folder / "own.mapping.toml"
    path.write_text(draft.text, encoding="utf-8")
    load_mapping(path)


def _recognise(path: Path, data: bytes) -> None:
    log = _log(path, data)
    with suppress(ShadowpriceError):
        find_reader(read_head(log.path, size=log.size), name=log.name)


def _stage(folder: Path, data: bytes) -> None:
    """Bytes to a staged log, read back: recognised as a log of any format, checked, priced, written."""
    log = _log(folder / "log", data)
    target = folder / "staging" / "one"
    shutil.rmtree(target, ignore_errors=True)
    try:
        reader = find_reader(read_head(log.path, size=log.size), name=log.name)
        written = stage(log, reader, Config(), target, on_batch=_nothing, on_end=_nothing)
    except ShadowpriceError:
        return
    if staged(target) != written or not _whole(written):
        raise AssertionError(f"staged as {written}, read back as {staged(target)}")


def _whole(written: Staged) -> bool:
    """Whether the quarantine holds what it counts."""
    kept = (written.folder / "quarantine.jsonl").read_text(encoding="utf-8")
    return kept.count("\n") == written.quarantined


def _nothing(*_: object) -> None:
    """Nobody listens to the progress of a fuzzer."""
