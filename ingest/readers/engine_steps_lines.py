"""What the readers of engine load share: lines of text in bounded memory, and the replica of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from ..opening import DamagedError, opened
from ..seam import LogFile, Rejected

MAX_LINE: Final = 64 * 1024
"""Longest line that is looked at: lines of load have a few hundred bytes, others may quote a whole prompt."""
_SUFFIXES: Final = re.compile(r"(\.(log|txt|prom|out|err|gz|zst|\d{1,4}))+$")
_FIRST_ENGINE: Final = ("", "0")


def text_lines(log: LogFile) -> Iterator[tuple[int, str] | Rejected]:
    """The numbered lines of the log, cut at MAX_LINE bytes; undecodable bytes are replaced.

    Raises: IngestError when the file cannot be opened, or inflates beyond any real log.
    """
    number, begins = 1, True
    with opened(log) as stream:
        while True:
            try:
                piece = stream.readline(MAX_LINE)
            except DamagedError as error:
                reason = f"compressed data is damaged or cut off ({error}); nothing after this line was read"
                yield Rejected(number, reason)
                return
            if not piece:
                return
            if begins:
                yield number, piece.decode("utf-8", "replace").rstrip("\r\n")
            begins = piece.endswith(b"\n")
            number += begins


def replica_name(log: LogFile, engine: str = "") -> str:
    """The replica: the file's name without endings and rotation, and the engine's number beyond the first.

    Engines do not write their own name; requests are joined to load by it, so files are named by replica.
    """
    name = PurePosixPath(log.name).name
    stem = _SUFFIXES.sub("", name) or name
    number = engine.lstrip("0") if engine.isdigit() else engine
    return stem if number in _FIRST_ENGINE else f"{stem}:{number}"
