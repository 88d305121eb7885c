"""What can be learned before anything is estimated: grades, rules found, and what to log next."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from cutoffs import problem_of
from shadowprice.estimators.cutoff_rule import find_rule
from shadowprice.estimators.exploration import exploration_advice
from shadowprice.estimators.identification import Identification, identify, no_contrast
from shadowprice.ingest.simulator.regime import Regime, draw
from shadowprice.schemas.config import parse_config
from worlds import LARGE, SMALL, decisions, repeated_contexts_world, router_world, threshold_world


def judged(frame: pl.DataFrame, declared: str | None = None) -> Identification:
    """The identification of the single decision point of `frame`, its class declared if given."""
    points = [{"name": "model", "identification": declared}] if declared else []
    (only,) = identify(frame, parse_config({"points": points}))
    return only


def test_logged_propensities_that_pass_reach_grade_a() -> None:
    """Kills a grade A that needs more, or advice where nothing is missing."""
    got = judged(router_world(n=600).frame)
    assert (got.grade, got.advice) == ("A", "")
    assert "pass their test" in got.reason
    assert (got.decisions, got.actions) == (600, (LARGE, SMALL))


def test_reconstructed_propensities_reach_grade_b() -> None:
    """Kills calling a replayed policy a logged draw."""
    frame = router_world(n=600).frame.with_columns(propensity_source=pl.lit("reconstructed"))
    assert judged(frame).grade == "B"


def test_context_alone_reaches_grade_c_and_the_advice_says_how_to_reach_a() -> None:
    """Kills grade A or B without propensities."""
    got = judged(router_world(n=600, logged=False).frame)
    assert got.grade == "C"
    assert "hidden causes cannot be excluded" in got.reason
    assert "reach grade A" in got.advice


def test_propensities_that_fail_their_test_fall_to_grade_c_with_the_reason() -> None:
    """Kills grade A for a log of anything between 0 and 1."""
    frame = router_world(n=1500).frame.with_columns(propensity=1 - pl.col("propensity"))
    got = judged(frame)
    assert got.grade == "C"
    assert "do not fit the logged choices" in got.reason


def test_repeated_contexts_are_grade_c_by_comparison_within_them() -> None:
    """Kills treating trials of one task as unrelated decisions."""
    got = judged(repeated_contexts_world())
    assert got.grade == "C"
    assert "trials of the same situation are compared" in got.reason


@pytest.mark.parametrize("cutoff", [-0.4, 0.3])
def test_a_threshold_is_found_with_its_feature_and_cut_off(cutoff: float) -> None:
    """Kills a rule without its cut-off, or the wrong feature."""
    frame = threshold_world(cutoff=cutoff)
    rule = find_rule(problem_of(frame))
    assert rule is not None
    assert rule.features == ("x_score",)
    gap = frame.filter(pl.col("x_score") <= cutoff)["x_score"].max(), frame.filter(pl.col("x_score") > cutoff)
    assert gap[0] <= rule.cutoff <= gap[1]["x_score"].min()
    got = judged(frame)
    assert (got.identification, got.grade) == ("D", "B")
    assert f"a threshold on x_score near {cutoff:.1f}"[:-1] in got.reason
    assert "decisions near the cut-off are compared" in got.reason
    assert "Randomise 2%" in got.advice


def test_a_rule_on_two_features_names_both_and_claims_no_cut_off() -> None:
    """Kills printing the first split of a larger tree as 'the' threshold."""
    frame = threshold_world(n=1200)
    both = ((pl.col("x_score") > 0.0) & (pl.col("x_length") > 0.0)).alias("take")
    frame = frame.with_columns(action=pl.when(both).then(pl.lit(LARGE)).otherwise(pl.lit(SMALL)))
    rule = find_rule(problem_of(frame))
    assert rule is not None
    assert rule.features == ("x_length", "x_score")
    assert rule.cutoff is None


def test_a_rule_on_a_category_claims_no_cut_off() -> None:
    """Kills a threshold on a code that means nothing."""
    kinds = ["chat", "code"] * 200
    frame = decisions(400, x_kind=kinds).with_columns(
        action=pl.when(pl.Series(kinds) == "code").then(pl.lit(LARGE)).otherwise(pl.lit(SMALL))
    )
    rule = find_rule(problem_of(frame))
    assert rule is not None
    assert (rule.features, rule.cutoff) == (("x_kind",), None)


def test_a_rule_with_two_per_cent_of_exploration_is_no_rule() -> None:
    """Kills refusing a log that did randomise."""
    frame = threshold_world(n=1000)
    flip = np.random.default_rng(1).random(1000) < 0.02
    flipped = pl.when(pl.col("action") == LARGE).then(pl.lit(SMALL)).otherwise(pl.lit(LARGE))
    frame = frame.with_columns(action=pl.when(pl.Series(flip)).then(flipped).otherwise("action"))
    assert find_rule(problem_of(frame)) is None


def test_a_rare_action_at_random_is_no_rule() -> None:
    """Kills taking a constant guess for a rule: always guessing the commonest action is right in 99.7 %."""
    rng = np.random.default_rng(0)
    took = np.zeros(12_000, dtype=bool)
    took[rng.choice(12_000, size=36, replace=False)] = True
    frame = decisions(12_000, x_a=rng.normal(size=12_000)).with_columns(
        action=pl.Series(np.where(took, LARGE, SMALL))
    )
    assert find_rule(problem_of(frame)) is None
    assert judged(frame).grade == "C"


def test_a_logged_probability_between_0_and_1_proves_that_it_is_no_rule() -> None:
    """Kills finding a rule in a steep randomised policy."""
    assert find_rule(problem_of(threshold_world().with_columns(propensity=pl.lit(0.99)))) is None


def test_a_single_action_is_not_a_choice() -> None:
    """Kills a contrast with nothing."""
    got = judged(decisions(40).with_columns(action=pl.lit(LARGE)))
    assert got.grade == "N"
    assert got.reason == "only one action was taken (large)"
    assert got.advice == exploration_advice()
    assert got.identification is None


@pytest.mark.parametrize("point", ["act", "admit"])
def test_points_without_an_alternative_are_not_questions(point: str) -> None:
    """Kills advising to randomise tool calls."""
    got = judged(router_world(n=100).frame.with_columns(decision_point=pl.lit(point)))
    assert (got.grade, got.advice) == ("N", "")


def test_too_few_decisions_of_the_second_action_are_counted() -> None:
    """Kills the limit of 30, or counting the commonest action."""
    frame = decisions(100, x_a=np.random.default_rng(0).normal(size=100))
    few = frame.with_columns(
        action=pl.when(pl.int_range(100) < 29).then(pl.lit(LARGE)).otherwise(pl.lit(SMALL))
    )
    assert no_contrast(problem_of(few)) == "one action has 71 decisions, the next 29; 30 are needed"


CONFOUNDED = "a difference of means would be confounded"


def bare(n: int = 300) -> pl.DataFrame:
    """A log of choices and outcomes with no context at all."""
    return router_world(n=n, logged=False).frame.drop("x_hardness")


def test_no_context_and_no_propensities_is_refused_as_confounded() -> None:
    """Kills a difference of means dressed up as an estimate."""
    assert CONFOUNDED in judged(bare()).reason
    assert judged(bare()).grade == "N"


@pytest.mark.parametrize("source", ["estimated", "unknown"])
def test_propensities_that_nobody_logged_do_not_replace_context(source: str) -> None:
    """Kills a difference of means at grade C behind propensities that are not used anyway."""
    frame = bare().with_columns(propensity=pl.lit(0.5), propensity_source=pl.lit(source))
    assert CONFOUNDED in judged(frame).reason


def test_propensities_that_fail_their_test_do_not_replace_context() -> None:
    """Kills a difference of means at grade C after the logged propensities were thrown out."""
    world = router_world(n=1500)
    wrong = world.frame.drop("x_hardness").with_columns(propensity=1 - pl.col("propensity"))
    assert CONFOUNDED in judged(wrong).reason
    (quality,) = sp.estimate(wrong).where(quantity="quality", segment="all")
    assert quality.grade == "N"


def test_context_made_of_ids_is_no_context() -> None:
    """Kills a difference of means when every feature was left out as an id."""
    frame = bare().with_columns(x_prompt=pl.format("prompt {}", pl.int_range(pl.len())))
    assert CONFOUNDED in judged(frame).reason


def test_good_propensities_need_no_context() -> None:
    """Kills refusing a randomised log for want of features."""
    assert judged(router_world(n=600).frame.drop("x_hardness")).grade == "A"


def test_rows_that_a_rule_fixed_stay_n_beside_rows_that_were_drawn() -> None:
    """Kills a grade A that hides the part of the log that no one randomised."""
    world = router_world(n=600)
    source = pl.when(pl.int_range(600) < 250).then(pl.lit("deterministic")).otherwise(pl.lit("logged"))
    got = judged(world.frame.with_columns(propensity_source=source))
    assert got.grade == "A"
    assert "a rule fixed 250 of 600 choices, which stay N" in got.reason
    assert got.advice == exploration_advice()


def test_a_missing_outcome_is_what_to_log_next() -> None:
    """Kills advice to randomise where no outcome is linked."""
    assert "Link an outcome" in judged(router_world(n=600).frame.drop("quality")).advice


def test_the_advice_states_the_sample_size_of_its_own_formula() -> None:
    """Kills a number that does not follow from 2 %, 5 points, variance 1/4, 5 % two-sided, 80 % power."""
    needed = (1.96 + 0.84) ** 2 * 0.25 * (1 / 0.02 + 1 / 0.98) / 0.05**2
    assert f"about {math.floor(needed + 0.5):,} decisions" in exploration_advice()
    assert "Randomise 2% of these choices" in exploration_advice()
    assert "difference of 5 points" in exploration_advice()


def test_that_sample_size_has_the_power_that_it_promises() -> None:
    """Kills a formula without the small arm: 400 simulated tests, 80 % +- 6 points (three sd)."""
    n = int(float(exploration_advice().split("about ")[1].split(" ")[0].replace(",", "")))
    rng = np.random.default_rng(0)
    n_a = rng.binomial(n, 0.02, size=400)
    gap = rng.binomial(n_a, 0.55) / n_a - rng.binomial(n - n_a, 0.5) / (n - n_a)
    power = (np.abs(gap) / np.sqrt(0.25 * (1 / n_a + 1 / (n - n_a))) > 1.96).mean()
    assert power == pytest.approx(0.80, abs=0.06)


def test_a_rule_without_a_usable_border_stays_n_and_says_why() -> None:
    """Kills: a grade for a rule on categories, and advice that is lost with it."""
    kinds = ["chat", "code"] * 200
    frame = decisions(400, x_kind=kinds).with_columns(
        action=pl.when(pl.Series(kinds) == "code").then(pl.lit(LARGE)).otherwise(pl.lit(SMALL))
    )
    got = judged(frame)
    assert (got.identification, got.grade) == ("D", "N")
    assert "no decision away from the cut-off could have gone either way" in got.reason
    assert "categories only" in got.reason
    assert no_contrast(problem_of(frame)) is not None


@pytest.mark.parametrize(("letter", "grade"), [("R", "A"), ("U", "B"), ("O", "C"), ("D", "B")])
def test_each_class_of_world_is_detected(letter: str, grade: str) -> None:
    """Kills: a class that the log cannot tell from another."""
    got = judged(draw(Regime(n=1500, identification=letter), seed=0).frame)
    assert (got.identification, got.grade) == (letter, grade)
    assert got.reason.endswith(f"(class {letter})")


def test_a_declared_function_of_logged_features_is_refitted_and_tested() -> None:
    """Kills: grade C for choices that are unconfounded by design, or B without the test."""
    frame = router_world(n=2000, logged=False).frame
    assert judged(frame).grade == "C"
    got = judged(frame, "U")
    assert (got.identification, got.grade) == ("U", "B")


def test_a_policy_that_changed_is_no_function_of_the_logged_features() -> None:
    """Kills: a declaration that nothing can refute: version 2 takes `large` half as often."""
    world = router_world(n=3000, logged=False)
    rng = np.random.default_rng(1)
    second = np.arange(3000) >= 1500
    dropped = second & (rng.random(3000) < 0.5)
    frame = world.frame.with_columns(
        action=pl.when(pl.Series(dropped)).then(pl.lit(SMALL)).otherwise("action"),
        policy_version=pl.Series(np.where(second, "v2", "v1")),
    )
    got = judged(frame, "U")
    assert (got.identification, got.grade) == ("O", "C")
    assert got.reason.startswith(
        "declared U, but propensities refitted from logged features miss the choices"
    )


def test_an_honest_function_of_logged_features_is_seldom_denied() -> None:
    """Kills: a test that takes estimation error for a fault: at 1 %, 2 or more of 20 have P = 1.7 %."""
    frames = (router_world(s, n=1200, logged=False).frame for s in range(20))
    assert sum(judged(f, "U").identification != "U" for f in frames) < 2


@pytest.mark.parametrize(
    ("declared", "world", "letter", "why"),
    [
        ("R", "O", "O", "declared R, but no propensity is logged: "),
        ("R", "U", "U", "declared R, but the propensities are reconstructed: "),
        ("R", "D", "D", "declared R, but no propensity is logged: "),
        ("D", "R", "R", "declared D, but no rule of logged features replays 99.5% of the choices: "),
        ("D", "O", "O", "declared D, but no rule of logged features replays 99.5% of the choices: "),
    ],
)
def test_a_declaration_that_fails_is_said_and_not_used(
    declared: str, world: str, letter: str, why: str
) -> None:
    """Kills: believing the user over the log."""
    got = judged(draw(Regime(n=1200, identification=world), seed=0).frame, declared)
    assert got.identification == letter
    assert got.reason.startswith(why)


def test_who_distrusts_the_logged_propensities_gets_estimated_ones() -> None:
    """Kills: grade A against the user's own knowledge of hidden inputs."""
    got = judged(router_world(n=800).frame, "O")
    assert (got.identification, got.grade) == ("O", "C")
    assert got.reason.startswith("declared O: the logged propensities are not used")


def test_a_rule_declared_unconfounded_is_a_rule() -> None:
    """Kills: calling a replayed rule a failed declaration: it is a function of logged features."""
    got = judged(threshold_world(n=800), "U")
    assert got.identification == "D"
    assert "declared" not in got.reason
