"""Values of target policies: the truth on simulated logs, and every refusal."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import SchemaError
from shadowprice.estimators.policy_value import policy_value
from worlds import LARGE, SMALL, World, router_world

ESTIMATORS = ("IPS", "SNIPS", "DR", "DM", "clipped IPS", "SNDR", "SWITCH-DR", "DRos")
Target = pl.DataFrame | Literal["uniform"]


def target_of(world: World, large: np.ndarray) -> pl.DataFrame:
    """The target that takes `large` with these probabilities."""
    ids = world.frame["decision_id"]
    return pl.concat(
        pl.DataFrame({"decision_id": ids, "probability": p}).with_columns(action=pl.lit(name))
        for name, p in ((LARGE, large), (SMALL, 1 - large))
    )


def refusal(frame: pl.DataFrame, target: Target = "uniform") -> str:
    """The reason of a refused value, which must be the same for all estimators and without numbers."""
    values = policy_value(frame, target)
    assert values["estimator"].to_list() == list(ESTIMATORS)
    assert values.select(pl.col("value", "lower", "upper").is_null().all()).row(0) == (True, True, True)
    (reason,) = set(values["reason"])
    return str(reason)


@pytest.mark.parametrize("kind", ["uniform", "reverse", "always"])
def test_the_interval_holds_the_true_value_of_the_target(kind: str) -> None:
    """Kills weights upside down, or the value of the logged policy."""
    world = router_world(2, n=2000, smooth=True)
    large = {"uniform": np.full(2000, 0.5), "reverse": 1 - world.e, "always": np.ones(2000)}[kind]
    target: Target = "uniform" if kind == "uniform" else target_of(world, large)
    truth = float((large * world.large + (1 - large) * world.small).mean())
    values = policy_value(world.frame, target)
    assert values["value"].null_count() == 0
    for row in values.filter(pl.col("estimator") != "DM").iter_rows(named=True):
        assert row["lower"] <= truth <= row["upper"], row
    doubly = values.row(2, named=True)
    assert doubly["upper"] - doubly["lower"] < 0.06


def test_the_three_formulas_are_those_of_the_text_books() -> None:
    """Kills a self-normalised mean where a plain one is meant: recomputed here by hand."""
    world = router_world(2, n=500)
    target = target_of(world, np.full(500, 0.7))
    took = (world.frame["action"] == LARGE).to_numpy()
    w = np.where(took, 0.7, 0.3) / world.frame["propensity"].to_numpy()
    y = world.frame["quality"].to_numpy()
    values = dict(policy_value(world.frame, target).select("estimator", "value").iter_rows())
    assert values["IPS"] == pytest.approx((w * y).mean())
    assert values["SNIPS"] == pytest.approx((w * y).sum() / w.sum())
    ess = policy_value(world.frame, target)["ess"][0]
    assert ess == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_the_logged_policy_as_its_own_target_gives_the_mean_of_the_log() -> None:
    """Kills a value that moves when nothing changes."""
    world = router_world(3, n=500)
    values = policy_value(world.frame, target_of(world, world.e))
    for value in values.filter(pl.col("estimator").is_in(["IPS", "SNIPS", "clipped IPS"]))["value"]:
        assert value == pytest.approx(world.frame["quality"].mean())


def test_the_doubly_robust_value_is_the_tightest_where_context_explains_the_outcome() -> None:
    """Kills a reward model that is not used."""
    values = policy_value(router_world(1, n=2000, smooth=True).frame, "uniform")
    width = dict(zip(values["estimator"], values["upper"] - values["lower"], strict=True))
    assert width["DR"] < 0.7 * width["SNIPS"] < width["IPS"]


@pytest.mark.parametrize(("quantity", "low", "high"), [("cost", 0.02, 0.026), ("latency", 1.2, 1.5)])
def test_other_quantities_are_valued_too(
    quantity: Literal["cost", "latency"], low: float, high: float
) -> None:
    """Kills a value of quality whatever was asked."""
    values = policy_value(router_world(n=600).frame, "uniform", quantity)
    assert set(values["quantity"]) == {quantity}
    assert values["value"].is_between(low, high).all()


def test_row_order_does_not_matter() -> None:
    """Kills a target that is matched by position."""
    world = router_world(n=300)
    target = target_of(world, np.linspace(0.2, 0.8, 300))
    straight = policy_value(world.frame, target)
    turned = policy_value(world.frame.reverse(), target.sample(fraction=1.0, shuffle=True, seed=1))
    assert straight.equals(turned)


def test_log_sampling_is_undone() -> None:
    """Kills dropping keep_prob: hard prompts were kept at 25 %."""
    world = router_world(1, n=3000, smooth=True, slope=0.7)
    keep = np.where(world.frame["x_hardness"].to_numpy() > 0, 0.25, 1.0)
    kept = np.random.default_rng(0).random(3000) < keep
    sampled = world.frame.with_columns(keep_prob=pl.Series(keep)).filter(pl.Series(kept))
    truth = float((0.5 * world.large + 0.5 * world.small).mean())
    with_weight = policy_value(sampled, "uniform").row(2, named=True)
    without = policy_value(sampled.drop("keep_prob"), "uniform").row(2, named=True)
    assert with_weight["lower"] <= truth <= with_weight["upper"]
    assert not without["lower"] <= truth <= without["upper"]


def test_few_heavy_weights_are_refused_by_the_effective_sample_size() -> None:
    """Kills an interval that rests on a handful of decisions."""
    world = router_world(n=600, slope=0.0)
    rare = np.random.default_rng(0).random(600) < 0.02
    frame = world.frame.with_columns(
        action=pl.Series(np.where(rare, LARGE, SMALL)), propensity=pl.Series(np.where(rare, 0.02, 0.98))
    )
    reason = refusal(frame, target_of(world, np.ones(600)))
    assert "effective sample size" in reason
    assert "30 are needed" in reason


def test_a_target_outside_the_log_is_refused_by_the_share_that_was_never_taken() -> None:
    """Kills a value for actions that the log never took: a third of the target's choices are unseen."""
    world = router_world(n=600)
    seen = target_of(world, np.full(600, 0.5)).with_columns(pl.col("probability") * 2 / 3)
    unseen = pl.DataFrame({"decision_id": world.frame["decision_id"], "probability": 1 / 3, "action": "huge"})
    reason = refusal(world.frame, pl.concat([seen, unseen.select(seen.columns)]))
    assert reason.startswith("33% of the target's choices are actions that the log never took")
    assert "does not cover the target" in reason


