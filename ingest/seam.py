"""The reader seam: what a reader is given, what it yields, and where readers are registered.

A new log format is one module with NAME, `sniff` and `read`, and one entry in `readers/registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..schemas.config import Config

Table = Literal["decisions", "outcomes", "engine_steps", "contexts"]
"""contexts: facts about a whole request that are known at its start (request_id, session_id, tenant_id, ts,
x_*); linking spreads them over the request's decisions, and the store does not keep them."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """One input file: where it is, the name that provenance uses, and the SHA-256 of its bytes.

    size: the bytes that the digest is of and that count, whatever is appended meanwhile; None for all.
    heard: told, while the file is read, how many of its bytes are done.
    """

    path: Path
    name: str
    digest: str
    size: int | None = None
    heard: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row for `table`: column name -> Python value in the schema's unit; absent columns are null.

    line is the 1-based line or record in the file. Provenance columns are added by the pipeline.
    """

    table: Table
    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used, and why; it goes to the quarantine."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A record that is no decision (overhead call, metric, unrelated span), counted by reason."""

    line: int
    reason: str


Item = Row | Rejected | Ignored


class Reader(Protocol):
    """A module that reads one format."""

    NAME: str

    def sniff(self, head: bytes) -> bool:
        """Whether the first (decompressed) 64 KiB look like this format; by fields, not by name."""
        ...

    def read(self, log: LogFile, config: Config) -> Iterator[Item]:
        """The items of the file in order; bad records are Rejected, never raised.

        Raises: IngestError only when the file as a whole cannot be read.
        """
        ...
