"""Worlds for the three predictions with their prices, and what is asked of their verdicts."""

from __future__ import annotations

from typing import Any

import polars as pl
from shadowprice.estimators.predictions.router import router_prediction
from shadowprice.estimators.predictions.verifier import verifier_prediction
from shadowprice.ingest.simulator.predicted_router import CLASS_VALUES, RouterTruth, router_world
from shadowprice.ingest.simulator.predicted_verifier import (
    RISK_USD,
    TASK_VALUE,
    VerifierTruth,
    verifier_world,
)
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Prediction, Reading

VERIFIER_PRICES: dict[str, Any] = {"task_value": f"{TASK_VALUE} USD/task", "risk": f"{RISK_USD} USD/event"}
VERIFIER = parse_config({"prices": VERIFIER_PRICES})
ROUTER_PRICES: dict[str, Any] = {
    "task_value_by_class": {name: f"{usd} USD/task" for name, usd in CLASS_VALUES.items()}
}
ROUTER = parse_config({"prices": ROUTER_PRICES})


def agents(*, holds: bool = True, seed: int = 0, tasks: int = 3_000) -> tuple[pl.DataFrame, VerifierTruth]:
    """Agents that verify; see `verifier_world`."""
    return verifier_world(tasks, seed=seed, holds=holds)


def routed(*, router: str = "cheap", seed: int = 1, n: int = 6_000) -> tuple[pl.DataFrame, RouterTruth]:
    """A router; see `router_world`."""
    return router_world(n, seed=seed, router=router)  # type: ignore[arg-type]


def on_risk(frame: pl.DataFrame, config: Config = VERIFIER) -> Prediction:
    """The verdict on verification."""
    return verifier_prediction(frame, config, seed=0)


def on_regret(frame: pl.DataFrame, config: Config = ROUTER) -> Prediction:
    """The verdict on routing."""
    return router_prediction(frame, config, seed=0)


def inside(told: Prediction | Reading, truth: float) -> bool:
    """Whether the interval is there and holds the truth."""
    assert told.lower is not None, told
    assert told.upper is not None, told
    return told.lower - 1e-9 <= truth <= told.upper + 1e-9
