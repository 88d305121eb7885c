"""What the logged policy consumes per decision, for judging caps."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ..schemas.config import Config
from ..schemas.records import CONSUMPTION
from .confidence import interval
from .jackknife import cluster_sums, weighted_mean

_COLUMNS: Final = {"cost": "cost_usd", "latency": "latency_s", "risk": "incident"}
_CLUSTER: Final = ("session_id", "request_id", "decision_id")


def consumption(frame: pl.DataFrame | pl.LazyFrame, config: Config) -> pl.DataFrame:
    """Per capped quantity the mean per decision that has one, with a cluster t interval.

    Clusters are sessions, else requests, else decisions; log sampling is undone through keep_prob. A
    quantity that no decision has, or that fewer than two clusters have, has no row.
    """
    rows: list[tuple[object, ...]] = []
    lazy = frame.lazy()
    names = lazy.collect_schema().names()
    for quantity, column in _COLUMNS.items():
        cap = getattr(config.caps, quantity)
        if cap is None:
            continue
        column = "loss_usd" if cap.unit == "USD/decision" and quantity == "risk" else column
        if column not in names:
            continue
        keys = [k for k in _CLUSTER if k in names]
        wanted = [*keys, column, *(["keep_prob"] if "keep_prob" in names else [])]
        held = lazy.select(wanted).filter(pl.col(column).is_not_null()).collect(engine="streaming")
        cluster = held.select(pl.coalesce(keys)).to_series().rank("dense").cast(pl.Int64).to_numpy() - 1
        if np.unique(cluster).size < 2:
            continue
        kept = held["keep_prob"].fill_null(1.0).to_numpy() if "keep_prob" in held.columns else 1.0
        weight = np.ones(held.height) / kept
        value = held[column].cast(pl.Float64).to_numpy()[:, None]
        mean = weighted_mean(cluster_sums(value, weight, cluster, int(cluster.max()) + 1))
        centre = float(mean.theta[0])
        rows.append(
            (
                quantity,
                centre,
                *interval(centre, float(np.sqrt(mean.cov[0, 0])), mean.df),
                held.height,
                float(weight.sum()),
            )
        )
    return pl.DataFrame(rows, schema=CONSUMPTION, orient="row")
