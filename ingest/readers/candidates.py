"""Lists of candidates kept beside the logs: which actions a policy version could choose, from when on.

JSON, CSV or Parquet with `policy_version` and `candidates` (a list, or text with | between its items), and,
where they are known, `valid_from` and `valid_to` (text in ISO 8601), `decision_point`, and `rule`, which is
not read. Decisions of that version without candidates take the latest list that is not later than they are;
one without `decision_point` is for every point whose action it names. Never: propensities.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, cast

import orjson

from ...schemas.config import Config
from ..convert import missing, utc_from_text
from ..lines import any_records
from ..seam import Item, LogFile, Rejected, Row
from .agent_logs import as_text
from .peek import csv_header, top_keys

NAME: Final = "candidates"
_NEEDED: Final = frozenset({"policy_version", "candidates"})
_KNOWN: Final = _NEEDED | {"valid_from", "valid_to", "decision_point", "rule"}


def sniff(head: bytes) -> bool:
    """Whether the columns are those of lists of candidates, and no others: a decision has an action too."""
    records = top_keys(head)
    columns = records[0] if records else frozenset(csv_header(head))
    return _NEEDED <= columns <= _KNOWN


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One row of `menus` for every list."""
    del config
    for record in any_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield Row("menus", line, _menu(cast("dict[str, Any]", fields)))
        except ValueError as error:
            yield Rejected(line, str(error))


def _menu(fields: dict[str, Any]) -> dict[str, Any]:
    since, until = _time(fields, "valid_from"), _time(fields, "valid_to")
    if since is not None and until is not None and until <= since:
        raise ValueError(f"valid_to is {until.isoformat()}, expected a time after valid_from")
    return {
        "policy_version": as_text(fields, "policy_version"),
        "decision_point": as_text(fields, "decision_point"),
        "candidates": _items(fields.get("candidates")),
        "valid_from": since,
        "valid_to": until,
    }


def _time(fields: dict[str, Any], name: str) -> datetime | None:
    value = missing(fields.get(name))
    try:
        return None if value is None else utc_from_text(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _items(value: Any) -> Any:
    """The list that `value` is or writes; anything else as it is, for the check of the row."""
    if not isinstance(value, str) or not value.strip():
        return value
    if not value.lstrip().startswith("["):
        return [part.strip() for part in value.split("|")]
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError("candidates begins like a JSON list and is none") from error
