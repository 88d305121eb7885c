"""A plan of exploration: what it promises, what it costs, and what it leaves open."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.errors import ConfigError
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.exploration_design import Arm, Ground, Promise, promise, swap_cost
from shadowprice.schemas.config import Config, parse_config

N, CLUSTERS = 3000, 50
PRICES = {"task_value": "2 USD/task"}
CONFIG = parse_config({"cluster": "tenant_id", "segments": [], "prices": PRICES})


def arm(name: str, pick: np.ndarray, **changes: object) -> Arm:
    base = Arm(name=name, pick=pick, sd=1.0, known=1.0, means=np.full(4, np.nan), rarest=(1.0, ""))
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def fixed(share: float = 0.0, n: int = 1000, **changes: object) -> Ground:
    """A policy that always picks the baseline, but for `share` of the decisions."""
    picks = (np.arange(n) < share * n).astype(float)
    base = Ground(
        action=arm("a", picks, sd=2.0),
        baseline=arm("b", 1.0 - picks, sd=3.0),
        decisions=float(n),
        picked=share,
        difference=0.4,
        spread=0.5,
        value=2.0,
        extra=0.1,
        df=30.0,
        jackknife=1.0,
        clusters=31.0,
    )
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def log(seed: int, *, rate: float | None = None, n: int = N) -> pl.DataFrame:
    """Tasks that always take the small model, of which a coin decides a share `rate`; without a rate, one in
    twenty takes the large one for a cause that is not logged."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    hidden = rng.random(n) < 0.05
    swapped = rng.random(n) < (rate or 0.0) / 2
    large = hidden ^ swapped
    chance = 1 / (1 + np.exp(-(0.3 - 0.8 * x + 0.3 * large)))
    start = datetime(2026, 11, 2, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(n)],
            "layer": ["router"] * n,
            "decision_point": ["model"] * n,
            "tenant_id": [f"t{i % CLUSTERS}" for i in range(n)],
            "ts": [start + timedelta(days=10 * i / n) for i in range(n)],
            "action": np.where(large, "large", "small"),
            "quality": (rng.random(n) < chance).astype(float),
            "cost_usd": np.where(large, 0.15, 0.02),
            "x_difficulty": x,
        }
    )
    if rate is None:
        return frame
    own = np.where(swapped, rate / 2, 1 - rate / 2)
    pair = [[p, 1 - p] if took else [1 - p, p] for p, took in zip(own, large, strict=True)]
    return frame.with_columns(
        candidates=pl.Series([["large", "small"]] * n),
        propensities=pl.Series(pair, dtype=pl.List(pl.Float64)),
        propensity=pl.Series(own),
        propensity_source=pl.lit("logged"),
    )


def plan(frame: pl.DataFrame, config: Config = CONFIG, budget: float = 50.0, **more: float):
    est = sp.estimate(frame, config=config)
    return sp.plan_exploration(est, frame, budget_usd=budget, config=config, **more)


def test_the_promise_of_a_fixed_policy_is_the_textbook_variance() -> None:
    """Kills: rate for rate / 2, the spread of the wrong arm, a label share or a jackknife left out."""
    found = promise(fixed(jackknife=1.2, action=arm("a", np.zeros(1000), sd=2.0, known=0.5)), 0.2)
    assert isinstance(found, Promise)
    expected = math.sqrt((2.0**2 / 0.5 / 0.1 + 3.0**2 / 0.9 + 0.5**2) / 1000 * 1.2)
    assert found.se == pytest.approx(expected)
    assert found.half_width == pytest.approx(critical_t(30.0) * expected)


def test_a_policy_that_already_draws_keeps_what_its_log_shows() -> None:
    """Kills: a logged draw that counts as a fixed choice, so that exploration looks needed."""
    half = np.full(1000, 0.5)
    found = promise(fixed(action=arm("a", half, sd=2.0), baseline=arm("b", half, sd=3.0)), 0.0)
    assert isinstance(found, Promise)
    assert found.se == pytest.approx(math.sqrt((2.0**2 / 0.5 + 3.0**2 / 0.5 + 0.5**2) / 1000))
    assert isinstance(promise(fixed(), 0.0), str)


@pytest.mark.parametrize(
    ("ground", "told"),
    [
        (fixed(n=100), "would show a"),
        (fixed(clusters=5.0), "effective clusters"),
        (fixed(action=arm("a", np.zeros(1000), rarest=(0.01, "risk"))), "events of risk"),
    ],
)
def test_a_promise_that_the_gates_would_not_keep_is_not_made(ground: Ground, told: str) -> None:
    """Kills: a width for a sample that the estimate will refuse."""
    assert told in str(promise(ground, 0.1))


