"""What the readers of agent trajectories share: typed access, keys deep in a head, waiting tool calls.

Reasons name types and fields, never values: a field of a trajectory may hold a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import ijson

from ..convert import missing, utc_from_text
from ..seam import Row

MAX_WAITING: Final = 4096
"""Tool calls that wait for their result; an agent has a few, a damaged log may have any number."""
_MAX_WHY: Final = 300
_BOM: Final = b"\xef\xbb\xbf"


def as_object(value: Any, name: str) -> dict[str, Any]:
    """`value` as an object; empty when it is absent.

    Raises: ValueError when it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)


def as_objects(value: Any, name: str) -> list[dict[str, Any]]:
    """`value` as a list of objects; empty when it is absent.

    Raises: ValueError when it, or an item of it, is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, expected a list")
    items = cast("list[Any]", value)
    odd = next((item for item in items if not isinstance(item, dict)), None)
    if odd is not None or None in items:
        raise ValueError(f"an item of {name} is {type(odd).__name__}, expected an object")
    return cast("list[dict[str, Any]]", items)


def as_text(holder: dict[str, Any], name: str) -> str | None:
    """The text in field `name`; None when it says nothing.

    Raises: ValueError when it is no text.
    """
    value = missing(holder.get(name))
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, expected text")
    return value


def as_time(holder: dict[str, Any], name: str = "timestamp") -> datetime:
    """The time in field `name`, in UTC.

    Raises: ValueError when it is absent or no time.
    """
    value = missing(holder.get(name))
    if value is None:
        raise ValueError(f"no field {name}")
    return utc_from_text(value)


def seconds(start: datetime | None, end: datetime | None) -> float | None:
    """The seconds from `start` to `end`; None when one is unknown or the lines were written out of order.

    These times are of the log's lines, not of what they tell: a negative difference is no measurement.
    """
    if start is None or end is None or end < start:
        return None
    return (end - start).total_seconds()


def why(error: ValueError) -> str:
    """The reason that `error` gives, not longer than a few lines."""
    told = str(error)
    return told if len(told) <= _MAX_WHY else f"{told[:_MAX_WHY]}..."


def error_outcome(values: dict[str, Any], label: str, *, ts: datetime | None) -> dict[str, Any]:
    """The outcome that says that the decision `values` ended in an error."""
    ids = {"request_id": values.get("request_id"), "decision_id": values.get("decision_id")}
    return {**ids, "name": "error", "label": label, "source": "code", "ts": ts}


def approval(values: dict[str, Any], label: str, value: float | None, *, by: str, ts: Any) -> dict[str, Any]:
    """The outcome that says what was decided about running the tool call `values`, and by whom."""
    ids = {"request_id": values.get("request_id"), "decision_id": values.get("decision_id")}
    return {**ids, "name": "approval", "value": value, "label": label, "source": by, "ts": ts}


def spender(model: str | None) -> dict[str, Any]:
    """The columns that say whose money a row is: the model's, or where none is named the whole run's."""
    if model is None:
        return {"layer": "agent", "decision_point": "run", "action": "run"}
    return {"layer": "router", "decision_point": "model", "action": model}


def keys_at(head: bytes, place: str) -> frozenset[str]:
    """The keys of the objects at `place` ('history.item' in ijson's words), as far as the head shows them."""
    found: set[str] = set()
    try:
        for at, event, value in ijson.parse(head.removeprefix(_BOM), use_float=True, multiple_values=True):
            if event == "map_key" and at == place:
                found.add(str(value))
    except (ijson.JSONError, UnicodeDecodeError):
        pass  # the head is cut or no JSON: what was seen until here is the answer
    return frozenset(found)


@dataclass(slots=True)
class Waiting:
    """Tool calls by id until their result comes; beyond MAX_WAITING the oldest goes without one."""

    _calls: dict[str, Row] = field(default_factory=dict[str, Row])

    def hold(self, call_id: str, row: Row) -> Iterator[Row]:
        """Keep `row`; yields the one that has to leave for it, or that waits under the same id."""
        if call_id in self._calls:
            yield self._calls.pop(call_id)
        self._calls[call_id] = row
        if len(self._calls) > MAX_WAITING:
            yield self._calls.pop(next(iter(self._calls)))

    def take(self, call_id: str) -> Row | None:
        """The call that waited under `call_id`, which waits no more."""
        return self._calls.pop(call_id, None)

    def rest(self) -> list[Row]:
        """Every call whose result never came."""
        left = list(self._calls.values())
        self._calls.clear()
        return left

    def __iter__(self) -> Iterator[Row]:
        return iter(self._calls.values())
