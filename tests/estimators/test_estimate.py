"""The whole estimate in worlds with known truth, and in worlds where it must refuse."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from asking import PRICED, covers, ends, estimated, one
from shadowprice.estimators.scores import MIN_ARM
from shadowprice.ingest.simulator.regime import Regime, draw
from worlds import (
    COST_GAP,
    LARGE,
    LATENCY_GAP,
    SMALL,
    World,
    router_world,
    sigmoid,
    threshold_world,
)


@pytest.mark.parametrize("logged", [True, False])
def test_where_the_naive_difference_is_wrong_ours_holds_the_truth(logged: bool) -> None:
    """Kills a difference of means: hard prompts go to `large`, so it looks worse and is 10 points better."""
    world = router_world(2, n=1000, smooth=True, spread=0.05, logged=logged)
    est = estimated(world.frame)
    assert world.naive < 0 < world.ate
    assert covers(one(est, estimand="ATO"), world.ato)
    assert covers(one(est, estimand="ATE"), world.ate)
    assert ends(one(est))[1] - ends(one(est))[0] < 0.05
    assert one(est).grade == ("A" if logged else "C")


def test_where_nothing_differs_nothing_is_found() -> None:
    """Kills an effect made of confounding: no gain, yet the naive difference is far below 0."""
    world = router_world(3, n=1000, smooth=True, gain=0.0)
    assert world.naive < -0.1
    assert covers(one(estimated(world.frame)), 0.0)


def no_overlap(n: int = 600) -> pl.DataFrame:
    """A rule on a category: the probability of the other action is below one in a million."""
    hard = pl.when(pl.col("x_hardness") > 0).then(pl.lit("hard")).otherwise(pl.lit("easy"))
    return router_world(n=n, slope=400.0, clip=0.0, logged=False).frame.with_columns(x_hardness=hard)


def test_where_nobody_could_have_chosen_otherwise_it_refuses() -> None:
    """Kills an extrapolation where the arms never meet."""
    est = estimated(no_overlap())
    for e in est.where(segment="all"):
        assert (e.estimand, e.grade, e.value, e.lower, e.upper) == ("not_identified", "N", None, None, None)
        assert e.reason


def test_logged_propensities_that_never_meet_are_refused_for_want_of_overlap() -> None:
    """Kills trusting an outcome model where the weights have no effective sample."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    e = np.where(x > 0, 0.998, 0.002)
    took = rng.random(2000) < e
    world = router_world(n=2000)
    frame = world.frame.with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL)),
        propensity=pl.Series(np.where(took, e, 1 - e)),
        x_hardness=pl.Series(x),
    )
    quality = one(estimated(frame))
    assert quality.grade == "N"
    assert "no overlap" in str(quality.reason)


