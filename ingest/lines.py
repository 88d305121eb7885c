"""Records of a JSON, CSV or Parquet log, streamed, in memory that a record bounds, not the file.

A record that cannot be read is yielded as Rejected with its reason; the rest of the file goes on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, NoReturn, Protocol

import ijson
import orjson

from ..errors import IngestError
from .columnar import parquet_records, plain_json
from .nesting import deepest
from .opening import HEAD_BYTES, PARQUET_MAGIC, DamagedError, Snapshot, opened, printable, read_head
from .rest import Rest
from .seam import LogFile, Rejected

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""Longest line that is read; a whole prompt with tool results stays far below."""
MAX_OBJECT_BYTES: Final = 64 * 1024 * 1024
"""Largest single JSON object spread over lines, or element of an array: parsed whole, so held in memory."""
MAX_DEPTH: Final = 100
"""Deepest nesting handed to a reader, far below Python's recursion limit."""
MAX_CELL_CHARS: Final = 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 1024 * 1024

JsonRecord = tuple[int, dict[str, Any]]
CsvRecord = tuple[int, dict[str, str]]


class Stream(Protocol):
    """What lines are read from."""

    def readline(self, size: int, /) -> bytes: ...


class _TooLargeError(Exception):
    """One record needs more bytes than are held in memory."""


def json_records(log: LogFile) -> Iterator[JsonRecord | Rejected]:
    """The objects of JSON Lines, of an array of objects, of one object, or the rows of Parquet as objects.

    With each comes the number of its line or record. A Parquet row is the object that JSON would have been.
    Raises: IngestError when the file cannot be opened, or inflates beyond any real log.
    """
    if log.stretch is not None:
        with opened(log) as stream:
            yield from _json_lines(stream, first=log.stretch.line)
        return
    marked = read_head(log.path, size=log.size)
    head = marked.removeprefix(_BOM)
    if head.startswith(PARQUET_MAGIC):
        yield from _parquet_objects(log)
        return
    with opened(log) as stream:
        if head is not marked:
            stream.read(len(_BOM))
        if head.lstrip()[:1] == b"[":
            yield from _array(stream)
        elif _is_one_object(head):
            yield from _one_object(stream)
        else:
            yield from _json_lines(stream)


def lines_start(log: LogFile) -> int | None:
    """Where the first line of a plain file of JSON Lines begins, in bytes; None for any other file.

    Raises: IngestError when the file cannot be opened.
    """
    with opened(log) as stream:
        if not isinstance(stream.raw, Snapshot):
            return None
        head = stream.read(HEAD_BYTES)
    body = head.removeprefix(_BOM)
    of_lines = body.lstrip()[:1] == b"{" and not _is_one_object(body)
    return len(head) - len(body) if of_lines else None


def any_records(log: LogFile) -> Iterator[JsonRecord | CsvRecord | Rejected]:
    """The records of a log that may be JSON, Parquet or CSV: a table is exported as any of them."""
    head = read_head(log.path, size=log.size)
    objects = head.startswith(PARQUET_MAGIC) or head.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")
    return json_records(log) if objects else csv_records(log)


def _parquet_objects(log: LogFile) -> Iterator[JsonRecord | Rejected]:
    for record in parquet_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        number, row = record
        if _too_deep(row):
            yield Rejected(number, _too_deep_reason())
        else:
            yield number, {name: plain_json(value) for name, value in row.items()}


def csv_records(log: LogFile, *, delimiter: str = ",") -> Iterator[CsvRecord | Rejected]:
    """The rows of a CSV file with a header, as text cells by column name, with the line each row begins on.

    Raises: IngestError when the file cannot be opened, or its header is empty or names a column twice.
    """
    with opened(log) as whole:
        stream = Rest(whole)
        header, line, skipped = csv_header(stream, log, delimiter=delimiter)
        yield from skipped
        for _, found in csv_rows(stream, header, delimiter=delimiter, line=line):
            yield from found


