"""Arrow schemas of the shared tables, stamped with the schema version, and the check of that stamp."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from ..errors import SchemaError
from . import columns as c

SCHEMA_VERSION: Final = "1"
VERSION_KEY: Final = b"shadowprice.schema_version"
TABLE_KEY: Final = b"shadowprice.table"

TABLES: Final[dict[str, tuple[c.Column, ...]]] = {
    "decisions": c.DECISIONS,
    "outcomes": c.OUTCOMES,
    "engine_steps": c.ENGINE_STEPS,
    "ledger": c.LEDGER,
    "estimates": c.ESTIMATES,
}


def arrow_schema(table: str, features: dict[str, pa.DataType] | None = None) -> pa.Schema:
    """The Arrow schema of `table`, with `features` (x_* columns of decisions) after the fixed columns."""
    fields = [pa.field(col.name, col.dtype, nullable=col.nullable) for col in TABLES[table]]
    fields += [pa.field(name, dtype) for name, dtype in sorted((features or {}).items())]
    return pa.schema(fields, metadata={VERSION_KEY: SCHEMA_VERSION.encode(), TABLE_KEY: table.encode()})


def check_version(schema: pa.Schema, *, where: str) -> None:
    """Refuse a Parquet schema that another version of shadowprice wrote.

    Raises: SchemaError when the stamp is absent or unknown.
    """
    stamp = (schema.metadata or {}).get(VERSION_KEY)
    if stamp is None:
        raise SchemaError(
            "no schema version in the file metadata",
            where=where,
            expected=f"version {SCHEMA_VERSION}",
            cure="Ingest the logs again with this release.",
        )
    if stamp.decode() != SCHEMA_VERSION:
        raise SchemaError(
            f"schema version {stamp.decode()}",
            where=where,
            expected=f"version {SCHEMA_VERSION}",
            cure="Upgrade shadowprice, or ingest the logs again with this release.",
        )
