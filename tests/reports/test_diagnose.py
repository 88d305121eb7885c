"""Detectors and their judge: every status, the dollars, the direction, and no decision counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.gains import total_gain
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.headline import headline, recoverable
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Estimates, Finding

from tests.reports.factory import PRICED, UNPRICED, Case, estimates

OVER = Case(theta=(0.001, 0.085, 0.5, 0.0))
"""Net of one decision: 12 * .001 - .085 - .002 * .5 = -.074, so 2,000 decisions waste 148 USD."""
UNDER = replace(OVER, theta=(0.05, 0.085, 0.5, 0.0))
NULL = replace(OVER, theta=(0.086 / 12, 0.085, 0.5, 0.0))
OPEN = replace(NULL, theta=(0.0, 0.085, 0.5, 0.0), sd=(0.008, 0.002, 0.05, 0.0001))


def findings(*cases: Case, config: Config = PRICED) -> tuple[Finding, ...]:
    est = estimates(*cases, config=config)
    return diagnose(est, fit_prices(est, config), config)


def of(found: tuple[Finding, ...], mode: str) -> Finding:
    (only,) = [f for f in found if f.mode == mode]
    return only


def test_over_routing_is_found_with_the_dollars_of_the_move_and_what_to_do() -> None:
    """Kills a wrong sign of the move and a lost interval."""
    f = of(findings(OVER), "over_routing")
    assert (f.status, f.direction, f.grade) == ("found", "over", "C")
    assert f.usd == pytest.approx(148.0)
    assert 0 < (f.usd_lower or 0) < 148 < (f.usd_upper or 0)
    assert f.recommendation == "route all decisions to cheap instead of frontier"
    assert of(findings(OVER), "under_routing").status == "none_found"


def test_under_routing_is_the_move_to_the_dearer_model() -> None:
    """Kills a detector that looks in the other's direction."""
    found = findings(UNDER)
    f = of(found, "under_routing")
    assert (f.status, f.direction) == ("found", "under")
    assert f.usd == pytest.approx(2000 * (12 * 0.05 - 0.085 - 0.001))
    assert of(found, "over_routing").status == "none_found"


def test_a_contrast_written_from_cheap_to_dear_gives_the_same_finding() -> None:
    """Kills reading 'action' as the dearer model instead of asking its cost."""
    mirrored = replace(OVER, action="cheap", baseline="frontier", theta=(-0.001, -0.085, -0.5, 0.0))
    f = of(findings(mirrored), "over_routing")
    assert (f.status, f.direction) == ("found", "under")
    assert f.usd == pytest.approx(148.0)
    assert f.recommendation == "route all decisions to cheap instead of frontier"


def test_under_verification_and_cache_misuse_have_their_own_arms() -> None:
    """Kills a detector that looks at another layer, or recommends what was done anyway."""
    verify = Case(layer="agent", decision_point="verify", action="verify", baseline="skip", theta=UNDER.theta)
    reuse = Case(
        layer="serving",
        decision_point="reuse",
        action="reuse",
        baseline="recompute",
        theta=(-0.05, -0.02, -1.0, 0.0),
    )
    found = findings(verify, reuse)
    assert of(found, "under_verification").recommendation == "verify all decisions (verify instead of skip)"
    assert of(found, "cache_misuse").recommendation == "recompute instead of reuse for all decisions"
    assert {f.status for f in found} == {"found", "no_data"}


def test_no_effect_is_none_found_with_what_could_have_been_seen() -> None:
    """Kills a silent pass: without a detectable effect 'none found' says nothing."""
    f = of(findings(NULL), "over_routing")
    assert f.status == "none_found"
    assert f.mde_usd is not None
    assert f.mde_usd > 0.8


def test_a_wide_interval_is_inconclusive_and_says_what_would_settle_it() -> None:
    """Kills counting a gain whose interval covers 0."""
    f = of(findings(OPEN), "over_routing")
    assert f.status == "inconclusive"
    assert (f.usd or 0) > 0 > (f.usd_lower or 0)
    assert "more days" in f.recommendation


def test_a_gain_below_materiality_is_not_a_finding() -> None:
    """Kills testing against zero: 1 % of what the moved decisions cost must be exceeded."""
    tiny = replace(NULL, theta=(0.086 / 12 - 1e-5, 0.085, 0.5, 0.0), sd=(1e-7, 1e-7, 1e-7, 1e-7))
    est = estimates(tiny, spend_usd=400.0)
    gain = of(diagnose(est, fit_prices(est, PRICED), PRICED), "over_routing")
    assert (gain.usd or 0) > 0.2
    assert (gain.usd_lower or 0) > 0
    assert gain.status == "none_found"


