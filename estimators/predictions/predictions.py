"""The three predictions of the paper as tests, from a store or a plain frame: one door."""

from __future__ import annotations

from typing import Final

import polars as pl
from threadpoolctl import threadpool_limits

from ...errors import SchemaError
from ...schemas.config import Config
from ...schemas.records import Prediction
from ...schemas.store import Store
from ..prices.sampled import REQUESTS, sampled_frame
from .congestion import congestion_prediction
from .router import router_prediction
from .verifier import verifier_prediction

MOST_CHOICES: Final = 20_000
"""Router and agent decisions that are read: a request that is read is read whole."""
MOST_REQUESTS: Final = 100_000
"""Serving decisions that are read, the first ones: a queue has no history when its requests are sampled."""


def predictions(
    decisions_or_store: pl.DataFrame | pl.LazyFrame | Store, config: Config | None = None, seed: int = 0
) -> tuple[Prediction, ...]:
    """The paper's three predictions, each supported, contradicted, inconclusive or not identified.

    In order: 'verifier' (more verification lowers realised risk until it no longer pays), 'router' (regret of
    a cost-minimising router grows with the value of a request), 'congestion' (long contexts of other tenants
    make short requests wait). decisions_or_store: a store or a frame in the decisions layout. Of large logs
    whole requests are sampled for the first two, and the first requests are taken for the third.

    Raises: SchemaError for a frame that is not in the layout. What the log cannot tell is a verdict
    not_identified with the reason, never an error.
    Source: METHODS I; the paper's three predictions.
    """
    settings = config or Config()
    lazy = (
        decisions_or_store.decisions() if isinstance(decisions_or_store, Store) else decisions_or_store.lazy()
    )
    if "layer" not in lazy.collect_schema().names():
        raise SchemaError("column 'layer' is missing", where="decisions", expected="the decisions layout")
    choices = lazy.filter(pl.col("layer").is_in(["router", "agent"]))
    with threadpool_limits(limits=1):  # small problems: threads inside one wait longer than they work
        frame = sampled_frame(choices, seed=seed, most=MOST_CHOICES, together=REQUESTS)
        return (
            verifier_prediction(frame, settings, seed=seed),
            router_prediction(frame, settings, seed=seed),
            congestion_prediction(_first_requests(lazy)),
        )


def _first_requests(lazy: pl.LazyFrame) -> pl.DataFrame:
    serving = lazy.filter(pl.col("layer") == "serving")
    if "ts" in serving.collect_schema().names():
        serving = serving.sort("ts", "decision_id", nulls_last=True)
    return serving.head(MOST_REQUESTS).collect(engine="streaming")
