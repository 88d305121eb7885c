"""Whether a policy prices risk below what its incidents cost: the revealed price over the accounting one.

Below 1, risk is under-priced; the two prices themselves are never averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from ...schemas.records import Price
from ..confidence import LEVEL
from .exposure import ALL

_FACTOR: Final = "USD/USD"


def risk_price_ratios(prices: Sequence[Price]) -> tuple[Price, ...]:
    """rho_rev / rho_acct of every decision point with a revealed risk price: below 1 risk is under-priced.

    Interval: both prices' distances added in squares on the log scale; where the revealed price may be 0,
    the quotients of their ends, which is wider. A revealed price per USD of loss is its own ratio. Refused
    where one of the two has no value.

    Source: Zou & Donner 2008; METHODS D5.
    """
    books = {
        (p.layer, p.decision_point): p
        for p in prices
        if p.name == "accounting_risk_price" and p.segment == ALL
    }
    return tuple(
        _ratio(p, books.get((p.layer, p.decision_point))) for p in prices if p.name == "revealed_risk_price"
    )


def _ratio(revealed: Price, books: Price | None) -> Price:
    row: dict[str, Any] = {
        "name": "risk_price_ratio",
        "symbol": "ρ_rev/ρ_acct",
        "unit": _FACTOR,
        "source": "revealed",
        "layer": revealed.layer,
        "decision_point": revealed.decision_point,
        "n": revealed.n,
        "clusters": revealed.clusters,
    }
    per_usd = revealed.unit == _FACTOR
    if revealed.value is None or (not per_usd and (books is None or books.value is None)):
        lacking = revealed.reason if revealed.value is None else None if books is None else books.reason
        return Price(**row, grade="N", method="none", reason=lacking or "no accounting price at this point")
    below = (1.0, 1.0, 1.0)
    if not per_usd and books is not None:
        below = (books.value or 1.0, books.lower or 0.0, books.upper or math.inf)
    value, lower, upper = _quotient((revealed.value, revealed.lower or 0.0, revealed.upper or 0.0), below)
    if upper < 1.0:
        reading = "behaviour prices risk below what incidents cost: risk is under-priced"
    elif lower > 1.0:
        reading = "behaviour prices risk above what incidents cost"
    else:
        reading = "no difference seen between what behaviour and the books say of risk"
    ends: dict[str, Any] = {"value": value, "lower": lower, "upper": upper, "level": LEVEL}
    return Price(**row, **ends, grade=revealed.grade, method="quotient of separate intervals", reason=reading)


def _quotient(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """(value, lower, upper) of a / b, each given so, b above 0."""
    value = a[0] / b[0]
    if a[1] > 0.0:
        down = math.hypot(math.log(a[0] / a[1]), math.log(b[2] / b[0]))
        up = math.hypot(math.log(a[2] / a[0]), math.log(b[0] / b[1]))
        return value, value * math.exp(-down), value * math.exp(up)
    ends = [x / y for x in a[1:] for y in b[1:]]
    return value, min(ends), max(ends)