def test_a_missing_layer_is_no_data_and_never_none_found() -> None:
    """Kills 'none found' for what was never logged."""
    f = of(findings(OVER), "cache_misuse")
    assert f.status == "no_data"
    assert "reuse" in (f.reason or "")
    assert f.recommendation.startswith("log ")


def test_a_refused_contrast_is_not_identified_with_its_own_reason() -> None:
    """Kills a generic reason where the gate gave one."""
    f = of(findings(replace(OVER, grade="N", reason="no overlap: effective sample size 3")), "over_routing")
    assert (f.status, f.reason) == ("not_identified", "no overlap: effective sample size 3")


def test_without_a_task_value_the_break_even_stands_instead_of_dollars() -> None:
    """Kills a default V."""
    f = of(findings(UNDER, config=UNPRICED), "under_routing")
    assert (f.status, f.usd) == ("not_identified", None)
    assert f.break_even_usd == pytest.approx(1.7)
    assert "V* = 1.7" in (f.reason or "")
    assert "set a task value" in f.recommendation


def test_slices_replace_the_whole_so_that_nothing_is_added_twice() -> None:
    """Kills adding 'all' to the slices that partition it."""
    cases = (
        OVER,
        replace(OVER, segment="x_task_class=a", moved=1200.0),
        replace(OVER, segment="x_task_class=b", moved=800.0),
    )
    est = estimates(*cases)
    prices = fit_prices(est, PRICED)
    found = diagnose(est, prices, PRICED)
    total = recoverable(est, prices, found)
    assert {f.segment for f in found if f.status == "found"} == {"x_task_class=a", "x_task_class=b"}
    assert total is not None
    assert total.usd == pytest.approx(148.0)


def test_a_column_that_only_one_decision_point_has_is_preferred_for_its_slices() -> None:
    """Kills slicing the cache by task class where the cache's own column is logged."""
    reuse = Case(
        layer="serving",
        decision_point="reuse",
        action="reuse",
        baseline="recompute",
        theta=(-0.05, -0.02, 0, 0),
    )
    cases = [replace(reuse, segment=s) for s in ("all", "x_task_class=a", "x_cache_band=stale")]
    found = findings(*cases, replace(OVER, segment="x_task_class=a"))
    assert of(found, "cache_misuse").segment == "x_cache_band=stale"


def test_two_targets_for_the_same_decisions_are_counted_once() -> None:
    """Kills adding frontier -> cheap and frontier -> mid, which move the same decisions."""
    rival = replace(OVER, baseline="mid", theta=(0.001, 0.05, 0.5, 0.0))
    est = estimates(OVER, rival)
    prices = fit_prices(est, PRICED)
    found = [f for f in diagnose(est, prices, PRICED) if f.status == "found"]
    assert [(f.baseline, f.counted) for f in found] == [("cheap", True), ("mid", False)]
    assert "not added" in (found[1].reason or "")
    total = recoverable(est, prices, found)
    assert total is not None
    assert total.usd == pytest.approx(found[0].usd)


def test_a_whole_and_a_slice_of_it_are_counted_once() -> None:
    """Kills overlap between contrasts that are sliced differently."""
    sliced = replace(OVER, segment="x_task_class=a")
    whole = replace(OVER, baseline="mid", theta=(0.001, 0.05, 0.5, 0.0))
    found = [f for f in findings(sliced, whole) if f.status == "found"]
    assert [f.counted for f in found] == [True, False]


def test_the_counted_findings_add_up_to_the_headline() -> None:
    """Kills a total that is not the sum of its parts, or an interval that adds ends."""
    other = Case(layer="agent", decision_point="verify", action="verify", baseline="skip", theta=UNDER.theta)
    est = estimates(OVER, other)
    prices = fit_prices(est, PRICED)
    found = diagnose(est, prices, PRICED)
    total = recoverable(est, prices, found)
    assert total is not None
    assert total.usd == pytest.approx(sum(f.usd or 0 for f in found if f.status == "found" and f.counted))
    chosen = est.gains.filter(
        ((pl.col("decision_point") == "model") & (pl.col("direction") == "over"))
        | ((pl.col("decision_point") == "verify") & (pl.col("direction") == "under"))
    )
    assert total == total_gain(chosen, level=0.95)


