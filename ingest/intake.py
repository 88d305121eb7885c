"""Every log staged once: local files as they were when their digest was taken, others through a copy.

A log that changes, goes away or cannot be had is refused with its reason; the others are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, IngestError
from ..schemas.config import Config
from ..schemas.files import write_text
from ..schemas.tables import SCHEMA_VERSION
from . import stretches
from .elsewhere import Elsewhere, StoredObject, copy, head_bytes
from .files import Place
from .lines import lines_start
from .meter import Meter, Progress
from .opening import read_head
from .pricing import price_book
from .pseudonyms import Pseudonyms
from .readers.mapping import MappingReader, load_mapping
from .readers.own import OwnReader
from .readers.registry import UnknownFormatError, find_reader
from .seam import EntangledError, LogFile, Reader, Stretch
from .snapshots import snapshot, status_of, unreadable
from .staging import Staged, named_by_content, stage, staged
from .stitching import CutLog, splits, stage_stretch, stitch

OBJECTS: Final = "objects.json"
"""What stored objects held when they were last copied, by URL: one that is the same is not copied again."""
LINK_ONLY: Final = frozenset({"quality", "optional_points"})
"""Parts of the configuration that only linking uses."""
_NOT_READ_FROM: Final = frozenset({"prices", "caps", "cluster", "segments", "task_class", "multiplicity"})
"""Parts of the configuration that estimation uses; changing them reads no log again."""
_PRIVATE_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """How logs are read: by which rules, mappings and readers, into which folder, with which pseudonyms."""

    config: Config
    mappings: tuple[MappingReader, ...]
    readers: tuple[OwnReader, ...]
    format: str | None
    staging: Path
    pseudonyms: Pseudonyms | None
    progress: Progress

    def stage_local(self, name: str, path: Path, *, meter: Meter, whole: bool = False) -> Staged:
        """The log at `path` staged; a large one in stretches, unless it is to be read `whole`.

        Raises: IngestError when it cannot be read; ExportError when nothing can be written.
        """
        cut = None if whole else self.cut(name, path)
        if cut is not None:
            with contextlib.suppress(EntangledError):
                return self._in_stretches(cut, meter)
        log, unchanged = snapshot(name, path)
        return self._read(log, meter, unchanged)

    def cut(self, name: str, path: Path) -> CutLog | None:
        """The log at `path` in stretches; None when it must be, or may as well be, read whole.

        Raises: IngestError when it cannot be read.
        """
        status = status_of(name, path)
        size = status[2]
        start = self.first_line(name, path, size)
        if start is None:
            return None
        try:
            found, cuts = stretches.survey(path, size, start=start)
        except OSError as error:
            raise unreadable(name, error) from error
        log = LogFile(path, name, found, size)
        folder = self._folder(log, self._reader(log))
        return CutLog(log=log, stretches=cuts, folder=folder, status=status)

    def first_line(self, name: str, path: Path, size: int) -> int | None:
        """Where the first line of a log begins that can be cut, in bytes; None for any other log."""
        if size < stretches.MIN_BYTES:
            return None
        log = LogFile(path, name, "", size)
        try:
            return lines_start(log) if splits(self._reader(log)) else None
        except IngestError:
            return None  # whoever reads it says why it cannot be read

    def stage_stretch(
        self,
        cut: CutLog,
        stretch: Stretch,
        *,
        heard: Callable[[int], None],
        on_batch: Callable[[int], None],
    ) -> None:
        """Stage one stretch of a log; `heard` is told bytes, `on_batch` records, from the stretch's start.

        Raises: IngestError when it cannot be read; EntangledError when the log must be read whole;
        ExportError when nothing can be written.
        """
        told = replace(cut, log=replace(cut.log, heard=heard))
        reader = self._reader(cut.log)
        stage_stretch(told, stretch, reader, self.config, pseudonyms=self.pseudonyms, on_batch=on_batch)

    def stitch(self, cut: CutLog) -> Staged:
        """The log whose stretches are all staged.

        Raises: IngestError when it was changed; EntangledError when it must be read whole; ExportError.
        """
        return stitch(cut, self._reader(cut.log), self.config, pseudonyms=self.pseudonyms)

    def _in_stretches(self, cut: CutLog, meter: Meter) -> Staged:
        """The log in stretches, one after the other."""
        ready = staged(cut.folder)
        if ready is not None:
            return ready
        for stretch in cut.stretches:
            self.stage_stretch(
                cut,
                stretch,
                heard=lambda done, at=stretch.start: meter.heard(done, at=at),
                on_batch=lambda records, at=stretch.start: meter.count(records, at=at),
            )
        return self.stitch(cut)

    def to_spec(self) -> dict[str, Any]:
        """What `of_spec` makes an intake like this one from, as JSON; without readers of the user's own."""
        return {
            "config": self.config.model_dump(mode="json", exclude=set(_NOT_READ_FROM)),
            "mappings": [str(mapping.path) for mapping in self.mappings],
            "format": self.format,
            "staging": str(self.staging),
            "key": self.pseudonyms.to_hex() if self.pseudonyms else None,
        }

    @classmethod
    def of_spec(cls, spec: dict[str, Any]) -> Intake:
        """The intake that `to_spec` tells; its progress is not heard."""
        return cls(
            config=Config.model_validate(spec["config"]),
            mappings=tuple(load_mapping(path) for path in spec["mappings"]),
            readers=(),
            format=spec["format"],
            staging=Path(spec["staging"]),
            pseudonyms=Pseudonyms.of_hex(spec["key"]) if spec["key"] else None,
            progress=lambda _done, _total, _label: None,
        )

    def stage(self, name: str, place: Place, *, meter: Meter, objects: Objects) -> Staged:
        """The log at `place` staged.

        Raises: IngestError when it cannot be read; ExportError when nothing can be written.
        """
        if isinstance(place, Path):
            return self.stage_local(name, place, meter=meter)
        return self._unchanged(name, place, objects) or self._copied(name, place, meter, objects)

    def _copied(self, name: str, place: Elsewhere, meter: Meter, objects: Objects) -> Staged:
        with _spool(self.staging, name) as target:
            half = 1 if place.size else 0  # the bar's first half is copying, where the size is known
            found = copy(place, target, heard=lambda done: meter.heard(done // 2 * half))
            size = target.stat().st_size
            log = LogFile(target, name, found, size, lambda done: meter.heard((size + done) // 2 * half))
            if isinstance(place, StoredObject):
                objects.learn(place, found)
            return self._read(log, meter, _nothing)

    def _unchanged(self, name: str, place: Elsewhere, objects: Objects) -> Staged | None:
        """What was staged from the object as it still is; None when it must be copied."""
        found = objects.digest(place)
        if found is None or not isinstance(place, StoredObject):
            return None
        with _spool(self.staging, name) as target:
            target.write_bytes(head_bytes(place))
            log = LogFile(target, name, found)
            try:
                ready = self._ready(log, self._reader(log))
            except IngestError:  # its first bytes alone do not tell the format
                return None
        if ready is not None:
            objects.learn(place, found)
        return ready

    def _read(self, log: LogFile, meter: Meter, unchanged: Callable[[], None]) -> Staged:
        reader = self._reader(log)
        ready = self._ready(log, reader)
        if ready is not None:
            return ready
        folder = self._folder(log, reader)
        shutil.rmtree(folder, ignore_errors=True)
        fresh = stage(
            log if log.heard else replace(log, heard=meter.heard),
            reader,
            self.config,
            folder,
            pseudonyms=self.pseudonyms,
            on_batch=meter.count,
            on_end=unchanged,
        )
        return named_by_content(fresh) if isinstance(reader, OwnReader) else fresh

    def _ready(self, log: LogFile, reader: Reader) -> Staged | None:
        """What was staged from the log before; None for a user's reader, whose code may have changed."""
        return None if isinstance(reader, OwnReader) else staged(self._folder(log, reader))

    def _folder(self, log: LogFile, reader: Reader) -> Path:
        """The staging folder of a log: it changes with bytes, name, reader, rules, schema, prices and key."""
        reading = self.config.model_dump(mode="json", exclude=set(_NOT_READ_FROM | LINK_ONLY))
        fingerprint = reader.fingerprint if isinstance(reader, MappingReader) else ""
        code = [version("shadowprice"), SCHEMA_VERSION, price_book()]
        parts = [log.digest, log.name, reader.NAME, fingerprint, reading, code]
        if self.pseudonyms is not None:
            parts.append(self.pseudonyms.key_id)
        return self.staging / digest_of(parts)[:32]

    def _reader(self, log: LogFile) -> Reader:
        for own in self.mappings:
            if own.claims(log.name):
                return own
        general = next((own for own in self.mappings if own.claims_rest), None)
        if self.format == MappingReader.NAME:
            if general is None:
                raise ConfigError(
                    "no mapping file", where="--format mapping", cure="Give one with --mapping."
                )
            return general
        try:
            head = read_head(log.path, size=log.size)
            return find_reader(head, name=log.name, format=self.format, own=self.readers)
        except UnknownFormatError:
            if general is None:
                raise
            return general


def digest_of(value: object) -> str:
    """The SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _nothing() -> None:
    """A copy of our own does not change."""


@contextmanager
def _spool(staging: Path, name: str) -> Generator[Path]:
    """A private place for a copy, which is gone afterwards; after a kill, with the next ingest."""
    folder = staging / f"spool-{digest_of(name)[:16]}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True)
    try:
        yield folder / "log"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class Objects:
    """The digests of stored objects, remembered from one ingest to the next."""

    path: Path
    before: dict[str, Any]
    now: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, staging: Path) -> Objects:
        """What the last ingest remembered; nothing when it cannot be read."""
        try:
            before = json.loads((staging / OBJECTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        return cls(path=staging / OBJECTS, before=before if isinstance(before, dict) else {})

    def digest(self, place: Elsewhere) -> str | None:
        """The digest of the object, if it is still the one that was copied."""
        if not isinstance(place, StoredObject) or place.version is None:
            return None
        known = self.before.get(place.url)
        same = isinstance(known, list) and known[:2] == [place.version, place.size]
        return known[2] if same and isinstance(known, list) else None

    def learn(self, place: StoredObject, digest: str) -> None:
        """Remember what the object holds."""
        if place.version is not None:
            self.now[place.url] = [place.version, place.size, digest]

    def keep(self) -> None:
        """Write what was learnt down, if it is news."""
        if self.now != self.before:
            write_text(self.path, json.dumps(self.now, sort_keys=True) + "\n")
