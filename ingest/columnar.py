"""Rows of a Parquet log, streamed, as Python values or as the JSON values that they would have been.

Only the columns asked for are read, so that texts which nobody needs never enter memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
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
    for first, rows in parquet_batches(log, columns=columns):
        with _readable(log):
            for start in range(0, rows.num_rows, _SLICE_ROWS):
                yield from _numbered(rows.slice(start, _SLICE_ROWS), first + start)


def parquet_batches(
    log: LogFile, *, columns: Collection[str] | None = None, batch_rows: int = _BATCH_ROWS
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows as Arrow holds them, in batches, each with the number of its first row.

    Raises: IngestError, as `parquet_records`.
    """
    number = 1
    with _readable(log), pq.ParquetFile(log.path) as file:
        _check_inflation(file.metadata, log)
        named = file.schema_arrow.names
        wanted = None if columns is None else [name for name in named if name in columns]
        # Of no columns Arrow would give batches without rows.
        found = _empty(file, batch_rows) if wanted == [] else file.iter_batches(batch_rows, columns=wanted)
        for batch in found:
            yield number, _microseconds(batch)
            number += batch.num_rows
            if log.heard is not None:
                log.heard(log.path.stat().st_size * (number - 1) // file.metadata.num_rows)


def _empty(file: pq.ParquetFile, batch_rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, file.metadata.num_rows, batch_rows):
        rows = [{}] * min(batch_rows, file.metadata.num_rows - start)
        yield pa.RecordBatch.from_struct_array(pa.array(rows, pa.struct([])))


@contextmanager
def _readable(log: LogFile) -> Generator[None]:
    try:
        yield
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
            yield single(rows.slice(place, 1), first + place)
        return
    yield from enumerate(found, first)


def single(row: pa.RecordBatch, number: int) -> tuple[int, Record] | Rejected:
    """The one row of `row`, whose number in the file is `number`, or why Python cannot hold it."""
    try:
        return number, row.to_pylist()[0]
    except UnicodeDecodeError:
        return Rejected(number, "not UTF-8")
    except (ValueError, OverflowError) as error:
        return Rejected(number, f"a value that cannot be held: {printable(str(error))[:200]}")


def below(value: Any, parts: Sequence[str]) -> Any:
    """The value down the objects and lists that `parts` name; None where there is none."""
    for part in parts:
        if isinstance(value, dict):
            value = cast(Record, value).get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(part)]
        else:
            return None
    return value


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
