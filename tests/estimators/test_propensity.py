"""Logged propensities are tested before they are used; where they fail, the reason is on record."""

from __future__ import annotations

import cutoffs
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shadowprice.estimators.confidence import interval
from shadowprice.estimators.contrasts import floored_mean
from shadowprice.estimators.design import make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.pairs import Valuation, pair
from shadowprice.estimators.problem import Problem, problems
from shadowprice.estimators.propensity import (
    Propensities,
    deterministic_rows,
    find_propensities,
    logged_choice,
    logged_fault,
)
from shadowprice.estimators.scores import score
from shadowprice.ingest.simulator.regime import Regime, draw, truth
from shadowprice.schemas.config import Config
from worlds import LARGE, SMALL, decisions, router_world, threshold_world

SEEDS = 100


def problem_of(frame: pl.DataFrame) -> Problem:
    """The single decision point of `frame`."""
    (problem,) = problems(frame, Config())
    return problem


def found(frame: pl.DataFrame) -> tuple[Problem, Propensities]:
    """The propensities that an estimate of `frame` would use."""
    problem = problem_of(frame)
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    return problem, find_propensities(problem, design, folds)


def three_arms(seed: int = 0, n: int = 900) -> pl.DataFrame:
    """A softmax over three models with its probability lists, in another order than the arms' names."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    score = np.exp(np.column_stack([0.8 * x, 0.3 * x, -0.5 * x]))
    p = score / score.sum(axis=1, keepdims=True)
    names = ["medium", "large", "small"]
    taken = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "action": [names[k] for k in taken],
            "candidates": [names] * n,
            "propensities": p.tolist(),
            "propensity": p[np.arange(n), taken],
            "x_a": x,
        }
    )


def test_a_valid_log_is_used_as_it_is() -> None:
    """Kills estimating over good logs, or swapping the probabilities of the two arms."""
    world = router_world(n=800)
    problem, got = found(world.frame)
    assert (got.source, got.grade, got.notes) == ("logged", "A", ())
    assert got.matrix[:, problem.arm_index(LARGE)] == pytest.approx(world.e)
    assert got.matrix.sum(axis=1) == pytest.approx(np.ones(800))
    assert np.array_equal(got.chosen, problem.frame["propensity"].to_numpy())


def test_rounding_in_the_last_bit_does_not_sort_rows_by_arm() -> None:
    """Kills binning by the raw float: 1 - (1 - e) differs from e in the last bit, for one arm only, so
    that bins of tied propensities hold one arm and the test doubts a perfect log."""
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.7):
        took = rng.random(2000) < share
        frame = pl.DataFrame(
            {
                "decision_id": [f"d{i:05d}" for i in range(2000)],
                "layer": "router",
                "decision_point": "model",
                "action": np.where(took, LARGE, SMALL),
                "propensity": np.where(took, share, 1.0 - share),
            }
        )
        assert logged_fault(problem_of(frame)) is None


@pytest.mark.parametrize("logged_lists", [True, False])
def test_confidences_logged_as_propensities_are_refused_and_the_reason_says_so(logged_lists: bool) -> None:
    """Kills trusting any number between 0 and 1: here the router logs how sure the model was."""
    frame = router_world(n=1500).frame
    confidence = np.random.default_rng(1).uniform(0.6, 0.99, size=1500)
    frame = frame.with_columns(propensity=pl.Series(confidence))
    if logged_lists:
        frame = frame.with_columns(
            candidates=pl.Series([[a, SMALL if a == LARGE else LARGE] for a in frame["action"]]),
            propensities=pl.Series([[c, 1 - c] for c in confidence]),
        )
    _, got = found(frame)
    assert (got.source, got.grade) == ("estimated", "C")
    assert "do not fit the logged choices" in got.notes[0]
    assert "so they are not used" in got.notes[0]


def test_propensities_of_the_other_arm_are_refused() -> None:
    """Kills accepting e where 1 - e was meant, the commonest slip of a logger."""
    frame = router_world(n=1500).frame.with_columns(propensity=1 - pl.col("propensity"))
    assert "do not fit" in str(logged_fault(problem_of(frame)))


def test_errors_of_two_policy_versions_do_not_cancel() -> None:
    """Kills pooling versions: both log 0.5, one took `large` in 35 % of cases, the other in 65 %."""
    rng = np.random.default_rng(0)
    old = np.arange(2000) < 1000
    took = rng.random(2000) < np.where(old, 0.35, 0.65)
    pooled = pl.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(2000)],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(took, LARGE, SMALL),
            "propensity": 0.5,
        }
    )
    assert logged_fault(problem_of(pooled)) is None
    versions = pooled.with_columns(policy_version=pl.Series(np.where(old, "v1", "v2")))
    assert "do not fit" in str(logged_fault(problem_of(versions)))


def test_probability_lists_are_matched_to_arms_by_name() -> None:
    """Kills reading the list in the order of the arms instead of the candidates."""
    frame = three_arms()
    problem, got = found(frame)
    assert problem.arms == ("large", "medium", "small")
    lists = np.array(problem.frame["propensities"].to_list())
    assert got.matrix == pytest.approx(lists[:, [1, 0, 2]])
    assert got.grade == "A"


def test_lists_that_disagree_with_the_chosen_probability_are_not_used_and_it_is_said() -> None:
    """Kills trusting a list in another order than its candidates."""
    frame = three_arms().with_columns(pl.col("propensities").list.reverse())
    problem, got = found(frame)
    assert np.array_equal(got.chosen, problem.frame["propensity"].to_numpy())
    assert "lists of probabilities" in got.notes[0]


def test_partly_missing_propensities_are_estimated_for_all_and_counted() -> None:
    """Kills mixing logged and estimated probabilities in silence."""
    frame = router_world(n=600).frame.with_columns(
        propensity=pl.when(pl.int_range(pl.len()) >= 25).then("propensity")
    )
    _, got = found(frame)
    assert got.source == "estimated"
    assert got.notes[0] == "25 of 600 rows lack a logged propensity, so it is estimated for all"


@pytest.mark.parametrize("source", ["estimated", "unknown"])
def test_propensities_of_unknown_making_are_not_taken_for_logged(source: str) -> None:
    """Kills grade A for numbers that somebody else had estimated."""
    _, got = found(router_world(n=600).frame.with_columns(propensity_source=pl.lit(source)))
    assert (got.source, got.grade) == ("estimated", "C")


def test_reconstructed_propensities_reach_grade_b() -> None:
    """Kills calling a replayed rule a randomised log."""
    _, got = found(router_world(n=600).frame.with_columns(propensity_source=pl.lit("reconstructed")))
    assert (got.source, got.grade) == ("reconstructed", "B")


def test_with_three_arms_the_chosen_probability_alone_weighs_but_the_rest_is_estimated() -> None:
    """Kills inventing the other probabilities, or throwing the logged one away."""
    frame = three_arms().drop("candidates", "propensities")
    problem, got = found(frame)
    assert np.array_equal(got.chosen, problem.frame["propensity"].to_numpy())
    assert got.source == "logged"
    assert "only the chosen action's probability is used" in got.notes[0]
    truth = np.array(three_arms()["propensities"].to_list())[:, [1, 0, 2]]
    assert np.abs(got.matrix - truth).mean() < 0.05


def test_the_logged_probability_of_the_taken_action_is_read_untested_or_its_absence_named() -> None:
    """Kills a probability for rows without one, or a refusal where the other actions are unknown."""
    frame = three_arms().drop("candidates", "propensities")
    assert np.array_equal(logged_choice(problem_of(frame)), frame["propensity"].to_numpy())
    assert logged_choice(problem_of(frame.drop("propensity"))) == "no propensity is logged"
    partly = frame.with_columns(propensity=pl.when(pl.int_range(900) >= 10).then("propensity"))
    assert "10 of 900 rows lack" in str(logged_choice(problem_of(partly)))


def test_weights_of_chosen_propensities_must_add_up() -> None:
    """Kills skipping the test when only the chosen action's probability is logged."""
    frame = three_arms(n=1500).drop("candidates", "propensities")
    assert logged_fault(problem_of(frame)) is None
    halved = frame.with_columns(pl.col("propensity") / 2)
    assert "weights add up to" in str(logged_fault(problem_of(halved)))


