"""One log as checked, priced Parquet parts in its own staging folder; complete once done.json is there.

Staged parts are reused by the next ingest of the same bytes with the same reader and configuration.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ExportError, IngestError
from ..schemas.columns import FEATURE_PREFIX
from ..schemas.config import Config
from ..schemas.files import write_text
from .ahead import ahead
from .batch_checks import problems
from .batches import SEQUENCE, FeatureKind, staged_table
from .blocks import PLACE, Block, ColumnReader
from .opening import printable
from .pricing import price, priced, without_hints
from .pseudonyms import Pseudonyms, without_quotes
from .seam import EntangledError, Ignored, Item, LogFile, Reader, Rejected, Row, Table

DONE: Final = "done.json"
QUARANTINE_PIECE: Final = "quarantine.jsonl"
BATCH_ROWS: Final = 20_000
_PRIVATE_FOLDER: Final = 0o700
LATE: Final = 1 << 62
"""The sequence of what is told when all lines are read; no log has as many rows."""
MAX_FILE_FEATURES: Final = 1000
"""x_* columns that one file may bring; more come from a log that turns values into names."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What one file came to: its parts on disk, the rows per table, and what was not stored."""

    name: str
    digest: str
    format: str
    folder: Path
    parts: dict[Table, list[str]]
    rows: dict[str, int]
    quarantined: int
    ignored: dict[str, int]
    features: dict[str, list[FeatureKind]]

    def files(self, table: Table) -> list[Path]:
        """The Parquet parts of `table`."""
        return [self.folder / name for name in self.parts.get(table, [])]

    def to_source(self) -> dict[str, Any]:
        """The entry of the manifest's sources."""
        return {
            "name": self.name,
            "digest": self.digest,
            "format": self.format,
            "rows": self.rows,
            "quarantined": self.quarantined,
            "ignored": self.ignored,
        }


def staged(folder: Path) -> Staged | None:
    """What an earlier run staged in `folder`; None when it was not finished, or parts were taken away."""
    done = folder / DONE
    if not done.is_file():
        return None
    found = Staged(folder=folder, **json.loads(done.read_text(encoding="utf-8")))
    names = [QUARANTINE_PIECE, *(name for parts in found.parts.values() for name in parts)]
    return found if all((folder / name).is_file() for name in names) else None


def stage(
    log: LogFile,
    reader: Reader,
    config: Config,
    folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    on_batch: Callable[[int], None],
    on_end: Callable[[], None],
    late: Iterator[Item] | None = None,
) -> Staged:
    """Read `log` with `reader` into `folder`; `on_batch` hears the number of records after every batch.

    pseudonyms: for the ids in rows and reasons; None keeps ids as they are.
    on_end: called when all is read and before it counts as done; may raise to refuse the log.
    late: what is written in place of the log's own items, and comes behind them.
    Raises: IngestError when the log as a whole cannot be read; EntangledError when a stretch of it cannot be
    read apart; ExportError when `folder` cannot be written.
    """
    with writing(folder):
        folder.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        folder.mkdir(mode=_PRIVATE_FOLDER)
        with (folder / QUARANTINE_PIECE).open("w", encoding="utf-8") as quarantine:
            writer = _Writer(
                log=log,
                reader=reader,
                folder=folder,
                quarantine=quarantine,
                pseudonyms=pseudonyms,
                apart=log.stretch is not None or late is not None,
                sequence=0 if late is None else LATE,
            )
            for item in _read(log, reader, config) if late is None else late:
                for _ in writer.take_all(item) if isinstance(item, Block) else (writer.take(item),):
                    if writer.count >= BATCH_ROWS:
                        writer.flush()
                        on_batch(writer.sequence)
            writer.flush()
        on_end()
        return finish(folder, writer.facts())


def finish(folder: Path, facts: dict[str, Any]) -> Staged:
    """What is staged in `folder`, which is whole from now on; `facts`: all of it but the folder."""
    write_text(folder / DONE, json.dumps(facts, sort_keys=True) + "\n")
    return Staged(folder=folder, **facts)


