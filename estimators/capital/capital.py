"""Every price of tokens as capital in a log: speculation, caching and stale rollouts."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ...schemas.config import Config
from ...schemas.records import Price
from .cache import cache_prices
from .prompt_prices import TokenPrices
from .spec_times import CellTimes
from .speculation import speculation_prices
from .staleness import staleness_prices


def capital_prices(
    decisions: pl.DataFrame,
    *,
    config: Config,
    seed: int,
    outcomes: pl.DataFrame | None = None,
    steps: pl.DataFrame | None = None,
    contrasts: pl.DataFrame | None = None,
    times: Mapping[str, CellTimes] | None = None,
    token_prices: Mapping[str, TokenPrices] | None = None,
    signal_usd: float | None = None,
    keep_usd: float | None = None,
) -> tuple[Price, ...]:
    """The prices of `speculation_prices`, `cache_prices` and `staleness_prices`, each fitted or refused.

    decisions, outcomes, steps: the tables of a store. contrasts: `Estimates.contrasts`, if already made. The
    rest is what a log may lack and a user may state; see the three functions. A layer that the log does not
    have gives refusals, so that what to log is known.

    Raises: SchemaError for a frame that is not in the layout or holds impossible numbers.
    """
    return (
        *speculation_prices(decisions, config=config, times=times, steps=steps),
        *cache_prices(decisions, config=config, seed=seed, contrasts=contrasts, prices=token_prices),
        *staleness_prices(decisions, seed=seed, outcomes=outcomes, signal_usd=signal_usd, keep_usd=keep_usd),
    )
