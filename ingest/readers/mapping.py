"""The generic reader: any CSV, JSON, JSON Lines or Parquet log, by the columns that a mapping file states."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from ...errors import IngestError
from ...schemas.config import Config
from ..batch_columns import Found
from ..blocks import Block
from ..columnar import parquet_records
from ..convert import as_real, input_tokens
from ..lines import csv_records, json_records, printable, read_head
from ..seam import Item, LogFile, Rejected, Row
from .mapping_batches import batches, in_columns
from .mapping_columns import made_of
from .mapping_spec import CellSpec, Kind, Mapping, OutcomeSpec, mapped_columns, mapped_paths, read_mapping
from .mapping_values import (
    CONVERTERS,
    FLAGS,
    Record,
    fits,
    is_number,
    known_value,
    made_id,
    stated_source,
    time_cell,
    value_at,
)
from .peek import top_keys


class MappingReader:
    """A reader made from a mapping file."""

    NAME: str = "mapping"

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.path, self.fingerprint = mapping.path, mapping.fingerprint
        self.SPLITS: Final = True  # see seam.SplittingReader; only a log of lines is cut

    @property
    def claims_rest(self) -> bool:
        """Whether it reads every file that no other reader recognises."""
        return self._mapping.spec.files is None

    def claims(self, name: str) -> bool:
        """Whether the file called `name` is one that the mapping's `files` pattern names."""
        pattern = self._mapping.spec.files
        return pattern is not None and any(
            fnmatch.fnmatchcase(part, pattern) for part in (name, Path(name).name)
        )

    def sniff(self, head: bytes) -> bool:
        """Always False: a mapping is chosen by the user, not by content."""
        del head
        return False

    def read(self, log: LogFile, config: Config) -> Iterator[Item]:
        """The rows of every record; a value that does not fit its column rejects its record.

        Raises: IngestError when the file cannot be read or lacks a mapped column.
        """
        del config
        mapping, checked = self._mapping, self._checks_head(log)
        for found in _records(mapping, log):
            if not checked and not isinstance(found, Rejected):
                _check_columns(mapping, list(found[1]), log)
                checked = True
            yield from _items(mapping, found, log)

    def read_columns(self, log: LogFile, config: Config) -> Iterator[Block | Item]:
        """What `read` yields, but rows whose values are plain come in blocks, where the log lies in columns.

        Raises: IngestError, as `read`.
        """
        mapping = self._mapping
        if not in_columns(mapping):
            yield from self.read(log, config)
            return
        checked = self._checks_head(log)
        for batch in batches(mapping, log):
            names = batch.names()
            if not checked and names is not None:
                _check_columns(mapping, names, log)
                checked = True
            yield made_of(mapping, batch, log, alone=lambda found: list(_items(mapping, found, log)))

    def _checks_head(self, log: LogFile) -> bool:
        """Whether the columns need no look at the first record: JSON may lack any, Parquet tells its own.

        Raises: IngestError when a Parquet file lacks a mapped column.
        """
        checked = self._mapping.spec.format not in ("csv", "parquet")
        if self._mapping.spec.format == "parquet":
            for columns in top_keys(read_head(log.path)):
                _check_columns(self._mapping, sorted(columns), log)
                checked = True
        return checked


def load_mapping(path: str | Path) -> MappingReader:
    """The reader that the mapping file at `path` describes.

    Raises: ConfigError when the file cannot be followed.
    """
    return MappingReader(read_mapping(Path(path)))


def _records(mapping: Mapping, log: LogFile) -> Iterator[Found]:
    if mapping.spec.format == "csv":
        return csv_records(log, delimiter=mapping.spec.delimiter)
    if mapping.spec.format == "parquet":
        # only what is mapped: prompts beside it never enter memory
        return parquet_records(log, columns=mapped_columns(mapping))
    return json_records(log)


def _items(mapping: Mapping, found: Found, log: LogFile) -> Iterator[Item]:
    """The rows of one record, or why there are none."""
    if isinstance(found, Rejected):
        yield found
        return
    line, fields = found
    try:
        yield from _rows(mapping, fields, line, log)
    except ValueError as error:
        yield Rejected(line, str(error))


