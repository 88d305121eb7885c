"""Opening a log: plain, gzip or zstd bytes, as they were when the file was first looked at, within limits.

A file may be appended to, cut or replaced while it is read; only the bytes that its digest is of count.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import IngestError
from .seam import LogFile

HEAD_BYTES: Final = 64 * 1024
FREE_INFLATION_BYTES: Final = 256 * 1024 * 1024
MAX_INFLATION: Final = 200
"""Beyond the free bytes, a compressed log may grow this many times; real logs grow 5 to 50 times."""
PARQUET_MAGIC: Final = b"PAR1"
DAMAGED_PARQUET: Final = (pa.ArrowException, ValueError, OverflowError)
"""What pyarrow raises for a damaged file, a name that is not UTF-8 among it."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1024 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class DamagedError(Exception):
    """The compressed stream ends early or is not what its magic bytes say."""


def printable(text: str) -> str:
    """`text` with control, bidirectional and undecodable characters escaped, safe in a terminal."""
    return _CONTROL.sub(lambda hit: repr(hit.group())[1:-1], text)


def read_head(path: Path, *, size: int | None = None) -> bytes:
    """The first 64 KiB of the file, decompressed; of Parquet, its magic and its columns as a JSON line.

    size: bytes of the file that count; all when None.
    Raises: IngestError when the file cannot be opened or is damaged from its first block on.
    """
    head = b""
    with opened(LogFile(path, str(path), "", size)) as stream:
        try:
            while len(head) < HEAD_BYTES and (more := stream.read1(HEAD_BYTES - len(head))):
                head += more
        except DamagedError as error:
            if head:
                return head
            raise IngestError(
                f"compressed data cannot be read: {error}",
                where=printable(str(path)),
                expected="plain text, gzip or zstd",
                cure="Copy the file again.",
            ) from error
    return _parquet_head(path) or head if head.startswith(PARQUET_MAGIC) else head


def _parquet_head(path: Path) -> bytes | None:
    """What stands for the head of a Parquet file, which tells its columns at its end; None if damaged."""
    try:
        names: list[str] = pq.read_schema(path).names
    except (*DAMAGED_PARQUET, OSError):
        return None
    columns = json.dumps(dict.fromkeys(names)).encode()
    return PARQUET_MAGIC + b"\n" + columns + b"\n"


@contextmanager
def opened(log: LogFile) -> Generator[io.BufferedReader[Any]]:
    """A buffered stream of the log's decompressed bytes, or of the bytes of its stretch.

    Raises: IngestError when the file cannot be opened, or inflates beyond any real log.
    """
    try:
        raw = log.path.open("rb")
    except OSError as error:
        raise IngestError(
            f"cannot be opened: {error.strerror}",
            where=printable(log.name),
            cure="Check path and permissions.",
        ) from error
    with raw:
        if log.stretch is not None:
            raw.seek(log.stretch.start)
            yield io.BufferedReader(Snapshot(raw, log.stretch.stop - log.stretch.start, log.heard), _CHUNK)
            return
        magic = raw.read(len(_ZSTD))
        raw.seek(0)
        packed = log.path.stat().st_size if log.size is None else log.size
        plain = io.BufferedReader(Snapshot(raw, packed, log.heard), _CHUNK)
        if not magic.startswith((_GZIP, _ZSTD)):
            yield plain
            return
        gzipped = magic.startswith(_GZIP)
        inner: Any = gzip.GzipFile(fileobj=plain) if gzipped else pa.input_stream(plain, "zstd")
        with inner:
            limit = max(FREE_INFLATION_BYTES, MAX_INFLATION * packed)
            fill = inner.readinto1 if gzipped else inner.readinto
            yield io.BufferedReader(_Inflated(fill, limit=limit, name=log.name), HEAD_BYTES)


def zstd_pieces(packed: bytes) -> Iterator[bytes]:
    """What the zstd frames of `packed` inflate to, in pieces of at most 64 KiB.

    Filled in, not read: pyarrow's read() never frees the bytes that it was to return when it meets damage.
    Raises: OSError when they are damaged or cut off.
    """
    buffer = bytearray(HEAD_BYTES)
    stream: Any = pa.input_stream(pa.BufferReader(packed), "zstd")
    with stream:
        while size := stream.readinto(buffer):
            yield bytes(memoryview(buffer)[:size])


class Snapshot(io.RawIOBase):
    """The first `size` bytes of a file, counted for `heard`: what is appended later is not seen."""

    def __init__(self, raw: IO[bytes], size: int, heard: Callable[[int], None] | None) -> None:
        self._raw, self._left, self._size, self._heard = raw, size, size, heard

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._raw.read(min(len(buffer), self._left))
        self._left -= len(data)
        if self._heard is not None:
            self._heard(self._size - self._left)
        buffer[: len(data)] = data
        return len(data)


class _Inflated(io.RawIOBase):
    """Decompressed bytes, refused beyond `limit` and with one exception for every kind of damage."""

    def __init__(self, fill: Callable[[Any], int], *, limit: int, name: str) -> None:
        self._fill, self._limit, self._name, self._seen = fill, limit, name, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            size = self._fill(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedError(printable(str(error))) from error
        self._seen += size
        if self._seen > self._limit:
            raise IngestError(
                f"compressed data inflates to more than {self._limit} bytes",
                where=printable(self._name),
                expected=f"at most {MAX_INFLATION} times its compressed size",
                cure="Decompress the file and check what it holds.",
            )
        return size
