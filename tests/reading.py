"""How tests run a reader over text that they wrote themselves, and look at what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shadowprice.ingest.seam import Ignored, Item, LogFile, Reader, Rejected, Row
from shadowprice.schemas.config import Config


def log_of(body: bytes | str, folder: Path) -> LogFile:
    """`body` as a file in `folder`."""
    data = body.encode() if isinstance(body, str) else body
    path = folder / "log"
    path.write_bytes(data)
    return LogFile(path, "log", hashlib.sha256(data).hexdigest())


def run(reader: Reader, body: bytes | str, folder: Path, config: Config | None = None) -> list[Item]:
    """Every item that `reader` yields for `body`."""
    return list(reader.read(log_of(body, folder), config or Config()))


def run_file(reader: Reader, path: Path, config: Config | None = None) -> list[Item]:
    """Every item that `reader` yields for the file at `path`."""
    log = LogFile(path, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    return list(reader.read(log, config or Config()))


def lines(records: Iterable[Any]) -> str:
    """`records` as JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def rows(items: Iterable[Item], table: str = "decisions") -> list[dict[str, Any]]:
    """What the rows of `table` say, without nulls."""
    return [
        {name: value for name, value in item.values.items() if value is not None}
        for item in items
        if isinstance(item, Row) and item.table == table
    ]


def reasons(items: Iterable[Item]) -> list[str]:
    """Why records were rejected, in order."""
    return [item.reason for item in items if isinstance(item, Rejected)]


def ignored(items: Iterable[Item]) -> list[str]:
    """Why records were ignored, in order."""
    return [item.reason for item in items if isinstance(item, Ignored)]
