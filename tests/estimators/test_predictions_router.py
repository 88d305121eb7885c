"""Prediction 2: routers that ignore what a request is worth, that weigh it, and logs that cannot tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.predictions.router_regret import Regret, regret
from shadowprice.estimators.problem import problems
from shadowprice.ingest.simulator.predicted_router import CLASS_VALUES
from verdicts import ROUTER, inside, on_regret, routed

Change = Callable[[pl.DataFrame], pl.DataFrame]
CHANCES = ("propensity", "propensities", "propensity_source", "candidates")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return routed()[0]


def regrets(frame: pl.DataFrame) -> Regret:
    """The regret of every decision of a router that has one."""
    found = regret(next(problems(frame, ROUTER)), ROUTER, seed=0)
    assert isinstance(found, Regret), found
    return found


def test_a_router_that_ignores_value_supports_it() -> None:
    """Kills: a slope in the wrong unit, the regret of explorations in that of the router's own choice."""
    frame, truth = routed()
    found = on_regret(frame)
    assert found.verdict == "supported", str(found)
    assert inside(found, truth.usd)
    assert inside(found.further[0], truth.quality)
    assert found.grade == "A"
    assert found.placebo_p is not None
    assert found.placebo_p > 0.1
    assert [r.label for r in found.curve] == [f"${usd:,.3g}" for usd in CLASS_VALUES.values()]
    assert (found.curve[-2].value or 0.0) > 20 * abs(found.curve[0].value or 0.0)


def test_a_router_that_is_optimal_at_every_value_contradicts_it() -> None:
    """Kills: the regret of the log, which rises with V because explorations cost more at a high one."""
    found = on_regret(routed(router="optimal")[0])
    assert found.verdict == "contradicted", str(found)
    assert inside(found, 0.0)


def test_dollars_that_rise_only_because_value_does_are_no_support() -> None:
    """Kills: a test on dollars alone: the same quality lost at every V costs more dollars at a high one."""
    frame, truth = routed(router="careless", seed=0, n=12_000)
    found = on_regret(frame)
    assert truth.usd > 0.3
    assert abs(truth.quality) < 0.003
    assert found.lower is not None
    assert found.lower > 0
    assert found.verdict == "contradicted", str(found)
    assert "dollars rise only because V does" in found.reason


def test_without_a_randomised_slice_there_is_no_support(frame: pl.DataFrame) -> None:
    """Kills: support without its placebo."""
    found = on_regret(frame.drop("exploration", *CHANCES))
    assert found.grade == "C"
    assert found.placebo_p is None
    assert found.verdict == "inconclusive", str(found)
    assert "no randomised slice" in found.reason


def confounded(n: int = 24_000) -> pl.DataFrame:
    """At a high V the router sees a hidden sign of success and sends such requests to a frontier model that
    answers worse; a sixth of the choices is drawn at random. No probability is logged."""
    rng = np.random.default_rng(0)
    sign, dear = rng.random(n) < 0.5, rng.random(n) < 0.5
    explored = rng.random(n) < 1 / 6
    wanted = np.where(dear, np.where(sign, 0.95, 0.35), 0.5)
    frontier = rng.random(n) < np.where(explored, 0.5, wanted)
    success = np.where(sign, 0.85, 0.25) - 0.15 * frontier
    return pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "session_id": [f"s{g}" for g in rng.integers(80, size=n)],
            "action": np.where(frontier, "frontier", "cheap"),
            "exploration": explored,
            "x_task_class": np.where(dear, "v6", "v0"),
            "quality": (rng.random(n) < success).astype(float),
            "cost_usd": np.where(frontier, 0.8, 0.05),
        }
    )


def test_a_hidden_cause_moves_the_placebo() -> None:
    """Kills: a placebo that compares the fit with itself."""
    found = on_regret(confounded())
    assert found.placebo_p is not None
    assert found.placebo_p < 0.01
    assert found.verdict != "supported", str(found)


def test_explorations_are_weighed_by_their_own_chances() -> None:
    """Kills: the chances of the whole policy, by which the cheap model gains half as much again."""
    found = regrets(confounded())
    dear = found.randomised & (found.value == 32.0)
    assert found.left[dear].mean() == pytest.approx(32.0 * 0.15 + 0.75, abs=1.5)


def test_deciles_are_drawn_where_values_are_many(frame: pl.DataFrame) -> None:
    """Kills: a point per request. V comes from what was paid for solved tasks."""
    rng = np.random.default_rng(1)
    worth = frame["x_difficulty"].to_numpy() + rng.normal(0, 0.1, frame.height)
    paid = frame.with_columns(value_usd=pl.Series(10.0 * np.exp(worth)) * pl.col("quality"))
    found = on_regret(paid, sp.Config())
    assert found.effect is not None, str(found)
    assert len(found.curve) == 10
    assert all(" to " in r.label for r in found.curve)
    assert found.n == sum(r.n or 0 for r in found.curve)


def test_the_regret_of_a_choice_that_was_best_is_nothing(frame: pl.DataFrame) -> None:
    """Kills: the log's mixture in place of the router's own choice, which leaves noise everywhere."""
    found = regrets(frame)
    low = found.value == 0.5
    assert (found.usd[low] == 0.0).mean() > 0.8
    assert found.randomised.mean() == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.with_columns(layer=pl.lit("agent")), "no model choices are logged"),
        (lambda f: f.with_columns(x_task_class=pl.lit("v3")), "hardly varies"),
        (lambda f: f.drop("x_task_class"), "no task value above 0 is known"),
        (lambda f: f.with_columns(action=pl.lit("cheap")), "fewer than two models"),
        (lambda f: f.with_columns(session_id=pl.lit("one")), "effective clusters"),
        (lambda f: f.drop("quality"), "quality is not known for every model"),
        (lambda f: f.with_columns(cost_usd=pl.lit(None, dtype=pl.Float64)), "cost is not known"),
        (
            lambda f: f.drop("propensities").with_columns(
                propensity=pl.lit(1.0), propensity_source=pl.lit("deterministic")
            ),
            "rule",
        ),
        (
            lambda f: f.with_columns(
                x_task_class=pl.when(pl.int_range(pl.len()) % 3 == 0)
                .then("x_task_class")
                .otherwise(pl.lit(""))
            ),
            "no overlap or no task value",
        ),
    ],
)
def test_logs_that_cannot_tell_are_not_identified_with_the_reason(
    frame: pl.DataFrame, change: Change, said: str
) -> None:
    """Kills: a verdict where V is the same everywhere, where a rule chose, or from one session."""
    found = on_regret(change(frame))
    assert found.verdict == "not_identified", str(found)
    assert said in found.reason
    assert found.curve == ()
