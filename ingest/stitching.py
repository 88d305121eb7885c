"""Stretches of a large log, each staged in a folder of its own, and put together to what the log came to."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from ..schemas.config import Config
from ..schemas.files import write_text
from .batches import FeatureKind
from .pseudonyms import Pseudonyms
from .seam import EntangledError, Item, LogFile, Reader, SettlingReader, Stretch
from .snapshots import Status, check_kept
from .staging import MAX_FILE_FEATURES, QUARANTINE_PIECE, Staged, finish, stage, staged, writing

_CARRIED: Final = "carried.json"
_SETTLED: Final = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutLog:
    """A large log in stretches. folder: where it is staged. status: the file's when it was cut."""

    log: LogFile
    stretches: tuple[Stretch, ...]
    folder: Path
    status: Status


def splits(reader: Reader) -> bool:
    """Whether `reader` declares that it reads stretches of a log."""
    return getattr(reader, "SPLITS", False) is True


def stage_stretch(
    cut: CutLog,
    stretch: Stretch,
    reader: Reader,
    config: Config,
    *,
    pseudonyms: Pseudonyms | None,
    on_batch: Callable[[int], None],
) -> None:
    """Stage one stretch of a log, unless it is there.

    Raises: IngestError when the file cannot be read, or no longer holds these bytes; EntangledError when it
    must be read whole; ExportError when nothing can be written.
    """
    folder = _folder(cut, stretch)
    if staged(folder) is not None:
        return
    shutil.rmtree(folder, ignore_errors=True)
    carried: list[dict[str, Any]] = []
    log = replace(cut.log, stretch=stretch, carry=carried.append)

    def on_end() -> None:
        check_kept(log, cut.status, start=stretch.start, stop=stretch.stop, found=stretch.digest)
        write_text(folder / _CARRIED, json.dumps(carried))

    stage(log, reader, config, folder, pseudonyms=pseudonyms, on_batch=on_batch, on_end=on_end)


def stitch(cut: CutLog, reader: Reader, config: Config, *, pseudonyms: Pseudonyms | None) -> Staged:
    """The log from its stretches, which are all staged, with what they left open settled.

    Raises: IngestError when the file no longer holds what was read; EntangledError when together they bring
    more x_* columns than a file may; ExportError when nothing can be written.
    """
    log, folders = cut.log, [_folder(cut, stretch) for stretch in cut.stretches]
    pieces = [found for folder in folders if (found := staged(folder)) is not None]
    assert len(pieces) == len(folders)
    if hasattr(reader, "settle"):
        late = cast(SettlingReader, reader).settle(_carried(folders), config)
        pieces.append(_settled(cut, late, reader, config, pseudonyms))
    with writing(cut.folder):
        _join_quarantine(cut.folder, pieces)
        check_kept(log, cut.status, start=0, stop=cut.status[2], found=log.digest)
        return finish(cut.folder, _together(log, reader, pieces))


def _folder(cut: CutLog, stretch: Stretch) -> Path:
    return cut.folder / f"from-{stretch.start}"


def _settled(
    cut: CutLog, late: Iterator[Item], reader: Reader, config: Config, pseudonyms: Pseudonyms | None
) -> Staged:
    folder = cut.folder / _SETTLED
    shutil.rmtree(folder, ignore_errors=True)
    return stage(
        cut.log,
        reader,
        config,
        folder,
        pseudonyms=pseudonyms,
        on_batch=lambda _: None,
        on_end=lambda: None,
        late=late,
    )


def _carried(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        yield from json.loads((folder / _CARRIED).read_text(encoding="utf-8"))


def _join_quarantine(folder: Path, pieces: Sequence[Staged]) -> None:
    with (folder / QUARANTINE_PIECE).open("wb") as target:
        for piece in pieces:
            with (piece.folder / QUARANTINE_PIECE).open("rb") as source:
                shutil.copyfileobj(source, target)


def _together(log: LogFile, reader: Reader, pieces: Sequence[Staged]) -> dict[str, Any]:
    """The facts of the log from those of its pieces."""
    parts: dict[str, list[str]] = {}
    features: dict[str, set[FeatureKind]] = {}
    rows, ignored = Counter[str](), Counter[str]()
    for piece in pieces:
        for table, names in piece.parts.items():
            parts.setdefault(table, []).extend(f"{piece.folder.name}/{name}" for name in names)
        for name, kinds in piece.features.items():
            features.setdefault(name, set()).update(kinds)
        rows.update(piece.rows)
        ignored.update(piece.ignored)
    if len(features) > MAX_FILE_FEATURES:
        raise EntangledError
    return {
        "name": log.name,
        "digest": log.digest,
        "format": reader.NAME,
        "parts": dict(sorted(parts.items())),
        "rows": dict(sorted(rows.items())),
        "quarantined": sum(piece.quarantined for piece in pieces),
        "ignored": dict(sorted(ignored.items())),
        "features": {name: sorted(kinds) for name, kinds in sorted(features.items())},
    }
