"""Quantities with units: '12 USD/task' and nothing else; a bare number is refused."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigError

_PATTERN: Final = re.compile(r"\s*([-+]?[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s+(\S+)\s*")

TASK_VALUE: Final = "USD/task"
LATENCY_PRICE: Final = "USD/s"
RISK_PRICES: Final = ("USD/event", "USD/USD")
SIGNAL_PRICE: Final = "USD/signal"
"""Of a unit of whatever the log calls learning_signal."""
ROLLOUT_PRICE: Final = "USD/rollout"
_SECONDS: Final = {"USD/s": 1.0, "USD/min": 1 / 60, "USD/h": 1 / 3600}


@dataclass(frozen=True, slots=True)
class Amount:
    """A finite number and its unit, as in '0.002 USD/s'."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


def parse_amount(text: object, *, where: str, units: tuple[str, ...]) -> Amount:
    """The amount that `text` states, in one of `units`; times are brought to 'USD/s'.

    Raises: ConfigError for a bare number, another unit, or a number that is not finite and >= 0.
    """
    example = f"text with a unit, such as '12 {units[0]}'"
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"{text!r} has no unit", where=where, expected=example)
    value, unit = float(match.group(1)), match.group(2)
    if unit in _SECONDS and LATENCY_PRICE in units:
        value, unit = value * _SECONDS[unit], LATENCY_PRICE
    if unit not in units:
        raise ConfigError(f"unit {unit!r}", where=where, expected=" or ".join(units))
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"{text!r}", where=where, expected="a finite number >= 0")
    return Amount(value, unit)
