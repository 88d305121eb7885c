"""Foreign units to ours: UTC with microseconds, counts, finite numbers, disjoint token columns.

The one place for unit conversions; every function refuses with a ValueError that says what it found.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, cast

TimeUnit = Literal["s", "ms", "us", "ns"]
Convention = Literal["inclusive", "exclusive"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER: Final[dict[TimeUnit, int]] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_US_PER: Final[dict[TimeUnit, Decimal]] = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2199
"""No log of a model is older or newer: a time outside comes from a wrong unit, such as ms read as s."""
FIRST_MICROS: Final = (datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
LAST_MICROS: Final = (datetime(_LAST_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""The first microsecond of these years, and the first after them."""
RELATIVE_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Declared start of logs with a relative clock; their rows say x_clock = 'relative'."""
MISSING: Final = frozenset({"", "none", "null", "-", "{}", "[]"})
_LONGEST_MISSING: Final = max(map(len, MISSING))
_HOLDERS: Final = (list, dict, tuple)
_MAX_COUNT: Final = 2**63 - 1
_COUNT_DIGITS: Final = len(str(_MAX_COUNT))
_SHORTEST_S: Final = 1e-4
_LONGEST_S: Final = 1e15
"""Between these a number is spelled without exponent."""
_MAX_EXPONENT: Final = 400
"""Beyond any float; arithmetic on larger decimal texts would itself be the attack."""
_USD_PER: Final = {"USD": Decimal(1), "cents": Decimal("0.01"), "usd_micro": Decimal("0.000001")}
MONEY_UNITS: Final = tuple(_USD_PER)
TIME_UNITS: Final[tuple[TimeUnit, ...]] = tuple(_US_PER)


def missing(value: Any) -> Any:
    """None when `value` spells "nothing", else `value`.

    Nothing is spelled None, "", "None", "null", "-", "{}", "[]", an empty list or object. 0 and False stay:
    whether they mean "missing" depends on the field.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if len(value) > _LONGEST_MISSING and not (value[0].isspace() or value[-1].isspace()):
            return value  # most values: too long to spell "nothing", and nothing to strip
        text = value.strip()
        return None if len(text) <= _LONGEST_MISSING and text.lower() in MISSING else value
    if isinstance(value, _HOLDERS):
        return value or None
    return value


def as_count(value: Any, name: str = "") -> int | None:
    """`value` as an integer >= 0, from a number or decimal text; None stays None. `name` is its field.

    Raises: ValueError for flags, fractions, negative or huge numbers, and other types.
    """
    if value is None or (type(value) is int and 0 <= value <= _MAX_COUNT):
        return value
    if type(value) is str and len(value) <= _COUNT_DIGITS and value.isascii() and value.isdigit():
        whole = int(value)  # what nearly all texts are; the others need decimals
        if whole <= _MAX_COUNT:
            return whole
    number = _named(value, name)
    if number != number.to_integral_value():
        raise ValueError(f"{_prefix(name)}{value!r} is not a whole number")
    if not 0 <= number <= _MAX_COUNT:
        raise ValueError(f"{_prefix(name)}{value!r} is not a count, expected a whole number >= 0")
    return int(number)


def as_real(value: Any, name: str = "") -> float | None:
    """`value` as a finite float, from a number or decimal text; None stays None. `name` is its field.

    Raises: ValueError for flags, NaN, infinities and other types.
    """
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value):
        return value
    number = float(_named(value, name))
    if not math.isfinite(number):
        raise ValueError(f"{_prefix(name)}{value!r} is not a finite number")
    return number


def _named(value: Any, name: str) -> Decimal:
    try:
        return _decimal(value)
    except ValueError as error:
        raise ValueError(f"{_prefix(name)}{error}") from error


def _prefix(name: str) -> str:
    return f"{name}: " if name else ""


def as_seconds(value: Any, unit: TimeUnit) -> float | None:
    """A duration in seconds; None stays None. The sign is kept: a negative duration is for the checks.

    Raises: ValueError when it is not a finite number.
    """
    return None if value is None else float(_decimal(value) * _US_PER[unit] / 1_000_000)


def as_usd(value: Any, unit: str) -> float | None:
    """An amount in USD; `unit` is 'USD', 'cents' or 'usd_micro'. None stays None.

    Raises: ValueError when it is not a finite number.
    """
    return None if value is None else float(_decimal(value) * _USD_PER[unit])


