"""Records of a CSV or Parquet log by column, as the log has them, and those that were read alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from .columnar import Record, below, parquet_batches, single
from .seam import LogFile, Rejected

Found = tuple[int, Record] | Rejected
"""A record with its line, or why it is none."""
_BATCH_ROWS: Final = 32_768


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records.

    header: every column of the log. rows: the records that lie in columns. lines: the line of each. others:
    what was read alone, each with the number of rows before it.
    """

    header: list[str]
    rows: pa.RecordBatch
    lines: np.ndarray[tuple[int], np.dtype[np.int64]]
    others: list[tuple[int, Found]]

    def names(self) -> list[str] | None:
        """The columns of the log; None while no record has been read."""
        read = self.rows.num_rows or any(not isinstance(found, Rejected) for _, found in self.others)
        return self.header if read else None

    def alone(self, place: int) -> Found:
        """One of the rows as a record."""
        return single(self.rows.slice(place, 1), int(self.lines[place]))


def parquet_columns(log: LogFile, *, columns: set[str]) -> Iterator[Batch]:
    """The named top-level columns of a Parquet log, those that exist.

    Raises: IngestError, as `parquet_records`.
    """
    for first, rows in parquet_batches(log, columns=columns, batch_rows=_BATCH_ROWS):
        yield Batch(list(rows.schema.names), rows, np.arange(first, first + rows.num_rows), [])


def column_at(rows: pa.RecordBatch, path: str) -> pl.Series | list[Any]:
    """The values at a path: a series where their type says all about them, else Python values.

    Raises: ValueError or OverflowError when Python cannot hold one of them.
    """
    names = rows.schema.names
    if path in names:
        return _values(rows.column(path))
    head, *parts = path.split(".")
    if head not in names:
        return [None] * rows.num_rows
    kind = rows.schema.field(head).type
    for part in parts:
        place = kind.get_field_index(part) if pa.types.is_struct(kind) else -1
        if place < 0:
            return [below(value, parts) for value in rows.column(head).to_pylist()]
        kind = kind.field(place).type
    found = pc.call_function("struct_field", [rows.column(head)], pc.StructFieldOptions(parts))
    # a time inside an object may have nanoseconds, which are only cut at the top
    return found.to_pylist() if pa.types.is_timestamp(kind) else _values(found)


def _values(array: pa.Array) -> pl.Series | list[Any]:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        array.validate(full=True)  # polars takes text for UTF-8
        return _series(array)
    if pa.types.is_float32(kind):
        array = array.cast(pa.float64())
    if pa.types.is_timestamp(kind) and kind.tz in (None, "UTC"):
        return _series(array.cast(pa.timestamp("us", kind.tz)))
    plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
    return _series(array) if plain and not pa.types.is_float16(kind) else array.to_pylist()


def _series(array: pa.Array) -> pl.Series:
    return cast(pl.Series, pl.from_arrow(array))
