"""Over-delegation: acting alone where asking pays, and a tail of the risk that its mean does not carry."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import diagnose
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Finding, Price, Prices

from tests.reports.factory import PRICED, Case, estimates

ASKING = Case(
    layer="agent",
    decision_point="delegate",
    action="confirm",
    baseline="act",
    theta=(0.05, 0.2, 60.0, -0.02),
    sd=(0.001, 0.002, 0.05, 0.0001),
)
"""Net of asking: 12 * .05 - .2 - .002 * 60 + 40 * .02 = 1.08, so 2,000 acts waste 2,160 USD."""
EQUAL = replace(ASKING, theta=(0.0, 0.2, 60.0, -0.008))
"""Net of asking: -.2 - .12 + 40 * .008 = 0."""


def knightian(load: float, *, segment: str = "all", point: str = "delegate") -> Price:
    return Price(
        name="knightian_load",
        symbol="K",
        unit="USD/USD",
        source="fitted",
        segment=segment,
        layer="agent",
        decision_point=point,
        lower=1.0,
        upper=load,
        reason="a worst case is a bound",
    )


def the_finding(case: Case, *more: Price, config: Config = PRICED) -> Finding:
    est = estimates(case, config=config)
    prices = fit_prices(est, config)
    prices = Prices(prices=(*prices.prices, *more), run_id="")
    (only,) = [f for f in diagnose(est, prices, config) if f.mode == "over_delegation"]
    return only


def test_acting_alone_where_asking_is_worth_more_is_found() -> None:
    """Kills looking in the other direction, and a gain that leaves the avoided incidents out."""
    f = the_finding(ASKING)
    assert (f.status, f.direction) == ("found", "under")
    assert f.usd == pytest.approx(2160.0)
    assert f.recommendation == "confirm before acting for all decisions"


def test_the_same_contrast_written_from_the_other_side_is_the_same_finding() -> None:
    """Kills reading 'action' as what was done: here the decisions that took the action are moved."""
    f = the_finding(replace(ASKING, action="act", baseline="confirm", theta=(-0.05, -0.2, -60.0, 0.02)))
    assert (f.status, f.direction) == ("found", "over")
    assert f.usd == pytest.approx(2160.0)


def test_asking_where_acting_alone_is_worth_more_is_no_over_delegation() -> None:
    """Kills a detector that also moves decisions from asking to acting."""
    dear = replace(ASKING, theta=(0.0, 0.2, 60.0, 0.0))
    f = the_finding(dear)
    assert (f.status, f.usd) == ("none_found", pytest.approx(-640.0))


def test_a_tail_that_turns_the_verdict_is_named_in_the_finding() -> None:
    """Kills pricing the worst case with the wrong sign: 2,000 acts x 40 USD x (3 - 1) x .008 is 1,280 USD."""
    f = the_finding(EQUAL, knightian(3.0))
    assert f.status == "none_found"
    assert f.claim.endswith("Unpriced tail: at the worst case of its risk, 3 times ρ, it would gain $1,280")
    assert f.recommendation != "nothing to change"


def test_a_tail_turns_the_verdict_of_a_mirrored_contrast_alike() -> None:
    """Kills a sign that belongs to one way of writing the contrast."""
    mirrored = replace(EQUAL, action="act", baseline="confirm", theta=(0.0, -0.2, -60.0, 0.008))
    assert "it would gain $1,280" in the_finding(mirrored, knightian(3.0)).claim


@pytest.mark.parametrize(
    ("case", "price"),
    [
        (EQUAL, knightian(1.0)),
        (EQUAL, knightian(3.0, segment="action_class=deploy")),
        (EQUAL, knightian(3.0, point="verify")),
        (replace(EQUAL, theta=(0.0, 0.4, 60.0, 0.008)), knightian(3.0)),
        (ASKING, knightian(3.0)),
    ],
    ids=["no load", "another class", "another point", "asking adds risk", "found at the mean already"],
)
def test_no_tail_is_named_where_it_does_not_turn_the_verdict(case: Case, price: Price) -> None:
    """Kills a load of another place, and a sentence that stands under every finding."""
    assert "Unpriced tail" not in the_finding(case, price).claim


def test_without_a_risk_price_the_books_say_what_the_worst_event_costs() -> None:
    """Kills silence about the tail exactly where nobody has priced risk at all."""
    unpriced = parse_config({"prices": {"task_value": "12 USD/task", "latency": "0.002 USD/s"}})
    books = replace(knightian(75.0), name="accounting_risk_price_knightian", unit="USD/event")
    f = the_finding(EQUAL, books, config=unpriced)
    assert f.usd == pytest.approx(-640.0)
    assert f.claim.endswith("at the worst case of its risk, 75 USD/event, it would gain $560")


def test_a_class_of_acts_has_its_own_tail() -> None:
    """Kills the load of all acts under a finding about the dangerous ones."""
    deploy = replace(EQUAL, segment="action_class=deploy")
    f = the_finding(deploy, knightian(1.0), knightian(3.0, segment="action_class=deploy"))
    assert "it would gain $1,280" in f.claim
