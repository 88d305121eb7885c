"""The tornado: exact at other prices, silent where a price is not set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.headline import recoverable
from shadowprice.reports.tornado import swings, tornado
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Estimates, Finding, Prices

from tests.reports.factory import PRICED, Case, estimates

CASES = (
    Case(theta=(0.001, 0.085, 0.5, 0.001)),
    Case(segment="x_task_class=a", action="large", theta=(0.05, 0.085, 3.0, -0.002)),
)


def made(config: Config) -> tuple[Estimates, Prices, tuple[Finding, ...]]:
    est = estimates(*CASES, config=config)
    prices = fit_prices(est, config)
    return est, prices, diagnose(est, prices, config)


def at(value: float, latency: float, risk: float) -> Config:
    prices = {
        "task_value": f"{value} USD/task",
        "latency": f"{latency} USD/s",
        "risk": f"{risk} USD/event",
    }
    return parse_config({"prices": prices})


@pytest.mark.parametrize(
    ("symbol", "half", "twice"),
    [
        ("V", at(6, 0.002, 40), at(24, 0.002, 40)),
        ("λ", at(12, 0.001, 40), at(12, 0.004, 40)),
        ("ρ", at(12, 0.002, 20), at(12, 0.002, 80)),
    ],
)
def test_it_equals_the_same_changes_estimated_at_that_price(symbol: str, half: Config, twice: Config) -> None:
    """Kills scaling the whole gain, the wrong term, or a factor that is applied twice."""
    est, prices, found = made(PRICED)
    swing = next(s for s in swings(est, prices, found) if s.symbol == symbol)
    for total, config in zip(swing.totals, (half, twice), strict=True):
        again = recoverable(estimates(*CASES, config=config), prices, found)
        assert total is not None
        assert again is not None
        assert total.usd == pytest.approx(again.usd)
    assert swing.totals[0] != swing.totals[1]


def test_the_widest_comes_first_and_is_in_the_title() -> None:
    """Kills bars in the order of the prices."""
    est, prices, found = made(PRICED)
    widths = [max(s.ends) - min(s.ends) for s in swings(est, prices, found)]
    assert widths == sorted(widths, reverse=True)
    chart = tornado(est, prices, found)
    assert chart is not None
    assert f"at half of {swings(est, prices, found)[0].symbol}" in chart.title
    assert len(chart.table.rows) == 3


def test_a_price_that_is_not_set_has_no_bar() -> None:
    """Kills a swing of 0 that reads as 'does not matter'."""
    config = parse_config({"prices": {"task_value": "12 USD/task"}})
    est, prices, found = made(config)
    assert [s.symbol for s in swings(est, prices, found)] == ["V"]


def test_nothing_is_drawn_where_the_terms_are_unknown_or_nothing_counts() -> None:
    """Kills a chart made up for estimates that hold net dollars only."""
    est, prices, found = made(PRICED)
    bare = est.gains.drop("quality_usd", "cost_usd", "latency_usd", "risk_usd")
    assert tornado(replace(est, gains=bare), prices, found) is None
    assert tornado(est, prices, ()) is None
