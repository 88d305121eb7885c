"""Everything that a reader of your own needs: what it is given, what it yields, tools that stay bounded.

A reader is a module, or any object, with NAME, `sniff(head)` and `read(log, config)`; see `Reader`. It is
used by `sp.ingest(..., readers=[mine])`, by `sp.audit` likewise, and by `shadowprice audit --reader mine.py`.
"""

from __future__ import annotations

from .ingest.convert import (
    as_count,
    as_real,
    as_seconds,
    as_usd,
    input_tokens,
    missing,
    utc_from_epoch,
    utc_from_offset,
    utc_from_text,
)
from .ingest.each import each_record
from .ingest.lines import any_records, csv_records, json_records
from .ingest.readers.peek import csv_header, top_keys
from .ingest.seam import Ignored, Item, LogFile, Reader, Rejected, Row
from .schemas.config import Config

__all__ = [
    "Config",
    "Ignored",
    "Item",
    "LogFile",
    "Reader",
    "Rejected",
    "Row",
    "any_records",
    "as_count",
    "as_real",
    "as_seconds",
    "as_usd",
    "csv_header",
    "csv_records",
    "each_record",
    "input_tokens",
    "json_records",
    "missing",
    "top_keys",
    "utc_from_epoch",
    "utc_from_offset",
    "utc_from_text",
]
