"""A file checked against a shared table: every fault with its row and the cure; nothing is stored."""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import IngestError, SchemaError
from ..schemas.columns import FEATURE_PREFIX, Column
from ..schemas.store import STORED_TABLES, open_store
from ..schemas.tables import TABLE_KEY, TABLES, check_version
from .checks import problem
from .seam import Table

Row = dict[str, Any]

KEPT: Final = 50
"""Faults that are told one by one; all are counted."""
_MAX_LINE: Final = 16 * 1024 * 1024
_BATCH: Final = 10_000
_TELLING: Final[dict[str, tuple[str, ...]]] = {
    "ledger": ("baseline", "decision_id", "nmv"),
    "estimates": ("baseline", "quantity", "estimand"),
    "decisions": ("decision_id", "action"),
    "engine_steps": ("replica", "step_s"),
    "outcomes": ("name",),
}
"""Columns by which a table is recognised, the most telling first."""
_INTERVALS: Final = {
    "estimates": (("value", "lower", "upper"),),
    "ledger": tuple((n, f"{n}_lower", f"{n}_upper") for n in ("dq", "dc", "dl", "dr", "nmv")),
}
_ZONE: Final = "Write times as ISO 8601 with their zone, for instance 2026-11-02T08:00:00+00:00."
_CURES: Final = {
    "expected a value in every row": "Fill the column, or map another one to it.",
    "expected 1": "Log one probability for each candidate, fixed before the draw, adding up to 1.",
    "expected a time": _ZONE,
    "expected a time with its zone": _ZONE,
    "expected a number": "Write a bare number in the unit of 'shadowprice schema show'.",
}
"""How a reason ends -> what to do, where the reason does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong in one row (None: in the whole file), counted from 1 as a reader of the file counts."""

    row: int | None
    found: str
    cure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """One file: its table, its rows, the first faults and how many there are in all."""

    file: str
    table: str
    rows: int
    faults: tuple[Fault, ...]
    count: int

    def to_dict(self) -> Row:
        """The validation as plain values."""
        return asdict(self)


def validate(path: str | Path, table: str | None = None) -> tuple[Validation, ...]:
    """The faults of a Parquet, JSONL or CSV file, or of every table of a store.

    table: by default that of the file's metadata, else the one that its columns fit.

    Raises: IngestError for a file that cannot be read; SchemaError for an unknown table, or one that the
    columns do not tell.
    """
    place = Path(path)
    if table is not None and table not in TABLES:
        raise SchemaError(f"no table '{table}'", where="--table", expected=" or ".join(TABLES))
    if place.is_dir():
        store = open_store(place)
        return tuple(_file(file, name) for name in STORED_TABLES for file in store.files(name))
    if not place.is_file():
        raise IngestError(
            "no such file", where=str(path), expected="a Parquet, JSONL or CSV file, or a store"
        )
    return (_file(place, table),)


def _file(path: Path, table: str | None) -> Validation:
    """The faults of one file, of its columns first."""
    kind = path.suffix.lower()
    readers = {".parquet": _parquet, ".csv": _csv}
    columns, rows = readers.get(kind, _jsonl)(path)
    name = table or _stamped(path, kind) or _recognised(columns, path)
    known = {c.name: c for c in TABLES[name]}
    collected = _Collected()
    for fault in _column_faults(columns, known, name):
        collected.add(fault)
    if kind == ".parquet":
        for fault in _parquet_faults(path, known):
            collected.add(fault)
    checked = {c for c in columns if c in known or _is_feature(c, name)}
    ids: dict[str, int] = {}
    count = 0
    for number, values in rows:
        count += 1
        if isinstance(values, str):
            collected.add(Fault(row=number, found=values, cure="Write one JSON object per line."))
            continue
        row = {k: _typed(v, known.get(k)) for k, v in values.items() if k in checked or k in known}
        collected.extend(_row_faults(name, number, row))
        if name == "decisions" and isinstance(row.get("decision_id"), str):
            first = ids.setdefault(row["decision_id"], number)
            if first != number:
                cure = "Give each decision an id of its own, or remove the copy."
                collected.add(Fault(row=number, found=f"decision_id is that of row {first}", cure=cure))
    if count == 0:
        collected.add(Fault(row=None, found="no rows", cure=None))
    return Validation(
        file=str(path), table=name, rows=count, faults=tuple(collected.faults), count=collected.count
    )