def utc_from_epoch(value: Any, unit: TimeUnit) -> datetime:
    """The time that lies `value` units after 1970, from a number or decimal text; finer than 1 us is cut.

    Raises: ValueError when it is not a finite number or the year is absurd (wrong unit).
    """
    return _after(_EPOCH, value, unit)


def utc_from_offset(value: Any, unit: TimeUnit) -> datetime:
    """The time of a relative clock that reads `value`: RELATIVE_EPOCH plus the offset.

    Raises: ValueError when it is not a finite number or out of range.
    """
    return _after(RELATIVE_EPOCH, value, unit)


def utc_from_text(text: Any, *, zone: tzinfo = UTC) -> datetime:
    """The time that ISO 8601 or RFC 3339 text states, in UTC; naive text is in `zone`.

    Digits beyond 1 us are cut.
    Raises: ValueError for other text or an absurd year.
    """
    if not isinstance(text, str) or "-" not in text[1:8]:
        raise ValueError(f"{text!r} is not a time, expected text such as 2026-11-03T14:05:06.789Z")
    body = text.strip().replace(" UTC", "+00:00")
    try:
        when = datetime.fromisoformat(body)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time, expected text such as 2026-11-03T14:05:06Z") from error
    return utc_from_time(when, zone=zone, told=text)


def utc_from_time(when: datetime, *, zone: tzinfo = UTC, told: str | None = None) -> datetime:
    """`when` in UTC; a naive time is in `zone`. `told` is how the log spells it.

    Raises: ValueError for an absurd year.
    """
    spelled = when.isoformat() if told is None else told
    try:
        aware = (when.replace(tzinfo=zone) if when.tzinfo is None else when).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{spelled!r} is in no year from 1 to 9999") from error
    return _plausible(aware, spelled)


def input_tokens(
    total: Any, cache_read: Any, cache_write: Any, *, convention: Convention
) -> dict[str, int | None]:
    """The columns tok_input_uncached, tok_cache_read and tok_cache_write, which never overlap.

    inclusive: `total` contains the cached tokens; exclusive: they come on top. A cache count that the
    log lacks stays None; the input that it does not claim as cached counts as uncached.

    Raises: ValueError when the parts exceed the total (the convention is wrong), or one is not a count.
    """
    whole, read, write = as_count(total), as_count(cache_read), as_count(cache_write)
    uncached = whole
    if whole is not None and convention == "inclusive":
        uncached = whole - (read or 0) - (write or 0)
        if uncached < 0:
            raise ValueError(
                f"input of {whole} tokens is less than its parts, cache read {read or 0} + cache write "
                f"{write or 0}; expected cached tokens inside the input: the convention looks exclusive"
            )
    return {"tok_input_uncached": uncached, "tok_cache_read": read, "tok_cache_write": write}


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{value!r} is not a number")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a number") from error
    if not number.is_finite() or number.adjusted() > _MAX_EXPONENT:
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _after(start: datetime, value: Any, unit: TimeUnit) -> datetime:
    micros = _micros(value, unit)
    try:
        return _plausible(start + timedelta(microseconds=micros), value, unit)
    except OverflowError as error:
        raise ValueError(f"{_told(value, unit)} is out of range: check the unit") from error


def _micros(value: Any, unit: TimeUnit) -> int:
    """Whole microseconds, cut towards 0."""
    if type(value) is int:
        return value * _NS_PER[unit] // 1_000 if value >= 0 else -(-value * _NS_PER[unit] // 1_000)
    if type(value) is float and unit == "s" and _SHORTEST_S < value < _LONGEST_S:
        whole, _, part = repr(value).partition(".")
        return int(whole) * 1_000_000 + int(f"{part[:6]:0<6}")
    return int(_decimal(value) * _US_PER[unit])


def _plausible(when: datetime, value: Any, unit: str = "") -> datetime:
    if not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        raise ValueError(
            f"{_told(value, unit)} is in the year {when.year}, expected {_FIRST_YEAR} to {_LAST_YEAR}: "
            "check the unit"
        )
    return when


def _told(value: Any, unit: str) -> str:
    return f"time {value!r} {unit}" if unit else repr(value)


def section(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """The object in field `name`, empty when it is absent.

    Raises: ValueError when it is something else.
    """
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)
