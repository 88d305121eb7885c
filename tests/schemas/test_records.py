"""Records refuse to be born inconsistent."""

import pytest
from shadowprice.errors import SchemaError
from shadowprice.schemas.records import Estimate, Finding, Price

GOOD = {
    "layer": "router",
    "decision_point": "model",
    "segment": "all",
    "action": "big",
    "baseline": "small",
    "quantity": "quality",
    "estimand": "ATO",
    "value": 0.1,
    "lower": 0.05,
    "upper": 0.15,
    "level": 0.95,
    "n": 100,
    "clusters": 50,
    "ess": 80.0,
    "grade": "A",
    "method": "AIPW",
}


@pytest.mark.parametrize(
    "change",
    [
        {"lower": 0.2},
        {"upper": 0.09},
        {"lower": None},
        {"value": float("nan")},
        {"value": None},
        {"grade": "N"},
        {"estimand": "not_identified", "value": None, "lower": None, "upper": None, "reason": "x"},
    ],
)
def test_an_estimate_outside_its_interval_or_without_reason_cannot_exist(change):
    """Kills: dropping any of the checks at birth."""
    with pytest.raises(SchemaError):
        Estimate(**{**GOOD, **change})


def test_an_unidentified_estimate_prints_its_reason():
    """Kills: printing None as a number."""
    fields = {**GOOD, "estimand": "not_identified", "grade": "N", "reason": "no overlap"}
    text = str(Estimate(**{**fields, "value": None, "lower": None, "upper": None}))
    assert text.endswith("not_identified: no overlap")
    assert "+0.1 [+0.05, +0.15]" in str(Estimate(**GOOD))


def test_a_price_without_value_needs_a_reason_and_is_not_zero():
    """Kills: unknown prices that turn into 0."""
    with pytest.raises(SchemaError, match="reason"):
        Price(name="task_value", symbol="V", unit="USD/task", source="user")
    price = Price(name="task_value", symbol="V", unit="USD/task", source="user", reason="not set")
    assert price.value is None


@pytest.mark.parametrize("status", ["not_identified", "no_data"])
def test_a_finding_that_could_not_be_judged_needs_a_reason(status):
    """Kills: an empty row that reads like 'none found'."""
    with pytest.raises(SchemaError, match="reason"):
        Finding(
            mode="over-routing",
            status=status,
            layer="router",
            decision_point="model",
            segment="all",
            grade="N",
        )
