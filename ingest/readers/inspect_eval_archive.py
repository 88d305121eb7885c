"""The entries of an Inspect `.eval` archive (zip), read one at a time and never written anywhere.

Names are only compared; sizes are those that were inflated, not those that the archive claims.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from ...errors import IngestError
from ..lines import MAX_OBJECT_BYTES, printable
from ..opening import zstd_pieces
from ..seam import LogFile

MAX_DIRECTORY_BYTES: Final = 16 * 1024 * 1024
"""Largest list of entries: some two hundred thousand; zipfile holds it in memory as a whole."""
FREE_BYTES: Final = 256 * 1024 * 1024
MAX_INFLATION: Final = 200
"""Beyond the free bytes, an archive may grow this many times, all its entries together."""
MAGIC: Final = b"PK\x03\x04"
_CHUNK: Final = 1024 * 1024
_LOCAL: Final = struct.Struct("<26xHH")
"""The lengths of name and extra field in the header in front of an entry's bytes."""
_ZSTD: Final = 93
_ENCRYPTED: Final = 0x1
_DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError),
    *(ValueError, RuntimeError, OverflowError),
)
"""What zipfile and the decompressors raise for bytes that are not what they should be."""
_ESCAPES: Final = re.compile(r"^[/~]|[\\:]|(^|/)\.\.(/|$)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its position in the archive from 1, and its name."""

    number: int
    name: str

    @property
    def escapes(self) -> bool:
        """Whether the name means a place outside of the archive."""
        return _ESCAPES.search(self.name) is not None


class Archive:
    """The entries of an open archive; a later entry replaces an earlier one of the same name."""

    def __init__(self, inner: zipfile.ZipFile, raw: IO[bytes], *, name: str, limit: int) -> None:
        self._inner, self._raw, self._name, self._left, self._limit = inner, raw, name, limit, limit

    def entries(self) -> list[Entry]:
        """Every entry, in the order of the archive."""
        return [Entry(number, info.filename) for number, info in enumerate(self._inner.infolist(), start=1)]

    def last(self, name: str) -> Entry | None:
        """The entry that counts under `name`."""
        return next((entry for entry in reversed(self.entries()) if entry.name == name), None)

    def body(self, entry: Entry) -> bytes:
        """The inflated bytes of `entry`.

        Raises: ValueError when they are damaged, encrypted or too many; IngestError when all entries
        together inflate beyond any real log.
        """
        info = self._inner.infolist()[entry.number - 1]
        if info.flag_bits & _ENCRYPTED:
            raise ValueError("an encrypted entry")
        body = bytearray()
        try:
            for piece in self._pieces(info):
                body += piece
                self._left -= len(piece)
                if len(body) > MAX_OBJECT_BYTES or self._left < 0:
                    break
        except _DAMAGE as error:
            raise ValueError(f"a damaged entry: {printable(str(error))}") from error
        if self._left < 0:
            raise IngestError(
                f"the archive inflates to more than {self._limit} bytes",
                where=printable(self._name),
                expected=f"at most {MAX_INFLATION} times its size",
                cure="Check what it holds.",
            )
        if len(body) > MAX_OBJECT_BYTES:
            raise ValueError(f"an entry of more than {MAX_OBJECT_BYTES} bytes")
        return bytes(body)

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        if info.compress_type == _ZSTD:
            yield from self._zstd(info)
            return
        with self._inner.open(info) as stream:
            while piece := stream.read(_CHUNK):
                yield piece

    def _zstd(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Newer writers compress with Zstandard, which zipfile does not know before Python 3.14."""
        if info.compress_size > MAX_OBJECT_BYTES:
            raise ValueError(f"{info.compress_size} compressed bytes")
        self._raw.seek(info.header_offset)
        name, extra = _LOCAL.unpack(self._raw.read(_LOCAL.size))
        self._raw.seek(name + extra, io.SEEK_CUR)
        packed = self._raw.read(info.compress_size)
        check = 0
        for piece in zstd_pieces(packed):
            check = zlib.crc32(piece, check)
            yield piece
        if check != info.CRC:
            raise ValueError("wrong checksum")


@contextmanager
def opened_archive(log: LogFile) -> Generator[Archive]:
    """The archive at `log`.

    Raises: IngestError when it cannot be opened, or has no list of entries or one that is too long.
    """
    try:
        raw = log.path.open("rb")
    except OSError as error:
        raise IngestError(
            f"cannot be opened: {error.strerror}", where=printable(log.name), cure="Check its permissions."
        ) from error
    with raw:
        try:
            inner = zipfile.ZipFile(_Guarded(raw, log.path))
        except _DAMAGE as error:
            raise IngestError(
                f"the archive cannot be read: {printable(str(error))}",
                where=printable(log.name),
                expected="a whole zip file",
                cure="Copy the file again.",
            ) from error
        with inner:
            limit = max(FREE_BYTES, MAX_INFLATION * log.path.stat().st_size)
            yield Archive(inner, raw, name=log.name, limit=limit)


class _Guarded(io.RawIOBase):
    """The file for zipfile, which reads a list of entries in one piece however long it claims to be."""

    def __init__(self, raw: IO[bytes], path: Path) -> None:
        self._raw, self._size = raw, path.stat().st_size

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._size - self._raw.tell() if size < 0 else size
        if wanted > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a list of entries of {wanted} bytes")
        return self._raw.read(wanted)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
