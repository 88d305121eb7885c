"""Number formats and grade colours; the only owner of both."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

ABSENT: Final = "–"
_DAY_S: Final = 86_400.0

GRADE_MEANING: Final = {
    "A": "randomised, logged propensities pass their test",
    "B": "by design: a known rule replayed, or near a cut-off",
    "C": "observational, overlap holds",
    "D": "bounds only",
    "N": "not identified",
}
GRADE_LIGHT: Final = {"A": "#14365a", "B": "#2f6f93", "C": "#75a9bd", "D": "#d8b878", "N": "#dededa"}
"""Fill per grade on white; darker is stronger, so the order survives in grey and in print."""
GRADE_DARK: Final = {"A": "#cfe8f7", "B": "#86bdd8", "C": "#4b87a0", "D": "#846a38", "N": "#45494e"}
"""Fill per grade on black; brighter is stronger."""


def usd(value: float | None, *, signed: bool = False) -> str:
    """Dollars and cents, whole dollars from a hundred, three significant digits below ten cents."""
    if value is None or not math.isfinite(value):
        return ABSENT
    size = abs(value)
    text = f"{size:,.0f}" if size >= 100 else f"{size:.2f}" if size >= 0.1 or size == 0 else _digits(size)
    return f"{_sign(value, text, signed)}${text}"


def break_even(value: float | None) -> str:
    """A break-even task value; below 0 the change pays whatever a task is worth."""
    return "any" if value is not None and value < 0 else usd(value)


def points(value: float | None, *, signed: bool = True) -> str:
    """A difference of quality in percentage points."""
    return _with_unit(None if value is None else 100 * value, unit("quality"), signed)


def seconds(value: float | None, *, signed: bool = True) -> str:
    """Seconds."""
    return _with_unit(value, unit("latency"), signed)


def risk(value: float | None, *, signed: bool = True) -> str:
    """Risk per thousand decisions, in the unit of the risk price."""
    return _with_unit(None if value is None else 1000 * value, unit("risk"), signed)


def share(value: float | None) -> str:
    """A share as a whole percentage; never rounds a part to nothing or to everything."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if 0 < value < 0.01:
        return "< 1 %"
    if 0.99 < value < 1:
        return "> 99 %"
    return f"{100 * value:.0f} %"


def count(value: float | None) -> str:
    """A whole number with separators."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:,.0f}"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return ABSENT
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def quantity(name: str, value: float | None) -> str:
    """A contrast in the unit of its quantity."""
    if name == "quality":
        return points(value)
    if name == "latency":
        return seconds(value)
    if name == "risk":
        return risk(value)
    return usd(value, signed=True)


def quantity_interval(name: str, lower: float | None, upper: float | None) -> str:
    """An interval in the unit of `name`, which the value before it states."""
    ends = [quantity(name, end) for end in (lower, upper)]
    return bracket(*(end.removesuffix(f" {unit(name)}") for end in ends))


def unit(name: str) -> str:
    """The unit that follows a quantity; dollars are in front."""
    return {"quality": "pt", "latency": "s", "risk": "per 1,000"}.get(name, "")


def bracket(lower: str, upper: str) -> str:
    """An interval of formatted ends."""
    return f"[{lower}, {upper}]"


def date_range(start: str | None, end: str | None) -> str:
    """The days that a window of ISO timestamps covers."""
    if not start or not end:
        return "no timestamps"
    first, last = start[:10], end[:10]
    return first if first == last else f"{first} to {last}"


def window_days(start: str | None, end: str | None) -> float | None:
    """Length in days of a window of ISO timestamps."""
    if not start or not end:
        return None
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return span.total_seconds() / _DAY_S


def _with_unit(value: float | None, name: str, signed: bool) -> str:
    if value is None or not math.isfinite(value):
        return ABSENT
    text = _digits(abs(value))
    return f"{_sign(value, text, signed)}{text} {name}"


def _digits(size: float) -> str:
    """Three significant digits without an exponent."""
    if size == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(size)))
    text = f"{size:,.{min(places, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _sign(value: float, text: str, signed: bool) -> str:
    if not text.strip("0.,"):
        return ""
    return "\u2212" if value < 0 else "+" if signed else ""
