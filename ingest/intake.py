"""Every log staged once: local files as they were when their digest was taken, others through a copy.

A log that changes, goes away or cannot be had is refused with its reason; the others are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, IngestError
from ..schemas.config import Config
from ..schemas.files import write_text
from ..schemas.tables import SCHEMA_VERSION
from . import cores
from .elsewhere import Elsewhere, StoredObject, copy, head_bytes
from .files import Place, Refused
from .meter import Meter, Progress
from .opening import printable, read_head
from .pricing import price_book
from .pseudonyms import Pseudonyms
from .readers.mapping import MappingReader, load_mapping
from .readers.own import OwnReader
from .readers.registry import UnknownFormatError, find_reader
from .seam import LogFile, Reader
from .staging import Staged, named_by_content, stage, staged

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

    def stage_all(self, files: Sequence[tuple[str, Place]]) -> tuple[list[Staged], list[Refused]]:
        """Every readable log staged, in the order of names, and what was refused."""
        sources: list[Staged] = []
        refused: list[Refused] = []
        objects = _Objects.of(self.staging)
        sizes = {name: _size(place) for name, place in files}
        meter = Meter(tell=self.progress, total=sum(sizes.values()))
        apart = self._apart(files, sizes, meter, sources, refused)
        for name, place in files:
            if name in apart:
                continue
            meter.start(printable(name))
            try:
                sources.append(self._stage(name, place, meter, objects))
            except IngestError as error:
                refused.append(_refused(name, str(error)))
            meter.finish(sizes[name])
        objects.keep()
        self.progress(meter.total, meter.total, "linking")
        return sorted(sources, key=lambda s: (s.name, s.digest, s.folder.name)), refused

    def stage_local(self, name: str, path: Path, tell: Callable[[int, int], None]) -> Staged:
        """The log at `path` staged; `tell` hears bytes and records read.

        Raises: IngestError when it cannot be read; ExportError when nothing can be written.
        """
        meter = Meter(tell=lambda done, _total, _label: tell(done, meter.records), total=_size(path))
        meter.start(printable(name))
        log, unchanged = snapshot(name, path)
        return self._read(log, meter, unchanged)

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
        """The intake that `to_spec` tells; its progress is heard by `stage_local` only."""
        return cls(
            config=Config.model_validate(spec["config"]),
            mappings=tuple(load_mapping(path) for path in spec["mappings"]),
            readers=(),
            format=spec["format"],
            staging=Path(spec["staging"]),
            pseudonyms=Pseudonyms.of_hex(spec["key"]) if spec["key"] else None,
            progress=lambda _done, _total, _label: None,
        )

    def _apart(
        self,
        files: Sequence[tuple[str, Place]],
        sizes: dict[str, int],
        meter: Meter,
        sources: list[Staged],
        refused: list[Refused],
    ) -> set[str]:
        """The logs that processes of their own staged or refused; none where that is not worthwhile."""
        local = [(name, place) for name, place in files if isinstance(place, Path)]
        processes = 1 if self.readers else cores.worthwhile([sizes[name] for name, _ in local])
        if processes < 2:
            return set()
        local.sort(key=lambda one: -sizes[one[0]])  # the largest first, so that none is left at the end
        with cores.Crew(self.to_spec(), local, processes=processes) as crew:
            for answer in crew.answers():
                if answer.error is not None:
                    raise cores.raised(answer.error)
                if not answer.final:
                    meter.heard(answer.heard or 0, of=printable(answer.name), records=answer.records)
                    continue
                if answer.refused is not None:
                    refused.append(_refused(answer.name, answer.refused))
                else:
                    found = staged(self.staging / str(answer.staged))
                    assert found is not None
                    sources.append(found)
                meter.finish(sizes[answer.name], of=printable(answer.name))
        return {name for name, _ in local}

    def _stage(self, name: str, place: Place, meter: Meter, objects: _Objects) -> Staged:
        if isinstance(place, Path):
            log, unchanged = snapshot(name, place)
            return self._read(log, meter, unchanged)
        return self._unchanged(name, place, objects) or self._copied(name, place, meter, objects)

    def _copied(self, name: str, place: Elsewhere, meter: Meter, objects: _Objects) -> Staged:
        with _spool(self.staging, name) as target:
            half = 1 if place.size else 0  # the bar's first half is copying, where the size is known
            found = copy(place, target, heard=lambda done: meter.heard(done // 2 * half))
            size = target.stat().st_size
            log = LogFile(target, name, found, size, lambda done: meter.heard((size + done) // 2 * half))
            if isinstance(place, StoredObject):
                objects.learn(place, found)
            return self._read(log, meter, _nothing)

    def _unchanged(self, name: str, place: Elsewhere, objects: _Objects) -> Staged | None:
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


def snapshot(name: str, path: Path) -> tuple[LogFile, Callable[[], None]]:
    """The log at `path` as it is now, and a check, for when it was read, that those bytes are still there.

    What was appended meanwhile is left for the next ingest. The check raises IngestError for a file that
    was removed, replaced or written over.
    Raises: IngestError when it is no regular file or cannot be read.
    """
    where = printable(name)
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise IngestError("not a regular file", where=where, cure="Pipe it in, and give - for it.")
        found = _digest(path, before.st_size)
    except OSError as error:
        raise _unreadable(where, error) from error
    log = LogFile(path, name, found, before.st_size)

    def unchanged() -> None:
        try:
            now = path.stat()
            same = (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)
            kept = same and (_times(now) == _times(before) or _digest(path, before.st_size) == found)
        except OSError as error:
            raise _unreadable(where, error) from error
        if not kept:
            raise IngestError(
                "written over or replaced while it was read",
                where=where,
                expected="a log that only grows",
                cure="Ingest again; nothing of it was stored.",
            )

    return log, unchanged


def digest_of(value: object) -> str:
    """The SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _times(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path, size: int) -> str:
    """The SHA-256 of the first `size` bytes of a file, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while size > 0 and (chunk := stream.read(min(size, 1 << 20))):
            sha.update(chunk)
            size -= len(chunk)
    return sha.hexdigest()


def _unreadable(where: str, error: OSError) -> IngestError:
    reason = error.strerror or type(error).__name__
    return IngestError(f"cannot be read: {reason}", where=where, cure="Check its permissions.")


def _size(place: Place) -> int:
    """The bytes of a log, for progress; 0 when they cannot be told, which reading will report."""
    try:
        return place.stat().st_size if isinstance(place, Path) else place.size
    except OSError:
        return 0


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


def _refused(name: str, error: str) -> Refused:
    return Refused(name, error.removeprefix(f"{printable(name)}: "))


@dataclass(slots=True, kw_only=True)
class _Objects:
    """The digests of stored objects, remembered from one ingest to the next."""

    path: Path
    before: dict[str, Any]
    now: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, staging: Path) -> _Objects:
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
