"""Contrasts over four weeks whose effect moves, or does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
import polars as pl
from effects import contrast, with_scores
from numpy.typing import NDArray
from shadowprice.estimators.contrasts import floored_mean
from shadowprice.estimators.jackknife import WeightedMean
from shadowprice.estimators.pairs import Pair
from threadpoolctl import threadpool_limits
from worlds import router_world

Array = NDArray[np.float64]

DAYS: Final = 28.0
START: Final = datetime(2026, 11, 1, tzinfo=UTC)
NOISE: Final = 0.6
"""Standard deviation of the scores of one decision."""


def moments(days: Array) -> pl.Series:
    """Timestamps so many days after the start."""
    since = pl.Series("ts", np.round(days * 86_400e6).astype(np.int64)).cast(pl.Duration("us"))
    return since + START


def timed(frame: pl.DataFrame, days: Array) -> pl.DataFrame:
    """`frame` with timestamps."""
    return frame.drop("ts", strict=False).with_columns(moments(days))


def router_log(
    seed: int = 0, *, n: int = 2400, first: float = 0.3, last: float = 0.3, clusters: int | None = 40
) -> pl.DataFrame:
    """A router's log over four weeks in which the quality that `large` adds goes from `first` to `last`."""
    rng = np.random.default_rng([seed, n])
    days = rng.uniform(0.0, DAYS, size=n)
    frame = router_world(seed, n=n, slope=0.5, gain=0.0, clusters=clusters).frame
    gain = first + (last - first) * days / DAYS
    failed = 0.45 + 0.25 * np.tanh(frame["x_hardness"].to_numpy())
    won = (rng.random(n) < gain / failed) & (frame["action"] == "large").to_numpy()
    return timed(frame.with_columns(quality=np.maximum(frame["quality"].to_numpy(), won)), days)


def drawn(
    seed: int,
    *,
    n: int = 2400,
    first: float = 0.2,
    last: float = 0.2,
    clusters: int = 30,
    luck: float = 0.0,
    of_a_time: bool = False,
) -> Pair:
    """Scores of quality around a gain from `first` to `last`, with what each cluster has in common.

    of_a_time: each cluster has its own days, as sessions do; else all of them, as tenants do.
    """
    rng = np.random.default_rng([seed, n, clusters])
    with threadpool_limits(limits=1):
        made, _ = contrast(n)
    cluster = rng.integers(clusters, size=n)
    days = (cluster + rng.random(n)) / clusters * DAYS if of_a_time else rng.uniform(0.0, DAYS, size=n)
    gain = first + (last - first) * days / DAYS
    quality = gain + luck * rng.normal(size=clusters)[cluster] + NOISE * rng.normal(size=n)
    problem = replace(
        made.problem,
        frame=timed(made.problem.frame, days),
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(f"c{g:04d}" for g in range(clusters)),
    )
    return replace(with_scores(made, quality, gain), problem=problem)


def whole(pair: Pair) -> WeightedMean:
    """The mean over the whole log."""
    return floored_mean(pair, pair.feasible, pair.h)
