"""The rest of a stream, line by line, with a look at what comes next."""

from __future__ import annotations

import io
from typing import Any

from .opening import HEAD_BYTES, DamagedError


class Rest:
    """What is left of a stream, of which the next bytes can be looked at before they are read."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self._ahead, self._start = b"", 0
        self._damage: DamagedError | None = None
        self._over = False
        self.read = 0

    def ahead(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end of the stream or where it is damaged."""
        missing = size - (len(self._ahead) - self._start)
        if missing > 0 and self._damage is None:
            parts = [self._ahead[self._start :]]
            try:
                while missing > 0 and (more := self._stream.read1(HEAD_BYTES)):
                    parts.append(more)
                    missing -= len(more)
            except DamagedError as error:
                self._damage = error
            self._ahead, self._start = b"".join(parts), 0
        return self._ahead[self._start : self._start + size]

    def skip(self, size: int) -> None:
        """Count the next `size` bytes, which were looked at, as read."""
        self._start += size
        self.read += size

    def readline(self, size: int, /) -> bytes:
        """The next line, or `size` bytes of it.

        Raises: DamagedError where the stream is damaged, once; it ends there.
        """
        if self._over:
            return b""
        end = self._ahead.find(b"\n", self._start, self._start + size) + 1 or self._start + size
        line = self._ahead[self._start : end]
        self.skip(len(line))
        if line.endswith(b"\n") or len(line) == size:
            return line
        try:
            if self._damage is not None:
                raise self._damage
            more = self._stream.readline(size - len(line))
        except DamagedError:
            self._over = True
            raise
        self.read += len(more)
        return line + more
