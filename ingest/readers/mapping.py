"""The generic reader: any CSV, JSON, JSON Lines or Parquet log, by the columns that a mapping file states."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import re
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import orjson

from ...errors import IngestError
from ...schemas.config import Config
from ..batches import number_as_text
from ..columnar import parquet_records
from ..convert import (
    TimeUnit,
    as_count,
    as_real,
    as_seconds,
    as_usd,
    input_tokens,
    missing,
    utc_from_epoch,
    utc_from_text,
    utc_from_time,
)
from ..lines import csv_records, json_records, printable, read_head
from ..seam import Item, LogFile, Rejected, Row
from .mapping_spec import ISO, CellSpec, ClassRule, Kind, Mapping, OutcomeSpec, read_mapping
from .peek import top_keys

_MAX_MATCHED: Final = 200
"""Characters of a value that a rule's expression meets; a longer value matches no rule."""
_FLAGS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

Record = dict[str, Any]


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
        mapping, checked = self._mapping, self._mapping.spec.format not in ("csv", "parquet")
        if mapping.spec.format == "parquet":
            for columns in top_keys(read_head(log.path)):
                _check_columns(mapping, sorted(columns), log)
                checked = True
        for record in _records(mapping, log):
            if isinstance(record, Rejected):
                yield record
                continue
            line, fields = record
            if not checked:
                _check_columns(mapping, list(fields), log)
                checked = True
            try:
                yield from _rows(mapping, fields, line, log)
            except ValueError as error:
                yield Rejected(line, str(error))


def load_mapping(path: str | Path) -> MappingReader:
    """The reader that the mapping file at `path` describes.

    Raises: ConfigError when the file cannot be followed.
    """
    return MappingReader(read_mapping(Path(path)))


def _records(mapping: Mapping, log: LogFile) -> Iterator[tuple[int, Record] | Rejected]:
    if mapping.spec.format == "csv":
        return csv_records(log, delimiter=mapping.spec.delimiter)
    if mapping.spec.format == "parquet":
        # only what is mapped: prompts beside it never enter memory
        return parquet_records(log, columns={name for p in _paths(mapping) for name in (p, p.split(".")[0])})
    return json_records(log)


def _check_columns(mapping: Mapping, fields: list[str], log: LogFile) -> None:
    """Refuse the file when a path begins with a column that it does not have."""
    for path in _paths(mapping):
        if path not in fields and path.split(".")[0] not in fields:
            close = difflib.get_close_matches(path, fields, n=1)
            known = ", ".join(repr(name) for name in fields[:20])
            raise IngestError(
                f"no column {path!r}, which the mapping {printable(mapping.path.name)!r} reads",
                where=printable(log.name),
                expected=f"one of {known}",
                cure=f"Did you mean {close[0]!r}?" if close else None,
            )


def _paths(mapping: Mapping) -> Iterator[str]:
    for cell in mapping.cells.values():
        yield from (path for path in (cell.path, cell.cache_read, cell.cache_write) if path is not None)
    for outcome in mapping.spec.outcomes:
        yield outcome.path
        if outcome.ts is not None:
            yield outcome.ts if isinstance(outcome.ts, str) else outcome.ts.path or outcome.path
    for rule in mapping.spec.action_class:
        yield from rule.match


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
        values["decision_id"] = hashlib.sha256(f"mapping:{log.digest}:{line}".encode()).hexdigest()[:32]
    shares, candidates, action = values.get("propensities"), values.get("candidates"), values.get("action")
    if shares is not None and values.get("propensity") is None and action in (candidates or ()):
        place = cast("list[str]", candidates).index(cast(str, action))
        values["propensity"] = shares[place] if place < len(shares) else None
    if values.get("propensity") is not None or shares is not None:
        source = _stated_source(mapping)
        values["propensity_source"] = values.get("propensity_source") or source
    for rule in mapping.spec.action_class:
        if _matches(rule, fields):
            values["action_class"], values["reversible"] = rule.action_class, rule.reversible
            break


def _stated_source(mapping: Mapping) -> str | None:
    return next(
        (
            cell.source
            for name in ("propensity", "propensities")
            if (cell := mapping.cells.get(name)) and cell.source
        ),
        None,
    )


def _matches(rule: ClassRule, fields: Record) -> bool:
    for path, expression in rule.match.items():
        value = missing(_lookup(fields, path))
        text = None if value is None else _as_text(value)
        if text is None or len(text) > _MAX_MATCHED or not re.fullmatch(expression, text):
            return False
    return True


