"""The canonical artefacts: every offered number as JSON, or as a Parquet table."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from ...schemas.tables import SCHEMA_VERSION
from .offer import Offer, Row

JSON_NAME: Final = "shadowprice.json"
PARQUET_NAME: Final = "shadowprice.parquet"
_KINDS: Final = {"float": pl.Float64, "int": pl.Int64, "str": pl.String}


def json_table(offer: Offer) -> dict[str, str]:
    """The full record as one JSON object: stamp, rows, skipped."""
    return {JSON_NAME: json.dumps(offer.record(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"}


def parquet_table(offer: Offer) -> dict[str, bytes]:
    """The rows as one table; schema version, run id and data window are in the file's metadata."""
    schema = {name: _KINDS[str(f.type).partition(" ")[0]] for name, f in Row.__dataclass_fields__.items()}
    frame = pl.DataFrame([asdict(row) for row in offer.rows], schema=schema)
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    stamp = {
        "shadowprice.schema_version": SCHEMA_VERSION,
        "shadowprice.run_id": offer.run_id,
        "shadowprice.data_window": json.dumps(offer.window),
        "shadowprice.valid_until": offer.valid_until or "",
    }
    buffer = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata(stamp), buffer, compression="zstd")
    return {PARQUET_NAME: buffer.getvalue()}
