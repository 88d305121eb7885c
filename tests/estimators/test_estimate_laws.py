"""Laws that every estimate obeys: order, names, units, sampling."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from asking import PRICED, covers, ends, estimated, one
from polars.testing import assert_frame_equal
from shadowprice.schemas.config import parse_config
from worlds import (
    LARGE,
    SMALL,
    router_world,
    sigmoid,
)


def test_row_order_and_column_order_do_not_matter() -> None:
    """Kills folds, categories or sums that follow the order of the rows."""
    frame = router_world(n=400, logged=False).frame.with_columns(
        x_kind=pl.Series(["chat", "code", "mail", "data"] * 100)
    )
    turned = frame.sample(fraction=1.0, shuffle=True, seed=5).select(reversed(frame.columns))
    a, b = estimated(frame, PRICED), estimated(turned, PRICED)
    for name in ("contrasts", "ledger", "joint", "gains", "coverage", "overlap"):
        assert_frame_equal(getattr(a, name), getattr(b, name))


def test_a_lazy_frame_in_parts_gives_the_same_bytes() -> None:
    """Kills a dependence on how the log is cut into files."""
    frame = router_world(n=300).frame
    parts = pl.concat([frame[200:].lazy(), frame[:120].lazy(), frame[120:200].lazy()])
    whole = estimated(frame)
    assert_frame_equal(sp.estimate(parts, baseline=SMALL).contrasts, whole.contrasts)
    assert_frame_equal(sp.estimate(parts, baseline=SMALL).ledger, whole.ledger)


def test_other_decision_points_do_not_move_an_estimate() -> None:
    """Kills state that leaks from one decision point to the next."""
    frame = router_world(n=300).frame
    other = router_world(7, n=200).frame.with_columns(
        decision_id=pl.format("other-{}", "decision_id"), decision_point=pl.lit("region")
    )
    alone = estimated(frame).contrasts
    both = estimated(pl.concat([other, frame])).contrasts
    assert_frame_equal(both.filter(pl.col("decision_point") == "model"), alone)


@pytest.mark.parametrize("logged", [True, False])
def test_swapping_action_and_baseline_flips_the_sign(logged: bool) -> None:
    """Kills an asymmetry between the two arms."""
    frame = router_world(n=500, logged=logged).frame
    forward, backward = estimated(frame), estimated(frame, baseline=LARGE)
    for quantity in ("quality", "cost", "latency", "risk"):
        a, b = one(forward, quantity), one(backward, quantity)
        assert (a.action, a.baseline) == (b.baseline, b.action)
        assert a.value == pytest.approx(-float(b.value or 0.0), abs=1e-9)
        assert ends(a) == pytest.approx((-ends(b)[1], -ends(b)[0]), abs=1e-9)


def test_renaming_the_arms_changes_only_the_names() -> None:
    """Kills a result that depends on the alphabet."""
    frame = router_world(n=500, logged=False).frame
    swapped = frame.with_columns(pl.col("action").replace({LARGE: "alpha", SMALL: "omega"}))
    a = one(estimated(frame))
    b = one(estimated(swapped, baseline="omega"))
    assert (b.value, *ends(b)) == pytest.approx((a.value, *ends(a)), abs=1e-9)


def test_rescaling_money_rescales_dollars_and_nothing_else() -> None:
    """Kills a constant in dollars hidden in gates, penalties or trees."""
    frame = router_world(n=500, logged=False).frame.with_columns(loss_usd=pl.col("incident") * 3.0)
    prices = {"task_value": "2 USD/task", "latency": "0.01 USD/s", "risk": "1 USD/USD"}
    cents = {"task_value": "200 USD/task", "latency": "1 USD/s", "risk": "1 USD/USD"}
    a = estimated(frame, parse_config({"prices": prices}))
    b = estimated(frame.with_columns(pl.col("cost_usd", "loss_usd") * 100), parse_config({"prices": cents}))
    for quantity, factor in (("quality", 1), ("cost", 100), ("latency", 1), ("risk", 100), ("net", 100)):
        x, y = one(a, quantity), one(b, quantity)
        assert (y.value, *ends(y)) == pytest.approx([factor * v for v in (x.value, *ends(x))], rel=1e-7)
    nmv = a.ledger["nmv"].to_numpy() * 100
    assert b.ledger["nmv"].to_numpy() == pytest.approx(nmv, rel=1e-7)
    assert b.gains["usd"].to_numpy() == pytest.approx(a.gains["usd"].to_numpy() * 100, rel=1e-6, abs=1e-9)


def test_log_sampling_is_undone_by_keep_prob() -> None:
    """Kills dropping the sampling weight: hard prompts, where `large` helps more, were kept at 25 %."""
    world = router_world(4, n=1900, smooth=True, slope=0.7, gain=0.1, spread=0.1)
    x = world.frame["x_hardness"].to_numpy()
    keep = np.where(x > 0, 0.25, 1.0)
    kept = np.random.default_rng(0).random(1900) < keep
    sampled = world.frame.with_columns(keep_prob=pl.Series(keep)).filter(pl.Series(kept))
    full = one(estimated(world.frame), estimand="ATE")
    weighted = one(estimated(sampled), estimand="ATE")
    ignored = one(estimated(sampled.drop("keep_prob")), estimand="ATE")
    assert covers(weighted, world.ate)
    assert float(weighted.value or 0) == pytest.approx(float(full.value or 0), abs=0.012)
    assert not covers(ignored, world.ate)
    open_choices = [float(one(estimated(f), estimand="ATO").value or 0) for f in (world.frame, sampled)]
    assert open_choices[1] == pytest.approx(open_choices[0], abs=0.006)


def test_labels_missing_at_random_given_context_do_not_bias() -> None:
    """Kills averaging over the labelled rows: easy prompts are labelled far more often for `small`."""
    world = router_world(5, n=2000, smooth=True, slope=0.7, spread=0.1)
    x, took = world.frame["x_hardness"].to_numpy(), (world.frame["action"] == LARGE).to_numpy()
    share = np.where(took, sigmoid(1.0 + x), sigmoid(1.0 - x))
    seen = np.random.default_rng(1).random(2000) < share
    frame = world.frame.with_columns(quality=pl.when(pl.Series(seen)).then("quality"))
    quality = one(estimated(frame), estimand="ATE")
    assert covers(quality, world.ate)
    assert quality.grade == "C"  # missing at random is an assumption, whatever the propensities
    assert "of rows have quality; the others are taken as missing at random" in str(quality.reason)


def test_the_probability_of_a_label_repairs_a_poor_outcome_model() -> None:
    """Kills labels that are trusted to an outcome model: quality turns on a product of two features, which
    the model cannot follow, and for `large` the labels are seen where both are high."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 1900))
    took = rng.random(1900) < 0.5
    quality = 0.5 + 0.3 * np.tanh(2 * x * z) + 0.05 * took + rng.uniform(-0.05, 0.05, size=1900)
    seen = ~took | (rng.random(1900) < sigmoid(x + z - 0.8))
    frame = router_world(n=1900).frame.with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL)),
        propensity=pl.lit(0.5),
        quality=pl.when(pl.Series(seen)).then(pl.Series(quality)),
        x_hardness=pl.Series(x),
        x_length=pl.Series(z),
    )
    means = dict(frame.group_by("action").agg(pl.col("quality").mean()).iter_rows())
    assert means[LARGE] - means[SMALL] > 0.08
    assert covers(one(estimated(frame), estimand="ATE"), 0.05)


