"""A mapping followed a column at a time: what it makes of a batch of records.

The rows are those that `mapping` makes of each record by itself. A record with anything that is not plain in
it is made by itself, and so are the reasons why it cannot be stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Any, Final, cast

import numpy as np
import polars as pl
import pyarrow as pa

from .. import column_convert as by_column
from ..batch_columns import Batch, Found, column_at
from ..blocks import LINE, PLACE, Block, feature_columns
from ..column_checks import doubted
from ..column_convert import Cells
from ..convert import TimeUnit
from ..seam import Item, LogFile, Table
from .mapping_spec import ISO, CellSpec, ClassRule, Kind, Mapping, OutcomeSpec
from .mapping_values import CONVERTERS, FLAGS, fits, known_value, made_id, stated_source, time_cell, zone_of

_TYPES: Final[dict[Kind, pl.DataType]] = {
    "time": pl.Datetime("us", "UTC"),
    "seconds": pl.Float64(),
    "money": pl.Float64(),
    "input": pl.Int64(),
    "propensity": pl.Float64(),
    "shares": pl.List(pl.Float64),
    "names": pl.List(pl.String),
    "count": pl.Int64(),
    "real": pl.Float64(),
    "flag": pl.Boolean(),
    "text": pl.String(),
}
_PLACES: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9, "USD": 0, "cents": 2, "usd_micro": 6}
"""Decimal places of a unit in seconds or USD."""
_TOKENS: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write")

Columns = dict[str, pl.Series]
Alone = Callable[[Found], list[Item]]


def made_of(mapping: Mapping, batch: Batch, log: LogFile, *, alone: Alone) -> Block:
    """The items of the batch's records, in their order; `alone` makes those of one record."""
    frames: dict[Table, pl.DataFrame] = {}
    try:
        frames, doubt = _Maker(mapping, batch, log).made()
    except (ValueError, OverflowError, pa.ArrowException, pl.exceptions.PolarsError):
        # a value that one of them cannot hold: the records by themselves tell which
        doubt = np.ones(batch.rows.num_rows, dtype=bool)
    singly = {int(place): alone(batch.alone(int(place))) for place in np.flatnonzero(doubt)}
    if singly:
        for table, frame in frames.items():
            frames[table] = frame.filter(~pl.Series(doubt).gather(frame[_ROW]))
    sizes = np.zeros(batch.rows.num_rows, dtype=np.int64)
    for frame in frames.values():
        np.add.at(sizes, frame[_ROW].to_numpy(), 1)
    for place, items in singly.items():
        sizes[place] = len(items)
    return _ordered(frames, sizes, singly, [(before, alone(found)) for before, found in batch.others])


_ROW: Final = "_row"
_NTH: Final = "_nth"
"""In frames that are being made: the record's place in its batch, and the row's place in its record."""


def _ordered(
    frames: dict[Table, pl.DataFrame],
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]],
    singly: dict[int, list[Item]],
    between: list[tuple[int, list[Item]]],
) -> Block:
    """Everything with its place: record after record, each after what comes between them before it."""
    added = np.zeros(len(sizes) + 1, dtype=np.int64)
    for before, items in between:
        added[before] += len(items)
    starts = np.concatenate([[0], np.cumsum(sizes)]) + np.cumsum(added)
    others = [
        (int(starts[place]) + nth, item) for place, items in singly.items() for nth, item in enumerate(items)
    ]
    nexts = starts - added
    for before, items in between:
        others += [(int(nexts[before]) + nth, item) for nth, item in enumerate(items)]
        nexts[before] += len(items)
    placed: dict[Table, pl.DataFrame] = {
        table: frame.with_columns((pl.Series(starts).gather(frame[_ROW]) + frame[_NTH]).alias(PLACE)).drop(
            _ROW, _NTH
        )
        for table, frame in frames.items()
        if frame.height
    }
    return Block(placed, sorted(others, key=lambda one: one[0]), int(starts[-1]))


