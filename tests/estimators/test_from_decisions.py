"""Prices fitted to decisions: what a run gets from one log, and what is left out or refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.estimators.prices.from_decisions import prices_from
from shadowprice.estimators.prices.layers import price_gaps
from shadowprice.ingest.simulator.capped import RISK_USD, TASK_VALUE, capped_world
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.records import Price, Prices

SETTINGS = {"task_value": f"{TASK_VALUE} USD/task", "risk": f"{RISK_USD} USD/event"}
CONFIG = parse_config({"prices": SETTINGS})


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """One router in a world of three actions."""
    return capped_world(1500, seed=0, clusters=150)


@pytest.fixture(scope="module")
def prices(frame: pl.DataFrame) -> Prices:
    """All prices of that log."""
    return fit_prices(sp.estimate(frame, config=CONFIG), CONFIG, decisions=frame, run_id="r")


def only(prices: Prices, name: str, **about: str) -> Price:
    (found,) = (p for p in prices.named(name) if all(getattr(p, k) == v for k, v in about.items()))
    return found


def test_a_log_gets_its_implied_prices_with_place_grade_and_stamp(prices: Prices) -> None:
    """Kills a price without interval, grade or run, and one that says it was set by the user."""
    price = only(prices, "implied_cost_price")
    assert (price.layer, price.decision_point, price.source, price.grade) == (
        "router",
        "model",
        "implied",
        "A",
    )
    assert (price.run_id, price.clusters, price.unit) == ("r", 150, "USD/USD")
    assert price.lower is not None
    assert price.lower >= 1.0
    gain = only(prices, "reallocation_value")
    assert gain.value is not None
    assert gain.value > 0
    assert not prices.value_curve.is_empty()


def test_what_no_layer_of_the_log_has_is_refused_once(prices: Prices) -> None:
    """Kills congestion rows without serving decisions, and capital prices that vanish without a reason."""
    assert not any(p.name.startswith("congestion") for p in prices.prices)
    assert only(prices, "staleness").value is None
    assert only(prices, "staleness").reason


def test_without_decisions_nothing_is_fitted_to_them(frame: pl.DataFrame) -> None:
    """Kills prices fitted to other data than was given."""
    bare = fit_prices(sp.estimate(frame, config=CONFIG), CONFIG)
    assert not bare.named("implied_cost_price")
    assert bare.value_curve.is_empty()


def test_a_binding_cap_of_the_config_gets_its_dual_and_a_slack_one_0(frame: pl.DataFrame) -> None:
    """Kills a cap that is judged by the logged mean alone, and a multiplier of the wrong cap."""
    mean = float(frame["cost_usd"].mean() or 0.0)  # pyright: ignore[reportArgumentType]
    caps = {"cost": f"{0.5 * mean} USD/decision", "latency": "1000 s/decision"}
    config = parse_config({"prices": SETTINGS, "caps": caps})
    found = fit_prices(sp.estimate(frame, config=config), config, decisions=frame)
    cost, latency = only(found, "cap_price_cost"), only(found, "cap_price_latency")
    assert cost.value is not None
    assert cost.value > 0
    assert "caps of the config" in (cost.method or "")
    assert latency.value == 0.0
    assert "slack" in (latency.reason or "")


def test_a_cap_out_of_reach_is_explained(frame: pl.DataFrame) -> None:
    """Kills a number for a cap that no choice keeps."""
    config = parse_config({"prices": SETTINGS, "caps": {"cost": "0.0001 USD/decision"}})
    cap = only(fit_prices(sp.estimate(frame, config=config), config, decisions=frame), "cap_price_cost")
    assert cap.value is None
    assert "cannot be kept" in (cap.reason or "")


def test_a_latency_price_that_the_spend_contradicts_is_told(frame: pl.DataFrame) -> None:
    """Kills a price set far from what today's spend implies, with nothing said."""
    config = parse_config({"prices": {**SETTINGS, "latency": "50 USD/s"}})
    found = only(
        fit_prices(sp.estimate(frame, config=config), config, decisions=frame), "implied_latency_price"
    )
    assert "the price set, 50 USD/s, lies outside" in (found.reason or "")


def test_a_point_with_one_action_says_so(frame: pl.DataFrame) -> None:
    """Kills a decision point that is missing from the prices without a word."""
    one = frame.filter(pl.col("action") == "basic")
    found = prices_from(one, sp.estimate(one, config=CONFIG), CONFIG, seed=0)
    (row,) = (p for p in found.prices if p.name == "reallocation_value")
    assert row.value is None
    assert "fewer than two actions" in (row.reason or "")


def test_one_point_has_no_gap_between_layers(frame: pl.DataFrame) -> None:
    """Kills a gap of a point with itself."""
    assert price_gaps(frame, config=CONFIG).is_empty()


def test_a_run_keeps_its_value_curve(tmp_path: Path, frame: pl.DataFrame, prices: Prices) -> None:
    """Kills a curve that is fitted and then lost between stages."""
    from shadowprice import rundir

    rundir.write_prices(tmp_path, prices)
    back = rundir.read_prices(tmp_path)
    assert back.value_curve.equals(prices.value_curve)
    assert back.prices == prices.prices
