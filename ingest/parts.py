"""Query results as Parquet parts with exactly our Arrow schema, in row groups of a fixed size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from ..schemas.files import atomic_path
from .ahead import ahead

GROUP_ROWS: Final = 65_536


def write_part(reader: pa.RecordBatchReader, schema: pa.Schema, path: Path) -> int:
    """The number of rows written to `path`; no file when there are none."""
    groups = ahead(_groups(reader, schema))
    first = next(groups, None)
    if first is None:
        return 0
    rows = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for group in itertools.chain([first], groups):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            rows += group.num_rows
    return rows


def _groups(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of GROUP_ROWS, the last one shorter."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in reader:
        waiting.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows >= GROUP_ROWS:
            merged = pa.concat_tables(waiting)
            yield _shaped(merged.slice(0, GROUP_ROWS), schema)
            rest = merged.slice(GROUP_ROWS)
            waiting, rows = [rest], rest.num_rows
    if rows:
        yield _shaped(pa.concat_tables(waiting), schema)


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` in the shape of `schema`, in one chunk, so that its bytes do not depend on how it arrived.

    A column that it lacks is null.
    """
    present = set(table.column_names)
    columns = [
        table[field.name].cast(field.type) if field.name in present else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema).combine_chunks()
