"""The tier menu of a log: values from the config, one row per constraint, errors of its own."""

from __future__ import annotations

import polars as pl
import pytest
import shadowprice as sp
from shadowprice.ingest.simulator.capped import capped_world
from shadowprice.schemas.config import parse_config

MENU = pl.DataFrame(
    {"tier": ["plain", "plus"], "price_usd": [0.0, 0.3], "action": ["basic", "expert"]},
)
CONFIG = parse_config(
    {
        "prices": {"task_value_by_class": {"low": "0.1 USD/task", "high": "20 USD/task"}},
        "task_class": "x_class",
    }
)


def log() -> pl.DataFrame:
    """Half of the tasks are worth little, half much."""
    frame = capped_world(1500, seed=0)
    even = pl.int_range(pl.len()) % 2 == 0
    return frame.with_columns(x_class=pl.when(even).then(pl.lit("low")).otherwise(pl.lit("high")))


def test_a_menu_sorts_low_values_from_high_ones() -> None:
    """Kills values that are not the config's, and tiers in the wrong order: each bin must prefer its own."""
    rows = sp.tier_menu(log(), MENU, config=CONFIG)
    kept = rows.filter(pl.col("other") != "none").sort("bin")
    assert kept["tier"].to_list() == ["plain", "plus"]
    assert kept["holds"].to_list() == ["yes", "yes"]


def test_a_menu_with_an_unknown_action_is_one_error() -> None:
    """Kills a tier that nothing serves."""
    with pytest.raises(sp.ShadowpriceError, match="nobody"):
        sp.tier_menu(log(), MENU.with_columns(action=pl.lit("nobody")), config=CONFIG)
