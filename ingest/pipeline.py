"""Logs in, a complete store out: find files, stage each once, link, publish the manifest, sweep.

Every step leaves files that are either whole or invisible, so a run that is killed is simply run again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from ..errors import ConfigError, IngestError, SchemaError
from ..schemas.config import Config
from ..schemas.store import MANIFEST, QUARANTINE, STORED_TABLES, Store, open_store, write_manifest
from ..schemas.tables import SCHEMA_VERSION
from .files import Refused, find_inputs, log_file
from .lines import printable, read_head
from .link import link
from .pricing import price_book
from .readers.mapping import MappingReader, load_mapping
from .readers.registry import UnknownFormatError, find_reader
from .seam import LogFile, Reader
from .staging import Staged, stage, staged

STORE: Final = "store"
STAGING: Final = ".staging"
_NOT_READ_FROM: Final = frozenset({"prices", "caps", "cluster", "segments", "task_class"})
"""Parts of the configuration that estimation uses; changing them reads no log again."""
_LINK_ONLY: Final = frozenset({"quality", "optional_points"})

Progress = Callable[[int, int, str], None]


def ingest(
    paths: str | Path | Iterable[str | Path],
    *,
    out: str | Path,
    config: Config | None = None,
    format: str | None = None,
    mapping: str | Path | Sequence[str | Path] | None = None,
    progress: Progress | None = None,
) -> Store:
    """The store at `out`/store that holds the logs at `paths`: files, or folders with everything below.

    Files that cannot be read are listed in the manifest under 'refused', bad rows in quarantine.jsonl. The
    store is a function of logs and configuration: the same input gives the same bytes, and an unchanged
    input changes nothing. `progress` hears (bytes done, bytes in all, label).

    Raises: IngestError when no file can be read; ConfigError for an unusable format, mapping or rule.
    """
    settings = config or Config()
    mappings = _mappings(mapping)
    root = Path(out)
    inputs = find_inputs(_listed(paths), skip=[root / STORE, *(m.path for m in mappings)])
    staging = root / STORE / STAGING
    run = _Run(settings, tuple(mappings), format, staging, progress or _quiet)
    sources, refused = run.stage_all(inputs.files)
    refused = sorted([*inputs.refused, *refused], key=lambda item: (item.name, item.error))
    if not sources:
        raise IngestError(
            f"no file could be read; the first: {refused[0].error}",
            where=printable(refused[0].name),
            cure=f"{len(refused)} refused in all." if len(refused) > 1 else None,
        )
    store = _publish(root / STORE, sources, refused, settings)
    _sweep(store, keep={source.folder.name for source in sources})
    return store


@dataclass(frozen=True, slots=True)
class _Run:
    config: Config
    mappings: tuple[MappingReader, ...]
    format: str | None
    staging: Path
    progress: Progress

    def stage_all(self, files: Sequence[tuple[str, Path]]) -> tuple[list[Staged], list[Refused]]:
        """Every readable file staged, in the order of names, and what was refused."""
        sources: list[Staged] = []
        refused: list[Refused] = []
        sizes = [_size(path) for _, path in files]
        done, total = 0, sum(sizes)
        for (name, path), size in zip(files, sizes, strict=True):
            self.progress(done, total, printable(name))
            try:
                sources.append(self._stage(name, path, done=done, total=total))
            except IngestError as error:
                refused.append(Refused(name, str(error).removeprefix(f"{printable(name)}: ")))
            except OSError as error:
                refused.append(Refused(name, f"{error.strerror or 'cannot be read'}."))
            done += size
        self.progress(total, total, "linking")
        return sorted(sources, key=lambda s: (s.name, s.digest, s.folder.name)), refused

    def _stage(self, name: str, path: Path, *, done: int, total: int) -> Staged:
        log = log_file(name, path)
        reader = self._reader(log)
        folder = self.staging / _key(log, reader, self.config)
        ready = staged(folder)
        if ready is not None:
            return ready
        shutil.rmtree(folder, ignore_errors=True)
        label = printable(name)

        def on_batch(records: int) -> None:
            self.progress(done, total, f"{label}, {records:,} records")

        return stage(log, reader, self.config, folder, on_batch=on_batch)

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
            return find_reader(read_head(log.path), name=log.name, format=self.format)
        except UnknownFormatError:
            if general is None:
                raise
            return general


def _publish(folder: Path, sources: list[Staged], refused: list[Refused], config: Config) -> Store:
    """The store of these sources: the present one when nothing changed, else a newly linked one."""
    generation = _generation(sources, refused, config)
    if (folder / MANIFEST).is_file() and (folder / QUARANTINE).is_file():
        with contextlib.suppress(
            SchemaError
        ):  # a store that is damaged or of another version is written anew
            present = open_store(folder)
            if present.manifest.get("generation") == generation:
                return present
    facts = link(sources, folder=folder, scratch=folder / STAGING, generation=generation, config=config)
    manifest = {
        **facts,
        "generation": generation,
        "sources": [source.to_source() for source in sources],
        "refused": [{"name": item.name, "error": item.error} for item in refused],
        "price_book": price_book(),
    }
    return write_manifest(folder, manifest)


def _sweep(store: Store, *, keep: set[str]) -> None:
    """Remove what no manifest names: older generations, leftovers of killed runs, parts of absent logs."""
    named = {path.resolve() for table in STORED_TABLES for path in store.files(table)}
    for table in STORED_TABLES:
        for path in sorted((store.path / table).rglob("*")):
            if path.is_file() and path.resolve() not in named:
                path.unlink()
        for path in sorted((store.path / table).rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    for name in (QUARANTINE, MANIFEST):
        for path in store.path.glob(f".{name}.*.tmp"):
            path.unlink()
    for path in sorted((store.path / STAGING).iterdir()):
        if path.name not in keep:
            shutil.rmtree(path)


def _generation(sources: list[Staged], refused: list[Refused], config: Config) -> str:
    """A name for the content of the store: equal input, equal name, whatever happened before."""
    linking = config.model_dump(mode="json", include=set(_LINK_ONLY))
    parts = [[source.folder.name for source in sources], [[r.name, r.error] for r in refused], linking]
    return _hash(parts)[:16]


def _key(log: LogFile, reader: Reader, config: Config) -> str:
    """The staging folder of a file: changes with its bytes, name, reader, rules, schema and price book."""
    reading = config.model_dump(mode="json", exclude=set(_NOT_READ_FROM | _LINK_ONLY))
    fingerprint = reader.fingerprint if isinstance(reader, MappingReader) else ""
    code = [version("shadowprice"), SCHEMA_VERSION, price_book()]
    return _hash([log.digest, log.name, reader.NAME, fingerprint, reading, code])[:32]


def _size(path: Path) -> int:
    """The bytes of the file, for progress; 0 when they cannot be told, which reading will report."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _listed(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


def _mappings(mapping: str | Path | Sequence[str | Path] | None) -> list[MappingReader]:
    return [load_mapping(path) for path in _listed(mapping)] if mapping is not None else []


def _quiet(done: int, total: int, label: str) -> None:
    del done, total, label