def csv_header(stream: Stream, log: LogFile, *, delimiter: str) -> tuple[list[str], int, Iterable[Rejected]]:
    """The column names at the begin of a CSV stream, the line after them, and lines that were skipped.

    Raises: IngestError when the header is empty or names a column twice.
    """
    csv.field_size_limit(MAX_CELL_CHARS)
    skipped: list[Rejected] = []
    rows = csv.reader(_decoded(stream, skipped, line=1), delimiter=delimiter)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise IngestError(f"the header is not CSV: {error}", where=printable(log.name)) from error
    header = [name.encode("utf-8", "backslashreplace").decode() for name in header]  # of another encoding
    where = f"{printable(log.name)}:1"
    if not any(header):
        found = skipped[0].reason if skipped else "no header"
        raise IngestError(found, where=where, expected="column names in the first line")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise IngestError(f"column {twice[0]!r} appears twice", where=where, expected="unique column names")
    return header, rows.line_num + 1, skipped


def csv_rows(
    stream: Stream, header: list[str], *, delimiter: str, line: int
) -> Iterator[tuple[int, list[CsvRecord | Rejected]]]:
    """The records of a CSV stream from `line` on, where one begins: what each came to, and the line after.

    Whenever one is yielded the stream is at the begin of the next.
    """
    skipped: list[Rejected] = []
    rows = csv.reader(_decoded(stream, skipped, line=line), delimiter=delimiter)
    begin, broken = line, None
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            broken = broken or Rejected(begin, f"not CSV: {error}")
            cells = []
        here, begin = begin, line + rows.line_num
        if broken is not None and cells is not None and len(cells) != len(header):
            continue  # what is left of the cell that was too long looks like any number of bad rows
        found: list[CsvRecord | Rejected] = []
        if broken is not None:
            found.append(Rejected(broken.line, f"{broken.reason}; not read up to line {here - 1}"))
            broken = None
        found += skipped
        skipped.clear()
        if cells:
            found.append(_csv_row(cells, header, here))
        yield begin, found
        if cells is None:
            return


def _csv_row(cells: list[str], header: list[str], line: int) -> CsvRecord | Rejected:
    if len(cells) != len(header):
        return Rejected(line, f"{len(cells)} cells, expected {len(header)} as in the header")
    if any(not cell.isascii() and _undecodable(cell) for cell in cells):
        return Rejected(line, "not UTF-8")
    return line, dict(zip(header, cells, strict=True))


def _undecodable(cell: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in cell)


def _decoded(stream: Stream, skipped: list[Rejected], *, line: int) -> Iterator[str]:
    """The lines as text; a line that is too long or damaged becomes empty and is noted in `skipped`."""
    for number, found in _lines(stream, first=line):
        if isinstance(found, Rejected):
            skipped.append(found)
            yield "\n"
        else:
            body = found.removeprefix(_BOM) if number == 1 else found
            yield body.decode("utf-8", errors="surrogateescape")


def _lines(stream: Stream, *, first: int = 1) -> Iterator[tuple[int, bytes | Rejected]]:
    """Lines numbered from `first`; one longer than MAX_LINE_BYTES is skipped in pieces and is Rejected."""
    number = first - 1
    while True:
        number += 1
        try:
            line = stream.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                size = len(line)
                while line and not line.endswith(b"\n"):
                    line = stream.readline(_CHUNK)
                    size += len(line)
                yield number, Rejected(number, _too_long(size))
                continue
        except DamagedError as error:
            reason = f"compressed data is damaged or cut off ({error}); nothing after this line was read"
            yield number, Rejected(number, reason)
            return
        yield number, line


def _too_long(size: int) -> str:
    return f"line of {size} bytes, expected at most {MAX_LINE_BYTES}"


