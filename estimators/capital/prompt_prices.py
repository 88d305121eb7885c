"""What a prompt token costs fresh, read from a prefix cache or written to it: stated, or read off costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import PriceError

Array = NDArray[np.float64]

BILLED: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output")
CLOSE: Final = 1e-3
"""Largest share of the cost that token prices may leave unexplained, root mean square, to be called
prices."""
MIN_ROWS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """USD per prompt token: fresh, read from the cache, and written to it."""

    fresh: float
    read: float
    write: float

    def __post_init__(self) -> None:
        for name in ("fresh", "read", "write"):
            usd = getattr(self, name)
            if not 0.0 <= usd < np.inf:
                raise PriceError(f"{name} is {usd} USD/token", where="TokenPrices", expected="0 or more")

    @property
    def saving(self) -> float:
        """USD saved per token read instead of processed afresh."""
        return self.fresh - self.read

    @property
    def premium(self) -> float:
        """USD paid per token written above what processing it costs."""
        return self.write - self.fresh


def token_prices(rows: pl.DataFrame, stated: Mapping[str, TokenPrices] | None) -> dict[str, TokenPrices]:
    """Prices of each model in `rows` for which they are stated or can be read off its costs.

    rows: `_model`, cost_usd and the BILLED columns. A model's cost is a sum of prices times tokens when
    non-negative least squares leave less than CLOSE of it unexplained; it must then know the price of fresh
    and read tokens from rows that have them. Where nothing was written, a written token costs what a fresh
    one does.
    """
    known = dict(stated or {})
    for (model,), own in rows.group_by("_model", maintain_order=True):
        if model is not None and model not in known:
            found = _read_off(own.drop_nulls("cost_usd"))
            if found is not None:
                known[str(model)] = found
    return known


def _read_off(rows: pl.DataFrame) -> TokenPrices | None:
    if rows.height < MIN_ROWS:
        return None
    tokens = rows.select(pl.col(BILLED).cast(pl.Float64).fill_null(0.0)).to_numpy()
    cost = rows["cost_usd"].cast(pl.Float64).to_numpy()
    used = (tokens > 0.0).sum(axis=0) > 0
    if not (used[0] and used[1]) or not cost.sum():
        return None
    held = tokens[:, used]
    scale = np.sqrt((held**2).mean(axis=0))
    if np.linalg.cond(held / scale) > 1.0 / CLOSE:
        return None
    price = np.linalg.lstsq(held / scale, cost, rcond=None)[0] / scale
    left = cost - held @ price
    if (price < 0.0).any() or np.sqrt((left**2).mean()) > CLOSE * np.sqrt((cost**2).mean()):
        return None
    whole = np.zeros(len(BILLED))
    whole[used] = price
    return TokenPrices(fresh=whole[0], read=whole[1], write=whole[2] if used[2] else whole[0])
