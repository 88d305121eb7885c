"""Rules reveal sets of prices: the programme against a grid, the truth inside, and no point in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from choosing import BENCH, TRUE
from numpy.typing import NDArray
from shadowprice.estimators.prices.attributes import Offers
from shadowprice.estimators.prices.behaviour import behaviour
from shadowprice.estimators.prices.inverse import MATERIAL, PriceSet, feasible_prices
from shadowprice.estimators.prices.revealed import revealed_prices
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.schemas.config import Config

Array = NDArray[np.float64]
ATTRIBUTE = {"V": 0, "λ": 2, "ρ": 3}


def ruled(seed: int, *, n: int = 800, known: tuple[bool, ...] = (True,) * 4) -> Offers:
    """The choices of a rule that is best at the true prices, with attributes known exactly."""
    data = BENCH.choices(seed, n=n)
    x = data.x[:, :, :4] - 2.0 * np.eye(4)[1]  # costs are above 0
    x = np.where(known, x, 0.0)
    best = (x @ np.array([2.0, 1.0, 0.3, 4.0])).argmax(axis=1)
    return Offers(
        layer="router",
        decision_point="model",
        arms=("a", "b", "c"),
        choices=replace(data, x=x, chosen=best),
        target=x,
        known=np.array(known),
        mean_value=1.0,
        risk_unit="USD/event",
        cluster_key="session_id",
        cluster_ids=tuple(str(i) for i in range(n)),
        grade="N",
        fixed=True,
        notes=(),
    )


def sets(found: Offers, seed: int = 0) -> dict[int, PriceSet]:
    out = feasible_prices(found, seed=seed)
    assert not isinstance(out, str), out
    return out


def loss(found: Offers, prices: Array) -> float:
    """Mean USD that the choices lose at prices (V, 1, lambda, rho), by definition."""
    u = found.choices.x @ prices
    return float((u.max(axis=1) - u[np.arange(len(u)), found.choices.chosen]).mean())


def test_the_truth_is_in_the_set_and_more_choices_narrow_it() -> None:
    """Kills a constraint the wrong way round and a set that data cannot shrink."""
    few, many = sets(ruled(1, n=60)), sets(ruled(1, n=1500))
    for name, truth in TRUE.items():
        j = ATTRIBUTE[name]
        assert many[j].upper is not None
        assert few[j].upper is not None
        assert many[j].lower <= truth <= many[j].upper
        assert many[j].upper - many[j].lower < few[j].upper - few[j].lower


def test_the_ends_are_where_the_loss_reaches_what_is_allowed() -> None:
    """Kills a range from another programme: with one price, the ends are those of a grid."""
    found = ruled(2, known=(False, True, True, False))
    only = sets(found)[2]
    allowed = MATERIAL * float(np.abs(found.choices.x[:, :, 1]).mean())
    grid = np.linspace(0.0, 1.5, 3001)
    losses = np.array([loss(found, np.array([0.0, 1.0, t, 0.0])) for t in grid])
    inside = grid[losses <= 2 * losses.min() + allowed]
    assert only.lower == pytest.approx(inside[0], abs=1e-3)
    assert only.upper == pytest.approx(inside[-1], abs=1e-3)


def test_a_rule_that_always_takes_the_fastest_puts_no_limit_on_the_price_of_a_second() -> None:
    """Kills a made-up largest price: the upper end is open and the reason says so."""
    found = ruled(3, known=(False, True, True, False))
    fastest = found.choices.x[:, :, 2].argmax(axis=1)
    only = sets(replace(found, choices=replace(found.choices, chosen=fastest)))[2]
    assert only.upper is None
    assert only.lower > 1.0
    assert "however much latency counted" in only.reason


def test_a_rule_that_always_takes_the_cheapest_may_put_no_price_on_anything() -> None:
    """Kills a positive lower end without evidence."""
    found = ruled(4)
    cheapest = found.choices.x[:, :, 1].argmax(axis=1)
    for own in sets(replace(found, choices=replace(found.choices, chosen=cheapest))).values():
        assert own.lower == pytest.approx(0.0, abs=1e-9)


def test_dollars_scale_the_set() -> None:
    """Kills a unit inside the programme."""
    found = ruled(5)
    cents = replace(found.choices, x=found.choices.x * np.array([1.0, 100.0, 1.0, 1.0]))
    small, large = sets(found), sets(replace(found, choices=cents))
    for j in small:
        assert large[j].lower == pytest.approx(100 * small[j].lower, rel=1e-4, abs=1e-4)


def test_a_log_of_a_rule_gives_ranges_without_a_value_and_says_why() -> None:
    """Kills a point from a rule, which never shows how close a choice was."""
    scores = score(next(problems(BENCH.log(1, n=2000, sharp=float("inf")), Config())), seed=0)
    assert behaviour(scores, config=Config(), seed=0) == "a rule fixed every choice"
    for p in revealed_prices(scores, config=Config(), seed=0):
        assert (p.value, p.level, p.grade, p.n) == (None, None, "D", 2000)
        assert p.lower is not None
        assert "a rule fixed every choice" in (p.reason or "")
        assert "extrapolation" in (p.reason or "")


def test_a_sample_is_drawn_with_the_seed_and_named() -> None:
    """Kills a silent sample and one that changes from run to run."""
    found = ruled(6, n=2500)
    first, again = sets(found, seed=3), sets(found, seed=3)
    assert first == again
    assert "2000 of 2500 choices drawn with seed 3" in first[2].method


def test_without_cost_or_without_anything_to_price_there_is_a_reason() -> None:
    """Kills prices in a dollar that nobody spent."""
    assert (
        feasible_prices(ruled(7, known=(True, False, True, True)), seed=0)
        == "cost is not known for every action"
    )
    nothing = feasible_prices(ruled(7, known=(False, True, False, False)), seed=0)
    assert nothing == "no attribute besides cost differs between actions"
