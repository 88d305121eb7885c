"""Single values of a mapped log: found by their path, known or not, and converted as their cell states."""

from __future__ import annotations

import hashlib
import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any, Final, cast

import orjson

from ..batches import number_as_text
from ..columnar import below
from ..convert import (
    TimeUnit,
    as_count,
    as_real,
    as_seconds,
    as_usd,
    missing,
    utc_from_epoch,
    utc_from_text,
    utc_from_time,
)
from ..seam import LogFile
from .mapping_spec import ISO, CellSpec, Kind, Mapping

Record = dict[str, Any]
FLAGS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
"""What a flag may be called, in lower case."""
_MAX_MATCHED: Final = 200
"""Characters of a value that a rule's expression meets; a longer value matches no rule."""


def value_at(fields: Record, path: str) -> Any:
    """The value at `path`: a column of that name, else down the objects and lists that its dots name."""
    if path in fields:
        return fields[path]
    if "." not in path:
        return None
    return below(fields, path.split("."))


def known_value(value: Any, null_values: tuple[Any, ...]) -> Any:
    """`value`, or None when it spells "nothing", in general or in this mapping."""
    value = missing(value)
    if not null_values or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return None if any(value.strip() == str(null) for null in null_values) else value
    return None if value in null_values else value


def fits(expression: str, value: Any) -> bool:
    """Whether a rule's expression matches the whole of a value; none matches what is not known.

    Raises: ValueError for a value that is neither text, number nor flag.
    """
    known = missing(value)
    text = None if known is None else as_text(known)
    return text is not None and len(text) <= _MAX_MATCHED and re.fullmatch(expression, text) is not None


def made_id(log: LogFile, line: int) -> str:
    """The id of a decision that has none in the log: the same whenever the same bytes are read."""
    return hashlib.sha256(f"mapping:{log.digest}:{line}".encode()).hexdigest()[:32]


def stated_source(mapping: Mapping) -> str | None:
    """Where the mapping says that propensities come from."""
    cells = (mapping.cells.get(name) for name in ("propensity", "propensities"))
    return next((cell.source for cell in cells if cell is not None and cell.source), None)


def time_cell(given: str | CellSpec, mapping: Mapping) -> CellSpec:
    """The cell of an outcome's time: a mere path has the unit of the record's own time."""
    if isinstance(given, CellSpec):
        return given
    return mapping.cells["ts"].model_copy(update={"path": given, "value": None})


def zone_of(cell: CellSpec) -> tzinfo:
    """The time zone of naive times."""
    return UTC if cell.timezone in (None, "UTC") else zoneinfo.ZoneInfo(cell.timezone)


def is_number(text: str) -> bool:
    """Whether text is a finite number."""
    try:
        as_real(text)
    except ValueError:
        return False
    return True


def as_text(value: Any) -> str:
    """A value as a name.

    Raises: ValueError for a list, an object, a time or nothing.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_as_text(value) if isinstance(value, float) else str(value)
    if isinstance(value, str):
        return value
    raise ValueError(f"{type(value).__name__} is not text")


def as_flag(value: Any) -> bool:
    """A value as true or false.

    Raises: ValueError when it is neither.
    """
    if isinstance(value, bool):
        return value
    flag = FLAGS.get(as_text(value).strip().lower())
    if flag is None:
        raise ValueError(f"{value!a} is neither true nor false")
    return flag


def _as_time(cell: CellSpec, value: Any) -> datetime:
    if cell.unit != ISO:
        return utc_from_epoch(value, cast(TimeUnit, cell.unit))
    zone = zone_of(cell)
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
        return as_text(value)
    if cell.type == "real":
        return as_flag(value) if isinstance(value, bool) else cast(float, as_real(value))
    if isinstance(value, str):
        return cast(float, as_real(value)) if is_number(value) else value
    return value if isinstance(value, bool) else cast(float, as_real(value))


def _plain(convert: Callable[[Any], Any], cell: CellSpec, value: Any) -> Any:
    del cell
    return convert(value)


CONVERTERS: Final[dict[Kind, Callable[[CellSpec, Any], Any]]] = {
    "time": _as_time,
    "seconds": lambda cell, value: as_seconds(value, cast(TimeUnit, cell.unit or "s")),
    "money": lambda cell, value: as_usd(value, cell.unit or "USD"),
    "propensity": partial(_plain, as_real),
    "shares": lambda cell, value: [as_real(item) for item in _as_items(cell, value)],
    "names": lambda cell, value: [as_text(item) for item in _as_items(cell, value)],
    "feature": _as_feature,
    "count": partial(_plain, as_count),
    "real": partial(_plain, as_real),
    "flag": partial(_plain, as_flag),
    "text": partial(_plain, as_text),
}
"""What makes a column's value of a known one; each refuses with a ValueError."""