@pytest.mark.parametrize("flag", ["source", "one"])
def test_rows_that_a_rule_fixed_are_not_usable(flag: str) -> None:
    """Kills weighting a choice that could not have gone otherwise."""
    world = router_world(n=800)
    fixed = pl.int_range(pl.len()) < 200
    if flag == "source":
        source = pl.when(fixed).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
        frame = world.frame.with_columns(propensity_source=source)
    else:
        frame = world.frame.with_columns(propensity=pl.when(fixed).then(1.0).otherwise("propensity"))
    problem, got = found(frame)
    assert np.array_equal(got.usable, np.arange(800) >= 200)
    assert np.array_equal(deterministic_rows(problem.frame), ~got.usable)
    assert got.grade == "A"


def test_a_log_without_any_choice_has_nothing_to_weigh() -> None:
    """Kills estimating propensities of a rule."""
    frame = router_world(n=100).frame.with_columns(propensity=pl.lit(1.0))
    _, got = found(frame)
    assert (got.source, got.grade) == ("deterministic", "N")
    assert not got.usable.any()


def test_estimated_propensities_are_close_to_the_true_ones() -> None:
    """Kills calibration or clipping that bends the probabilities (mean error 1 to 3 points at n = 2000)."""
    world = router_world(n=2000, logged=False)
    problem, got = found(world.frame)
    large = got.matrix[:, problem.arm_index(LARGE)]
    assert np.abs(large - world.e).mean() < 0.05
    assert large.mean() == pytest.approx((problem.frame["action"] == LARGE).mean(), abs=0.01)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 1000))
