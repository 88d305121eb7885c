"""Files that are either whole or absent, and folders that one run at a time writes to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ExportError

_PRIVATE = 0o600
LOCK = ".lock"
"""The file by which runs keep out of each other's folder."""


@contextlib.contextmanager
def atomic_path(target: Path) -> Generator[Path]:
    """A temporary path that replaces `target` when the block ends well and vanishes when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.close(handle)
    path = Path(name)
    try:
        yield path
        path.chmod(_PRIVATE)
        with path.open("rb") as written:
            os.fsync(written.fileno())
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically and readable by the owner only."""
    write_bytes(target, text.encode())


def write_bytes(target: Path, content: bytes) -> None:
    """Write `content`, atomically and readable by the owner only."""
    with atomic_path(target) as path:
        path.write_bytes(content)


@contextlib.contextmanager
def exclusive(folder: Path) -> Generator[None]:
    """A block in which no other process writes to `folder`; blocks of one process may be nested.

    The lock is the operating system's, so a killed run does not hold it.

    Raises: ExportError at once when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.resolve() / LOCK, timeout=0, mode=_PRIVATE, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise ExportError(
            "another run is writing here", where=str(folder), cure="Wait for it, or choose another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