def test_the_seed_moves_an_estimate_only_by_the_noise_of_splitting() -> None:
    """Kills a seed that is not used, and splits that dominate the estimate."""
    frame = router_world(n=500, logged=False).frame
    a, b = sp.estimate(frame, baseline=SMALL, seed=0), sp.estimate(frame, baseline=SMALL, seed=1)
    assert one(a).value != one(b).value
    half = (ends(one(a))[1] - ends(one(a))[0]) / 2
    assert abs(float(one(a).value or 0) - float(one(b).value or 0)) < half / 2


def test_a_partly_missing_cost_lowers_the_grade_of_cost_and_net_and_says_so() -> None:
    """Kills: a grade A for dollars whose costs were half unlogged, or a grade that sinks for all."""
    world = router_world(5, n=1500, logged=True)
    rng = np.random.default_rng(5)
    cost = np.where(world.frame["action"].to_numpy() == "large", 0.05, 0.01) + rng.random(1500) / 100
    seen = rng.random(1500) < 0.6
    frame = world.frame.with_columns(cost_usd=pl.Series(np.where(seen, cost, np.nan)).fill_nan(None))
    est = estimated(frame, PRICED)
    assert one(est, "quality").grade == "A"
    assert one(est, "cost").grade == "C"
    assert one(est, "net").grade == "C"
    assert "of rows have cost; the others are taken as missing at random" in str(one(est, "cost").reason)
