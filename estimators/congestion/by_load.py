"""From external delays of single requests to prices by load and hour, and to who imposes and who suffers."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ...schemas.records import Grade, Price
from .deletions import BINS, Deletions, load_bins
from .records import TENANTS
from .requests import Array, Ints, Requests
from .token_prices import Delays, least_squares, slopes, time_blocks, token_prices

_FINE_S: Final = 600.0
"""Blocks within one hour of the day: it recurs once a day, too rarely to be a block itself."""


def load_label(b: int) -> str:
    """The segment of load bin b."""

    def plain(edge: float) -> str:
        return f"{edge:g}".removeprefix("0") or "0"

    upper = BINS[b + 1]
    return f"load={plain(BINS[b])}+" if np.isinf(upper) else f"load={plain(BINS[b])}-{plain(upper)}"


def tokens_of(requests: Requests, kv_token_s: Array) -> Array:
    """(n, 3) prefill tokens processed, tokens written, KV tokens times seconds."""
    return np.column_stack([requests.prompt - requests.cached, requests.output, kv_token_s]).astype(float)


def prices_by_load(
    requests: Requests,
    tokens: Array,
    load: Array,
    deleted: Deletions,
    *,
    latency_price: float | None,
    grade: Grade,
    method: str,
    rng: np.random.Generator,
) -> tuple[tuple[Price, ...], tuple[Price, ...]]:
    """Prices for 'all' and each load bin, and those by hour of the day (none where the clock is relative).

    tokens: (n, 3), load: (n,) of all requests. Intervals draw hours, or stretches of a shorter log.
    """
    time, level, hour = requests.time_s, load_bins(load), requests.hour[deleted.rows]
    blocks, fine = time_blocks(time)[deleted.rows], time_blocks(time, hour_s=_FINE_S)[deleted.rows]
    whole = Delays(tokens=tokens[deleted.rows], delay_s=deleted.delay_s, weight=deleted.weight, block=blocks)

    def priced(segment: str, inside: Ints, block: Ints) -> tuple[Price, ...]:
        part = Delays(
            tokens=whole.tokens[inside],
            delay_s=whole.delay_s[inside],
            weight=whole.weight[inside],
            block=block[inside],
        )
        found = slopes(part, rng=rng)
        return token_prices(found, segment=segment, latency_price=latency_price, grade=grade, method=method)

    everyone = np.arange(deleted.rows.size)
    rows = [priced("all", everyone, blocks)]
    for b in range(len(BINS) - 1):
        rows.append(priced(load_label(b), np.flatnonzero(level[deleted.rows] == b), blocks))
    hours = [priced(f"hour={h}", np.flatnonzero(hour == h), fine) for h in np.unique(hour).tolist() if h >= 0]
    return tuple(p for part in rows for p in part), tuple(p for part in hours for p in part)


def tenant_accounts(
    requests: Requests,
    tokens: Array,
    load: Array,
    deleted: Deletions,
    *,
    latency_price: float | None,
) -> pl.DataFrame:
    """One row per tenant in the columns TENANTS, by seconds imposed.

    Imposed are the fitted seconds per token and load for all of a tenant's requests, scaled so that all
    tenants together impose what the deletions say; a tenant's own sample alone would be too small. own_s: the
    share that the deletions found within the tenant. Suffered are sums over the deletions.
    """
    count = len(requests.tenants)
    fitted = _fitted_delays(tokens, load_bins(load), deleted)
    total = float(deleted.weight @ deleted.delay_s)
    scale = total / float(fitted.sum()) if fitted.sum() > 0 else 0.0
    imposed = scale * np.bincount(requests.tenant, weights=fitted, minlength=count)
    tenant = requests.tenant[deleted.rows]
    seen = np.bincount(tenant, weights=deleted.weight * deleted.delay_s, minlength=count)
    own = np.bincount(tenant, weights=deleted.weight * deleted.own_s, minlength=count)
    share = np.divide(own, seen, out=np.zeros(count), where=seen > 0)
    frame = pl.DataFrame(
        {
            "tenant_id": list(requests.tenants),
            "requests": np.bincount(requests.tenant, minlength=count),
            "imposed_s": imposed,
            "own_s": share * imposed,
            "suffered_s": deleted.suffered_s,
        }
    ).with_columns(
        imposed_usd=pl.col("imposed_s") * pl.lit(latency_price, dtype=pl.Float64),
        suffered_usd=pl.col("suffered_s") * pl.lit(latency_price, dtype=pl.Float64),
    )
    laid_out = frame.select(pl.col(name).cast(dtype) for name, dtype in TENANTS.items())
    return laid_out.sort("imposed_s", "tenant_id", descending=[True, False])


def _fitted_delays(tokens: Array, level: Ints, deleted: Deletions) -> Array:
    """(n,) seconds that each request imposes by the prices of its load, or that load's mean without them."""
    fitted = np.zeros(len(tokens))
    sampled = level[deleted.rows]
    for b in np.unique(sampled).tolist():
        part, inside = sampled == b, level == b
        x, y, w = tokens[deleted.rows][part], deleted.delay_s[part], deleted.weight[part]
        one_block = np.zeros(y.size, dtype=np.int64)
        found = least_squares(Delays(tokens=x, delay_s=y, weight=w, block=one_block))
        fitted[inside] = float(w @ y / w.sum()) if found is None else tokens[inside] @ found
    return fitted