def _json_lines(stream: IO[bytes], *, first: int = 1) -> Iterator[JsonRecord | Rejected]:
    for number, line in _lines(stream, first=first):
        if isinstance(line, Rejected):
            yield line
        elif line.strip():
            yield _parsed(line, number)


def _parsed(body: bytes, number: int) -> JsonRecord | Rejected:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Rejected(number, _why_not_json(body))
    if not isinstance(value, dict):
        return Rejected(number, _not_object(value))
    deep = body.count(b"[") + body.count(b"{") > MAX_DEPTH and deepest(body) > MAX_DEPTH
    if deep and _too_deep(value):  # a key that repeats may hide what is deep
        return Rejected(number, _too_deep_reason())
    return number, value


def _not_object(value: object) -> str:
    return f"a JSON {type(value).__name__}, expected an object"


def _too_deep_reason() -> str:
    return f"nested deeper than {MAX_DEPTH} levels"


def _too_deep(value: object) -> bool:
    """Whether lists and objects nest beyond MAX_DEPTH; level by level, so without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        level = [node for node in below if isinstance(node, dict | list)]
        if not level:
            return False
    return True


def _why_not_json(body: bytes) -> str:
    """A sentence on why `body` is not JSON: orjson is fast but says little, the standard parser says more."""
    try:
        text = body.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start} of the record)"
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            return f"cut off: the JSON ends early after {len(text)} characters"
        return f"not JSON: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        return _too_deep_reason()
    except ValueError as error:
        return str(error)
    return "not JSON: a number or text that cannot be represented, or nested too deep"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, expected a number or null")


def _is_one_object(head: bytes) -> bool:
    """Whether the file is one object over several lines rather than JSON Lines (of which one may be bad)."""
    first, newline, rest = head.lstrip().partition(b"\n")
    if not newline or not rest.strip() or not first.startswith(b"{"):
        return False
    try:
        orjson.loads(first)
        return False
    except orjson.JSONDecodeError:
        pass
    whole = len(head) < HEAD_BYTES
    try:
        for _ in ijson.basic_parse(head, use_float=True):
            pass
    except ijson.IncompleteJSONError as error:
        return not whole and "premature" in str(error)
    except (ijson.JSONError, UnicodeDecodeError):
        return False
    return True


def _one_object(stream: IO[bytes]) -> Iterator[JsonRecord | Rejected]:
    try:
        body = stream.read(MAX_OBJECT_BYTES + 1)
    except DamagedError as error:
        yield Rejected(1, f"compressed data is damaged or cut off ({error})")
        return
    if len(body) > MAX_OBJECT_BYTES:
        yield Rejected(1, f"one object of more than {MAX_OBJECT_BYTES} bytes; write JSON Lines instead")
        return
    yield _parsed(body, 1)


def _array(stream: IO[bytes]) -> Iterator[JsonRecord | Rejected]:
    """The elements of one array; after a syntax error nothing more can be told apart, and it says so."""
    source = _Budget(stream)
    number = 0
    try:
        for number, value in enumerate(ijson.items(source, "item", use_float=True), start=1):
            source.left = MAX_OBJECT_BYTES
            if not isinstance(value, dict):
                yield Rejected(number, _not_object(value))
            elif _too_deep(value):
                yield Rejected(number, _too_deep_reason())
            else:
                yield number, value
    except (ijson.JSONError, UnicodeDecodeError, DamagedError) as error:
        told = str(error).strip().splitlines()
        detail = printable(told[0]) if told else "damaged"
        yield Rejected(
            number + 1, f"the array is cut off or not JSON ({detail}); nothing after this was read"
        )
    except _TooLargeError:
        reason = f"record of more than {MAX_OBJECT_BYTES} bytes; nothing after it was read"
        yield Rejected(number + 1, reason)


class _Budget:
    """A reader for ijson that stops when one element needs more than MAX_OBJECT_BYTES."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = MAX_OBJECT_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise _TooLargeError
        return data
