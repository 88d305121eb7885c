"""Break-even values over time in the report: what the title claims, what is drawn, what has only its row."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.page import build
from shadowprice.reports.price_trend import drift_table, trend_charts
from shadowprice.reports.view import Report, RunView
from shadowprice.schemas.records import Estimates, Prices
from shadowprice.schemas.trends import DRIFT, TREND

from tests.reports.factory import PRICED, Case, estimates

PLACE = {"layer": "router", "decision_point": "model", "action": "large", "baseline": "small"}
UNKNOWN = "3 decisions took large where the other was possible; 30 are needed"


def moving(
    *gains: float | None, p: float | None = 0.5, net: float | None = None, **place: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of trend, one per gain in quality at 12 cents (None is refused), and of drift."""
    names = {**PLACE, **place}
    trend = [
        {
            **names,
            "period": k,
            "period_from": f"2026-11-{5 * k - 4:02d}T00:00:00+00:00",
            "period_to": f"2026-11-{5 * k:02d}T00:00:00+00:00",
            "estimand": "not_identified" if gain is None else "ATO",
            "grade": "N" if gain is None else "A",
            "theta": None if gain is None else [gain, 0.12, 0.0, 0.0],
            "cov": None if gain is None else [2.5e-5, *[0.0] * 4, 1e-6, *[0.0] * 10],
            "df": None if gain is None else 40.0,
            "n": 500,
            "clusters": 40,
            "ess": 200.0,
            "reason": UNKNOWN if gain is None else None,
        }
        for k, gain in enumerate(gains, start=1)
    ]
    drift = [
        {**names, "quantity": quantity, "periods": len(gains), "p_value": q, "p_adjusted": q, "level": 0.95}
        for quantity, q in (("break_even", p), ("quality", p), ("net", net))
    ]
    return trend, drift


def made(*contrasts: tuple[list[dict[str, Any]], list[dict[str, Any]]], **more: Any) -> Estimates:
    """Estimates with these contrasts by period."""
    trend, drift = ([row for rows in part for row in rows] for part in zip(*contrasts, strict=True))
    return replace(
        estimates(Case(), **more),
        trend=pl.DataFrame([{**dict.fromkeys(TREND), **row} for row in trend], schema=TREND),
        drift=pl.DataFrame([{**dict.fromkeys(DRIFT), **row} for row in drift], schema=DRIFT),
    )


def prices(est: Estimates) -> Prices:
    """The prices of `est`, V = $12 among them; latency and risk of these contrasts are 0."""
    return fit_prices(est, PRICED)


def titles(est: Estimates) -> list[str]:
    """The titles of the charts, in order."""
    return [c.title for c in trend_charts(est, prices(est), ())]


@pytest.mark.parametrize(
    ("gains", "p", "told"),
    [
        ((0.12, 0.1, 0.06), 0.01, "went from $1.00 to $2.00 a task: beyond noise"),
        ((0.12, 0.1, 0.06), 0.05 + 1e-9, "went from $1.00 to $2.00 a task: within noise"),
        ((0.12, 0.04, 0.06), 0.01, "lay between $1.00 and $3.00 a task: beyond noise"),
        ((0.12, 0.06, None), 0.01, "went from $1.00 to no finite value: beyond noise"),
        ((None, 0.06, 0.12), 0.5, "went from no finite value to $1.00 a task: within noise"),
        ((0.12, 0.06), None, "went from $1.00 to $2.00 a task: not tested"),
    ],
)
def test_the_title_says_what_the_value_did_and_whether_it_is_noise(
    gains: tuple[float | None, ...], p: float | None, told: str
) -> None:
    """Kills: a move that is called real at any p, ends that hide what lay between, an unknown V* as 0."""
    assert titles(made(moving(*gains, p=p))) == [f"V* of large instead of small at model {told}"]


def test_a_net_value_that_moved_where_the_break_even_did_not_is_in_the_title() -> None:
    """Kills: "within noise" over a chart of a contrast whose worth has moved."""
    (title,) = titles(made(moving(0.1, 0.1, net=0.001)))
    assert title.endswith("within noise; its net value at V moved")


def test_a_refused_period_stands_in_the_table_with_its_reason_and_on_the_axis() -> None:
    """Kills: a period that is left out of the table, or that gets a mark without a value."""
    est = made(moving(0.12, None, 0.06))
    (chart,) = trend_charts(est, prices(est), ())
    assert [row[2] for row in chart.table.rows] == ["$1.00", "–", "$2.00"]
    assert chart.table.rows[1][-1] == UNKNOWN
    assert chart.table.rows[1][1] == "2026-11-06 to 2026-11-10"
    assert chart.svg.count("no V*") == 1
    assert chart.svg.count("▲") == 0