def test_a_log_with_choices_fixed_by_a_rule_is_refused() -> None:
    """Kills weights of 1 for decisions that could not have gone otherwise."""
    source = pl.when(pl.int_range(600) < 5).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
    reason = refusal(router_world(n=600).frame.with_columns(propensity_source=source))
    assert reason == "a rule fixed some choices, so the target cannot be weighted from this log"


def test_a_log_without_propensities_is_refused() -> None:
    """Kills estimated propensities in a method that promises logged ones."""
    assert "no propensity is logged" in refusal(router_world(n=600, logged=False).frame)


def test_propensities_that_fail_their_test_are_refused_with_that_reason() -> None:
    """Kills weighting with numbers that do not fit the choices."""
    frame = router_world(n=1500).frame.with_columns(propensity=1 - pl.col("propensity"))
    assert "do not fit the logged choices" in refusal(frame)


def test_missing_outcomes_are_refused_and_counted() -> None:
    """Kills averaging over the labelled decisions only."""
    frame = router_world(n=600).frame.with_columns(quality=pl.when(pl.int_range(600) >= 7).then("quality"))
    assert refusal(frame) == "7 decisions have no outcome"


def test_few_clusters_are_refused() -> None:
    """Kills a t interval on five sessions."""
    assert "effective clusters; 10 are needed" in refusal(router_world(n=600, clusters=5).frame)


def test_several_decision_points_are_one_clear_error() -> None:
    """Kills mixing two questions into one value."""
    frame = router_world(n=100).frame
    other = frame.with_columns(decision_id=pl.format("o{}", "decision_id"), decision_point=pl.lit("region"))
    with pytest.raises(SchemaError, match="2 decision points"):
        policy_value(pl.concat([frame, other]), "uniform")


@pytest.mark.parametrize("probability", [1.2, -0.1, float("nan")])
def test_a_target_that_is_no_distribution_is_one_clear_error(probability: float) -> None:
    """Kills a value for impossible probabilities."""
    world = router_world(n=100)
    with pytest.raises(SchemaError, match="not a distribution"):
        policy_value(world.frame, target_of(world, np.full(100, probability)))


def test_a_target_without_its_columns_is_one_clear_error() -> None:
    """Kills a KeyError from deep inside."""
    world = router_world(n=100)
    with pytest.raises(SchemaError, match=r"columns \['probability'\] are missing"):
        policy_value(world.frame, target_of(world, world.e).drop("probability"))