def test_the_control_of_the_configuration_is_the_one_that_is_used() -> None:
    """Kills a setting that no test hears of: what one look finds is not enough for any number of looks."""
    watched = PRICED.model_copy(update={"multiplicity": "e-bh"})
    near = replace(OVER, sd=(0.0022, 0.002, 0.05, 0.0001))
    once, often = (of(findings(near, config=c), "over_routing") for c in (PRICED, watched))
    assert (once.status, often.status) == ("found", "inconclusive")
    assert once.p_value == often.p_value
    assert (often.usd_lower or 0.0) < (once.usd_lower or 0.0)


def test_findings_are_ranked_by_their_lower_bound() -> None:
    """Kills ranking by point estimate."""
    noisy = replace(
        OVER, segment="x_task_class=noisy", theta=(0.0, 0.1, 0.5, 0.0), sd=(0.003, 0.002, 0.05, 0.0001)
    )
    sure = replace(OVER, segment="x_task_class=sure")
    found = [f for f in findings(noisy, sure) if f.status == "found"]
    assert [f.segment for f in found] == ["x_task_class=sure", "x_task_class=noisy"]
    assert (found[0].usd or 0) < (found[1].usd or 0)


def test_row_order_changes_nothing() -> None:
    """Kills dependence on the order of frames."""
    cases = (OVER, UNDER_SLICE, replace(OVER, segment="x_task_class=b"))
    est = estimates(*cases)
    turned = replace(
        est, contrasts=est.contrasts.reverse(), joint=est.joint.reverse(), gains=est.gains.reverse()
    )
    first, second = (diagnose(e, fit_prices(e, PRICED), PRICED) for e in (est, turned))
    assert [(f.mode, f.segment, f.status) for f in first] == [(f.mode, f.segment, f.status) for f in second]
    assert [f.usd for f in first] == pytest.approx([f.usd for f in second])


UNDER_SLICE = replace(UNDER, segment="x_task_class=a")


def test_null_worlds_are_rarely_called_found() -> None:
    """Kills testing at q per segment: of 20 null slices, findings stay within the rate."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(40):
        est = _null_world(rng)
        alarms += any(f.status == "found" for f in diagnose(est, fit_prices(est, PRICED), PRICED))
    assert alarms <= 9  # binomial(40, .1): more than 9 has probability .005 at the nominal rate


def _null_world(rng: np.random.Generator) -> Estimates:
    cases = [replace(NULL, segment=f"x_task_class={i}", clusters=30) for i in range(20)]
    est = estimates(*cases)
    noise = rng.normal(size=est.gains.height // 2).repeat(1)
    over = est.gains.filter(pl.col("direction") == "over").with_columns(usd=pl.Series(noise))
    under = over.with_columns(usd=-pl.col("usd"), direction=pl.lit("under"))
    return replace(est, gains=pl.concat([over, under]).select(est.gains.columns))


def test_the_headline_states_prices_window_level_and_scale() -> None:
    """Kills a number without its assumptions."""
    est = estimates(OVER)
    prices = fit_prices(est, PRICED)
    head = headline(est, prices, diagnose(est, prices, PRICED))
    text = head.sentence()
    for part in ("Recoverable: $148", "95 % interval", "V = 12 USD/task", "λ = 0.002", "ρ = 40", "grade C"):
        assert part in text
    assert "times 1.43" in head.per_month
    assert "unpriced tokens" in head.excluded


def test_a_window_under_a_week_is_not_scaled_to_a_month() -> None:
    """Kills extrapolating from a weekend."""
    est = replace(estimates(OVER), window=("2026-11-01T00:00:00+00:00", "2026-11-04T00:00:00+00:00"))
    prices = fit_prices(est, PRICED)
    assert headline(est, prices, diagnose(est, prices, PRICED)).per_month == ""


@pytest.mark.parametrize(
    ("case", "config", "title"),
    [
        (UNDER, UNPRICED, "No dollar figure, because no task value V is set"),
        (NULL, PRICED, "No recoverable dollars found"),
        (replace(OVER, grade="N"), PRICED, "No dollar figure: none of the checks is identified"),
    ],
)
def test_without_a_finding_the_headline_says_why(case: Case, config: Config, title: str) -> None:
    """Kills a zero where there is no number."""
    est = estimates(case, config=config)
    prices = fit_prices(est, config)
    head = headline(est, prices, diagnose(est, prices, config))
    assert head.total is None
    assert head.title.startswith(title)
    assert "$0" not in head.sentence()


def test_a_class_value_is_named_with_its_class() -> None:
    """Kills a headline that shows one V where classes have their own."""
    config = parse_config({"prices": {"task_value_by_class": {"a": "3 USD/task"}}})
    est = estimates(UNDER, config=config)
    prices = fit_prices(est, config)
    assert "V = 3 USD/task in x_task_class=a" in headline(est, prices, ()).given