@dataclass(slots=True)
class _Maker:
    """The columns that a mapping makes of one batch; doubt: records that must be made by themselves."""

    mapping: Mapping
    batch: Batch
    log: LogFile
    doubt: pl.Series = field(init=False)
    read: dict[str, pl.Series | list[Any]] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.doubt = pl.repeat(False, self.batch.rows.num_rows, dtype=pl.Boolean, eager=True)

    def made(self) -> tuple[dict[Table, pl.DataFrame], np.ndarray[Any, np.dtype[np.bool_]]]:
        spec = self.mapping.spec
        columns: Columns = {}
        for name, cell in self.mapping.cells.items():
            self._cell(columns, name, cell, self.mapping.kinds[name])
        if spec.table == "decisions":
            self._complete(columns)
        frames: dict[Table, pl.DataFrame] = {}
        nth = pl.repeat(0, len(self.doubt), dtype=pl.Int64, eager=True)
        if spec.table != "outcomes":
            frames[spec.table] = self._frame(columns, nth)
            self.doubt |= doubted(spec.table, frames[spec.table])
            nth += 1
        told: list[pl.DataFrame] = []
        for outcome in spec.outcomes:
            frame = self._frame(self._outcome(outcome, columns), nth)
            present = frame["value"].is_not_null() | frame["label"].is_not_null()
            self.doubt |= doubted("outcomes", frame) & present
            told.append(frame.filter(present))
            nth += present.cast(pl.Int64)
        if told:
            frames["outcomes"] = pl.concat(told, how="diagonal").sort(_ROW, _NTH)
        return frames, self.doubt.to_numpy()

    def _frame(self, columns: Columns, nth: pl.Series) -> pl.DataFrame:
        named = [values.alias(name) for name, values in columns.items()]
        lines = pl.Series(LINE, self.batch.lines, dtype=pl.Int64)
        rows = pl.int_range(len(self.doubt), dtype=pl.Int64, eager=True).alias(_ROW)
        return pl.DataFrame([*named, lines, rows, nth.alias(_NTH)])

    def _source(self, path: str, null_values: tuple[Any, ...]) -> pl.Series | list[Any]:
        """The known values at a path."""
        if path not in self.read:
            self.read[path] = column_at(self.batch.rows, path)
        values = self.read[path]
        if isinstance(values, pl.Series):
            return by_column.known(values, null_values)
        return [known_value(value, null_values) for value in values]

    def _sound(self, cells: Cells) -> pl.Series:
        """The values of a column; its doubts are noted."""
        self.doubt |= cells.doubt
        return cells.values

    def _constant(self, value: Any, dtype: pl.DataType) -> pl.Series:
        return pl.Series([value], dtype=dtype).new_from_index(0, len(self.doubt))

    def _cell(self, columns: Columns, name: str, cell: CellSpec, kind: Kind) -> None:
        """Add the columns of one cell, as they come in the record: later cells have the last word."""
        if kind == "input":
            self._tokens(columns, cell)
        elif kind == "feature":
            numbers, words = feature_columns(name)
            columns[numbers], columns[words] = self._feature(cell)
        else:
            columns[name] = self._plain(cell, kind)

    def _plain(self, cell: CellSpec, kind: Kind) -> pl.Series:
        if cell.path is None:
            return self._constant(CONVERTERS[kind](cell, cell.value), _TYPES[kind])
        return self._sound(_converted(cell, kind, self._source(cell.path, cell.null_values)))

    def _tokens(self, columns: Columns, cell: CellSpec) -> None:
        total = self._counts(cell.path, cell, cell.value)
        assert total is not None
        read, write = self._counts(cell.cache_read, cell), self._counts(cell.cache_write, cell)
        uncached = by_column.disjoint(total, read, write, cell.convention or "exclusive")
        for name, cells in zip(_TOKENS, (uncached, read, write), strict=True):
            if cells is not None:
                counted = self._sound(cells)
                columns[name] = counted.fill_null(columns[name]) if name in columns else counted

    def _counts(self, path: str | None, cell: CellSpec, value: Any = None) -> Cells | None:
        if path is not None:
            found = _converted(cell, "count", self._source(path, cell.null_values))
            self._sound(found)
            return found
        if value is None:
            return None
        constant = self._constant(CONVERTERS["count"](cell, value), pl.Int64())
        return Cells.of(constant, constant)

    def _feature(self, cell: CellSpec) -> tuple[pl.Series, pl.Series]:
        """The numbers and the texts of a feature."""
        if cell.path is None:
            number, word = self._features_one_by_one(cell, [cell.value])
            return number.new_from_index(0, len(self.doubt)), word.new_from_index(0, len(self.doubt))
        source = self._source(cell.path, cell.null_values)
        no_text = self._constant(None, pl.String())
        if isinstance(source, list) or isinstance(source.dtype, pl.Datetime):
            return self._features_one_by_one(cell, list(source))
        if cell.type == "text":
            return self._constant(None, pl.Float64()), self._sound(by_column.texts(source))
        if source.dtype == pl.Boolean:
            return source.cast(pl.Float64), no_text
        if source.dtype == pl.String and cell.type is None:
            numbers, words = by_column.numbers_or_texts(source)
            return self._sound(numbers), self._sound(words)
        return self._sound(by_column.reals(source)), no_text

    def _features_one_by_one(self, cell: CellSpec, source: list[Any]) -> tuple[pl.Series, pl.Series]:
        values, doubt = _one_by_one(source, partial(CONVERTERS["feature"], cell))
        self.doubt |= doubt
        numbers = [None if value is None or isinstance(value, str) else float(value) for value in values]
        words = [value if isinstance(value, str) else None for value in values]
        return pl.Series(numbers, dtype=pl.Float64), pl.Series(words, dtype=pl.String)

    def _complete(self, columns: Columns) -> None:
        """Fill what no cell says: id, propensity of the chosen action, its source, and the class."""
        ids = columns.get("decision_id", self._constant(None, pl.String()))
        unnamed = ids.is_null()
        if unnamed.any():
            made = [
                made_id(self.log, line) if absent else None
                for line, absent in zip(self.batch.lines.tolist(), unnamed, strict=True)
            ]
            columns["decision_id"] = ids.fill_null(pl.Series(made, dtype=pl.String))
        if "propensities" in columns:
            columns["propensity"] = _chosen(columns)
        stated = [columns[name].is_not_null() for name in ("propensity", "propensities") if name in columns]
        if stated:
            told = columns.get("propensity_source", self._constant(None, pl.String()))
            source = self._constant(stated_source(self.mapping), pl.String())
            columns["propensity_source"] = told.fill_null(source.set(~reduce(or_, stated), None))
        if self.mapping.spec.action_class:
            self._classes(columns)

    def _classes(self, columns: Columns) -> None:
        """The class of the first rule that a record matches."""
        kind, undone = self._constant(None, pl.String()), columns.get("reversible")
        undone = self._constant(None, pl.Boolean()) if undone is None else undone
        for rule in reversed(self.mapping.spec.action_class):
            hit = self._hits(rule)
            kind = self._constant(rule.action_class, pl.String()).zip_with(hit, kind)
            undone = self._constant(rule.reversible, pl.Boolean()).zip_with(hit, undone)
        columns["action_class"], columns["reversible"] = kind, undone

    def _hits(self, rule: ClassRule) -> pl.Series:
        hit = ~self._constant(False, pl.Boolean())
        for path, expression in rule.match.items():
            source = self._source(path, ())
            if isinstance(source, pl.Series) and source.dtype == pl.String:
                found = by_column.by_distinct(source, partial(fits, expression), pl.Boolean())
            else:
                values = source.to_list() if isinstance(source, pl.Series) else source
                told, doubt = _one_by_one(values, partial(fits, expression))
                found = Cells(pl.Series(told, dtype=pl.Boolean), doubt)
            hit &= self._sound(found).fill_null(value=False)
        return hit

    def _outcome(self, outcome: OutcomeSpec, columns: Columns) -> Columns:
        """The columns of one outcome; a record without value and label has none."""
        source = self._source(outcome.path, outcome.null_values)
        value, label = self._measured(source)
        told: Columns = {
            "name": self._constant(outcome.name, pl.String()),
            "source": self._constant(outcome.source, pl.String()),
        }
        if outcome.key in columns:
            told[outcome.key] = columns[outcome.key]
        if self.mapping.spec.table == "outcomes":
            told |= columns
        told |= {"value": value, "label": label}
        if outcome.ts is not None:
            told["ts"] = self._plain(time_cell(outcome.ts, self.mapping), "time")
        return told

    def _measured(self, source: pl.Series | list[Any]) -> tuple[pl.Series, pl.Series]:
        no_label = self._constant(None, pl.String())
        if isinstance(source, list) or isinstance(source.dtype, pl.Datetime):
            self.doubt |= pl.Series([value is not None for value in source], dtype=pl.Boolean)
            return self._constant(None, pl.Float64()), no_label
        if source.dtype != pl.String:
            flags = source.dtype == pl.Boolean
            return (source.cast(pl.Float64) if flags else self._sound(by_column.reals(source))), no_label
        word = source.str.strip_chars(by_column.SPACES).str.to_lowercase()
        flag = word.replace_strict(FLAGS, default=None, return_dtype=pl.Boolean).cast(pl.Float64)
        numbers, labels = by_column.numbers_or_texts(source.set(flag.is_not_null(), None))
        return flag.fill_null(self._sound(numbers)), self._sound(labels)


