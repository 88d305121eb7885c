"""The prices of caching: how fast entries go bad, what a reused token or answer is worth, what to write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import polars as pl

from ...schemas.config import Config
from ...schemas.records import Price
from ..problem import check_frame
from .cache_decay import decay_prices, log_hazard
from .cache_looks import EntryLooks, read_looks
from .hit_value import hit_prices
from .leave_out import Span
from .prefix_value import prefix_prices
from .prompt_prices import TokenPrices
from .records import WRITE_VALUE, fitted, refused
from .write_rule import write_span

_SEMANTIC: Final = "semantic"


def cache_prices(
    decisions: pl.DataFrame,
    *,
    config: Config,
    seed: int,
    contrasts: pl.DataFrame | None = None,
    prices: Mapping[str, TokenPrices] | None = None,
) -> tuple[Price, ...]:
    """delta_S (1/h), half-life (h), reuse value (USD per token and per hit) and the value of a written entry.

    decisions: the decisions layout. contrasts: `Estimates.contrasts` of the same decisions, if they were
    made. prices: USD per prompt token of each model; else read off its costs. What each needs and when it is
    not identified: `decay_prices`, `prefix_prices`, `hit_prices`, `write_value`.

    Raises: SchemaError for a frame that is not in the layout, or counts and ages below 0.
    """
    check_frame(decisions)
    looks = read_looks(decisions, config, seed=seed)
    hits = hit_prices(decisions, config=config, seed=seed, contrasts=contrasts)
    return (
        *decay_prices(looks),
        *prefix_prices(decisions, config=config, prices=prices),
        *hits,
        _entry(looks.get(_SEMANTIC), next((p for p in hits if p.segment == "all"), None)),
    )


def _entry(looks: EntryLooks | str | None, hit: Price | None) -> Price:
    """What writing an entry of the semantic cache brings: write one where this exceeds what writing costs."""
    if looks is None or isinstance(looks, str):
        return refused(WRITE_VALUE, looks or "no semantic hit is logged, so how long entries last is unknown")
    hazard = log_hazard(looks)
    if isinstance(hazard, str):
        return refused(WRITE_VALUE, hazard)
    if hit is None or hit.value is None or hit.lower is None or hit.upper is None:
        said = hit.reason if hit is not None else None
        return refused(WRITE_VALUE, f"what a hit is worth is not known: {said or 'no contrast of reuse'}")
    saving = Span(value=hit.value, lower=hit.lower, upper=hit.upper, clusters=hit.clusters or 0)
    per_hour = (looks.looks.bad.size - looks.bad) / looks.hours
    found = write_span(hits=per_hour, saving=saving, decay=hazard.mapped(_per_hour))
    if isinstance(found, str):
        return refused(WRITE_VALUE, found)
    return fitted(
        WRITE_VALUE,
        found,
        n=looks.looks.bad.size,
        grade=max(hit.grade or "C", "C"),
        method=f"p s / delta_S with {per_hour:.3g} good reuses an hour of an entry's life, no discounting",
    )


def _per_hour(log_hazard: float) -> float:
    return float(-math.expm1(-math.exp(log_hazard)))
