"""The Parquet store of a run: files named by the manifest, which is replaced last and in one step.

A run that is killed leaves files that no manifest names; they are invisible here, and the next
ingest sweeps them away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from ..errors import SchemaError
from .files import write_text
from .tables import SCHEMA_VERSION, arrow_schema, check_version

if TYPE_CHECKING:
    import polars as pl

MANIFEST: Final = "manifest.json"
QUARANTINE: Final = "quarantine.jsonl"
STORED_TABLES: Final = ("decisions", "outcomes", "engine_steps")


@dataclass(frozen=True, slots=True)
class Store:
    """A complete store: `manifest` lists its files (paths relative to `path`), sources and counts."""

    path: Path
    manifest: dict[str, Any]

    def files(self, table: str) -> list[Path]:
        """The Parquet files of `table`, in a fixed order."""
        return [self.path / name for name in self.manifest["tables"].get(table, [])]

    def features(self) -> dict[str, str]:
        """The x_* columns of decisions: name -> 'real' or 'text'."""
        return dict(self.manifest["features"])

    def scan(self, table: str) -> pl.LazyFrame:
        """A lazy frame over `table`, with every column of the schema; empty when the store has none."""
        import polars as pl  # heavy, and not needed to write a store

        empty = pl.from_arrow(arrow_schema(table).empty_table())
        assert isinstance(empty, pl.DataFrame)
        files = self.files(table)
        if not files:
            return empty.lazy()
        return pl.scan_parquet(files, missing_columns="insert", hive_partitioning=False)

    def decisions(self) -> pl.LazyFrame:
        """A lazy frame over all decisions of all layers."""
        return self.scan("decisions")


def open_store(path: str | Path) -> Store:
    """The store at `path`, or at `path`/store when `path` is the folder of a run.

    Raises: SchemaError when there is no complete store, a listed file is missing, or the version is unknown.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file() and (folder / "store" / MANIFEST).is_file():
        folder = folder / "store"
    where = folder / MANIFEST
    if not where.is_file():
        raise SchemaError(
            "no manifest, so no finished ingest",
            where=str(folder),
            cure="Run 'shadowprice ingest LOGS --out DIR' first.",
        )
    try:
        manifest = json.loads(where.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            "not a manifest", where=str(where), cure="Delete the store and ingest again."
        ) from error
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"schema version {version}",
            where=str(where),
            expected=f"version {SCHEMA_VERSION}",
            cure="Upgrade shadowprice, or ingest the logs again with this release.",
        )
    store = Store(folder, manifest)
    for table in STORED_TABLES:
        for file in store.files(table):
            if not file.is_file():
                raise SchemaError(
                    "file is listed in the manifest but missing",
                    where=str(file),
                    cure="Ingest the logs again.",
                )
            check_version(pq.read_schema(file), where=str(file))
    return store


def write_manifest(path: Path, manifest: dict[str, Any]) -> Store:
    """Publish `manifest` at `path`: from now on its files are the store."""
    stamped = {"schema_version": SCHEMA_VERSION, **manifest}
    write_text(path / MANIFEST, json.dumps(stamped, indent=1, sort_keys=True) + "\n")
    return Store(path, stamped)
