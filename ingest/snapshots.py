"""Local logs as they were when they were first looked at, and whether those bytes are still there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import IngestError
from .opening import printable
from .seam import LogFile

Status = tuple[int, int, int, int, int]
"""Device, inode, bytes, modification and change (ns) of a file: equal ones tell an untouched one."""
_CHUNK: Final = 1024 * 1024


def snapshot(name: str, path: Path) -> tuple[LogFile, Callable[[], None]]:
    """The log at `path` as it is now, and a check, for when it was read, that those bytes are still there.

    What was appended meanwhile is left for the next ingest. The check raises IngestError for a file that
    was removed, replaced or written over.
    Raises: IngestError when it is no regular file or cannot be read.
    """
    status = status_of(name, path)
    try:
        log = LogFile(path, name, digest(path, 0, status[2]), status[2])
    except OSError as error:
        raise unreadable(name, error) from error
    return log, lambda: check_kept(log, status, start=0, stop=status[2], found=log.digest)


def status_of(name: str, path: Path) -> Status:
    """The status of the log at `path`.

    Raises: IngestError when it is no regular file or cannot be looked at.
    """
    try:
        now = path.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(now.st_mode):
        raise IngestError("not a regular file", where=printable(name), cure="Pipe it in, and give - for it.")
    return _status(now)


def check_kept(log: LogFile, before: Status, *, start: int, stop: int, found: str) -> None:
    """Refuse a log whose bytes from `start` to `stop` are no longer those with the SHA-256 `found`.

    Raises: IngestError when it was removed, replaced or written over since its status was `before`.
    """
    try:
        now = _status(log.path.stat())
        kept = now[:2] == before[:2] and (now == before or digest(log.path, start, stop) == found)
    except OSError as error:
        raise unreadable(log.name, error) from error
    if not kept:
        raise IngestError(
            "written over or replaced while it was read",
            where=printable(log.name),
            expected="a log that only grows",
            cure="Ingest again; nothing of it was stored.",
        )


def digest(path: Path, start: int, stop: int) -> str:
    """The SHA-256 of the bytes of a file from `start` to `stop`, in hex.

    Raises: OSError.
    """
    sha, left = hashlib.sha256(), stop - start
    with path.open("rb") as stream:
        stream.seek(start)
        while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
            sha.update(chunk)
            left -= len(chunk)
    return sha.hexdigest()


def _status(now: os.stat_result) -> Status:
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def unreadable(name: str, error: OSError) -> IngestError:
    """What is told of a log that the operating system does not let us read."""
    reason = error.strerror or type(error).__name__
    return IngestError(f"cannot be read: {reason}", where=printable(name), cure="Check its permissions.")
