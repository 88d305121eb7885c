"""Menus of tiers: who would rather take another tier, and the wedge between value and virtual value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import PriceError, SchemaError
from shadowprice.estimators.prices.menu import MENU, WEDGE, menu_incentives, virtual_values
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import Scores, score
from shadowprice.schemas.config import Config
from worlds import decisions

QUALITY = {"basic": 0.4, "pro": 0.8}


def served(seed: int, n: int = 4000) -> tuple[Scores, np.ndarray]:
    """Customers whose V is 1 or 10 USD, served at random; quality 0.4 by `basic` and 0.8 by `pro`."""
    rng = np.random.default_rng(seed)
    value = np.where(rng.random(n) < 0.5, 1.0, 10.0)
    pro = rng.random(n) < 0.5
    action = np.where(pro, "pro", "basic")
    frame = decisions(
        n,
        action=action,
        propensity=0.5,
        quality=(rng.random(n) < np.where(pro, 0.8, 0.4)).astype(float),
        x_value=value,
        session_id=[f"s{i}" for i in range(n)],
    )
    return score(next(problems(frame, Config())), seed=0), value


def menu(basic: float, pro: float) -> pl.DataFrame:
    return pl.DataFrame({"tier": ["Pro", "Basic"], "price_usd": [pro, basic], "action": ["pro", "basic"]})


@pytest.fixture(scope="module")
def market() -> tuple[Scores, np.ndarray]:
    return served(0)


def rows(found: pl.DataFrame) -> dict[tuple[str, str], dict[str, object]]:
    return {(r["tier"], r["other"]): r for r in found.iter_rows(named=True)}


def test_a_menu_that_sorts_keeps_every_constraint(market: tuple[Scores, np.ndarray]) -> None:
    """Kills a sign, swapped tiers and a forgotten price; and bins that split the customers of V 1."""
    found = rows(menu_incentives(*market, menu(0.1, 2.5)))
    by_hand = {
        ("Basic", "Pro"): 1 * (0.4 - 0.8) + 2.4,
        ("Basic", "none"): 1 * 0.4 - 0.1,
        ("Pro", "Basic"): 10 * (0.8 - 0.4) - 2.4,
        ("Pro", "none"): 10 * 0.8 - 2.5,
    }
    assert set(found) == set(by_hand)
    for key, truth in by_hand.items():
        row = found[key]
        assert row["lower"] < truth < row["upper"]  # type: ignore[operator]
        assert row["slack_usd"] == pytest.approx(truth, abs=0.5)
        assert row["holds"] == "yes"
        assert row["clusters"] == row["n"] > 1900


def test_a_tier_too_dear_drives_its_customers_to_the_other(market: tuple[Scores, np.ndarray]) -> None:
    """Kills a menu that is always fine: at 5 USD more, 4 USD of value do not pay for Pro."""
    found = rows(menu_incentives(*market, menu(0.1, 5.1)))
    assert found["Pro", "Basic"]["holds"] == "no"
    assert found["Pro", "none"]["holds"] == "yes"


def test_a_slack_near_0_is_left_open(market: tuple[Scores, np.ndarray]) -> None:
    """Kills a verdict from a point estimate."""
    assert rows(menu_incentives(*market, menu(0.1, 4.1)))["Pro", "Basic"]["holds"] == "inconclusive"


def test_bins_go_from_low_to_high_value_and_tiers_from_cheap_to_dear(
    market: tuple[Scores, np.ndarray],
) -> None:
    """Kills the rich customers' constraint under the cheap tier's name."""
    found = menu_incentives(*market, menu(0.1, 2.5))
    assert found.columns == list(MENU)
    assert found["tier"].to_list() == ["Basic", "Basic", "Pro", "Pro"]
    assert (found["v_from"] <= found["v_to"]).all()
    assert found["n"].sum() == 2 * 4000


def test_a_rule_that_served_everyone_says_nothing_about_the_other_tier(
    market: tuple[Scores, np.ndarray],
) -> None:
    """Kills slacks of a tier that like customers never had."""
    scores, value = market
    ruled = replace(scores, propensities=replace(scores.propensities, grade="N"))
    for row in menu_incentives(ruled, value, menu(0.1, 2.5)).iter_rows(named=True):
        assert (row["slack_usd"], row["holds"], row["grade"]) == (None, None, "N")
        assert "rule" in row["reason"]


def test_unknown_values_are_in_no_bin(market: tuple[Scores, np.ndarray]) -> None:
    """Kills NaN that sorts into the highest bin."""
    scores, value = market
    found = menu_incentives(scores, np.where(np.arange(4000) < 3000, np.nan, value), menu(0.1, 2.5))
    assert found["n"].sum() == 2 * 1000
    nobody = menu_incentives(scores, np.full(4000, np.nan), menu(0.1, 2.5))
    assert nobody["slack_usd"].null_count() == 4
    assert all("clusters" in r for r in nobody["reason"])


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (menu(0.1, 2.5).drop("action"), SchemaError, "action"),
        (menu(0.1, 2.5).head(1), SchemaError, "at least two tiers"),
        (menu(0.1, 2.5).with_columns(action=pl.lit("pro")), SchemaError, "action of its own"),
        (menu(0.1, 2.5).with_columns(action=pl.Series(["pro", "gold"])), SchemaError, "gold"),
        (menu(-0.1, 2.5), PriceError, "-0.1"),
        (menu(0.1, float("nan")), PriceError, "nan"),
        (menu(0.1, 2.5).with_columns(price_usd=pl.Series([None, 1.0])), SchemaError, "null"),
    ],
)
def test_what_is_no_menu_is_one_clear_error(
    market: tuple[Scores, np.ndarray], frame: pl.DataFrame, error: type[Exception], words: str
) -> None:
    """Kills a negative price, a tier without an action and a stack trace."""
    with pytest.raises(error, match=words):
        menu_incentives(*market, frame)
    with pytest.raises(SchemaError, match="one for each"):
        menu_incentives(market[0], market[1][:10], menu(0.1, 2.5))


def test_the_wedge_is_the_one_of_the_law_that_values_come_from() -> None:
    """Kills f of log V in place of f of V and a survival upside down: exponential values have rent 1, in
    theory everywhere and by the kernel within a fifth in the middle."""
    value = np.random.default_rng(0).exponential(size=20_000) * 3.0
    curve = virtual_values(value, np.ones(value.size)).filter(pl.col("v").is_between(1.0, 6.0))
    assert curve.height > 10
    np.testing.assert_allclose(curve["information_rent"], 3.0, rtol=0.2)
    np.testing.assert_allclose(curve["virtual_value"], curve["v"] - curve["information_rent"])
    assert all("descriptive" in note for note in curve["note"])


def test_a_decision_that_stands_for_two_counts_twice() -> None:
    """Kills weights that are forgotten."""
    value = np.random.default_rng(1).exponential(size=400)
    twice = virtual_values(np.concatenate([value, value[:200]]), np.ones(600))
    weighted = virtual_values(value, np.where(np.arange(400) < 200, 2.0, 1.0))
    np.testing.assert_allclose(twice["v"], weighted["v"], rtol=0.05)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.full(50, 3.0), "alike"), (np.full(50, np.nan), "0 values"), (np.ones(5), "5 values")],
)
def test_values_without_spread_have_no_curve_but_a_reason(value: np.ndarray, words: str) -> None:
    """Kills a density of a point and an empty frame without words."""
    found = virtual_values(value, np.ones(value.size))
    assert found.columns == list(WEDGE)
    assert found["v"].to_list() == [None]
    assert words in found["note"][0]
