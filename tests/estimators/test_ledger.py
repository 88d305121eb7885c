"""The ledger: per decision the effects of its group, their sum in dollars, and the reason where none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from asking import PRICED, covers, estimated, one, priced
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.contrasts import estimate_segment
from shadowprice.estimators.effect_calibration import CALIBRATION
from shadowprice.estimators.ledger import Groups, calibrated_groups, calibration_rows, ledger_rows
from shadowprice.estimators.pairs import Pair, Valuation, pair
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.schemas.columns import LEDGER
from shadowprice.schemas.config import parse_config
from worlds import LARGE, SMALL, World, router_world, threshold_world

NUMBERS = [f"{name}{end}" for name in ("dq", "dc", "dl", "dr", "nmv") for end in ("", "_lower", "_upper")]


def varied(seed: int = 0, n: int = 2000) -> tuple[pl.DataFrame, np.ndarray]:
    """The ledger of a world whose gain runs from -0.1 to 0.3 with hardness, and the true gains."""
    world = router_world(seed, n=n, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    return estimated(world.frame, PRICED).ledger.sort("decision_id"), world.tau


def test_the_net_value_of_every_row_is_the_priced_sum_of_its_terms() -> None:
    """Kills a wrong sign, a forgotten price, or the mean V where the row has its own."""
    rows, _ = varied()
    value = 2 * rows["dq"] - rows["dc"] - 0.01 * rows["dl"] - 0.5 * rows["dr"]
    assert rows["nmv"].to_numpy() == pytest.approx(value.to_numpy(), abs=1e-9)
    for name in ("dq", "dc", "dl", "dr", "nmv"):
        assert (rows[f"{name}_lower"] <= rows[name]).all()
        assert (rows[name] <= rows[f"{name}_upper"]).all()


def test_each_decision_uses_the_v_of_its_own_class() -> None:
    """Kills one V for the whole ledger."""
    kinds = pl.Series(["triage", "legal"] * 300)
    frame = router_world(6, n=600, smooth=True).frame.with_columns(x_task_class=kinds)
    values = {"task_value": "2 USD/task", "task_value_by_class": {"legal": "9 USD/task"}}
    rows = estimated(frame, parse_config({"prices": values})).ledger
    v = pl.when(pl.col("segment") == "x_task_class=legal").then(9.0).otherwise(2.0)
    value = rows.select(v * pl.col("dq") - pl.col("dc")).to_series()
    assert rows["nmv"].to_numpy() == pytest.approx(value.to_numpy(), abs=1e-9)


def test_groups_follow_the_true_gains_of_their_decisions() -> None:
    """Kills groups that do not order the truth, or means of other decisions: every group's interval holds
    the overlap-weighted true gain of the decisions in it (simultaneous 95 % over the groups)."""
    world = router_world(1, n=2000, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    rows = estimated(world.frame).ledger.sort("decision_id")
    weight = world.e * (1 - world.e)
    found, true = [], []
    for value in rows["dq"].unique().sort():
        group = (rows["dq"] == value).to_numpy()
        mean = float(np.average(world.tau[group], weights=weight[group]))
        row = rows.filter(pl.Series(group)).row(0, named=True)
        assert row["dq_lower"] <= mean <= row["dq_upper"]
        found.append(value)
        true.append(mean)
    assert len(found) >= 3
    assert true == sorted(true)
    assert max(true) - min(true) > 0.2
    assert np.corrcoef(rows["dq"].to_numpy(), world.tau)[0, 1] > 0.85


def test_groups_are_ordered_by_the_net_value_they_were_made_for() -> None:
    """Kills groups that are not pooled where their means break the order."""
    rows, _ = varied()
    by_group = rows.group_by("dq", "nmv").agg(pl.len()).sort("dq")
    assert by_group.height >= 3
    assert by_group["nmv"].is_sorted()
    assert by_group["len"].min() >= 100


def test_groups_that_break_the_order_are_pooled() -> None:
    """Kills groups of noise: ten noisy groups never rise in order, pooled ones must (binary quality)."""
    pooled = 0
    for seed in range(4):
        frame = router_world(seed, n=2400, slope=0.5, spread=0.2).frame
        (problem,) = problems(frame, PRICED)
        value = Valuation(task_value=np.full(2400, np.nan), latency_price=0.0, risk_price=0.0)
        contrast = pair(score(problem, seed=0), LARGE, SMALL, value)
        result = estimate_segment(contrast, "all", np.ones(2400, dtype=bool))
        groups = calibrated_groups(contrast, result, seed=0)
        assert (np.diff(groups.theta[:, 0]) > 0).all()
        assert np.unique(groups.code).tolist() == list(range(groups.df.size))
        pooled += 1 < groups.df.size < 10
    assert pooled >= 2


def test_a_term_that_is_only_bounded_has_no_number_in_the_ledger() -> None:
    """Kills a mean of three events in the ledger where the estimate refuses one."""
    frame = router_world(n=600).frame
    took = (frame["action"] == LARGE).to_numpy()
    incident = np.zeros(600, dtype=bool)
    incident[np.flatnonzero(took)[[5, 50, 150]]] = True
    rows = estimated(frame.with_columns(incident=pl.Series(incident)), PRICED).ledger
    assert rows["dr"].null_count() == rows["nmv"].null_count() == 600
    assert rows["dq"].null_count() == 0
    assert rows["reason"].str.contains("risk is not identified").all()


def test_the_groups_add_up_to_the_estimate_of_the_whole() -> None:
    """Kills groups whose weighted mean is not the overlap-weighted effect."""
    world = router_world(1, n=2000, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    est = estimated(world.frame, PRICED)
    weight = world.e * (1 - world.e)
    rows = est.ledger.sort("decision_id")
    for column, quantity in (("dq", "quality"), ("dc", "cost"), ("dl", "latency"), ("dr", "risk")):
        mean = float(np.average(rows[column].to_numpy(), weights=weight))
        assert mean == pytest.approx(one(est, quantity).value, abs=1e-9)


def test_without_heterogeneity_every_decision_gets_the_same_effect() -> None:
    """Kills noise sold as insight: a constant gain has one group in at least 18 of 20 worlds (the test of
    order has level 5 %, so that three or more false splits have probability 8 %)."""
    split = 0
    for seed in range(20):
        rows = estimated(router_world(seed, n=900, smooth=True, gain=0.1).frame).ledger
        split += rows["dq"].n_unique() > 1
    assert split <= 2


def test_group_intervals_hold_all_groups_at_once() -> None:
    """Kills intervals that forget how many groups are looked at, or a covariance: without clusters in common
    groups are nearly independent, and the critical value is Sidak's at the fewest degrees of freedom."""
    world = router_world(1, n=2000, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    (problem,) = problems(world.frame, PRICED)
    value = Valuation(task_value=np.full(2000, 2.0), latency_price=0.01, risk_price=0.5)
    contrast = pair(score(problem, seed=0), LARGE, SMALL, value)
    result = estimate_segment(contrast, "all", np.ones(2000, dtype=bool))
    groups = calibrated_groups(contrast, result, seed=0)
    rows = ledger_rows(contrast, result, groups, pl.Series("segment", ["all"] * 2000))
    number = groups.df.size
    assert number >= 3
    critical = critical_t(groups.df.min(), level=0.95 ** (1 / number))
    weights = np.array([2.0, -1.0, -0.01, -0.5])
    sd = np.array([[cov[0, 0], weights @ cov @ weights] for cov in groups.cov]) ** 0.5
    for j, name in enumerate(("dq", "nmv")):
        half = (rows[f"{name}_upper"] - rows[name]).to_numpy()
        assert half == pytest.approx((critical * sd[:, j])[groups.code], rel=0.01)


def test_a_refused_contrast_has_no_numbers_and_a_reason_on_every_row() -> None:
    """Kills zeros, or a silent gap, where nothing is identified."""
    world = router_world(n=300)
    rows = estimated(world.frame.with_columns(session_id=pl.lit("s")), PRICED).ledger
    assert rows.height == 300
    assert set(rows["grade"]) == {"N"}
    assert rows.select(pl.col(NUMBERS).null_count()).sum_horizontal().item() == 300 * len(NUMBERS)
    assert rows["reason"].str.contains("effective clusters").all()


def test_a_decision_that_a_rule_fixed_has_no_numbers_beside_decisions_that_have() -> None:
    """Kills spreading an estimate over decisions that could not have gone otherwise."""
    world = router_world(2, n=1000, smooth=True)
    fixed = pl.int_range(1000) < 200
    source = pl.when(fixed).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
    rows = estimated(world.frame.with_columns(propensity_source=source), PRICED).ledger.sort("decision_id")
    assert rows["grade"].to_list() == ["N"] * 200 + ["A"] * 800
    assert rows["nmv"].is_null().to_list() == [True] * 200 + [False] * 800
    assert rows["reason"].is_not_null().to_list() == [True] * 200 + [False] * 800
    assert "no overlap" in rows["reason"][0]


def test_without_a_task_value_effects_stand_and_the_net_value_says_what_is_missing() -> None:
    """Kills dropping known effects, or a net value at V = 0."""
    rows = estimated(router_world(n=300).frame, priced(task_value=None)).ledger
    assert rows["dq"].null_count() == 0
    assert rows["nmv"].null_count() == 300
    assert rows["reason"].str.contains("no task value V is set").all()


def test_an_unpriced_unknown_does_not_take_the_net_value_away() -> None:
    """Kills a NaN of an unpriced term that spreads into dollars."""
    frame = router_world(n=300).frame.drop("latency_s")
    rows = estimated(frame, priced(latency=None)).ledger
    assert rows["dl"].null_count() == 300
    assert rows["nmv"].null_count() == 0


def test_a_deterministic_router_has_no_ledger_and_all_its_decisions_are_counted() -> None:
    """Kills decisions that disappear from the coverage because they are in no contrast."""
    band = pl.when(pl.col("x_score") > 0.3).then(pl.lit("high")).otherwise(pl.lit("low"))
    est = estimated(threshold_world(n=400).with_columns(x_score=band), PRICED)
    assert est.ledger.is_empty()
    assert est.coverage.select("grade", "decisions").rows() == [("N", 400)]


def test_the_ledger_has_the_columns_of_the_shared_schema_and_a_row_per_decision() -> None:
    """Kills a column that drifts from schemas, or a decision listed twice."""
    est = estimated(router_world(n=300).frame)
    assert est.ledger.columns == [c.name for c in LEDGER]
    assert est.ledger["decision_id"].n_unique() == est.ledger.height == 300
    assert set(est.ledger["action"]) == {LARGE}
    assert set(est.ledger["baseline"]) == {SMALL}
    assert covers(one(est, "cost"), 0.02)


def grouped(world: World, members: np.ndarray | None = None) -> tuple[Pair, Groups]:
    """The priced contrast of a world and its groups."""
    n = world.frame.height
    (problem,) = problems(world.frame, PRICED)
    value = Valuation(task_value=np.full(n, 2.0), latency_price=0.01, risk_price=0.5)
    contrast = pair(score(problem, seed=0), LARGE, SMALL, value)
    result = estimate_segment(contrast, "all", np.ones(n, dtype=bool) if members is None else members)
    return contrast, calibrated_groups(contrast, result, seed=0)


def test_the_calibration_of_a_contrast_is_tested_on_the_effects_behind_its_groups() -> None:
    """Kills a test of in-sample steps, whose slope is 1 by construction, or of the wrong quantity: the net
    value is predicted where it is known, and its slope is near 1 with an interval around it."""
    world = router_world(1, n=2000, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    rows = calibration_rows(*grouped(world), seed=0)
    assert dict(rows.schema) == CALIBRATION
    row = rows.row(0, named=True)
    assert row["quantity"] == "net"
    assert row["slope"] == pytest.approx(1, abs=0.25)
    assert row["slope_lower"] < row["slope"] < row["slope_upper"]
    assert row["slope"] != pytest.approx(1, abs=1e-9)
    assert row["p_slope_0"] < 0.01
    assert row["reason"] is None


def test_where_every_decision_gets_the_mean_the_calibration_says_why() -> None:
    """Kills a slope without the news that it is not used, and an error where a contrast is refused."""
    flat = router_world(3, n=900, smooth=True, gain=0.1)
    contrast, groups = grouped(flat)
    assert groups.df.size == 1
    assert "every decision gets the mean" in calibration_rows(contrast, groups, seed=0)["reason"].item()
    refused, none = grouped(flat, np.zeros(900, dtype=bool))
    row = calibration_rows(refused, none, seed=0).row(0, named=True)
    assert (row["slope"], row["n"]) == (None, 0)
    assert "refused" in row["reason"]
