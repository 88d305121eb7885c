"""Gauges that Prometheus scrapes from a text file: OpenMetrics, which its older text format reads as well."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from .offer import Offer, Row

NAME: Final = "shadowprice.prom"
_PREFIX: Final = "shadowprice_"
_SUFFIX: Final = {"USD/USD": "ratio", "1": "ratio", "USD": "usd", "s": "seconds", "h": "hours"}
"""Unit -> the end of a metric's name; quotients are spelled from their parts, other units have no suffix."""
_PARTS: Final = {"s": "second", "h": "hour", "1": ""}
_QUOTIENT: Final = re.compile(r"(\w+)/\(?(\w+)(?:\*(\w+))?\)?")
_LABELS: Final = ("layer", "decision_point", "action", "baseline", "segment", "source", "grade", "reading")


def openmetrics(offer: Offer) -> dict[str, str]:
    """The one file of this target. A number that is not identified has no series, and is counted instead.

    No sample has a timestamp (a textfile collector refuses them); the run has one of its own, the end of the
    data window. bound: point, lower, upper.

    Source: OpenMetrics 1.0, text format.
    """
    families: dict[tuple[str, str | None], list[str]] = {}
    for row in offer.rows:
        name, unit = _family(row)
        lines = families.setdefault((name, unit), [])
        bounds = {"point": row.value, "lower": row.lower, "upper": row.upper}
        lines += [_sample(name, row, bound, v) for bound, v in bounds.items() if v is not None]
    text = [line for (name, unit), lines in families.items() for line in (*_head(name, unit), *lines)]
    run = _quoted(offer.run_id)
    skipped = "shadowprice_skipped_rows"
    text += [*_head(skipped, None), f'{skipped}{{run_id="{run}"}} {len(offer.skipped)}']
    if offer.window[1] is not None:
        end = datetime.fromisoformat(offer.window[1]).timestamp()
        name = "shadowprice_window_end_timestamp_seconds"
        text += [*_head(name, "seconds"), f'{name}{{run_id="{run}"}} {end!r}']
    return {NAME: "\n".join([*text, "# EOF"]) + "\n"}


def _family(row: Row) -> tuple[str, str | None]:
    unit = _suffix(row.unit)
    return f"{_PREFIX}{row.name}" + (f"_{unit}" if unit else ""), unit


def _suffix(unit: str) -> str | None:
    """The unit in the words of a metric's name: USD/(token*s) is usd_per_token_second."""
    quotient = _QUOTIENT.fullmatch(unit)
    if unit in _SUFFIX or quotient is None:
        return _SUFFIX.get(unit)
    over, *under = quotient.groups(default="")
    below = "_".join(_PARTS.get(part, part) for part in under if part)
    return f"{_SUFFIX.get(over, over) if over != '1' else ''}_per_{below}".lower().lstrip("_")


def _head(name: str, unit: str | None) -> list[str]:
    return [f"# TYPE {name} gauge", *([f"# UNIT {name} {unit}"] if unit else [])]


def _sample(name: str, row: Row, bound: str, value: float) -> str:
    labels = {label: getattr(row, label) for label in _LABELS}
    text = ",".join(f'{label}="{_quoted(str(of))}"' for label, of in labels.items() if of is not None)
    return f'{name}{{{text},bound="{bound}"}} {value!r}'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
