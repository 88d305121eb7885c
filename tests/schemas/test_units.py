"""Amounts with units: what is accepted, converted and refused."""

import pytest
from shadowprice.errors import ConfigError
from shadowprice.schemas.units import LATENCY_PRICE, RISK_PRICES, TASK_VALUE, Amount, parse_amount


@pytest.mark.parametrize(
    ("text", "units", "amount"),
    [
        ("12 USD/task", (TASK_VALUE,), Amount(12.0, TASK_VALUE)),
        (" 1_000.5  USD/task ", (TASK_VALUE,), Amount(1000.5, TASK_VALUE)),
        ("2e-3 USD/s", (LATENCY_PRICE,), Amount(0.002, LATENCY_PRICE)),
        ("0.6 USD/min", (LATENCY_PRICE,), Amount(0.01, LATENCY_PRICE)),
        ("36 USD/h", (LATENCY_PRICE,), Amount(0.01, LATENCY_PRICE)),
        ("40 USD/event", RISK_PRICES, Amount(40.0, "USD/event")),
    ],
)
def test_an_amount_is_its_number_in_the_expected_unit(text, units, amount):
    """Kills: minutes taken for seconds, underscores or exponents not read."""
    parsed = parse_amount(text, where="", units=units)
    assert parsed.unit == amount.unit
    assert parsed.value == pytest.approx(amount.value, rel=1e-12)


@pytest.mark.parametrize("text", [12, 12.0, "12", "USD/task", "", None, "12USD/task", "1 2 USD/task", True])
def test_a_bare_number_or_anything_without_a_unit_is_refused_with_an_example(text):
    """Kills: a default unit."""
    with pytest.raises(ConfigError, match="such as '12 USD/task'"):
        parse_amount(text, where="v", units=(TASK_VALUE,))


def test_another_unit_is_refused_by_name():
    """Kills: accepting USD/s where USD/task is meant."""
    with pytest.raises(ConfigError, match=r"unit 'USD/s'\. Expected USD/task"):
        parse_amount("12 USD/s", where="v", units=(TASK_VALUE,))


@pytest.mark.parametrize("text", ["-1 USD/task", "1e999 USD/task"])
def test_negative_and_infinite_amounts_are_refused(text):
    """Kills: a price that pays for harm, or an overflow."""
    with pytest.raises(ConfigError, match="finite number >= 0"):
        parse_amount(text, where="v", units=(TASK_VALUE,))
