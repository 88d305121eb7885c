"""V in order of trust: the user's table, then realised value with an interval that covers, else unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.prices.values import TaskValues, task_values
from shadowprice.estimators.problem import problems
from shadowprice.schemas.config import Config, parse_config
from worlds import decisions

MEAN = 8.0 * np.exp(0.5**2 / 2 + 0.6**2 / 2)
"""Mean V of the worlds below: 8 exp(0.5 x + 0.6 z) with x and z standard normal."""


def world(seed: int, *, n: int = 600, share: float = 0.7, **columns: Any) -> pl.DataFrame:
    """Tasks worth 8 exp(0.5 x + 0.6 z) USD when solved; `share` of those solved say what they brought."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    value = 8.0 * np.exp(0.5 * x + 0.6 * rng.normal(size=n))
    solved = rng.random(n) < 1 / (1 + np.exp(-x))
    told = rng.random(n) < share
    made: dict[str, Any] = {
        "quality": solved.astype(float),
        "value_usd": [v if t else None for v, t in zip(np.where(solved, value, 0.0), told, strict=True)],
        "session_id": [f"s{i // 2}" for i in range(n)],
        "x_size": x,
    }
    return decisions(n, **(made | columns))


def valued(frame: pl.DataFrame, config: Config | None = None) -> TaskValues:
    return task_values(next(problems(frame, config or Config())), config or Config(), seed=0)


def test_realised_value_is_recovered_where_solved_tasks_are_worth_more() -> None:
    """Kills the mean of solved tasks as V of all: easy tasks are dear here, so that mean is 20 % too large;
    kills exp of a mean of logs, which is 16 % too small; and an interval of another width (60 worlds)."""
    prices = [valued(world(s)).prices[0] for s in range(60)]
    means = np.array([p.value for p in prices])
    assert means.mean() == pytest.approx(MEAN, rel=0.05)
    held = [(p.lower or 0) <= MEAN <= (p.upper or 0) for p in prices]
    assert np.mean(held) >= 0.85
    one = prices[0]
    assert (one.unit, one.source, one.grade, one.level) == ("USD/task", "fitted", "C", 0.95)
    assert "smeared" in (one.method or "")


def test_each_decision_gets_the_value_of_its_own_context() -> None:
    """Kills one number for all: predictions follow 8 exp(0.5 x + 0.18)."""
    frame = world(1, n=3000)
    found = valued(frame)
    truth = 8 * np.exp(0.5 * frame.sort("decision_id")["x_size"].to_numpy() + 0.18)
    assert np.corrcoef(np.log(found.value), np.log(truth))[0, 1] > 0.97
    assert found.value.mean() == pytest.approx(truth.mean(), rel=0.08)
    assert found.origin == "realised"
    assert not found.from_user.any()


def test_the_users_table_wins_and_realised_value_fills_what_it_leaves_out() -> None:
    """Kills an estimate that overrides a stated price."""
    labels = np.where(np.arange(600) % 2, "coding", "chat")
    config = parse_config({"prices": {"task_value_by_class": {"coding": "12 USD/task"}}})
    found = valued(world(2, x_task_class=labels), config)
    coding = labels == "coding"
    assert (found.value[coding] == 12.0).all()
    assert np.isfinite(found.value[~coding]).all()
    assert (found.value[~coding] != 12.0).all()
    assert (found.from_user == coding).all()
    assert found.origin == "user and realised"
    assert [p.segment for p in found.prices] == ["all", "x_task_class=chat", "x_task_class=coding"]


def test_a_class_whose_values_scatter_more_is_worth_what_it_brought() -> None:
    """Kills one smearing factor for all: medians of 8 USD are means of 8.2 and 13.2 USD with log spreads of
    0.2 and 1, and a common factor makes both 10."""
    rng = np.random.default_rng(8)
    labels = np.where(rng.random(4000) < 0.5, "even", "wild")
    value = 8.0 * np.exp(np.where(labels == "even", 0.2, 1.0) * rng.normal(size=4000))
    frame = decisions(4000, quality=1.0, value_usd=value, x_task_class=labels).with_columns(
        session_id=pl.col("decision_id")
    )
    prices = {p.segment: p for p in valued(frame).prices}
    for name, spread in (("even", 0.2), ("wild", 1.0)):
        p = prices[f"x_task_class={name}"]
        assert p.lower is not None
        assert p.upper is not None
        assert p.lower < 8.0 * np.exp(spread**2 / 2) < p.upper


def test_solved_tasks_that_brought_nothing_count() -> None:
    """Kills a log link that drops zeros: half the solved tasks brought nothing, so V is half as large."""
    frame = world(3, n=3000)
    nothing = pl.Series(np.random.default_rng(0).random(3000) < 0.5)
    halved = frame.with_columns(
        value_usd=pl.when(nothing).then(pl.col("value_usd") * 0).otherwise("value_usd")
    )
    ratio = (valued(halved).prices[0].value or 0) / (valued(frame).prices[0].value or 1)
    assert ratio == pytest.approx(0.5, abs=0.06)


def test_a_task_half_solved_that_brought_five_dollars_is_worth_ten() -> None:
    """Kills value per attempt in place of value per unit of quality."""
    frame = world(4, n=400, share=1.0)
    half = frame.with_columns(quality=pl.col("quality") * 0.5, value_usd=pl.col("value_usd") * 0.5)
    assert valued(half).prices[0].value == pytest.approx(valued(frame).prices[0].value, rel=1e-9)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"value_usd": [None] * 600}, "value_usd is not logged"),
        ({"quality": [None] * 600}, "quality is not"),
        ({"value_usd": [-1.0] + [2.0] * 599, "quality": [1.0] * 600}, "negative value_usd"),
        (
            {"value_usd": [None] * 580 + [3.0] * 20, "quality": [1.0] * 600},
            "20 solved tasks have a value_usd",
        ),
        ({"session_id": [f"s{i % 5}" for i in range(600)]}, "effective clusters"),
    ],
)
def test_what_the_log_cannot_say_is_unknown_with_the_reason(columns: dict[str, Any], words: str) -> None:
    """Kills a default V, a value of 0 and a mean of twenty tasks."""
    found = valued(world(5, **columns))
    assert np.isnan(found.value).all()
    assert found.origin == "none"
    (price,) = found.prices
    assert (price.value, price.grade) == (None, "N")
    assert words in (price.reason or "")


def test_a_small_segment_is_refused_and_the_whole_is_not() -> None:
    """Kills a mean of a handful under the name of a class."""
    labels = np.where(np.arange(600) < 40, "rare", "common")
    prices = {p.segment: p for p in valued(world(6, x_task_class=labels)).prices}
    rare = prices.get("x_task_class=rare")
    assert prices["all"].value is not None
    assert prices["x_task_class=common"].value is not None
    assert rare is None or rare.value is None
