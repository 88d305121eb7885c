"""Short questions to an estimate, so that a test reads as a sentence."""

from __future__ import annotations

from typing import Any

import polars as pl
import shadowprice as sp
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Estimate, Estimates
from worlds import SMALL

PRICES: dict[str, Any] = {
    "prices": {"task_value": "2 USD/task", "latency": "0.01 USD/s", "risk": "0.5 USD/event"}
}
PRICED = parse_config(PRICES)


def estimated(frame: pl.DataFrame, config: Config | None = None, baseline: str | None = SMALL) -> Estimates:
    """The estimates of `frame` against `small`."""
    return sp.estimate(frame, baseline=baseline, config=config, seed=0)


def one(
    est: Estimates, quantity: str = "quality", segment: str = "all", estimand: str | None = None
) -> Estimate:
    """The headline estimate of a quantity: the first row, or the row of `estimand`."""
    rows = est.where(quantity=quantity, segment=segment, **({"estimand": estimand} if estimand else {}))
    assert rows, (quantity, segment, estimand)
    return rows[0]


def ends(e: Estimate) -> tuple[float, float]:
    """The interval of an identified estimate."""
    assert e.lower is not None, e
    assert e.upper is not None, e
    return e.lower, e.upper


def covers(e: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth."""
    return ends(e)[0] <= truth <= ends(e)[1]


def priced(**changes: str | None) -> Config:
    """PRICED with some prices changed or taken away."""
    table = {k: v for k, v in {**PRICES["prices"], **changes}.items() if v is not None}
    return parse_config({"prices": table})
