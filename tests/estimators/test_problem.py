"""A frame becomes arrays, or one clear error: what is refused, what is counted, what is clustered."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.errors import SchemaError
from shadowprice.estimators.problem import Problem, check_frame, problems
from shadowprice.schemas.config import Config, parse_config
from worlds import LARGE, decisions, router_world

QUALITY, COST, LATENCY, RISK = range(4)


def only(frame: pl.DataFrame, config: Config | None = None) -> Problem:
    """The single decision point of `frame`."""
    (problem,) = problems(frame, config or Config())
    return problem


def test_an_unknown_column_is_refused_with_the_nearest_known_one() -> None:
    """Kills ignoring a mistyped column."""
    with pytest.raises(SchemaError, match=r"unknown column 'qualty'.*Did you mean 'quality'\?"):
        sp.estimate(decisions(4, qualty=[1.0] * 4))


def test_an_unknown_column_like_nothing_known_is_pointed_to_the_context_prefix() -> None:
    """Kills a 'did you mean' without a candidate."""
    with pytest.raises(SchemaError, match="Name context features x_"):
        check_frame(decisions(4, zzzzz=[1.0] * 4))


@pytest.mark.parametrize("name", ["decision_id", "layer", "decision_point", "action"])
def test_a_required_column_that_is_missing_or_null_is_named(name: str) -> None:
    """Kills a KeyError from deep inside for an incomplete frame."""
    frame = decisions(4)
    with pytest.raises(SchemaError, match=f"column '{name}' is missing"):
        check_frame(frame.drop(name))
    with pytest.raises(SchemaError, match=rf"decisions\.{name}: null values"):
        check_frame(frame.with_columns(pl.lit(None, dtype=pl.String).alias(name)))


impossible_probability = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf]),
    st.floats(max_value=0.0, allow_nan=False),
    st.floats(min_value=1.0, exclude_min=True, allow_nan=False),
)


@given(value=impossible_probability, row=st.integers(0, 3))
@pytest.mark.parametrize("name", ["propensity", "keep_prob"])
def test_a_probability_that_no_choice_can_have_is_one_error_with_its_row(
    name: str, value: float, row: int
) -> None:
    """Kills a range check that lets NaN, infinity, 0 or 1.1 through, or names the wrong row."""
    values = [0.5] * 4
    values[row] = value
    with pytest.raises(SchemaError, match=rf"decisions row {row}: {name} is .*\(0, 1\]"):
        check_frame(decisions(4, **{name: values}))


@given(value=st.floats(min_value=0.0, max_value=1.0, exclude_min=True))
def test_every_probability_in_range_and_null_is_accepted(value: float) -> None:
    """Kills a range check that is too narrow, or one that refuses null."""
    check_frame(decisions(2, propensity=[value, None], keep_prob=[None, value]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", 1.01),
        ("quality", math.nan),
        ("cost_usd", -0.01),
        ("cost_usd", math.inf),
        ("latency_s", -1.0),
        ("loss_usd", math.nan),
    ],
)
def test_an_outcome_outside_its_unit_is_refused(name: str, value: float) -> None:
    """Kills estimating from a quality of 101 %, a negative cost or a NaN."""
    with pytest.raises(SchemaError, match=f"decisions row 1: {name} is"):
        check_frame(decisions(3, **{name: [0.5, value, None]}))


def test_an_outcome_of_another_type_is_one_clear_error() -> None:
    """Kills a polars traceback for text in a column of numbers."""
    with pytest.raises(SchemaError, match="quality"):
        check_frame(decisions(2, quality=["good", "bad"]))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_context_feature_is_one_clear_error(value: float) -> None:
    """Kills a linear algebra error for an infinity in x_*."""
    with pytest.raises(SchemaError, match="decisions row 1: x_length is"):
        check_frame(decisions(2, x_length=[1.0, value]))


@pytest.mark.parametrize(
    "lists",
    [
        [[0.5, 0.5], [0.5]],
        [[0.5, 0.5], [0.5, math.nan]],
        [[0.5, 0.5], [-0.1, 1.1]],
        [[0.5, 0.5], [0.5, None]],
        [[0.5, 0.5], [0.8, 0.8]],
        [[0.5, 0.5], [0.1, 0.1]],
    ],
)
def test_a_list_of_probabilities_that_is_no_distribution_is_one_clear_error(lists: list[list[float]]) -> None:
    """Kills lists of other length than the candidates, NaN, negative, or another sum than 1."""
    frame = decisions(2, candidates=[["small", "large"]] * 2, propensities=lists)
    with pytest.raises(SchemaError, match="decisions row 1: propensities"):
        check_frame(frame)


def test_a_decision_id_that_appears_twice_is_one_clear_error() -> None:
    """Kills counting a decision twice when a log was read twice."""
    with pytest.raises(SchemaError, match="decision_id 'd000000' appears 2 times"):
        check_frame(pl.concat([decisions(3), decisions(1)]))


@pytest.mark.parametrize(
    ("tenants", "columns", "expected"),
    [
        (30, ("session_id", "request_id"), "tenant_id"),
        (29, ("session_id", "request_id"), "session_id"),
        (29, ("request_id",), "request_id"),
        (29, (), "decision_id"),
    ],
)
def test_the_default_cluster_is_the_coarsest_that_is_not_too_coarse(
    tenants: int, columns: tuple[str, ...], expected: str
) -> None:
    """Kills another order of keys, or another number of tenants."""
    ids = {name: [f"{name}{i // 2}" for i in range(90)] for name in columns}
    frame = decisions(90, tenant_id=[f"t{i % tenants}" for i in range(90)], **ids)
    problem = only(frame)
    assert problem.cluster_key == expected
    assert len(problem.cluster_ids) == frame[expected].n_unique()


def test_the_cluster_of_the_config_wins() -> None:
    """Kills ignoring `cluster` in the config."""
    frame = decisions(8, session_id=["s"] * 8, request_id=[f"r{i}" for i in range(8)])
    assert only(frame, parse_config({"cluster": "request_id"})).cluster_key == "request_id"


def test_rows_without_a_cluster_id_are_clusters_of_their_own() -> None:
    """Kills one giant cluster of all rows whose id is null."""
    problem = only(decisions(4, session_id=["s", "s", None, None]))
    assert len(problem.cluster_ids) == 3


def agent_frame() -> pl.DataFrame:
    """Two requests: r1 verifies twice and acts, r2 skips; router rows carry the cost of model calls."""
    return pl.DataFrame(
        {
            "decision_id": ["a1", "a2", "a3", "b1", "y2", "z1"],
            "layer": ["agent", "agent", "agent", "agent", "router", "router"],
            "decision_point": ["verify", "verify", "act", "verify", "model", "model"],
            "request_id": ["r1", "r1", "r1", "r2", "r2", "r1"],
            "step": [1, 2, 3, 1, 0, 0],
            "action": ["verify", "verify", "act", "skip", "large", "large"],
            "cost_usd": [0.1, 0.2, 0.4, None, 0.8, 1.6],
            "latency_s": [1.0, 2.0, 4.0, None, 8.0, 16.0],
        }
    )


def test_an_optional_point_counts_once_per_request_by_its_first_taken_step() -> None:
    """Kills counting a request that verified twice as two decisions, or keeping its last step."""
    (verify,) = (p for p in problems(agent_frame(), Config()) if p.decision_point == "verify")
    assert verify.frame["decision_id"].to_list() == ["a1", "b1"]


def test_a_skip_row_without_a_step_yields_to_a_taken_step_of_the_same_request() -> None:
    """Kills a request that skipped first and verified later being counted as skipped."""
    frame = agent_frame().with_columns(
        action=pl.when(pl.col("decision_id") == "a1").then(pl.lit("skip")).otherwise("action"),
        step=pl.when(pl.col("decision_id") == "a1").then(None).otherwise("step"),
    )
    (verify,) = (p for p in problems(frame, Config()) if p.decision_point == "verify")
    assert verify.frame["decision_id"].to_list() == ["a2", "b1"]


def test_agent_rows_carry_cost_and_latency_of_their_whole_request() -> None:
    """Kills charging a step with its own cost only: a saved retry would then be free."""
    (verify,) = (p for p in problems(agent_frame(), Config()) if p.decision_point == "verify")
    assert verify.outcomes[:, COST] == pytest.approx([0.1 + 0.2 + 0.4 + 1.6, 0.8])
    assert verify.outcomes[:, LATENCY] == pytest.approx([1 + 2 + 4 + 16, 8])


def test_a_request_with_an_unpriced_part_has_no_cost() -> None:
    """Kills summing what is known and calling it the cost."""
    frame = agent_frame().with_columns(cost_source=pl.Series(["priced", "unpriced", *["priced"] * 4]))
    (verify,) = (p for p in problems(frame, Config()) if p.decision_point == "verify")
    assert np.isnan(verify.outcomes[0, COST])
    assert verify.outcomes[1, COST] == pytest.approx(0.8)


def test_router_rows_keep_their_own_cost() -> None:
    """Kills charging a router choice with the rest of its request."""
    (model,) = (p for p in problems(agent_frame(), Config()) if p.decision_point == "model")
    assert model.outcomes[:, COST] == pytest.approx([0.8, 1.6])


def test_a_request_of_skipped_steps_alone_has_an_unknown_cost() -> None:
    """Kills charging nothing to a request whose model calls were not logged."""
    frame = (
        agent_frame().filter(pl.col("decision_id") != "y2").with_columns(pl.col("cost_usd").fill_null(0.0))
    )
    (verify,) = (p for p in problems(frame, Config()) if p.decision_point == "verify")
    assert np.isnan(verify.outcomes[1, COST])


def test_a_quality_of_zero_or_one_is_an_event_and_a_score_is_not() -> None:
    """Kills counting events in a graded score, or an interval around a rate without a count."""
    assert only(decisions(3, quality=[0.0, 1.0, None])).events == (True, False, False, True)
    assert only(decisions(3, quality=[0.0, 0.5, 1.0])).events == (False, False, False, True)


@pytest.mark.parametrize(("price", "expected"), [("50 USD/event", 1.0), ("1 USD/USD", 7.5), (None, 1.0)])
def test_risk_is_counted_in_the_unit_of_its_price(price: str | None, expected: float) -> None:
    """Kills multiplying a price per event with a loss in dollars."""
    config = parse_config({"prices": {"risk": price}} if price else {})
    frame = decisions(2, incident=[True, False], loss_usd=[7.5, 0.0])
    assert only(frame, config).outcomes[:, RISK] == pytest.approx([expected, 0.0])


def test_an_outcome_that_was_not_observed_stays_unknown() -> None:
    """Kills filling a missing label with 0."""
    problem = only(decisions(2, quality=[None, 1.0]))
    assert np.isnan(problem.outcomes[0, QUALITY])
    assert np.isnan(problem.outcomes[:, COST]).all()


def test_arrays_follow_the_decision_id_whatever_the_row_order() -> None:
    """Kills arms, outcomes and clusters sorted differently from the frame."""
    frame = router_world(n=60).frame
    straight, turned = only(frame), only(frame.reverse())
    for name in ("arm", "outcomes", "cluster", "weight"):
        assert np.array_equal(getattr(straight, name), getattr(turned, name))
    assert straight.arm_index(LARGE) == 0
    assert (straight.frame["action"] == LARGE).to_numpy().tolist() == (straight.arm == 0).tolist()


def test_the_weight_of_a_row_is_one_over_its_keep_probability() -> None:
    """Kills dropping log sampling, or reading null as anything but 1."""
    assert only(decisions(2, keep_prob=[0.25, None])).weight == pytest.approx([4.0, 1.0])


def test_features_are_context_columns_that_vary_and_the_tenant_unless_it_is_the_cluster() -> None:
    """Kills the repeated-context id or a constant as a feature, and a tenant lost as context."""
    frame = decisions(
        4, x_b=[1, 2, 1, 2], x_same=[1] * 4, x_context_id=["c", "d"] * 2, tenant_id=["t", "u"] * 2
    )
    assert only(frame).features == ("tenant_id", "x_b")
    assert only(frame, parse_config({"cluster": "tenant_id"})).features == ("x_b",)


def test_fixed_columns_known_before_the_action_are_context_at_their_point_only() -> None:
    """Kills learning a cache decision without its similarity, or a router from a cache column."""
    columns = {"cache_similarity": [0.1, 0.9, 0.2, 0.8]}
    serving = decisions(4, **columns).with_columns(layer=pl.lit("serving"), decision_point=pl.lit("reuse"))
    assert only(serving).features == ("cache_similarity",)
    assert only(decisions(4, **columns)).features == ()


def test_a_feature_that_comes_with_an_action_is_not_context() -> None:
    """Kills learning the choice from a column that only one action fills in, such as a tool's name."""
    frame = decisions(80, x_a=np.arange(80.0), x_tool=["grep", None, "cat", None] * 20)
    assert only(frame).features == ("x_a",)
