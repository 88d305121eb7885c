"""The joint gain of a policy, its dollars and break-even value; diagnostics, distribution and targets."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from scipy import stats
from shadowprice.errors import SchemaError
from shadowprice.estimators.policy_diagnostics import pareto_k, policy_diagnostics
from shadowprice.estimators.policy_distribution import policy_cvar, policy_distribution
from shadowprice.estimators.policy_surplus import policy_surplus
from shadowprice.estimators.policy_value import policy_value
from worlds import COST_GAP, LARGE, SMALL, router_world


def test_the_gain_of_always_large_is_known_in_all_four_quantities() -> None:
    """Kills a wrong sign, or quantities in another order."""
    world = router_world(1, n=2000, smooth=True)
    found = policy_surplus(world.frame, pl.lit(LARGE), against=pl.lit(SMALL))
    assert found.reason is None
    assert found.lower[0] <= world.ate <= found.upper[0]
    assert found.gain[1] == pytest.approx(COST_GAP, rel=0.05)
    assert found.surplus_usd is None
    assert "no task value" in str(found.surplus_reason)
    ratio = found.break_even
    assert ratio.value == pytest.approx(found.gain[1] / found.gain[0])
    assert ratio.lower is not None
    assert ratio.lower <= COST_GAP / world.ate <= (ratio.upper or 0)


def test_a_policy_against_itself_gains_nothing() -> None:
    """Kills different folds for the two policies."""
    found = policy_surplus(router_world(n=600).frame, "uniform", against="uniform")
    np.testing.assert_allclose(found.gain[:3], 0.0, atol=1e-12)


def test_rules_expressions_and_frames_are_the_same_target() -> None:
    """Kills a rule that is matched by position in another order."""
    world = router_world(n=400)
    expression = pl.when(pl.col("x_hardness") > 0).then(pl.lit(LARGE)).otherwise(pl.lit(SMALL))
    frame = world.frame.select("decision_id", action=expression, probability=pl.lit(1.0))
    answers = [
        policy_value(world.frame.sample(fraction=1.0, shuffle=True, seed=2), target)
        for target in (expression, frame, lambda rows: rows.select(expression).to_series())
    ]
    assert answers[0].equals(answers[1])
    assert answers[0].equals(answers[2])


def test_a_rule_with_missing_choices_is_one_clear_error() -> None:
    """Kills decisions that are silently left out."""
    with pytest.raises(SchemaError, match="one action for each decision"):
        policy_value(router_world(n=100).frame, pl.lit(None, dtype=pl.String))


def test_a_repeated_pair_in_the_target_is_one_clear_error() -> None:
    """Kills the last row winning."""
    world = router_world(n=100)
    twice = world.frame.select("decision_id", "action", probability=pl.lit(0.5))
    with pytest.raises(SchemaError, match="one row per decision and action"):
        policy_value(world.frame, pl.concat([twice, twice]))


def test_the_shape_of_a_pareto_tail_is_found() -> None:
    """Kills a wrong sign or scale of the shape: scipy's draws have shape .8 and .2."""
    for shape in (0.8, 0.2):
        draws = stats.genpareto.rvs(shape, size=20_000, random_state=1)
        assert pareto_k(draws) == pytest.approx(shape, abs=0.15)
    assert pareto_k(np.ones(500)) is None


def test_diagnostics_say_fine_or_why_not() -> None:
    """Kills a verdict that differs from what policy_value does."""
    row = policy_diagnostics(router_world(n=600).frame, "uniform").row(0, named=True)
    assert row["verdict"] in ("fine", "heavy tail")
    assert abs(row["mean_weight_z"]) < 4
    refused = policy_diagnostics(router_world(n=600).frame, pl.lit("huge")).row(0, named=True)
    assert refused["verdict"] == "refused"
    assert refused["unseen_share"] == pytest.approx(1.0)


def test_the_distribution_rises_and_its_mean_bounds_are_nested() -> None:
    """Kills simultaneous ends that are narrower than pointwise ones, and a falling distribution."""
    frame = policy_distribution(router_world(n=800).frame, "uniform", "cost")
    assert frame["reason"].null_count() == frame.height
    for name in ("value", "lower", "upper", "lower_all", "upper_all"):
        assert (frame[name].diff().drop_nulls() >= 0).all()
    assert (frame["lower_all"] <= frame["lower"]).all()
    assert (frame["upper_all"] >= frame["upper"]).all()


def test_the_mean_of_the_worst_share_is_that_of_the_logged_outcome_when_nothing_changes() -> None:
    """Kills a quantile from the wrong end: recomputed from the sorted outcome."""
    world = router_world(n=1000)
    target = pl.concat(
        world.frame.select("decision_id", action=pl.lit(name), probability=pl.Series(p))
        for name, p in ((LARGE, world.e), (SMALL, 1 - world.e))
    )
    found = policy_cvar(world.frame, target, "latency", beta=0.9).row(0, named=True)
    y = np.sort(world.frame["latency_s"].to_numpy())
    assert found["value"] == pytest.approx(y[900:].mean(), rel=0.02)
    assert found["lower"] <= found["value"] <= found["upper"]


def test_shared_features_make_an_unseen_action_valuable() -> None:
    """Kills marginalised weights that look at names: a new action is priced as the one it resembles."""
    frame = router_world(n=800).frame
    features = pl.DataFrame({"action": [LARGE, SMALL, "new"], "size": [70, 8, 70]})
    values = policy_value(frame, pl.lit("new"), action_features=features)
    like = policy_value(frame, pl.lit(LARGE))
    by_name = {row["estimator"]: row for row in values.iter_rows(named=True)}
    assert by_name["IPS"]["value"] is None
    assert by_name["MIPS"]["value"] == pytest.approx(like["value"][0])


@pytest.mark.parametrize("interval", ["empirical-bernstein", "anytime"])
def test_stricter_intervals_are_wider_and_bernstein_says_what_it_cannot(interval: str) -> None:
    """Kills an interval that ignores what was asked for."""
    frame = router_world(n=600).frame
    plain = policy_value(frame, "uniform").row(0, named=True)
    strict = policy_value(frame, "uniform", interval=interval).row(0, named=True)  # type: ignore[arg-type]
    assert strict["lower"] < plain["lower"] < plain["upper"] < strict["upper"]


def test_an_unknown_interval_is_one_clear_error() -> None:
    """Kills a mistyped option that vanishes."""
    with pytest.raises(sp.errors.ConfigError, match="interval is 'wald'"):
        policy_value(router_world(n=100).frame, "uniform", interval="wald")  # type: ignore[arg-type]