def _converted(cell: CellSpec, kind: Kind, source: pl.Series | list[Any]) -> Cells:
    """A column in our unit, by column where its type allows it, else value by value."""
    if isinstance(source, pl.Series):
        number = source.dtype.is_numeric() or isinstance(source.dtype, pl.String | pl.Boolean)
        if number and kind in ("seconds", "money"):
            return by_column.scaled(source, _PLACES[cell.unit or ("s" if kind == "seconds" else "USD")])
        if number and kind == "time" and cell.unit != ISO:
            return by_column.epochs(source, cast(TimeUnit, cell.unit))
        if number and kind in _BY_COLUMN:
            return _BY_COLUMN[kind](source)
        if kind == "flag" and source.dtype == pl.Boolean:
            return Cells.of(source, source)
        if kind == "time" and cell.unit == ISO and source.dtype == pl.String:
            return by_column.iso_times(source, zone_of(cell))
        if kind == "time" and cell.unit == ISO and isinstance(source.dtype, pl.Datetime):
            zone = zone_of(cell) if source.dtype.time_zone is None else zone_of(CellSpec(value=0))
            return by_column.own_times(source.cast(pl.Int64), "us", zone)
        if source.dtype == pl.String:
            return by_column.by_distinct(source, partial(CONVERTERS[kind], cell), _TYPES[kind])
        source = source.to_list()
    values, doubt = _one_by_one(source, partial(CONVERTERS[kind], cell))
    return Cells(pl.Series(values, dtype=_TYPES[kind]), doubt)