def crooked(seed: int, n: int = 1500) -> World:
    """Quality jumps at eight places of x, far from the outcome model's basis, and so does the policy."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=n)
    wave = np.where(np.floor(4 * x) % 2 == 0, 1.0, -1.0)
    e = np.clip(0.5 + 0.35 * wave, 0.05, 0.95)
    small = 0.5 - 0.2 * wave
    large = small + 0.1
    took = rng.random(n) < e
    frame = router_world(n=n).frame.with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL)),
        propensity=pl.Series(np.where(took, e, 1 - e)),
        quality=pl.Series(np.where(took, large, small) + rng.uniform(-0.1, 0.1, size=n)),
        x_hardness=pl.Series(x),
    )
    return World(frame=frame, e=e, small=small, large=large)


def test_logged_propensities_repair_a_useless_outcome_model() -> None:
    """Kills weights that are not used: context is hidden here, so the outcome model knows nothing."""
    world = crooked(0)
    est = estimated(world.frame.drop("x_hardness"))
    assert world.naive < 0
    assert covers(one(est, estimand="ATO"), world.ato)
    assert covers(one(est, estimand="ATE"), world.ate)


def test_a_right_outcome_model_repairs_propensities_that_are_off() -> None:
    """Kills an estimator that is only weighting: the logged probabilities are shifted, but so little that
    their test passes, and the outcome is exactly linear in context."""
    rng = np.random.default_rng(1)
    n = 600
    x = rng.uniform(-1, 1, size=n)
    e = sigmoid(0.8 * x)
    took = rng.random(n) < e
    off = np.clip(e + 0.05 * np.sign(x), 0.05, 0.95)
    world = router_world(n=n)
    frame = world.frame.with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL)),
        propensity=pl.Series(np.where(took, off, 1 - off)),
        quality=pl.Series(0.5 - 0.4 * x + 0.05 * took + rng.uniform(-0.01, 0.01, size=n)),
        x_hardness=pl.Series(x),
    )
    est = estimated(frame)
    weights = np.where(took, 1 / off, -1 / (1 - off))
    weighting_alone = float((weights * frame["quality"].to_numpy()).mean())
    quality = one(est, estimand="ATE")
    assert quality.grade == "A"
    assert abs(weighting_alone - 0.05) > 0.01
    assert quality.value == pytest.approx(0.05, abs=0.003)


# All quantities


def test_cost_latency_and_net_are_estimated_beside_quality() -> None:
    """Kills a swapped column or a wrong sign in the net marginal value."""
    world = router_world(2, n=1000, smooth=True)
    est = estimated(world.frame, PRICED)
    risk = 0.12 - 0.08
    assert covers(one(est, "cost"), COST_GAP)
    assert covers(one(est, "latency"), LATENCY_GAP)
    assert covers(one(est, "risk"), risk)
    assert covers(one(est, "net"), 2 * world.ato - COST_GAP - 0.01 * LATENCY_GAP - 0.5 * risk)


def test_the_net_value_is_the_priced_sum_of_its_parts_and_its_interval_knows_their_covariance() -> None:
    """Kills adding variances of quantities that move together."""
    est = estimated(router_world(1, n=600).frame, PRICED)
    weights = np.array([2.0, -1.0, -0.01, -0.5])
    (row,) = est.joint.filter(pl.col("segment") == "all").iter_rows(named=True)
    net = one(est, "net")
    assert net.value == pytest.approx(weights @ np.array(row["theta"]))
    parts = {q: one(est, q).value for q in ("quality", "cost", "latency", "risk")}
    assert net.value == pytest.approx(weights @ np.array(list(parts.values())))
    cov = np.array(row["cov"]).reshape(4, 4)
    assert cov == pytest.approx(cov.T)
    quality = one(est)
    sd = (ends(quality)[1] - ends(quality)[0]) / 2
    half = (ends(net)[1] - ends(net)[0]) / 2
    assert half / sd == pytest.approx(np.sqrt(weights @ cov @ weights / cov[0, 0]), rel=0.05)  # own floor


def test_one_action_gives_no_contrast_and_says_why() -> None:
    """Kills a contrast out of thin air."""
    frame = router_world(n=100).frame.with_columns(action=pl.lit(LARGE), propensity=pl.lit(1.0))
    est = estimated(frame, baseline=None)
    assert est.contrasts.is_empty()
    assert est.coverage["grade"].to_list() == ["N"]
    assert "only one action was taken" in est.coverage["reason"][0]


def test_one_cluster_is_refused() -> None:
    """Kills an interval from one session."""
    est = estimated(router_world(n=300).frame.with_columns(session_id=pl.lit("s")))
    assert "effective clusters" in str(one(est).reason)
    assert one(est).grade == "N"


def test_a_constant_outcome_has_effect_zero_and_no_width() -> None:
    """Kills a division by a variance of 0."""
    frame = router_world(n=300).frame.with_columns(latency_s=pl.lit(2.0))
    latency = one(estimated(frame), "latency")
    assert (latency.value, *ends(latency)) == pytest.approx((0, 0, 0), abs=1e-12)


@pytest.mark.parametrize(
    ("column", "quantity"),
    [("quality", "quality"), ("cost_usd", "cost"), ("latency_s", "latency"), ("incident", "risk")],
)
def test_an_outcome_that_was_never_observed_is_not_identified_and_spoils_no_other(
    column: str, quantity: str
) -> None:
    """Kills reading all-null as zero effect."""
    frame = router_world(n=300).frame
    est = estimated(frame.with_columns(pl.lit(None, dtype=frame[column].dtype).alias(column)))
    whole = estimated(frame)
    for name in ("quality", "cost", "latency", "risk"):
        e = one(est, name)
        if name == quantity:
            assert (e.value, e.lower, e.grade) == (None, None, "N")
            assert column.split("_")[0] in str(e.reason)
        else:
            assert (e.value, *ends(e)) == pytest.approx((one(whole, name).value, *ends(one(whole, name))))


def test_an_action_that_was_hardly_taken_is_counted_and_refused() -> None:
    """Kills an estimate from a handful of decisions, or a row that vanishes."""
    frame = router_world(n=400).frame.drop("propensity")
    rare = pl.when(pl.int_range(400) < MIN_ARM - 1).then(pl.lit("huge")).otherwise("action")
    est = estimated(frame.with_columns(action=rare))
    (huge,) = (e for e in est.where(quantity="quality") if e.action == "huge")
    assert huge.grade == "N"
    assert huge.reason == "29 decisions took huge; 30 are needed"
    assert one(est).action == LARGE


def test_a_rule_without_a_border_is_grade_n_with_the_feature_and_the_advice() -> None:
    """Kills extrapolating across a category: no decision could have gone either way."""
    band = pl.when(pl.col("x_score") > 0.3).then(pl.lit("high")).otherwise(pl.lit("low"))
    est = estimated(threshold_world(cutoff=0.3).with_columns(x_score=band))
    quality = one(est)
    assert (quality.grade, quality.estimand) == ("N", "not_identified")
    assert "a rule on x_score replays" in str(quality.reason)
    assert "Randomise 2% of these choices" in str(quality.reason)
    assert set(est.coverage["grade"]) == {"N"}


def test_no_context_and_no_propensities_is_refused_as_confounded() -> None:
    """Kills a difference of means."""
    est = estimated(router_world(n=300, logged=False).frame.drop("x_hardness"))
    for e in est.where(segment="all"):
        assert e.grade == "N"
        assert "confounded" in str(e.reason)


@pytest.mark.parametrize(("names", "expected"), [((LARGE, SMALL), SMALL), ((LARGE, "skip"), "skip")])
def test_the_baseline_is_the_natural_one_or_the_cheaper(names: tuple[str, str], expected: str) -> None:
    """Kills comparing with the dear action or with the alphabet's first."""
    frame = router_world(n=300).frame.with_columns(
        pl.col("action").replace({LARGE: names[0], SMALL: names[1]})
    )
    assert one(estimated(frame, baseline=None)).baseline == expected


