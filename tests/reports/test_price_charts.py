"""The price charts: which prices stand beside each other, what the title says, what has no picture."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from shadowprice.reports.price_charts import price_strips, value_chart
from shadowprice.schemas.records import VALUE_CURVE, Price, Prices


def price(name: str, value: float | None, *, source: str = "implied", point: str | None = "model") -> Price:
    known = value is not None
    return Price(
        name=name,
        symbol="λ",
        unit="USD/s",
        source=source,  # pyright: ignore[reportArgumentType]
        value=value,
        lower=value,
        upper=value,
        layer="router" if point else None,
        decision_point=point,
        reason=None if known else "not known",
    )


def curve(*multipliers: float) -> pl.DataFrame:
    shares = (0.9, 1.0, 1.1)
    rows = [
        {"quantity": "cost", "share": s, "cap": s, "gain_usd": g, "multiplier": m, "reason": None}
        for s, g, m in zip(shares, (-0.2, 0.0, 0.1), multipliers, strict=True)
    ]
    return pl.DataFrame(rows, schema=VALUE_CURVE)


def test_a_second_seen_from_two_layers_is_one_picture() -> None:
    """Kills prices of other things in one strip, and unknown ones drawn as 0."""
    rows = (
        price("latency_price", 0.004, source="user", point=None),
        price("implied_latency_price", 0.03),
        price("implied_latency_price", None, point="reuse"),
        price("implied_cost_price", 2.0),
    )
    (strip,) = price_strips(Prices(prices=rows, run_id="r"))
    assert strip.title.startswith("A second is worth 0.004 to 0.03 USD")
    assert len(strip.table.rows) == 2


def test_prices_that_only_the_user_set_are_no_picture() -> None:
    """Kills a chart of the configuration."""
    rows = tuple(price("latency_price", x, source="user", point=None) for x in (1.0, 2.0))
    assert price_strips(Prices(prices=rows, run_id="r")) == ()


def test_the_curve_says_what_a_tenth_more_and_less_would_do() -> None:
    """Kills a title with the ends swapped or the sign of a loss lost."""
    drawn = value_chart(curve(3.0, 2.0, 1.0))
    assert drawn is not None
    assert drawn.title == "10 % more mean cost would bring $0.10 a decision, 10 % less would lose $0.20"


def test_a_cap_that_never_binds_has_no_curve() -> None:
    """Kills a flat line for a slack cap, and an empty drawing."""
    assert value_chart(curve(0.0, 0.0, 0.0)) is None
    assert value_chart(pl.DataFrame(schema=VALUE_CURVE)) is None


def test_prices_that_disagree_beyond_noise_are_marked_with_those_they_disagree_with() -> None:
    """Kills a strip that leaves the reader to compare intervals, and a mark where two overlap."""
    rows = (
        price("latency_price", 0.004, source="user", point=None),
        replace(price("implied_latency_price", 0.03), lower=0.01, upper=0.05),
        replace(price("implied_latency_price", 0.006, point="reuse"), lower=0.003, upper=0.02),
        price("implied_latency_price", None, point="verify"),
        replace(price("revealed_latency_price", 9.0, source="revealed"), lower=8.0, upper=9.5),
    )
    (strip,) = price_strips(Prices(prices=rows, run_id="r"))
    assert strip.title.endswith("; 4 of 4 disagree beyond noise")
    column = [c.label for c in strip.table.columns].index("apart from")
    assert [row[column] for row in strip.table.rows] == ["2, 4", "1, 4", "4", "1, 2, 3"]
    assert strip.svg.count("≠") == 4


def test_prices_that_agree_say_so() -> None:
    """Kills a mismatch claimed because the points differ."""
    rows = (
        price("latency_price", 0.004, source="user", point=None),
        replace(price("implied_latency_price", 0.03), lower=0.001, upper=0.05),
    )
    (strip,) = price_strips(Prices(prices=rows, run_id="r"))
    assert "no two disagree beyond noise" in strip.title
    assert "≠" not in strip.svg
