"""Rows of a Parquet log, streamed, as Python values or as the JSON values that they would have been.

Only the columns asked for are read, so that texts which nobody needs never enter memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import IngestError
from .opening import DAMAGED_PARQUET, FREE_INFLATION_BYTES, MAX_INFLATION, printable
from .seam import LogFile, Rejected

_BATCH_ROWS: Final = 4096
_SLICE_ROWS: Final = 256
"""Rows that are Python objects at a time; a batch in Arrow is several times smaller."""

Record = dict[str, Any]


def parquet_records(
    log: LogFile, *, columns: Collection[str] | None = None
) -> Iterator[tuple[int, Record] | Rejected]:
    """The rows with their number, from 1; of the named top-level `columns` those that exist, None for all.

    A row that Python cannot hold (text that is not UTF-8, a time in year 20000) is Rejected. Nanosecond
    times are cut to microseconds, which is what Python's times hold.
    Raises: IngestError when the file is not readable as Parquet, or inflates beyond any real log.
    """
    number = 0
    try:
        with pq.ParquetFile(log.path) as file:
            _check_inflation(file.metadata, log)
            named = file.schema_arrow.names
            wanted = None if columns is None else [name for name in named if name in columns]
            if wanted == []:  # Arrow would give batches without rows
                yield from ((n + 1, {}) for n in range(file.metadata.num_rows))
                return
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                rows = _microseconds(batch)
                for start in range(0, rows.num_rows, _SLICE_ROWS):
                    yield from _numbered(rows.slice(start, _SLICE_ROWS), number + start + 1)
                number += rows.num_rows
                if log.heard is not None:
                    log.heard(log.path.stat().st_size * number // file.metadata.num_rows)
    except (*DAMAGED_PARQUET, OSError) as error:
        told = str(error).splitlines() or [type(error).__name__]
        raise IngestError(
            f"not readable as Parquet: {printable(told[0])}",
            where=printable(log.name),
            cure="Decompress or copy the file again.",
        ) from error


def _numbered(rows: pa.RecordBatch, first: int) -> Iterator[tuple[int, Record] | Rejected]:
    try:
        found = rows.to_pylist()
    except (ValueError, OverflowError):
        for place in range(rows.num_rows):
            yield _single(rows.slice(place, 1), first + place)
        return
    yield from enumerate(found, first)


def _single(row: pa.RecordBatch, number: int) -> tuple[int, Record] | Rejected:
    try:
        return number, row.to_pylist()[0]
    except UnicodeDecodeError:
        return Rejected(number, "not UTF-8")
    except (ValueError, OverflowError) as error:
        return Rejected(number, f"a value that cannot be held: {printable(str(error))[:200]}")


def plain_json(value: Any) -> Any:
    """`value` as JSON would spell it: times as ISO text, decimals as numbers, bytes and NaN as null."""
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if items and all(isinstance(item, tuple) for item in items):
            return {str(key): plain_json(item) for key, item in items}  # a map column
        return [plain_json(item) for item in items]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _check_inflation(metadata: pq.FileMetaData, log: LogFile) -> None:
    """Refuse a row group that says it inflates beyond any real log: Arrow would allocate what it says."""
    limit = max(FREE_INFLATION_BYTES, MAX_INFLATION * log.path.stat().st_size)
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if size > limit:
            raise IngestError(
                f"row group {number} inflates to {size} bytes",
                where=printable(log.name),
                expected=f"at most {MAX_INFLATION} times the size of the file",
                cure="Check what it holds, or write it again with smaller row groups.",
            )


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with nanosecond times cut to what Python's times can hold.

    Other columns are left alone: Arrow's cast of a whole batch breaks structs that hold a column of nulls.
    """
    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pa.timestamp("us", field.type.tz)
            cut = batch.column(place).cast(kind, safe=False)
            batch = batch.set_column(place, field.with_type(kind), cut)
    return batch
