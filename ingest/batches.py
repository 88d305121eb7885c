"""Checked rows as Arrow tables with the shared schema; x_* columns are numbers or text, decided per batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import pyarrow as pa

from ..schemas.columns import FEATURE_PREFIX
from ..schemas.tables import arrow_schema
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


def staged_table(table: Table, rows: list[dict[str, Any]], kinds: dict[str, FeatureKind]) -> pa.Table:
    """`rows` (checked, with provenance and sequence) as an Arrow table in the staged schema of `table`.

    kinds: of the features of these rows.
    """
    schema = staged_schema(table, kinds)
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


def staged_schema(table: Table, kinds: dict[str, FeatureKind]) -> pa.Schema:
    """The schema of a staged part: the table's columns, its features, and the sequence."""
    features = {name: FEATURE_TYPES[kind] for name, kind in kinds.items()}
    if table == "contexts":
        whole = arrow_schema("decisions", features)
        schema = pa.schema([whole.field(name) for name in (*_CONTEXT_COLUMNS, *sorted(features))])
    else:
        schema = arrow_schema(table, features)
    return schema.append(pa.field(SEQUENCE, pa.int64()))


def number_as_text(value: float) -> str:
    """A number as a category: whole numbers without a fraction, so that 3, 3.0 and "3" are one category."""
    return repr(float(value)).removesuffix(".0")


def _feature_array(name: str, rows: list[dict[str, Any]], kind: FeatureKind) -> pa.Array:
    values = [row.get(name) for row in rows]
    if kind == "real":
        return pa.array([None if v is None else float(v) for v in values], type=pa.float64())
    texts = [v if v is None or isinstance(v, str) else number_as_text(v) for v in values]
    return pa.array(texts, type=pa.string())