def test_the_set_value_is_a_line_where_it_is_near_and_a_word_where_it_is_far() -> None:
    """Kills: intervals squeezed flat by a V ten times as high, and a V that is not shown at all."""
    near, far = made(moving(0.012, 0.011)), made(moving(0.12, 0.12))
    (close,), (distant,) = (trend_charts(est, prices(est), ()) for est in (near, far))
    assert ">V = $12.00<" in close.svg
    assert "stroke-dasharray" in close.svg
    assert ">V = $12.00 lies above<" in distant.svg
    assert "stroke-dasharray" not in distant.svg


def test_an_interval_that_nearly_covers_zero_is_cut_with_an_arrow_but_whole_in_the_table() -> None:
    """Kills: one unbounded whisker that flattens all others, and a cut that the reader cannot see."""
    est = made(moving(0.12, 0.1, 0.11, 0.0102))
    (chart,) = trend_charts(est, prices(est), ())
    assert chart.svg.count("▲") == 1
    assert float(chart.table.rows[3][3].split(", $")[1].rstrip("]").replace(",", "")) > 100


def test_those_that_moved_come_first_then_those_with_a_finding_then_those_of_most_spend() -> None:
    """Kills: charts in the order of the alphabet, and more of them than a page can hold."""
    calm = [moving(0.12, 0.11, decision_point=f"p{i}") for i in range(5)]
    est = made(*calm, moving(0.12, 0.06, p=0.01, decision_point="z"), moving(0.12, 0.11, decision_point="y"))
    coverage = pl.concat(
        [
            est.coverage.with_columns(decision_point=pl.lit(f"p{i}"), spend_usd=pl.lit(float(i)))
            for i in range(5)
        ]
    )
    (finding, *_) = diagnose(est, prices(est), PRICED)
    found = replace(finding, status="found", **{**PLACE, "decision_point": "y"})
    charts = trend_charts(replace(est, coverage=coverage), prices(est), (found,))
    assert [c.title.split(" at ")[1].split()[0] for c in charts] == ["z", "y", "p4", "p3"]


def test_what_cannot_be_drawn_has_its_row() -> None:
    """Kills: a contrast without V* or without periods that is dropped, and a chart of one point."""
    none = [
        {**PLACE, "decision_point": "keep", "estimand": "not_identified", "grade": "N", "reason": "no ts"}
    ]
    test = [{**none[0], "quantity": q, "level": 0.95} for q in ("break_even", "quality")]
    tests = [{k: v for k, v in row.items() if k in DRIFT} for row in test]
    est = made(moving(0.001, 0.001, p=0.3), moving(0.12, 0.001, decision_point="plan"), (none, tests))
    assert titles(est) == []
    rows = drift_table(est, prices(est)).rows
    assert [row[1] for row in rows] == ["router · model", "router · plan", "router · keep"]
    assert rows[0][3:6] == ("–", "within noise, p .300", "within noise, p .300")
    assert rows[1][3] == "$1.00 to –"
    assert rows[2][2:] == ("–", "–", "–", "–", "–", "no ts")


@pytest.fixture(scope="module")
def told() -> tuple[Estimates, Report]:
    """A report on one contrast that moved and one that did not."""
    est = made(moving(0.12, 0.06, p=0.01), moving(0.1, 0.1, action="<b>", decision_point="plan"))
    fitted = prices(est)
    view = RunView(est=est, prices=fitted, findings=diagnose(est, fitted, PRICED))
    return est, build(view)


def test_page_and_markdown_show_it_after_the_prices_and_escape_its_names(
    told: tuple[Estimates, Report],
) -> None:
    """Kills: a section that one of the texts lacks, and a name of the log that becomes a tag."""
    _, report = told
    assert "<h2>Break-even values over time</h2>" in report.html
    for text in (report.html, report.markdown.replace("\\", "")):
        assert "went from $1.00 to $2.00 a task: beyond noise" in text
        assert "<b> instead" not in text
    assert report.markdown.index("### Break-even values over time") < report.markdown.index(
        "### V\\* of large"
    )


def test_without_periods_there_is_no_section() -> None:
    """Kills: an empty heading, as for a log that was read in parts."""
    est = estimates(Case())
    fitted = prices(est)
    report = build(RunView(est=est, prices=fitted, findings=diagnose(est, fitted, PRICED)))
    assert "over time" not in report.html
    assert "over time" not in report.markdown


def test_json_holds_every_period_and_test_with_the_rows_behind_them(told: tuple[Estimates, Report]) -> None:
    """Kills: rounded numbers, and a trace that points at another contrast or period."""
    est, report = told
    said = json.loads(report.json)
    assert said["code"]["files"]["trend"] == "states/trend.parquet"
    assert [row["value"] for row in said["trend"]] == pytest.approx([1.0, 2.0, 1.2, 1.2])
    behind = est.trend.to_dicts()
    for row in said["trend"]:
        mine = behind[row["trace"]["trend"]]
        assert (mine["decision_point"], mine["period"]) == (row["decision_point"], row["period"])
    for at, row in enumerate(said["drift"]):
        assert row["trace"]["drift"] == at
        assert [behind[i]["decision_point"] for i in row["trace"]["trend"]] == [row["decision_point"]] * 2
