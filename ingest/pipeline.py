"""Logs in, a complete store out: find files, stage each once, link, publish the manifest, sweep.

Every step leaves files that are either whole or invisible, so a run that is killed is simply run again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError, IngestError, SchemaError
from ..schemas.config import Config
from ..schemas.files import exclusive
from ..schemas.store import MANIFEST, QUARANTINE, STORED_TABLES, Store, open_store, write_manifest
from .apart import stage_all
from .files import Refused, find_inputs
from .intake import LINK_ONLY, OBJECTS, Intake, digest_of
from .link import link
from .meter import Progress
from .opening import printable, read_head
from .pricing import price_book
from .pseudonyms import ID_COLUMNS, Pseudonyms, read_key
from .readers.mapping import MappingReader, load_mapping
from .readers.own import own_readers
from .readers.registry import READERS, find_reader
from .seam import Reader
from .staging import Staged, writing

STORE: Final = "store"
STAGING: Final = ".staging"


def ingest(
    paths: str | Path | Iterable[str | Path],
    *,
    out: str | Path,
    config: Config | None = None,
    format: str | None = None,
    mapping: str | Path | Sequence[str | Path] | None = None,
    readers: Sequence[Reader] = (),
    pseudonymise: str | Path | None = None,
    progress: Progress | None = None,
) -> Store:
    """The store at `out`/store that holds the logs at `paths`.

    A path is a file, a folder with everything below, a pattern, `-` for standard input, or a URL of an
    object store. Files that cannot be read are listed in the manifest under 'refused', bad rows in
    quarantine.jsonl. The store is a function of logs, configuration and key: the same input gives the same
    bytes, and an unchanged input changes nothing. `progress` hears (bytes done, bytes in all, label).

    readers: readers of your own (see `shadowprice.reader`), asked before the built-in ones. What they read
    is read again every time, as their code may have changed; equal rows still give an equal store.
    pseudonymise: a file with a secret key; ids are then stored as keyed hashes, the same for the same id.
    Raises: IngestError when no file can be read; ConfigError for an unusable format, mapping, reader, rule,
    URL or key, or a store with other pseudonyms; ExportError when `out` cannot be, or is being, written.
    """
    settings = config or Config()
    mappings = _mappings(mapping)
    own_formats = own_readers(readers, taken=[reader.NAME for reader in READERS])
    secret = read_key(pseudonymise) if pseudonymise is not None else None
    given, root = _listed(paths), Path(out)
    own = [m.path for m in mappings] + ([Path(pseudonymise)] if pseudonymise is not None else [])
    inputs = find_inputs(given, skip=[*_outputs(root, given), *own])
    with exclusive(root), writing(root):
        _same_pseudonyms(root / STORE, secret)
        intake = Intake(
            config=settings,
            mappings=tuple(mappings),
            readers=own_formats,
            format=format,
            staging=root / STORE / STAGING,
            pseudonyms=secret,
            progress=progress or _quiet,
        )
        sources, refused = stage_all(intake, inputs.files)
        refused = sorted([*inputs.refused, *refused], key=lambda item: (item.name, item.error))
        if not sources:
            raise IngestError(
                f"no file could be read; the first: {refused[0].error}",
                where=printable(refused[0].name),
                cure=f"{len(refused)} refused in all." if len(refused) > 1 else None,
            )
        store = _publish(root / STORE, sources, refused, settings, secret)
        _sweep(store, keep={OBJECTS, *(source.folder.name for source in sources)})
    return store


def format_of(path: str | Path) -> str | None:
    """The format that the file at `path` is recognised as; None when it is none, or more than one."""
    try:
        return find_reader(read_head(Path(path)), name=str(path)).NAME
    except IngestError:
        return None


def _outputs(root: Path, given: list[str]) -> list[Path]:
    """What a run writes and must not read: its folder, or only the store where logs lie beside it."""
    places = [Path(text).resolve() for text in given]
    shared = any(root.resolve() in (place, *place.parents) for place in places)
    return [root / STORE] if shared else [root]


def _same_pseudonyms(folder: Path, secret: Pseudonyms | None) -> None:
    """Refuse to put ids as they are, or under another key, where this store has pseudonyms.

    Raises: ConfigError.
    """
    try:
        present = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("pseudonyms")
    except (OSError, ValueError, AttributeError):
        return
    if isinstance(present, dict) and (secret is None or present.get("key_id") != secret.key_id):
        raise ConfigError(
            "the ids of this store are pseudonyms" + (" made with another key" if secret else ""),
            where=printable(str(folder)),
            expected="--pseudonymise with the key that they were made with",
            cure="Give that key, or another folder with --out.",
        )


def _publish(
    folder: Path, sources: list[Staged], refused: list[Refused], config: Config, secret: Pseudonyms | None
) -> Store:
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
    manifest: dict[str, Any] = {
        **facts,
        "generation": generation,
        "sources": [source.to_source() for source in sources],
        "refused": [{"name": item.name, "error": item.error} for item in refused],
        "price_book": price_book(),
    }
    if secret is not None:
        manifest["pseudonyms"] = {"key_id": secret.key_id, "columns": list(ID_COLUMNS)}
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
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _generation(sources: list[Staged], refused: list[Refused], config: Config) -> str:
    """A name for the content of the store: equal input, equal name, whatever happened before."""
    linking = config.model_dump(mode="json", include=set(LINK_ONLY))
    parts = [[source.folder.name for source in sources], [[r.name, r.error] for r in refused], linking]
    return digest_of(parts)[:16]


def _listed(paths: str | Path | Iterable[str | Path]) -> list[str]:
    return [str(paths)] if isinstance(paths, str | Path) else [str(path) for path in paths]


def _mappings(mapping: str | Path | Sequence[str | Path] | None) -> list[MappingReader]:
    return [load_mapping(path) for path in _listed(mapping)] if mapping is not None else []


def _quiet(done: int, total: int, label: str) -> None:
    del done, total, label
