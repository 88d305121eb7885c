"""Small hand-made rows of Prices.savings, for findings that rest on no contrast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.schemas.records import SAVINGS, Estimates, Prices

from tests.reports.factory import PRICED

SUPPORTED = "congestion fingerprint: supported"
STALE: dict[str, Any] = {
    "layer": "training",
    "decision_point": "keep",
    "segment": "version_lag=8-15",
    "action": "keep",
    "baseline": "drop",
    "direction": "over",
    "grade": "C",
    "method": "cost less signal",
    "note": "15% of the rollouts that were trained on",
}
LONG: dict[str, Any] = {
    "layer": "serving",
    "decision_point": "admit",
    "segment": "x_prompt_band=long",
    "action": "admit",
    "baseline": "price",
    "direction": "over",
    "grade": "B",
    "method": "engine replay",
    "note": SUPPORTED,
}


def savings(
    about: dict[str, Any],
    *,
    usd: float,
    se: float,
    paid_usd: float = 100.0,
    decisions: float = 200.0,
    clusters: int = 20,
    **more: Any,
) -> pl.DataFrame:
    """Rows of one segment whose total is `usd` with a standard error of `se`."""
    noise = np.linspace(-1.0, 1.0, clusters)  # sums to 0
    # the jackknife of equal clusters: G / (G - 1) sum (usd_g - mean)^2
    apart = se * np.sqrt((clusters - 1) / clusters / (noise**2).sum()) * noise
    rows = [
        {
            **dict.fromkeys(SAVINGS),
            **about,
            "cluster": f"{about['layer']} {g}",
            "usd": usd / clusters + apart[g],
            "decisions": decisions / clusters,
            "paid_usd": paid_usd / clusters,
            "n": 5,
            **more,
        }
        for g in range(clusters)
    ]
    return pl.DataFrame(rows, schema=SAVINGS)


def refused(about: dict[str, Any], reason: str) -> pl.DataFrame:
    """The row of a segment without dollars."""
    row = {**dict.fromkeys(SAVINGS), **about, "n": 0, "grade": "N", "note": None, "reason": reason}
    return pl.DataFrame([row], schema=SAVINGS)


def prices_with(est: Estimates, *rows: pl.DataFrame) -> Prices:
    """The prices of `est` with these savings."""
    return replace(fit_prices(est, PRICED), savings=pl.concat(rows))


def logged(est: Estimates, *about: dict[str, Any]) -> Estimates:
    """`est` of logs that hold the decision points of `about` too."""
    one = est.coverage.head(1)
    more = [one.with_columns(pl.lit(a[k]).alias(k) for k in ("layer", "decision_point")) for a in about]
    return replace(est, coverage=pl.concat([est.coverage, *more]))
