"""The loop that most readers share: each record to its items, and what cannot be used to its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .lines import json_records
from .seam import Item, LogFile, Rejected


def each_record(
    log: LogFile,
    items: Callable[[int, dict[str, Any]], Iterable[Item]],
    *,
    required: frozenset[str] = frozenset(),
) -> Iterator[Item]:
    """The items of every JSON record, in order; a record without a `required` field, or for which `items`
    raises ValueError, is rejected with that reason."""
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        absent = sorted(required - fields.keys())
        if absent:
            yield Rejected(line, f"no field {absent[0]}")
            continue
        try:
            yield from items(line, fields)
        except ValueError as error:
            yield Rejected(line, str(error))
