"""The reader seam: what a reader is given, what it yields, and where readers are registered.

A new log format is one module with NAME, `sniff` and `read`, and one entry in `readers/registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..schemas.config import Config

Table = Literal["decisions", "outcomes", "engine_steps", "contexts", "menus"]
"""contexts: facts about a whole request that are known at its start (request_id, session_id, tenant_id, ts,
x_*); linking spreads them over the request's decisions, and the store does not keep them. menus: which
candidates a policy version has from a time on; linking gives them to its decisions, the store not."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole lines of a large log, which are staged apart from its others: the bytes from `start` to `stop`.

    line: the number of the first line. digest: the SHA-256 of these bytes.
    """

    start: int
    stop: int
    line: int
    digest: str


@dataclass(frozen=True, slots=True)
class LogFile:
    """One input file: where it is, the name that provenance uses, and the SHA-256 of its bytes.

    size: the bytes that the digest is of and that count, whatever is appended meanwhile; None for all.
    heard: told, while the file is read, how many of its bytes are done.
    stretch: the lines to read, None for the whole file. carry: told by a reader with `settle` what the lines
    of a stretch leave open, as JSON can hold it.
    """

    path: Path
    name: str
    digest: str
    size: int | None = None
    heard: Callable[[int], None] | None = None
    stretch: Stretch | None = None
    carry: Callable[[dict[str, Any]], None] | None = None


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


class EntangledError(Exception):
    """What a stretch of the log says depends on lines before it: the log must be read whole."""


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


class SplittingReader(Reader, Protocol):
    """A reader that declares that stretches of a large log of lines can be read apart, in any order.

    A line that needs others before it raises EntangledError, or is carried to `settle`.
    """

    SPLITS: bool


class SettlingReader(SplittingReader, Protocol):
    """A splitting reader that tells some lines only when all are read."""

    def settle(self, carried: Iterable[dict[str, Any]], config: Config) -> Iterator[Item]:
        """The items that the stretches of a log left open, from what each carried, in their order."""
        ...