def named_by_content(fresh: Staged) -> Staged:
    """The same parts in a folder that is named by what was read, not only by what it was read from."""
    sha = hashlib.sha256(fresh.folder.name.encode())
    for path in sorted(fresh.folder.iterdir()):
        sha.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    target = fresh.folder.with_name(sha.hexdigest()[: len(fresh.folder.name)])
    shutil.rmtree(target, ignore_errors=True)
    fresh.folder.rename(target)
    return replace(fresh, folder=target)


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """A block that writes to `folder`: a full disk there is no fault of any log, and ends the run.

    Raises: ExportError when the operating system refuses to write.
    """
    try:
        yield
    except OSError as error:
        told = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"the store cannot be written: {printable(told)}",
            where=printable(str(folder)),
            expected="room for about half the size of the logs",
            cure="Make room and run the same command again; what was read whole is kept.",
        ) from error


def _read(log: LogFile, reader: Reader, config: Config) -> Iterator[Item | Block]:
    """What `reader` yields; what goes wrong while reading is told from what goes wrong while writing."""
    try:
        yield from (
            _columns(log, reader, config) if isinstance(reader, ColumnReader) else reader.read(log, config)
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise IngestError(f"cannot be read: {reason}", where=printable(log.name)) from error


def _columns(log: LogFile, reader: ColumnReader, config: Config) -> Iterator[Item | Block]:
    """What `reader` yields, read while the block before is written; this thread tells the progress."""
    reached = [0]
    quiet = replace(log, heard=lambda position: reached.__setitem__(0, position))
    for item in ahead(reader.read_columns(quiet, config)):
        yield item
        if log.heard is not None:
            log.heard(reached[0])


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Collects rows per table, and checks and writes them part by part, in the order of the log.

    waiting: per table the rows to come, each with its sequence and line. count: rows and rejects that wait.
    apart: these are not all items of the log.
    """

    log: LogFile
    reader: Reader
    folder: Path
    quarantine: IO[str]
    pseudonyms: Pseudonyms | None
    apart: bool
    sequence: int
    count: int = 0
    quarantined: int = 0
    ignored: Counter[str] = field(default_factory=Counter[str])
    rows: Counter[str] = field(default_factory=Counter[str])
    waiting: dict[Table, list[tuple[int, int, dict[str, Any]]]] = field(
        default_factory=dict[Table, list[Any]]
    )
    blocks: dict[Table, list[pl.DataFrame]] = field(default_factory=dict[Table, list[pl.DataFrame]])
    rejected: list[tuple[int, dict[str, Any]]] = field(default_factory=list[Any])
    parts: dict[Table, list[str]] = field(default_factory=dict[Table, list[str]])
    seen: set[str] = field(default_factory=set[str])
    features: dict[str, set[FeatureKind]] = field(default_factory=dict[str, set[FeatureKind]])

    def take(self, item: Row | Rejected | Ignored) -> None:
        self.sequence += 1
        if isinstance(item, Ignored):
            self.ignored[item.reason] += 1
        elif isinstance(item, Rejected):
            quoted = self.pseudonyms is None
            self._reject(self.sequence, item.line, item.reason if quoted else without_quotes(item.reason))
        else:
            self._row(item)

    def take_all(self, block: Block) -> Iterator[None]:
        """Take the items of a block, and stop for a flush wherever one is due."""
        start = 0
        while start < block.size:
            stop = min(block.size, start + BATCH_ROWS - self.count)
            before, part = self.sequence - start, block.cut(start, stop)
            for table, frame in part.frames.items():
                self._frame(table, frame.with_columns((pl.col(PLACE) + before + 1).alias(SEQUENCE)))
            for place, item in part.others:
                self.sequence = before + place
                self.take(item)
            self.sequence = before + stop
            start = stop
            yield

    def _frame(self, table: Table, frame: pl.DataFrame) -> None:
        if self.pseudonyms is not None:
            frame = self.pseudonyms.applied_to(frame)
        self.blocks.setdefault(table, []).append(frame)
        self.count += frame.height

    def _finished(self, table: Table) -> pl.DataFrame | None:
        """The waiting rows that came in blocks, priced and with provenance."""
        frames = self.blocks.pop(table, [])
        if not frames or not any(frame.height for frame in frames):
            return None
        frame = priced(pl.concat(frames)) if table == "decisions" else pl.concat(frames)
        if table == "decisions":
            told = (
                frame["propensity_source"]
                if "propensity_source" in frame.columns
                else pl.lit(None, pl.String())
            )
            frame = frame.with_columns(told.fill_null("unknown").alias("propensity_source"))
        for name in frame.columns:
            if name.startswith(FEATURE_PREFIX):
                self.features.setdefault(name, set())
        return frame.with_columns(
            pl.lit(self.reader.NAME).alias("source_format"), pl.lit(self.log.name).alias("source_file")
        )

    def _row(self, row: Row) -> None:
        values = row.values if self.pseudonyms is None else self.pseudonyms.applied(row.values)
        if isinstance(values, str):
            self._reject(self.sequence, row.line, values)
            return
        self.waiting.setdefault(row.table, []).append((self.sequence, row.line, values))
        self.count += 1

    def _checked(self, table: Table) -> list[dict[str, Any]]:
        """The waiting rows that can be stored, priced and with provenance; the others are rejected."""
        waiting = self.waiting.pop(table, [])
        faults = problems(table, [without_hints(values) for _, _, values in waiting])
        rows: list[dict[str, Any]] = []
        for place, (sequence, line, values) in enumerate(waiting):
            reason = faults.get(place) or self._too_many_features(values)
            if reason is not None:
                self._reject(sequence, line, reason)
                continue
            plain = price(values) if table == "decisions" else without_hints(values)
            if table == "decisions":
                plain["propensity_source"] = plain.get("propensity_source") or "unknown"
            plain["source_format"], plain["source_file"] = self.reader.NAME, self.log.name
            plain["source_row"], plain[SEQUENCE] = line, sequence
            rows.append(plain)
        return rows

    def _too_many_features(self, values: dict[str, Any]) -> str | None:
        if values.keys() <= self.seen:
            return None
        fresh = values.keys() - self.seen
        new = sorted(name for name in fresh if name.startswith(FEATURE_PREFIX))
        if len(self.features) + len(new) > MAX_FILE_FEATURES:
            if self.apart:  # which rows are beyond the limit depends on all lines before
                raise EntangledError
            return f"a new column {new[0]!r} beyond the {MAX_FILE_FEATURES} x_* columns of this file"
        self.seen |= fresh
        for name in new:
            self.features[name] = set()
        return None

    def _reject(self, sequence: int, line: int, reason: str) -> None:
        self.rejected.append((sequence, {"file": self.log.name, "row": line, "reason": reason}))
        self.count += 1

    def flush(self) -> None:
        for table in list(self.waiting | self.blocks):
            rows, frame = self._checked(table), self._finished(table)
            if not rows and frame is None:
                continue
            written = self.parts.setdefault(table, [])
            name = f"{table}-{len(written)}.parquet"
            whole = staged_table(table, rows, frame)
            # read once, as a whole: dictionaries would take half of the time of writing
            pq.write_table(whole, self.folder / name, compression="zstd", use_dictionary=False)
            written.append(name)
            self.rows[table] += whole.num_rows
            for feature in whole.schema:
                if feature.name.startswith(FEATURE_PREFIX):
                    self.features[feature.name].add("text" if pa.types.is_string(feature.type) else "real")
        for _, entry in sorted(self.rejected, key=lambda one: one[0]):
            self.quarantine.write(json.dumps(entry) + "\n")
        self.quarantined += len(self.rejected)
        self.rejected.clear()
        self.count = 0

    def facts(self) -> dict[str, Any]:
        return {
            "name": self.log.name,
            "digest": self.log.digest,
            "format": self.reader.NAME,
            "parts": dict(sorted(self.parts.items())),
            "rows": dict(sorted(self.rows.items())),
            "quarantined": self.quarantined,
            "ignored": dict(sorted(self.ignored.items())),
            "features": {name: sorted(kinds) for name, kinds in sorted(self.features.items())},
        }