_BY_COLUMN: Final[dict[Kind, Callable[[pl.Series], Cells]]] = {
    "propensity": by_column.reals,
    "real": by_column.reals,
    "count": by_column.counts,
    "text": by_column.texts,
}


def _one_by_one(source: list[Any], convert: Callable[[Any], Any]) -> tuple[list[Any], pl.Series]:
    """What `convert` makes of each value, and where it makes nothing of one."""
    values: list[Any] = []
    doubt: list[bool] = []
    for value in source:
        try:
            values.append(None if value is None else convert(value))
            doubt.append(False)
        except ValueError:
            values.append(None)
            doubt.append(True)
    return values, pl.Series(doubt, dtype=pl.Boolean)


def _chosen(columns: Columns) -> pl.Series:
    """The propensity of each action, from those of the candidates where it is not known by itself."""
    shares = columns["propensities"].to_list()
    empty: list[Any] = [None] * len(shares)
    known, offered, actions = (
        columns[name].to_list() if name in columns else empty
        for name in ("propensity", "candidates", "action")
    )
    chosen = map(_share, known, shares, offered, actions)
    return pl.Series(list(chosen), dtype=pl.Float64)


def _share(
    known: float | None, shares: list[float] | None, offered: list[str] | None, action: str | None
) -> float | None:
    if known is not None or shares is None or action is None or action not in (offered or ()):
        return known
    place = cast("list[str]", offered).index(action)
    return shares[place] if place < len(shares) else None