def test_estimated_propensities_are_a_distribution_above_the_floor(seed: int) -> None:
    """Kills a floor that breaks the sum, or a probability of 0 under a weight."""
    _, got = found(router_world(seed, n=400, slope=6.0, clip=0.0, logged=False).frame)
    assert got.matrix.sum(axis=1) == pytest.approx(np.ones(400))
    assert got.matrix.min() > 0.4 / np.sqrt(400)


def test_rows_at_the_floor_are_counted_in_a_note() -> None:
    """Kills clipping in silence."""
    _, got = found(router_world(n=400, slope=6.0, clip=0.0, logged=False).frame)
    assert any("at the floor 0.025" in note for note in got.notes)


def test_a_valid_log_is_doubted_in_few_of_a_hundred_seeds() -> None:
    """Kills a test that cries wolf: at a false-discovery rate of 1 % (discrete counts, so conservative or
    a little above) five or more alarms in 100 have probability below 0.4 %."""
    frames = (router_world(s, n=500).frame for s in range(SEEDS))
    assert sum(logged_fault(problem_of(f)) is not None for f in frames) < 5


def test_a_valid_log_of_chosen_propensities_is_doubted_in_few_of_a_hundred_seeds() -> None:
    """Kills a mean-weight test that takes the skewness of weights for a fault."""
    frames = (three_arms(s, n=500).drop("candidates", "propensities") for s in range(SEEDS))
    assert sum(logged_fault(problem_of(f)) is not None for f in frames) < 5


def test_a_rule_gets_approximate_propensities_near_its_cut_off() -> None:
    """Kills: extrapolated estimates for a rule, or rows that the rule alone decided."""
    problem, got = found(threshold_world(n=2000))
    assert (got.source, got.grade) == ("deterministic", "B")
    score = problem.frame["x_score"].to_numpy()
    reach = np.abs(score[got.usable] - 0.3).max()
    assert got.usable.sum() == (np.abs(score - 0.3) <= reach).sum()
    large = got.matrix[:, problem.arm_index(LARGE)]
    assert large[got.usable] == pytest.approx(0.5 + (score[got.usable] - 0.3) / (2 * reach), abs=0.02)
    assert got.matrix.sum(axis=1) == pytest.approx(np.ones(2000))
    assert (got.chosen[got.usable] >= 0.49).all()
    assert "sd of its border" in got.notes[0]


def test_a_rule_on_categories_has_nothing_to_weigh() -> None:
    """Kills: estimating propensities of 0 and 1."""
    kinds = ["chat", "code"] * 200
    frame = decisions(400, x_kind=kinds).with_columns(
        action=pl.when(pl.Series(kinds) == "code").then(pl.lit(LARGE)).otherwise(pl.lit(SMALL))
    )
    assert found(frame)[1].grade == "N"


def test_declared_functions_of_logged_features_are_grade_b() -> None:
    """Kills: a declaration that changes the words and not the grade."""
    frame = router_world(n=1500, logged=False).frame
    problem = cutoffs.problem_of(frame, model="U")
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    got = find_propensities(problem, design, folds)
    assert (got.source, got.grade) == ("estimated", "B")


@pytest.mark.slow
def test_scores_hold_with_a_wrong_outcome_model_or_poor_propensities() -> None:
    """Kills: calibration that costs double robustness. Quality depends on a product of features that a
    spline ridge cannot fit, and the choice has to be estimated. 24 draws: mean error within 3.3 standard
    errors, and at least 20 intervals that hold the truth (fewer have probability 0.6 % at 95 %)."""
    regime = Regime(n=1000, identification="O", shape="interaction")
    goal = truth(regime).ato
    got = []
    for seed in range(24):
        problem = problem_of(draw(regime, seed=seed).frame)
        value = Valuation(task_value=np.full(problem.n, np.nan), latency_price=0.0, risk_price=0.0)
        contrast = pair(score(problem, seed=0), "a1", "a0", value)
        mean = floored_mean(contrast, contrast.feasible, contrast.h)
        lower, upper = interval(float(mean.theta[0]), float(np.sqrt(mean.cov[0, 0])), mean.df)
        got.append((mean.theta[0], lower <= goal <= upper))
    values = np.array([v for v, _ in got])
    assert abs(values.mean() - goal) < 3.3 * values.std() / np.sqrt(24) + 0.002
    assert sum(inside for _, inside in got) >= 20


def test_a_log_that_keeps_failures_more_often_still_fits_its_propensities() -> None:
    """Kills: a test of logged propensities on rows that outcome-dependent sampling has tilted (unweighted,
    a quarter of such logs are doubted; at a level of 1 % at most 3 of 20 are, with probability .999)."""
    from shadowprice.ingest.simulator.regime import Regime, draw

    doubted = 0
    for seed in range(20):
        frame = draw(Regime(n=1500, keep_share=0.2, overlap=2.0, effect=1.0), seed=seed).frame
        (problem,) = problems(frame, Config())
        doubted += logged_fault(problem) is not None
    assert doubted <= 3
