"""Which outcome is the quality, and which outcome values lie outside the scale they should have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb

from ..errors import ConfigError
from ..schemas.config import Config

DEFAULT_NAMES: Final = ("quality", "resolved", "success", "passed", "reward", "score")
"""Outcomes taken as the quality when the configuration names none, in this order, if all lie in [0, 1]."""
_LARGEST: Final = 1.7e308


@dataclass(frozen=True, slots=True)
class Scale:
    """Outcome `name` with `low` and `high` mapped to 0 and 1."""

    name: str
    low: float
    high: float


def chosen_quality(connection: duckdb.DuckDBPyConnection, config: Config) -> Scale | None:
    """The outcome that fills `quality`: the configured one, else the first default that lies in [0, 1].

    Raises: ConfigError when low and high are equal.
    """
    rule = config.quality
    if rule is not None:
        if rule.low == rule.high:
            raise ConfigError(
                f"quality.low and quality.high are both {rule.low}",
                expected="two different ends of the scale",
            )
        return Scale(rule.name, rule.low, rule.high)
    ranges = connection.execute(
        "SELECT name, min(value), max(value) FROM o1 WHERE value IS NOT NULL GROUP BY name"
        " HAVING name IN (SELECT unnest(?))",
        [list(DEFAULT_NAMES)],
    ).fetchall()
    usable = {name for name, lowest, highest in ranges if lowest >= 0 and highest <= 1}
    name = next((name for name in DEFAULT_NAMES if name in usable), None)
    return Scale(name, 0.0, 1.0) if name is not None else None


def reject_out_of_range(
    connection: duckdb.DuckDBPyConnection, scale: Scale | None
) -> list[tuple[str, int, str]]:
    """Remove outcomes outside their scale from o1; their file, row and reason."""
    limits = [("judge_score", 0.0, 1.0), ("loss_usd", 0.0, _LARGEST)]
    if scale is not None:
        limits.append((scale.name, min(scale.low, scale.high), max(scale.low, scale.high)))
    removed: list[tuple[str, int, str]] = []
    for name, lowest, highest in limits:
        found = connection.execute(
            "DELETE FROM o1 WHERE name = ? AND value NOT BETWEEN ? AND ?"
            " RETURNING source_file, source_row, value",
            [name, lowest, highest],
        ).fetchall()
        expected = f"in [{lowest:g}, {highest:g}]" if highest < _LARGEST else f">= {lowest:g}"
        removed += [
            (file, row, f"outcome {name!a} is {value:g}, expected a number {expected}")
            for file, row, value in found
        ]
    return removed
