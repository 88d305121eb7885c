"""What is known of the congestion of a log: prices, law and fit, curves, tenants, and why not more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from ...schemas.records import SAVINGS, Price
from .capacity import CapacityGain
from .replay import Fit
from .step_law import StepLaw

TENANTS: Final = {
    "tenant_id": pl.String,
    "requests": pl.Int64,
    "imposed_s": pl.Float64,
    "own_s": pl.Float64,
    "suffered_s": pl.Float64,
    "imposed_usd": pl.Float64,
    "suffered_usd": pl.Float64,
}
"""Columns of Congestion.tenants."""
CURVES: Final = {
    "segment": pl.String,
    "name": pl.String,
    "unit": pl.String,
    "value": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "reason": pl.String,
}
"""Columns of Congestion.curves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Congestion:
    """What others wait because of a request, and how that is known.

    prices: per load and 'all'; USD where a second has a price, else seconds; a refusal has value None and the
    reason. method: 'replay', 'queue', 'panel' or None. laws: per replica with steps. fits: logged against
    replayed quantiles. curves: the prices by load and by hour of day (UTC). capacity: seconds that more of
    each resource saves, as the law implies. tenants: seconds of delay that the requests of a tenant imposed
    on all others, the part within the tenant, and what its requests suffered from single others; a sum of
    marginal delays is not the delay that goes when all go. USD null without a price. savings: rows of SAVINGS
    about long contexts, empty unless asked for. notes: what was tried
    before and why it was not used, what was left out.
    """

    prices: tuple[Price, ...]
    method: str | None
    laws: tuple[StepLaw, ...] = ()
    fits: tuple[Fit, ...] = ()
    curves: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CURVES))
    capacity: tuple[CapacityGain, ...] = ()
    tenants: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TENANTS))
    savings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SAVINGS))
    notes: tuple[str, ...] = ()


def curves_of(prices: tuple[Price, ...]) -> pl.DataFrame:
    """The prices as a frame, one row each, in the columns CURVES."""
    return pl.DataFrame([{name: getattr(p, name) for name in CURVES} for p in prices], schema=CURVES)
