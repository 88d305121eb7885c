"""The files of one export target, and what they would change against those that are in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ...errors import ExportError
from .flagd import flagd
from .offer import Offer, Row
from .openmetrics import openmetrics
from .otel import otel
from .tables import json_table, parquet_table

Change = Literal["new", "changed", "kept", "gone"]
TARGETS: Final[Mapping[str, Callable[[Offer], Mapping[str, str | bytes]]]] = {
    "json": json_table,
    "parquet": parquet_table,
    "openmetrics": openmetrics,
    "flagd": flagd,
    "otel": otel,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one number moves. kept: the value in use lies inside the new interval, so nothing speaks for a
    change. gone: it was exported before and is not identified any more."""

    key: str
    change: Change
    before: float | None
    after: float | None
    lower: float | None = None
    upper: float | None = None
    grade: str | None = None


def files_of(offer: Offer, target: str) -> dict[str, bytes]:
    """Every file of `target` by name: its own, and the full record beside it as NAME.stamp.json.

    Raises: ExportError for an unknown target.
    """
    check_target(target)
    own = {name: _bytes(text) for name, text in TARGETS[target](offer).items()}
    if target == "json":  # that file is the record
        return own
    (record,) = json_table(offer).values()
    return own | {stamp_name(name): record.encode() for name in own}


def check_target(target: str) -> None:
    """Refuse a target that nothing here writes for.

    Raises: ExportError naming the known ones.
    """
    if target not in TARGETS:
        raise ExportError(f"no target '{target}'", where="--to", expected=" or ".join(TARGETS))


def stamp_name(name: str) -> str:
    """The name of the full record beside the file `name`."""
    return f"{name}.stamp.json"


def differences(offer: Offer, current: Path) -> list[Difference]:
    """What `offer` would change against the export `current`: a file with its record beside it, or a record.

    Raises: ExportError when the record is not there or is not one.
    """
    before = _values(current)
    rows = {row.key: row for row in offer.rows}
    found = [_difference(key, row, before.get(key)) for key, row in rows.items()]
    gone = [
        Difference(key=key, change="gone", before=value, after=None)
        for key, value in before.items()
        if key not in rows
    ]
    return [*found, *gone]


def _difference(key: str, row: Row, before: float | None) -> Difference:
    if before is None:
        change: Change = "new"
    elif before == row.value or (
        row.lower is not None and row.upper is not None and row.lower <= before <= row.upper
    ):
        change = "kept"
    else:
        change = "changed"
    return Difference(
        key=key,
        change=change,
        before=before,
        after=row.value,
        lower=row.lower,
        upper=row.upper,
        grade=row.grade,
    )


def _values(current: Path) -> dict[str, float]:
    """Key -> value of the export that is in use, read from its record."""
    beside = current.with_name(stamp_name(current.name))
    stamp = beside if beside.is_file() else current
    try:
        rows = json.loads(stamp.read_text(encoding="utf-8"))["rows"]
        return {Row(**row).key: float(row["value"]) for row in rows}
    except OSError as error:
        raise ExportError(
            error.strerror or "unreadable", where=str(stamp), expected="an earlier export to compare with"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            "no record of an export",
            where=str(stamp),
            expected="a file of export with its .stamp.json beside it",
            cure="Export once without --diff; what is in use now cannot be compared by hand.",
        ) from error


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