def _check_columns(mapping: Mapping, fields: list[str], log: LogFile) -> None:
    """Refuse the file when a path begins with a column that it does not have."""
    for path in mapped_paths(mapping):
        if path not in fields and path.split(".")[0] not in fields:
            close = difflib.get_close_matches(path, fields, n=1)
            known = ", ".join(repr(name) for name in fields[:20])
            raise IngestError(
                f"no column {path!r}, which the mapping {printable(mapping.path.name)!r} reads",
                where=printable(log.name),
                expected=f"one of {known}",
                cure=f"Did you mean {close[0]!r}?" if close else None,
            )


def _rows(mapping: Mapping, fields: Record, line: int, log: LogFile) -> list[Item]:
    spec = mapping.spec
    values: Record = {}
    for name, cell in mapping.cells.items():
        values |= _cell(name, cell, mapping.kinds[name], fields)
    if spec.table == "decisions":
        _complete(values, mapping, fields, line, log)
    rows: list[Item] = [] if spec.table == "outcomes" else [Row(spec.table, line, values)]
    for outcome in spec.outcomes:
        told = _outcome(outcome, mapping, fields, values)
        if told is not None:
            rows.append(Row("outcomes", line, told))
    return rows


def _complete(values: Record, mapping: Mapping, fields: Record, line: int, log: LogFile) -> None:
    """Fill the id, the source of the propensity, the chosen action's propensity and the action's class."""
    if values.get("decision_id") is None:
        values["decision_id"] = made_id(log, line)
    shares, candidates, action = values.get("propensities"), values.get("candidates"), values.get("action")
    if shares is not None and values.get("propensity") is None and action in (candidates or ()):
        place = cast("list[str]", candidates).index(cast(str, action))
        values["propensity"] = shares[place] if place < len(shares) else None
    if values.get("propensity") is not None or shares is not None:
        source = stated_source(mapping)
        values["propensity_source"] = values.get("propensity_source") or source
    for rule in mapping.spec.action_class:
        if all(fits(expression, value_at(fields, path)) for path, expression in rule.match.items()):
            values["action_class"], values["reversible"] = rule.action_class, rule.reversible
            break


def _outcome(outcome: OutcomeSpec, mapping: Mapping, fields: Record, values: Record) -> Record | None:
    """The outcome's row, or None when the record has no value for it."""
    raw = known_value(value_at(fields, outcome.path), outcome.null_values)
    if raw is None:
        return None
    row: Record = {
        "name": _outcome_name(outcome, fields),
        "source": outcome.source,
        outcome.key: values.get(outcome.key),
    }
    if mapping.spec.table == "outcomes":
        row |= values
    if isinstance(raw, str) and raw.strip().lower() in FLAGS:
        row["value"] = float(FLAGS[raw.strip().lower()])
    elif isinstance(raw, bool):
        row["value"] = float(raw)
    elif isinstance(raw, str) and not is_number(raw):
        row["label"] = raw
    else:
        row["value"] = as_real(raw)
    if outcome.ts is not None:
        row |= _cell("ts", time_cell(outcome.ts, mapping), "time", fields)
    return row


def _outcome_name(outcome: OutcomeSpec, fields: Record) -> str:
    if outcome.name_from is None:
        return str(outcome.name)
    name = known_value(value_at(fields, outcome.name_from), ())
    if not isinstance(name, str):
        raise ValueError(f"name from {outcome.name_from!a}: {name!a}, expected the name of an outcome")
    return name


def _cell(name: str, cell: CellSpec, kind: Kind, fields: Record) -> Record:
    """The column `name` from its cell, converted; the token columns of an input count."""
    raw = cell.value if cell.path is None else known_value(value_at(fields, cell.path), cell.null_values)
    try:
        if kind == "input":
            cached = [
                None if path is None else known_value(value_at(fields, path), cell.null_values)
                for path in (cell.cache_read, cell.cache_write)
            ]
            tokens = input_tokens(raw, *cached, convention=cell.convention or "exclusive")
            return {column: count for column, count in tokens.items() if count is not None}
        return {name: None if raw is None else CONVERTERS[kind](cell, raw)}
    except ValueError as error:
        raise ValueError(f"{name} from {cell.path!a}: {error}") from error
