"""Serving congestion and stale rollouts: dollars without a contrast become findings like all others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from scipy import stats
from shadowprice.estimators.capital.stale_savings import stale_savings
from shadowprice.ingest.simulator.training import TrainSettings
from shadowprice.reports.diagnose import DETECTORS, diagnose
from shadowprice.reports.headline import headline, recoverable
from shadowprice.reports.page import build
from shadowprice.reports.view import RunView
from shadowprice.schemas.records import Finding

from tests.estimators.test_capital_staleness import log
from tests.reports.factory import PRICED, Case, estimates
from tests.reports.saved import LONG, STALE, logged, prices_with, refused, savings

ROUTING = Case(theta=(0.001, 0.085, 0.5, 0.0))
WEAK: dict[str, Any] = {"doubt": "the test is contradicted: no effect"}


def findings(*rows: pl.DataFrame) -> tuple[Finding, ...]:
    est = logged(estimates(ROUTING), LONG, STALE)
    return diagnose(est, prices_with(est, *rows), PRICED)


def of(found: tuple[Finding, ...], mode: str) -> list[Finding]:
    return [f for f in found if f.mode == mode]


def test_stale_rollouts_are_found_with_dollars_interval_and_share_of_the_data() -> None:
    """Kills a detector whose dollars, decisions or note get lost on the way to the finding."""
    (f,) = of(findings(savings(STALE, usd=20.0, se=4.0)), "stale_rollouts")
    assert (f.status, f.segment, f.grade, f.n, f.clusters) == ("found", "version_lag=8-15", "C", 100, 20)
    assert (f.usd, f.moved) == (pytest.approx(20.0), pytest.approx(200.0))
    assert f.claim.startswith("In version_lag=8-15, dropping 200 kept rollouts would have saved $20.00 [")
    assert f.claim.endswith("(15% of the rollouts that were trained on)")
    assert f.recommendation == "drop rollouts of version_lag=8-15 and do not keep them"


def test_lags_that_pay_are_none_found_beside_those_that_do_not() -> None:
    """Kills one verdict for all lags."""
    fresh = savings({**STALE, "segment": "version_lag=0-1"}, usd=-50.0, se=4.0)
    found = of(findings(fresh, savings(STALE, usd=20.0, se=4.0)), "stale_rollouts")
    assert {f.segment: f.status for f in found} == {
        "version_lag=0-1": "none_found",
        "version_lag=8-15": "found",
    }


def test_bins_of_lags_do_not_rival_each_other() -> None:
    """Kills counting one bin only: no rollout is in two."""
    other = savings({**STALE, "segment": "version_lag=16+"}, usd=30.0, se=4.0)
    found = of(findings(other, savings(STALE, usd=20.0, se=4.0)), "stale_rollouts")
    assert [f.counted for f in found] == [True, True]


@pytest.mark.parametrize(("usd", "status"), [(15.0, "found"), (9.0, "none_found")])
def test_congestion_counts_from_a_tenth_of_what_long_contexts_paid(usd: float, status: str) -> None:
    """Kills the materiality of 1 % that other checks have: they paid 100 USD, so 10 USD do not matter."""
    (f,) = of(findings(savings(LONG, usd=usd, se=1.0)), "serving_congestion")
    assert f.status == status
    assert f.mde_usd is not None
    assert f.mde_usd > 10.0


def test_congestion_that_the_fingerprint_does_not_support_stays_inconclusive() -> None:
    """Kills a finding that rests on a model of the engine alone, and a doubt that nobody reads."""
    (f,) = of(findings(savings(LONG, usd=40.0, se=4.0, **WEAK)), "serving_congestion")
    assert (f.status, f.counted) == ("inconclusive", True)
    assert "the test is contradicted: no effect" in f.recommendation
    (sure,) = of(findings(savings(LONG, usd=40.0, se=4.0)), "serving_congestion")
    assert sure.status == "found"
    assert "congestion fingerprint: supported" in sure.claim


def test_a_doubted_candidate_is_not_among_the_selected_ones() -> None:
    """Kills a false-coverage level that counts a finding which was not made."""
    doubted = savings({**STALE, "segment": "version_lag=16+"}, usd=30.0, se=4.0, doubt="no")
    found = of(findings(doubted, savings(STALE, usd=20.0, se=4.0)), "stale_rollouts")
    assert {f.segment: f.status for f in found}["version_lag=16+"] == "inconclusive"
    (made,) = [f for f in found if f.status == "found"]
    assert made.level == pytest.approx(1 - 0.08 * 1 / 2)  # both checks with a gain are found, here one of two


@pytest.mark.parametrize("about", [LONG, STALE])
def test_what_is_not_identified_says_why_and_what_to_log(about: dict[str, Any]) -> None:
    """Kills a refusal that becomes 'none found'."""
    mode = "serving_congestion" if about is LONG else "stale_rollouts"
    (f,) = of(findings(refused(about, "ttft_s is not logged")), mode)
    assert (f.status, f.usd, f.reason) == ("not_identified", None, "ttft_s is not logged")
    assert f.recommendation.startswith("log ")


def test_a_price_that_is_not_set_is_the_only_advice() -> None:
    """Kills telling someone to log what is logged already, where a price is missing."""
    why = "a second of waiting has no price: set prices.latency, such as '0.002 USD/s'"
    (f,) = of(findings(refused(LONG, why)), "serving_congestion")
    assert (f.status, f.reason, f.recommendation) == ("not_identified", why, "")


def test_logs_without_the_layer_have_no_data_and_prices_without_decisions_say_so() -> None:
    """Kills calling an absent layer not identified, and an unfitted price an absent layer."""
    est = estimates(ROUTING)
    absent = diagnose(est, prices_with(est, refused(STALE, "no training decision is logged")), PRICED)
    assert {f.status for f in absent if f.mode in ("stale_rollouts", "serving_congestion")} == {"no_data"}
    (f,) = of(findings(refused(LONG, "x")), "stale_rollouts")
    assert (f.status, f.reason) == ("not_identified", "the prices were not fitted to the decisions")


def test_one_cluster_has_no_interval_and_no_finding() -> None:
    """Kills dollars with an interval of width 0."""
    (f,) = of(findings(savings(STALE, usd=20.0, se=0.0, clusters=1)), "stale_rollouts")
    assert f.status == "not_identified"
    assert "one cluster" in (f.reason or "")


def test_the_headline_is_the_sum_of_all_counted_findings_to_the_cent() -> None:
    """Kills a total that leaves out what no contrast measures, and one that adds it twice."""
    est = logged(estimates(ROUTING), LONG, STALE)
    rows = [savings(LONG, usd=40.0, se=4.0), savings(STALE, usd=20.0, se=4.0)]
    rows.append(savings({**STALE, "segment": "version_lag=16+"}, usd=-30.0, se=4.0))
    prices = prices_with(est, *rows)
    found = diagnose(est, prices, PRICED)
    total = recoverable(est, prices, found)
    counted = [f for f in found if f.status == "found" and f.counted]
    assert {f.mode for f in counted} == {"over_routing", "serving_congestion", "stale_rollouts"}
    assert total is not None
    assert total.usd == pytest.approx(sum(f.usd or 0.0 for f in counted), abs=0.005)
    alone = recoverable(est, prices, [f for f in counted if f.mode == "over_routing"])
    assert alone is not None
    assert total.se**2 == pytest.approx(alone.se**2 + 4.0**2 + 4.0**2)


def test_the_headline_says_how_waiting_is_counted_and_only_then() -> None:
    """Kills dollars of waiting that read as if they came back when all long contexts went."""
    est = logged(estimates(ROUTING), LONG, STALE)
    for row, told in ((savings(LONG, usd=40.0, se=4.0), True), (savings(STALE, usd=20.0, se=4.0), False)):
        prices = prices_with(est, row)
        said = headline(est, prices, diagnose(est, prices, PRICED)).basis
        assert ("as if each request alone were gone" in said) is told


def test_a_finding_without_a_contrast_has_its_section_and_stands_in_every_table() -> None:
    """Kills a report that stops at a finding which no estimate belongs to."""
    est = logged(estimates(ROUTING), LONG, STALE)
    prices = prices_with(est, savings(LONG, usd=40.0, se=4.0), savings(STALE, usd=20.0, se=4.0))
    found = diagnose(est, prices, PRICED)
    report = build(RunView(est=est, prices=prices, findings=found, provenance={"run_id": "7f3a"}))
    for text in ("engine replay", "200 decisions that took keep", "as if each request alone were gone"):
        assert text in report.html
    data = json.loads(report.json)
    assert len(data["savings"]) == 40
    assert {f["mode"] for f in data["findings"]} == {d.QUESTION.mode for d in DETECTORS}
    assert "not_checked" not in data


def test_a_small_slice_of_people_is_hidden_here_as_elsewhere() -> None:
    """Kills a slice by tenant whose dollars the page keeps while it hides its estimates."""
    about = {**LONG, "segment": "tenant_id=acme"}
    sliced = replace(ROUTING, segment="tenant_id=acme", clusters=4)
    est = logged(estimates(ROUTING, sliced), LONG)
    prices = prices_with(est, savings(about, usd=40.0, se=4.0))
    report = build(RunView(est=est, prices=prices, findings=(), provenance={"run_id": "7f3a"}))
    assert "acme" not in report.json


@pytest.mark.slow
def test_a_trainer_whose_rollouts_are_worth_their_cost_is_rarely_accused() -> None:
    """Kills a materiality of 0 or a test per bin without control: at most 10 % of 150 worlds, and a band."""
    given = TrainSettings(runs=2, updates=28, rollouts=32, decay=0.0, hard_signal=0.0, signal_usd=0.9)
    est = logged(estimates(ROUTING), STALE)
    alarms = 0
    for seed in range(150):
        rows = stale_savings(log(given, seed), signal_usd=given.signal_usd, keep_usd=given.keep_usd)
        found = diagnose(est, prices_with(est, rows), PRICED)
        alarms += any(f.status == "found" for f in of(found, "stale_rollouts"))
    assert stats.binomtest(alarms, 150, 0.10, alternative="greater").pvalue > 0.01
