"""Fields of the semantic router's JSON, each checked for its type; Go's zero time is no time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, cast

from ..convert import missing, utc_from_text

_ZERO_TIME: Final = "0001-01-01T"
"""How Go writes a time that was never set."""


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list `value`, none when it is absent.

    Raises: ValueError when it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in cast("list[Any]", value)):
        raise ValueError(f"{name} is no list of objects")
    return cast("list[dict[str, Any]]", value)


def text(holder: dict[str, Any], name: str) -> str | None:
    """The text in field `name`; None when it says nothing.

    Raises: ValueError when it is no text.
    """
    value = missing(holder.get(name))
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, expected text")
    return value


def flag(holder: dict[str, Any], name: str) -> bool:
    """The flag in field `name`; False when it is absent, as the writer leaves out what is false.

    Raises: ValueError when it is no flag.
    """
    value = holder.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, expected true or false")
    return value


def time_of(holder: dict[str, Any], name: str) -> datetime | None:
    """The time in field `name`; naive text is taken as UTC.

    Raises: ValueError when it is no time.
    """
    value = missing(holder.get(name))
    if value is None or (isinstance(value, str) and value.startswith(_ZERO_TIME)):
        return None
    try:
        return utc_from_text(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
