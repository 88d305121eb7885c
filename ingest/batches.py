"""Checked rows as Arrow tables with the shared schema; x_* columns are numbers or text, decided per batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa

from ..schemas.columns import FEATURE_PREFIX, MENUS
from ..schemas.tables import arrow_schema
from .blocks import feature_columns
from .seam import Table

FeatureKind = Literal["real", "text"]
FEATURE_TYPES: Final[dict[FeatureKind, pa.DataType]] = {"real": pa.float64(), "text": pa.string()}
SEQUENCE: Final = "_seq"
"""Position of the row among its file's rows; staged for a total order, not kept in the store."""
_CONTEXT_COLUMNS: Final = (
    "request_id",
    "session_id",
    "tenant_id",
    "ts",
    "source_format",
    "source_file",
    "source_row",
)


def feature_kinds(rows: Sequence[dict[str, Any]]) -> dict[str, FeatureKind]:
    """The kind of each x_* column that has a value: text as soon as one value is text, else real."""
    kinds: dict[str, FeatureKind] = {}
    for name in sorted(set[str]().union(*rows)):
        if not name.startswith(FEATURE_PREFIX):
            continue
        types = set(map(type, [row.get(name) for row in rows])) - {type(None)}
        if types:
            kinds[name] = "text" if str in types else "real"
    return kinds


def staged_table(table: Table, rows: list[dict[str, Any]], frame: pl.DataFrame | None = None) -> pa.Table:
    """`rows` and those of `frame` in the staged schema of `table`, in the order of their sequence.

    All are checked and have provenance and sequence. frame: as in a Block. Of decisions, most of whose
    columns are empty in most logs, only those columns are there that have a value.
    """
    kinds = feature_kinds(rows)
    if frame is not None:
        kinds |= {name: kind for name, kind in _frame_kinds(frame).items() if kinds.get(name) != "text"}
    schema = staged_schema(table, dict(sorted(kinds.items())))
    parts = [_of_rows(rows, schema, kinds)] if rows else []
    parts += [_of_frame(frame, schema, kinds)] if frame is not None else []
    whole = parts[0] if len(parts) == 1 else pa.concat_tables(parts).sort_by(SEQUENCE).combine_chunks()
    if table != "decisions":
        return whole
    return whole.select([field.name for field in schema if whole[field.name].null_count < whole.num_rows])


def _of_rows(rows: list[dict[str, Any]], schema: pa.Schema, kinds: dict[str, FeatureKind]) -> pa.Table:
    present = set[str]().union(*rows)  # most formats fill a third of the columns
    columns = [
        _feature_array(field.name, rows, kinds[field.name])
        if field.name in kinds
        else pa.array([row.get(field.name) for row in rows], type=field.type)
        if field.name in present
        else pa.nulls(len(rows), type=field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _frame_kinds(frame: pl.DataFrame) -> dict[str, FeatureKind]:
    kinds: dict[str, FeatureKind] = {}
    for name in frame.columns:
        if name.startswith(FEATURE_PREFIX):
            numbers, words = (frame[column] for column in feature_columns(name))
            if words.null_count() < frame.height:
                kinds[name] = "text"
            elif numbers.null_count() < frame.height:
                kinds[name] = "real"
    return kinds


def _of_frame(frame: pl.DataFrame, schema: pa.Schema, kinds: dict[str, FeatureKind]) -> pa.Table:
    columns: list[pa.Array] = []
    for field in schema:
        if kinds.get(field.name) == "text":
            numbers, words = (frame[column] for column in feature_columns(field.name))
            values = (
                words.fill_null(numbers_as_texts(numbers)) if numbers.null_count() < len(numbers) else words
            )
        elif field.name not in frame.columns:
            columns.append(pa.nulls(frame.height, type=field.type))
            continue
        else:
            values = frame[field.name]
        columns.append(values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def staged_schema(table: Table, kinds: dict[str, FeatureKind]) -> pa.Schema:
    """The schema of a staged part: the table's columns, its features, and the sequence."""
    features = {name: FEATURE_TYPES[kind] for name, kind in kinds.items()}
    if table == "contexts":
        whole = arrow_schema("decisions", features)
        schema = pa.schema([whole.field(name) for name in (*_CONTEXT_COLUMNS, *sorted(features))])
    elif table == "menus":
        schema = pa.schema([pa.field(column.name, column.dtype) for column in MENUS])
    else:
        schema = arrow_schema(table, features)
    return schema.append(pa.field(SEQUENCE, pa.int64()))


def number_as_text(value: float) -> str:
    """A number as a category: whole numbers without a fraction, so that 3, 3.0 and "3" are one category."""
    return repr(float(value)).removesuffix(".0")


def numbers_as_texts(numbers: pl.Series) -> pl.Series:
    """Numbers as categories; Python spells each, because polars writes large and small ones otherwise."""
    spelled = [None if number is None else number_as_text(number) for number in numbers.to_list()]
    return pl.Series(numbers.name, spelled, dtype=pl.String)


def _feature_array(name: str, rows: list[dict[str, Any]], kind: FeatureKind) -> pa.Array:
    values = [row.get(name) for row in rows]
    if kind == "real":
        return pa.array([None if v is None else float(v) for v in values], type=pa.float64())
    texts = [v if v is None or isinstance(v, str) else number_as_text(v) for v in values]
    return pa.array(texts, type=pa.string())
