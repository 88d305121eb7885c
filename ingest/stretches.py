"""A large log of lines cut into stretches that are staged apart.

Where the cuts lie depends on the log alone, so what is staged does not depend on who stages it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from .seam import Stretch

STRETCH_BYTES: Final = 8 * 1024 * 1024
"""Bytes after which a log is cut at the next end of line: about a second's work, far above one line."""
MIN_BYTES: Final = 32 * 1024 * 1024
"""A smaller log is not cut: starting processes takes longer than they save."""
_CHUNK: Final = 1024 * 1024


def survey(path: Path, size: int, *, start: int) -> tuple[str, tuple[Stretch, ...]]:
    """The SHA-256 of the first `size` bytes of a file, in hex, and its lines from byte `start` on, cut.

    Raises: OSError.
    """
    whole, cuts = hashlib.sha256(), _Cuts(start)
    with path.open("rb") as stream:
        whole.update(stream.read(start))
        left = size - start
        while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
            whole.update(chunk)
            cuts.take(chunk)
            left -= len(chunk)
    return whole.hexdigest(), cuts.all()


class _Cuts:
    """The stretches of bytes that come in chunks."""

    def __init__(self, start: int) -> None:
        self._found: list[Stretch] = []
        self._start, self._line = start, 1
        self._reset(start)

    def _reset(self, start: int) -> None:
        self._start = self._stop = start
        self._newlines = 0
        self._sha = hashlib.sha256()

    def take(self, chunk: bytes) -> None:
        """Add the next bytes."""
        missing = STRETCH_BYTES - (self._stop - self._start)
        while missing <= len(chunk):
            end = chunk.find(b"\n", max(missing - 1, 0)) + 1
            if end == 0:
                break
            self._add(chunk[:end])
            self._cut()
            chunk = chunk[end:]
            missing = STRETCH_BYTES
        self._add(chunk)

    def _add(self, data: bytes) -> None:
        self._sha.update(data)
        self._newlines += data.count(b"\n")
        self._stop += len(data)

    def _cut(self) -> None:
        self._found.append(Stretch(self._start, self._stop, self._line, self._sha.hexdigest()))
        self._line += self._newlines
        self._reset(self._stop)

    def all(self) -> tuple[Stretch, ...]:
        """All stretches, the last with what is left."""
        if self._stop > self._start:
            self._cut()
        return tuple(self._found)
