"""What more or less of each mean load would bring: the optimum of the linear programme around its caps."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.records import VALUE_CURVE
from .duals import logged_loads, stakes_of
from .market import CAPPED, Market
from .multipliers import multipliers
from .recalibrated import recalibrated

Array = NDArray[np.float64]

SHARES: Final = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
"""Caps tried, as shares of the one that holds."""


def value_curve(market: Market, caps: Array) -> pl.DataFrame:
    """Rows of VALUE_CURVE: each finite cap alone moved to SHARES of itself, the others as they are.

    caps: (3,) mean cost (USD), latency (s) and risk; NaN: the logged mean, infinite: free. gain_usd: the
    optimum per decision less that at the caps as they are, by recalibrated predictions, so that it is concave
    in the cap with the multiplier as its slope. A cap that cannot be kept has a reason instead.

    Source: METHODS E1.
    """
    used = logged_loads(market)
    limits = np.where(market.known[1:], np.where(np.isnan(caps), used, caps), np.inf)
    stakes = stakes_of(recalibrated(market))
    today = multipliers(stakes.worth, stakes.load, stakes.weight, limits, names=CAPPED)
    if isinstance(today, str):
        return pl.DataFrame(schema=VALUE_CURVE)
    rows: list[dict[str, Any]] = []
    for j in np.flatnonzero(np.isfinite(limits)).tolist():
        for share in SHARES:
            moved = np.where(np.arange(len(CAPPED)) == j, share * limits, limits)
            found = multipliers(stakes.worth, stakes.load, stakes.weight, moved, names=CAPPED)
            known = not isinstance(found, str)
            rows.append(
                {
                    "quantity": CAPPED[j],
                    "share": share,
                    "cap": float(moved[j]),
                    "gain_usd": found.optimum - today.optimum if known else None,
                    "multiplier": float(found.mu[j]) if known else None,
                    "reason": None if known else found,
                }
            )
    return pl.DataFrame(rows, schema=VALUE_CURVE)