def test_hoped_for_gains_do_not_pay_for_losses() -> None:
    """Kills: a plan that is free because the other action looks better."""
    ground = fixed(share=0.25, difference=-0.4)
    assert swap_cost(ground) == pytest.approx(0.75 * 0.4)  # those that pick b lose by taking a
    assert swap_cost(replace(ground, difference=0.4)) == pytest.approx(0.25 * 0.4)
    assert swap_cost(ground, (-1.0, 2.0)) == pytest.approx(0.75 * 1.0 + 0.25 * 2.0)


@pytest.mark.slow
def test_the_promised_width_is_what_the_next_log_shows() -> None:
    """Kills: a promise that is off by more than 15 %, averaged over eight logs drawn as planned."""
    line = plan(log(1)).lines[0]
    widths = []
    for seed in range(8):
        fresh = sp.estimate(log(100 + seed, rate=line.rate), config=CONFIG)
        found = fresh.where(quantity="net", segment="all", estimand="ATO")[0]
        assert found.grade == "A"
        assert found.upper is not None
        assert found.lower is not None
        widths.append((found.upper - found.lower) / 2)
    assert np.mean(widths) == pytest.approx(line.half_width, rel=0.15)


def test_a_larger_budget_costs_no_more_than_itself_and_leaves_less_open() -> None:
    """Kills: a plan above its budget, and one that money makes worse."""
    frame = log(2)
    plans = [plan(frame, budget=b) for b in (0.1, 0.2, 500.0)]
    assert all(p.cost_usd <= p.budget_usd for p in plans)
    rates = [p.lines[0].rate if p.lines else 0.0 for p in plans]
    assert rates == sorted(rates)
    assert rates[-1] > rates[0]
    line = plans[-1].lines[0]
    assert line.cost_usd <= (line.worst_usd or 0.0)
    assert line.uncertainty_with < line.uncertainty_without
    assert line.swapped == pytest.approx(line.rate / 2 * line.decisions)
    nothing = plan(frame, budget=0.0001)
    assert nothing.lines == ()
    assert "the budget is spent" in nothing.left_out[0].reason


def test_twice_the_time_is_twice_the_decisions_and_a_narrower_promise() -> None:
    """Kills: days that change the words and not the numbers."""
    frame = log(2)
    short, long = (plan(frame, days=d, budget=1000.0).lines[0] for d in (10.0, 40.0))
    assert long.decisions == pytest.approx(4 * short.decisions, rel=0.01)
    assert long.half_width == pytest.approx(short.half_width / 2, rel=0.01)


def test_without_a_task_value_the_plan_is_for_quality_and_only_money_is_lost() -> None:
    """Kills: a task value that is made up, and a worst case without one."""
    found = plan(log(2), parse_config({"cluster": "tenant_id", "segments": []}))
    assert found.quantity == "quality"
    assert found.lines[0].quantity == "quality"
    assert found.lines[0].worst_usd is None
    assert found.lines[0].cost_usd == pytest.approx(found.lines[0].swapped * 0.95 * 0.13, rel=0.05)


def test_an_action_that_was_hardly_taken_stays_open_with_the_reason() -> None:
    """Kills: a spread from a dozen rows, and an open contrast that disappears."""
    few = log(2).with_columns(
        action=pl.when(pl.int_range(pl.len()) < 12).then(pl.lit("large")).otherwise(pl.lit("small"))
    )
    found = plan(few)
    assert found.lines == ()
    assert [{x.action, x.baseline} for x in found.left_out] == [{"large", "small"}]
    assert "30 are needed" in found.left_out[0].reason


def test_a_settled_contrast_is_not_planned() -> None:
    """Kills: money for what is known: the large model is 20 times dearer and no better at V = 2 cents."""
    cheap = parse_config({"cluster": "tenant_id", "segments": [], "prices": {"task_value": "0.02 USD/task"}})
    frame = log(3, rate=0.5)
    assert plan(frame, cheap).lines == ()
    assert plan(frame, cheap).left_out == ()


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_that_is_none_is_refused(budget: float) -> None:
    """Kills: an empty plan for a typing error."""
    with pytest.raises(ConfigError, match="budget"):
        plan(log(2, n=200), budget=budget)


def test_days_need_a_clock() -> None:
    """Kills: a time of plan for a log whose rate per day is unknown."""
    with pytest.raises(ConfigError, match="clock"):
        plan(log(2, n=200).drop("ts"), days=3.0)
