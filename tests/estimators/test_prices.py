"""Prices: the worked example of the paper, refusals, caps, and their stable text."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.estimators.prices.tables import prices_frame, prices_json
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.records import Price, Prices

from tests.reports.factory import PRICED, UNPRICED, Case, estimates

PAPER = Case(theta=(0.05, 1.0, 0.0, -0.01), sd=(0.005, 0.01, 0.01, 0.001))


def break_even(prices: Prices) -> Price:
    (only,) = prices.named("break_even_task_value")
    return only


def test_the_worked_example_breaks_even_at_20_without_risk_and_10_with_rho_50() -> None:
    """Kills a wrong sign or a missing term in Eq. 1 set to zero."""
    est = estimates(PAPER, config=UNPRICED)
    assert break_even(fit_prices(est)).value == pytest.approx(20.0)
    priced = break_even(fit_prices(est, parse_config({"prices": {"risk": "50 USD/event"}})))
    assert priced.value == pytest.approx(10.0)
    assert priced.lower is not None
    assert priced.lower < 10.0 < (priced.upper or 0.0)
    assert (priced.unit, priced.grade, priced.clusters) == ("USD/task", "C", 40)


def test_no_price_is_ever_invented() -> None:
    """Kills a default for V, lambda or rho."""
    prices = fit_prices(estimates(PAPER, config=UNPRICED))
    for name in ("task_value", "latency_price", "risk_price"):
        (price,) = prices.named(name)
        assert price.value is None
        assert price.reason
    assert prices.named("cost_price")[0].value == 1.0


def test_prices_of_the_config_keep_their_unit_and_class() -> None:
    """Kills dropping task_value_by_class or the unit."""
    config = parse_config(
        {
            "prices": {
                "task_value": "12 USD/task",
                "task_value_by_class": {"triage": "3 USD/task"},
                "risk": "2 USD/USD",
            }
        }
    )
    prices = fit_prices(estimates(PAPER), config)
    assert [(p.segment, p.value) for p in prices.named("task_value")] == [
        ("all", 12.0),
        ("x_task_class=triage", 3.0),
    ]
    assert prices.named("risk_price")[0].unit == "USD/USD"
    assert prices.named("risk_price")[0].source == "user"


def test_a_quality_gain_that_may_be_zero_has_an_unbounded_break_even() -> None:
    """Kills dividing by a quality gain whose interval covers 0."""
    price = break_even(fit_prices(estimates(replace(PAPER, sd=(0.05, 0.01, 0.01, 0.001)))))
    assert price.value is None
    assert price.lower is None
    assert "unbounded" in (price.reason or "")


def test_refused_contrasts_get_no_break_even() -> None:
    """Kills reading V* off a row that the gates refused."""
    assert fit_prices(estimates(replace(PAPER, grade="N"))).named("break_even_task_value") == ()


def test_a_worse_action_is_said_to_pay_below_its_break_even() -> None:
    """Kills the reading 'pays above' for an action that saves money by losing quality."""
    price = break_even(fit_prices(estimates(replace(PAPER, theta=(-0.05, -1.0, 0.0, 0.0)))))
    assert price.value == pytest.approx(20.0)
    assert "only below" in (price.reason or "")


@pytest.mark.parametrize(("upper", "value", "word"), [(0.8, 0.0, "slack"), (1.2, None, "may bind")])
def test_a_slack_cap_is_free_and_a_binding_one_is_not_guessed(
    upper: float, value: float | None, word: str
) -> None:
    """Kills a positive price on a slack cap and an invented one on a binding cap."""
    used = pl.DataFrame({"quantity": ["cost"], "mean": [0.7], "lower": [0.6], "upper": [upper], "n": [100]})
    est = replace(estimates(PAPER), consumption=used)
    (price,) = fit_prices(est, parse_config({"caps": {"cost": "1 USD/decision"}})).named("cap_price_cost")
    assert price.value == value
    assert word in (price.reason or "")


def test_a_cap_without_a_measured_mean_says_so() -> None:
    """Kills treating a cap that cannot be judged as slack."""
    (price,) = fit_prices(estimates(PAPER), parse_config({"caps": {"latency": "1 s/decision"}})).named(
        "cap_price_latency"
    )
    assert price.value is None
    assert "cannot be judged" in (price.reason or "")


def test_prices_json_is_stable_dated_and_has_a_unit_on_every_price() -> None:
    """Kills a unit or window lost on the way out."""
    prices = fit_prices(estimates(PAPER), PRICED, run_id="7f3a")
    content = json.loads(prices_json(prices))
    assert prices_json(prices) == prices_json(fit_prices(estimates(PAPER), PRICED, run_id="7f3a"))
    assert (content["schema_version"], content["run_id"]) == ("1", "7f3a")
    assert content["data_window"]["from"] == "2026-11-01T00:00:00+00:00"
    assert all(entry["unit"] for entry in content["prices"])


def test_the_frame_has_one_row_per_price_even_when_empty() -> None:
    """Kills a frame whose columns depend on its content."""
    prices = fit_prices(estimates(PAPER), PRICED)
    frame = prices_frame(prices)
    assert frame.height == len(prices.prices)
    assert prices_frame(Prices(prices=(), run_id="")).schema == frame.schema
