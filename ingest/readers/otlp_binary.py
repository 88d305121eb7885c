"""OTLP as protobuf: export requests as they are, or length-delimited as the collector's file exporter writes.

Rows, dialects and token convention are those of OTLP/JSON (see otlp.py); nothing more and nothing less is
known from the binary form. A message may itself be zstd, and JSON when the exporter compresses JSON.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any, Final

import orjson

from ...schemas.config import Config
from ..lines import MAX_OBJECT_BYTES
from ..opening import DamagedError, opened, zstd_pieces
from ..seam import Item, LogFile, Rejected
from . import otlp
from .otlp_walk import Piece, pieces
from .otlp_wire import WireError, record_of, signal_of, varint

NAME: Final = "otlp_binary"
_BLOCK: Final = b"\x0a"
"""Tag of the only field of an export request: a length-delimited resource block."""
_PREFIX: Final = 4
_LENGTHS: Final = (b"\x00", b"\x01", b"\x02", b"\x03")
"""First bytes of a length of four bytes, highest first, up to MAX_OBJECT_BYTES; no text begins with one."""
_ZSTD: Final = b"\x28\xb5\x2f\xfd"

_Batch = Rejected | tuple[int, list[Piece]]


def sniff(head: bytes) -> bool:
    """Whether the first message holds a resource block, down to a span, log record or metric."""
    try:
        if head.startswith(_BLOCK):
            return _is_block(head)
        size = int.from_bytes(head[:_PREFIX], "big")
        body = head[_PREFIX : _PREFIX + size]
        if head[:1] not in _LENGTHS or not body:
            return False
        if body.startswith(_ZSTD):
            body = _inflated(body, limit=len(head))
        return otlp.sniff(body) if body.startswith(b"{") else _is_block(body)
    except WireError:
        return False


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Every span, record and metric of the file as rows, or Ignored or Rejected with the reason."""
    yield from otlp.items_of(_batches(log), config)


def _is_block(message: bytes) -> bool:
    if not message.startswith(_BLOCK):
        return False
    try:
        size, at = varint(message, 1)
    except IndexError:
        return False
    return signal_of(message[at : at + size], cut=at + size > len(message)) is not None


def _batches(log: LogFile) -> Iterator[_Batch]:
    """The resource blocks of the file, numbered; what ends early is told where it ends."""
    with opened(log) as stream:
        number = 0
        try:
            framed = stream.peek(1)[:1] in _LENGTHS
            while (body := _framed(stream) if framed else _bare(stream)) is not None:
                number += 1
                yield from _of_message(number, body, framed=framed)
        except (WireError, DamagedError) as error:
            yield Rejected(number + 1, f"{error}; nothing after this was read")


def _of_message(number: int, body: bytes, *, framed: bool) -> Iterator[_Batch]:
    try:
        for record in _records(body) if framed else [record_of(body)]:
            yield number, list(pieces(record)) if record else []
    except WireError as error:
        yield Rejected(number, f"no OTLP: {error}")


def _records(message: bytes) -> Iterator[dict[str, Any]]:
    """The records of one delimited message: resource blocks, or one object of JSON."""
    body = _inflated(message, limit=MAX_OBJECT_BYTES) if message.startswith(_ZSTD) else message
    if body.startswith(b"{"):
        try:
            yield orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise WireError(f"a message that is no JSON: {error}") from error
        return
    stream = io.BytesIO(body)
    while (block := _bare(stream)) is not None:
        yield record_of(block)


def _bare(stream: IO[bytes]) -> bytes | None:
    """The next resource block of an export request; None at the end.

    Raises: WireError when something else follows, or the stream ends within it.
    """
    tag = stream.read(1)
    if not tag:
        return None
    if tag != _BLOCK:
        raise WireError(f"byte {tag[0]} where a resource block should begin")
    prefix = b""
    while not prefix or prefix[-1] >= 0x80:
        byte = stream.read(1)
        if not byte or len(prefix) == 10:
            raise WireError("the length of a resource block is cut off or too long")
        prefix += byte
    return _exactly(stream, varint(prefix, 0)[0])


def _framed(stream: IO[bytes]) -> bytes | None:
    """The next message behind its length of four bytes; None at the end.

    Raises: WireError when the stream ends within it.
    """
    prefix = stream.read(_PREFIX)
    if not prefix:
        return None
    if len(prefix) < _PREFIX:
        raise WireError("cut off within the length of a message")
    return _exactly(stream, int.from_bytes(prefix, "big"))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    if size > MAX_OBJECT_BYTES:
        raise WireError(f"a message of {size} bytes, expected at most {MAX_OBJECT_BYTES}")
    body = stream.read(size)
    if len(body) < size:
        raise WireError(f"cut off: {len(body)} of a message's {size} bytes")
    return body


def _inflated(body: bytes, *, limit: int) -> bytes:
    """The first `limit` bytes that zstd inflates `body` to; a whole message may not have more.

    Raises: WireError when it is no zstd, or a message inflates beyond MAX_OBJECT_BYTES.
    """
    found = io.BytesIO()
    try:
        for piece in zstd_pieces(body):
            found.write(piece)
            if found.tell() > limit:
                break
    except OSError as error:
        if not found.tell() or limit == MAX_OBJECT_BYTES:
            raise WireError("a message that is no zstd") from error
    if limit == MAX_OBJECT_BYTES and found.tell() > limit:
        raise WireError(f"a message that inflates to more than {limit} bytes")
    return found.getvalue()[:limit]