def test_decisions_that_a_rule_fixed_are_left_out_and_counted() -> None:
    """Kills weighting sure choices, or losing them in silence."""
    world = router_world(2, n=1000, smooth=True)
    fixed = pl.Series(np.arange(1000) < 200)
    source = pl.when(fixed).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
    est = estimated(world.frame.with_columns(propensity_source=source))
    quality = one(est)
    assert quality.n == 800
    assert "20.0% of decisions left out" in str(quality.reason)
    assert est.coverage.select("grade", "decisions").rows() == [("A", 800), ("N", 200)]
    drawn = World(frame=world.frame, e=world.e[200:], small=world.small[200:], large=world.large[200:])
    assert covers(quality, drawn.ato)
    assert est.where(quantity="quality", segment="all", estimand="ATE") == []


def test_a_rule_is_compared_at_its_border_and_bounded_away_from_it() -> None:
    """Kills: a border estimate that passes for one of the whole, a rule refused where it need not be."""
    est = sp.estimate(threshold_world(n=3000), SMALL)
    ato, bound = est.where(quantity="quality", segment="all")
    assert (ato.estimand, ato.grade) == ("ATO", "B")
    assert "cut-off" in ato.method
    assert (bound.estimand, bound.grade, bound.value) == ("bound", "D", None)
    assert bound.lower is not None
    assert bound.upper is not None
    assert bound.lower < float(ato.value or 0.0) < bound.upper
    assert set(est.ledger["grade"]) == {"B", "N"}


def test_an_interval_that_passes_narrowly_is_checked_on_simulations_of_its_own_log() -> None:
    """Kills: a certificate that no estimate asks for, or one that is paid for where nothing is close."""
    narrow = sp.estimate(draw(Regime(n=600, overlap=0.3), seed=2).frame, "a0")
    assert "refitted simulations of this log" in str(
        narrow.where(quantity="quality", segment="all")[0].reason
    )
    easy = sp.estimate(draw(Regime(n=3000), seed=2).frame, "a0")
    assert "refitted" not in str(easy.where(quantity="quality", segment="all")[0].reason)