def _outcome(outcome: OutcomeSpec, mapping: Mapping, fields: Record, values: Record) -> Record | None:
    """The outcome's row, or None when the record has no value for it."""
    raw = _known(_lookup(fields, outcome.path), outcome.null_values)
    if raw is None:
        return None
    row: Record = {"name": outcome.name, "source": outcome.source, outcome.key: values.get(outcome.key)}
    if mapping.spec.table == "outcomes":
        row |= values
    if isinstance(raw, str) and raw.strip().lower() in _FLAGS:
        row["value"] = float(_FLAGS[raw.strip().lower()])
    elif isinstance(raw, bool):
        row["value"] = float(raw)
    elif isinstance(raw, str) and not _is_number(raw):
        row["label"] = raw
    else:
        row["value"] = as_real(raw)
    if outcome.ts is not None:
        cell = outcome.ts if isinstance(outcome.ts, CellSpec) else _like(mapping.cells["ts"], outcome.ts)
        row |= _cell("ts", cell, "time", fields)
    return row


def _like(cell: CellSpec, path: str) -> CellSpec:
    return cell.model_copy(update={"path": path, "value": None})


def _cell(name: str, cell: CellSpec, kind: Kind, fields: Record) -> Record:
    """The column `name` from its cell, converted; the token columns of an input count."""
    raw = cell.value if cell.path is None else _known(_lookup(fields, cell.path), cell.null_values)
    try:
        if kind == "input":
            cached = [
                None if path is None else _known(_lookup(fields, path), cell.null_values)
                for path in (cell.cache_read, cell.cache_write)
            ]
            tokens = input_tokens(raw, *cached, convention=cell.convention or "exclusive")
            return {column: count for column, count in tokens.items() if count is not None}
        return {name: None if raw is None else _CONVERTERS[kind](cell, raw)}
    except ValueError as error:
        raise ValueError(f"{name} from {cell.path!a}: {error}") from error


def _lookup(fields: Record, path: str) -> Any:
    """The value at `path`: a column of that name, else down the objects and lists that its dots name."""
    if path in fields:
        return fields[path]
    if "." not in path:
        return None
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, dict):
            value = cast(Record, value).get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(part)]
        else:
            return None
    return value


def _known(value: Any, null_values: tuple[Any, ...]) -> Any:
    """`value`, or None when it spells "nothing", in general or in this mapping."""
    value = missing(value)
    if not null_values or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return None if any(value.strip() == str(null) for null in null_values) else value
    return None if value in null_values else value


def _is_number(text: str) -> bool:
    try:
        as_real(text)
    except ValueError:
        return False
    return True


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_as_text(value) if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return value
    raise ValueError(f"{type(value).__name__} is not text")


def _as_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    flag = _FLAGS.get(_as_text(value).strip().lower())
    if flag is None:
        raise ValueError(f"{value!a} is neither true nor false")
    return flag


def _as_time(cell: CellSpec, value: Any) -> datetime:
    if cell.unit != ISO:
        return utc_from_epoch(value, cast(TimeUnit, cell.unit))
    zone = zoneinfo.ZoneInfo(cell.timezone or "UTC")
    if isinstance(value, datetime):
        return utc_from_time(value, zone=zone)
    return utc_from_text(value, zone=zone)


def _as_items(cell: CellSpec, value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    if not isinstance(value, str):
        raise ValueError(f"{value!a} is not a list")
    if cell.split is not None:
        return [part.strip() for part in value.split(cell.split)]
    try:
        items = orjson.loads(value)
    except orjson.JSONDecodeError:
        items = None
    if not isinstance(items, list):
        raise ValueError(f"{value[:80]!a} is not a list: state 'split', or write a JSON list")
    return cast("list[Any]", items)


def _as_feature(cell: CellSpec, value: Any) -> float | bool | str:
    if cell.type == "text":
        return _as_text(value)
    if cell.type == "real":
        return _as_flag(value) if isinstance(value, bool) else cast(float, as_real(value))
    if isinstance(value, str):
        return cast(float, as_real(value)) if _is_number(value) else value
    return value if isinstance(value, bool) else cast(float, as_real(value))


def _plain(convert: Callable[[Any], Any], cell: CellSpec, value: Any) -> Any:
    del cell
    return convert(value)


_CONVERTERS: Final[dict[Kind, Callable[[CellSpec, Any], Any]]] = {
    "time": _as_time,
    "seconds": lambda cell, value: as_seconds(value, cast(TimeUnit, cell.unit or "s")),
    "money": lambda cell, value: as_usd(value, cell.unit or "USD"),
    "propensity": partial(_plain, as_real),
    "shares": lambda cell, value: [as_real(item) for item in _as_items(cell, value)],
    "names": lambda cell, value: [_as_text(item) for item in _as_items(cell, value)],
    "feature": _as_feature,
    "count": partial(_plain, as_count),
    "real": partial(_plain, as_real),
    "flag": partial(_plain, _as_flag),
    "text": partial(_plain, _as_text),
}