class _Collected:
    """The first faults, and the number of all; local to one file."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.count = 0

    def add(self, fault: Fault) -> None:
        self.count += 1
        if len(self.faults) < KEPT:
            self.faults.append(fault)

    def extend(self, faults: Iterator[Fault]) -> None:
        for fault in faults:
            self.add(fault)


def _stamped(path: Path, kind: str) -> str | None:
    """The table that our own files name in their metadata."""
    if kind != ".parquet":
        return None
    name = (pq.read_schema(path).metadata or {}).get(TABLE_KEY, b"").decode(errors="replace")
    return name if name in TABLES else None


def _recognised(columns: list[str], path: Path) -> str:
    for table, telling in _TELLING.items():
        if set(telling) <= set(columns):
            return table
    raise SchemaError(
        "the columns are those of no table",
        where=str(path),
        expected=" or ".join(f"{', '.join(names)} ({table})" for table, names in _TELLING.items()),
        cure="Name the table with --table; a log of your own needs a mapping ('ingest --draft-mapping').",
    )


def _is_feature(name: str, table: str) -> bool:
    return table == "decisions" and name.startswith(FEATURE_PREFIX)


def _column_faults(columns: list[str], known: dict[str, Column], table: str) -> Iterator[Fault]:
    for name in known.values():
        if not name.nullable and name.name not in columns:
            yield Fault(row=None, found=f"column {name.name} is missing", cure=f"It says {name.meaning}.")
    for name in columns:
        if name not in known and not _is_feature(name, table):
            close = difflib.get_close_matches(name, known, n=1)
            cure = f"Did you mean {close[0]}?" if close else "Name context features x_*, or drop the column."
            yield Fault(row=None, found=f"unknown column {name[:80]!r}", cure=cure)


def _parquet_faults(path: Path, known: dict[str, Column]) -> Iterator[Fault]:
    """Types that differ from the shared schema, and a stamp of another version."""
    schema = pq.read_schema(path)
    if (schema.metadata or {}).get(TABLE_KEY) is not None:
        try:
            check_version(schema, where=str(path))
        except SchemaError as error:
            yield Fault(row=None, found=error.found, cure=error.cure)
    for field in schema:
        column = known.get(field.name)
        if column is not None and not _fits(field.type, column.dtype):
            cure = f"Write it as {column.dtype}."
            yield Fault(
                row=None, found=f"{field.name} has type {field.type}, expected {column.dtype}", cure=cure
            )


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of type `found` are read as `wanted` without a change of meaning."""
    if pa.types.is_null(found) or found == wanted:
        return True
    if pa.types.is_dictionary(found):
        return _fits(found.value_type, wanted)
    if pa.types.is_list(wanted):
        lists = pa.types.is_list(found) or pa.types.is_large_list(found)
        return lists and _fits(found.value_type, wanted.value_type)
    if pa.types.is_string(wanted):
        return pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(found) or pa.types.is_integer(found)
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    return pa.types.is_timestamp(wanted) and pa.types.is_timestamp(found) and found.tz is not None


def _row_faults(table: str, number: int, row: Row) -> Iterator[Fault]:
    if table in _INTERVALS:
        yield from (Fault(row=number, found=f, cure=None) for f in _interval_faults(table, row))
        return
    checked = {k: list(v) if isinstance(v, tuple) else v for k, v in row.items()}
    found = problem(cast(Table, table), checked)
    if found is not None:
        yield Fault(
            row=number, found=found, cure=next((c for k, c in _CURES.items() if found.endswith(k)), None)
        )


def _interval_faults(table: str, row: Row) -> Iterator[str]:
    """What no row of the ledger or of the estimates may say."""
    for column in TABLES[table]:
        value = row.get(column.name)
        if value is None or value == "":
            if not column.nullable:
                yield f"{column.name} is missing, expected a value in every row"
        elif column.choices and value not in column.choices:
            yield f"{column.name} is {ascii(value)[:80]}, expected {' or '.join(column.choices)}"
        elif pa.types.is_floating(column.dtype) and not (
            isinstance(value, int | float) and math.isfinite(value)
        ):
            yield f"{column.name} is {ascii(value)[:80]}, expected a finite number"
    for names in _INTERVALS[table]:
        value, lower, upper = (row.get(n) for n in names)
        ends = [x for x in (lower, value, upper) if isinstance(x, int | float)]
        slack = 1e-9 * max([1.0, *map(abs, ends)])
        if any(a > b + slack for a, b in pairwise(ends)):
            yield f"{names[0]} is {value}, outside [{lower}, {upper}]"
    number = row.get("value" if table == "estimates" else "nmv")
    if number is None and not row.get("reason"):
        yield "no value and no reason, expected one of them"


def _typed(value: Any, column: Column | None) -> Any:
    """Text from CSV or JSON as the type of its column; what does not parse stays, and is a fault."""
    if not isinstance(value, str):
        return value
    if value == "":
        return None
    parse = _PARSERS.get(column.dtype) if column is not None else None
    if parse is None:
        return value
    try:
        return parse(value)
    except (ValueError, RecursionError):
        return value


def _flag(text: str) -> bool:
    return (
        {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse(text)
    )


def _refuse(text: str) -> bool:
    raise ValueError(text)


_PARSERS: Final[dict[pa.DataType, Callable[[str], Any]]] = {
    pa.float64(): float,
    pa.int64(): int,
    pa.bool_(): _flag,
    pa.timestamp("us", tz="UTC"): datetime.fromisoformat,
    pa.list_(pa.string()): json.loads,
    pa.list_(pa.float64()): json.loads,
}

Rows = Iterator[tuple[int, Row | str]]


def _parquet(path: Path) -> tuple[list[str], Rows]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError("not a Parquet file", where=str(path)) from error

    def rows() -> Rows:
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            for values in batch.to_pylist():
                number += 1
                yield number, values

    return list(file.schema_arrow.names), rows()


def _csv(path: Path) -> tuple[list[str], Rows]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        columns = next(csv.reader(file), [])

    def rows() -> Rows:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            try:
                for number, values in enumerate(csv.DictReader(file), start=1):
                    yield number, {k: v for k, v in values.items() if k is not None}
            except csv.Error as error:
                yield 0, f"not CSV: {error}"

    return columns, rows()


def _jsonl(path: Path) -> tuple[list[str], Rows]:
    """Columns are those of the whole file, since any line may bring one of its own."""
    columns: dict[str, None] = {}
    for _, values in _json_rows(path):
        if isinstance(values, dict):
            columns |= dict.fromkeys(values)
    if not columns:
        raise IngestError("no line is a JSON object", where=str(path), expected="Parquet, JSONL or CSV")
    return list(columns), _json_rows(path)


def _json_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", errors="replace") as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            if not line.endswith("\n") and len(line) == _MAX_LINE:
                yield number, f"a line of more than {_MAX_LINE} characters"
                return
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                yield number, "not JSON"
                continue
            yield number, values if isinstance(values, dict) else "not a JSON object"
