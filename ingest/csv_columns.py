"""A CSV log by column: what Python's reader makes of each record, wherever there is only one way to read it.

Arrow splits the records; where it might do so in another way, as with quotes inside an unquoted cell, Python
reads, until it is past that place.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from .batch_columns import Batch, Found
from .lines import MAX_CELL_CHARS, csv_header, csv_rows
from .opening import opened
from .rest import Rest
from .seam import LogFile

_CHUNK: Final = 2 * 1024 * 1024
_LOOK: Final = 64 * 1024
_WORTHWHILE: Final = 32
"""Records between two doubtful places for which Arrow is quicker."""
_BATCH_ROWS: Final = 32_768
_BATCH_BYTES: Final = 16 * 1024 * 1024
_MAX_STEP: Final = 4096
_QUOTE, _NEWLINE, _RETURN = 34, 10, 13

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]


def splits_columns(delimiter: str) -> bool:
    """Whether Arrow and Python split at `delimiter` alike."""
    return delimiter == "\t" or (delimiter.isascii() and delimiter.isprintable() and delimiter not in '" ')


def csv_columns(log: LogFile, *, delimiter: str, columns: set[str]) -> Iterator[Batch]:
    """The records of a CSV log, with the named columns that exist.

    Raises: IngestError, as `csv_records`.
    """
    with opened(log) as stream:
        rest = Rest(stream)
        header, line, skipped = csv_header(rest, log, delimiter=delimiter)
        reader = _Reader(rest, header, delimiter, [name for name in header if name in columns], line, _CHUNK)
        reader.others += [(0, found) for found in skipped]
        yield from reader.batches()


@dataclass(slots=True)
class _Reader:
    """Records as they come; rows: those read by column. others: the others, with the rows before each.

    line: of the next record. look: bytes to look at, fewer after a doubtful place. step: records to read by
    row from one on, more where many are.
    """

    rest: Rest
    header: list[str]
    delimiter: str
    wanted: list[str]
    line: int
    look: int
    step: int = 1
    count: int = 0
    size: int = 0
    rows: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])
    lines: list[Places] = field(default_factory=list[Places])
    others: list[tuple[int, Found]] = field(default_factory=list[tuple[int, Found]])

    def batches(self) -> Iterator[Batch]:
        while data := self.rest.ahead(self.look):
            plain, begin = _plain(data, self.delimiter), self.rest.read
            read = plain.end > 0 and self._by_column(data[: plain.end], plain)
            if read:
                self.rest.skip(plain.end)
            self.look = _LOOK if plain.doubt < len(data) else min(2 * self.look, _CHUNK)
            self.step = 1 if len(plain.starts) >= _WORTHWHILE else self.step
            if not read or plain.doubt < len(data):
                self._by_row(begin + plain.doubt)
            if self.count + len(self.others) >= _BATCH_ROWS or self.size >= _BATCH_BYTES:
                yield self._batch()
        self._by_row(self.rest.read)  # the end, which may be damaged
        yield self._batch()

    def _by_row(self, until: int) -> None:
        """Read `step` records by row, and on until one ends after byte `until`."""
        found = csv_rows(self.rest, self.header, delimiter=self.delimiter, line=self.line)
        for records, (line, items) in enumerate(found, start=1):
            self.others += [(self.count, item) for item in items]
            self.line = line
            if records >= self.step and self.rest.read > until:
                break
        self.step = min(2 * self.step, _MAX_STEP)

    def _by_column(self, data: bytes, plain: _Plain) -> bool:
        """Read whole records by column; False, and nothing read, when Arrow sees others than we do."""
        starts, ends = plain.starts[plain.filled], plain.ends[plain.filled]
        lines = self.line + np.searchsorted(plain.newlines, starts)
        odd: list[int] = []
        table = self._split(data, odd) if len(starts) else None
        if table is not None:
            if table.num_rows + len(odd) != len(starts):
                return False
            self.rows += table.combine_chunks().to_batches()
        for place, number in enumerate(odd):
            record = io.BytesIO(data[starts[number] : ends[number] + 1])
            found = csv_rows(record, self.header, delimiter=self.delimiter, line=int(lines[number]))
            before = self.count + number - place
            self.others += [(before, item) for _, items in found for item in items]
        self.lines.append(np.delete(lines, odd))
        self.count += len(starts) - len(odd)
        self.size += len(data)
        self.line += int(np.searchsorted(plain.newlines, len(data)))
        return True

    def _split(self, data: bytes, odd: list[int]) -> pa.Table:
        """The wanted cells of all records that have as many as the header; `odd`: which ones have not."""

        def skip(row: pc.InvalidRow) -> str:
            odd.append(row.number - 1)
            return "skip"

        return pc.read_csv(
            io.BytesIO(data),
            read_options=pc.ReadOptions(
                column_names=self.header, use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pc.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(self.header, pa.string()),
                include_columns=self.wanted or self.header[:1],
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )

    def _batch(self) -> Batch:
        """What was read, which is no longer held here."""
        schema = pa.schema([pa.field(name, pa.string()) for name in self.wanted or self.header[:1]])
        none = pa.RecordBatch.from_arrays([pa.nulls(0, pa.string()) for _ in schema], schema=schema)
        rows = pa.Table.from_batches([*self.rows, none]).combine_chunks().to_batches()
        lines = np.concatenate([np.empty(0, dtype=np.int64), *self.lines])
        batch = Batch(self.header, rows[0] if rows else none, lines, self.others)
        self.rows, self.lines, self.others, self.count, self.size = [], [], [], 0, 0
        return batch


@dataclass(frozen=True, slots=True)
class _Plain:
    """Where the records of some bytes are, as far as there is no doubt.

    end: of the last whole record without doubt. doubt: the first byte in doubt, or all. starts, ends: first
    byte and newline of each record up to `end`. filled: records that are no blank lines. newlines: all.
    """

    end: int
    doubt: int
    starts: Places
    ends: Places
    filled: np.ndarray[tuple[int], np.dtype[np.bool_]]
    newlines: Places


def _plain(data: bytes, delimiter: str) -> _Plain:
    values: Bytes = np.frombuffer(data, dtype=np.uint8)
    newlines, quotes = np.flatnonzero(values == _NEWLINE), np.flatnonzero(values == _QUOTE)
    doubt = min(_undecodable(data), _odd_byte(values, data), _odd_quote(values, quotes, ord(delimiter)))
    outside = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    starts = np.concatenate([[0], outside[:-1] + 1]) if len(outside) else outside
    long = np.flatnonzero(outside - starts > MAX_CELL_CHARS)
    doubt = min(doubt, int(starts[long[0]])) if len(long) else doubt
    whole = int(np.searchsorted(outside, doubt))
    starts, ends = starts[:whole], outside[:whole]
    filled = (ends > starts) & ~((ends == starts + 1) & (values[starts] == _RETURN))
    return _Plain(int(ends[-1]) + 1 if whole else 0, doubt, starts, ends, filled, newlines)


def _undecodable(data: bytes) -> int:
    """The first byte of a whole line that is not UTF-8, or the number of bytes."""
    if data.isascii():
        return len(data)
    try:
        data[: data.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _odd_byte(values: Bytes, data: bytes) -> int:
    """The first NUL, or carriage return that ends no line, or the number of bytes."""
    first = data.find(b"\0")
    first = len(data) if first < 0 else first
    if b"\r" in data:
        returns = np.flatnonzero(values[:-1] == _RETURN)
        alone = returns[values[returns + 1] != _NEWLINE]
        return min(first, int(alone[0])) if len(alone) else first
    return first


def _odd_quote(values: Bytes, quotes: Places, delimiter: int) -> int:
    """The first quote that neither begins nor ends a cell nor is one of two in a quoted cell."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, values[opening - 1], _NEWLINE)
    begins = np.isin(before, (delimiter, _NEWLINE, _QUOTE))
    after = values[np.minimum(closing + 1, len(values) - 1)]
    ends = np.isin(after, (delimiter, _NEWLINE, _RETURN, _QUOTE))
    odd = [*opening[~begins][:1], *closing[~ends][:1]]
    return int(min(odd, default=len(values)))
