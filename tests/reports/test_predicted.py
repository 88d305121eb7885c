"""The predictions in the report: verdicts and numbers on the page, in Markdown and in JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.page import build
from shadowprice.reports.predicted import (
    TITLE,
    prediction_charts,
    prediction_lines,
    predictions_table,
)
from shadowprice.reports.view import RunView
from shadowprice.schemas.records import Prediction, Reading

from tests.reports.factory import PRICED, Case, estimates

STEPS = (
    Reading(label="0 to 1", unit="incidents", value=-0.09, lower=-0.12, upper=-0.06, n=4_000),
    Reading(label="1 to 2", unit="incidents", value=-0.02, lower=-0.05, upper=0.01, n=2_000),
)
VERIFIER = Prediction(
    name="verifier",
    statement="More verification lowers risk.",
    verdict="supported",
    reason="risk falls",
    layer="agent",
    effect=-0.09,
    lower=-0.12,
    upper=-0.06,
    unit="incidents per verification",
    level=0.95,
    p_value=0.0001,
    stop=1,
    n=4_000,
    clusters=60,
    grade="A",
    method="AIPW",
    further=(
        Reading(label="gain on risky tasks", unit="USD", value=1.5, lower=0.5, upper=2.5, p_value=0.01),
    ),
    curve=STEPS,
)
ROUTER = replace(
    VERIFIER,
    name="router",
    statement="A cheap router loses more.",
    verdict="contradicted",
    effect=0.01,
    lower=-0.02,
    upper=0.04,
    unit="USD per doubling of V",
    placebo_p=0.4,
    stop=None,
    further=(),
    curve=(
        Reading(label="$1", unit="USD", value=0.02, lower=0.01, upper=0.03, n=900),
        Reading(label="$2", unit="USD", value=None, n=3),
        Reading(label="$64", unit="USD", value=7.0, lower=5.0, upper=9.0, n=80),
    ),
)
UNKNOWN = Prediction(
    name="congestion",
    statement="Others wait.",
    verdict="not_identified",
    reason="one replica <b>x</b> | `y`",
    layer="serving",
)
ALL = (VERIFIER, ROUTER, UNKNOWN)


def view(predictions: tuple[Prediction, ...] = ()) -> RunView:
    """A run with these verdicts."""
    est = estimates(Case())
    prices = fit_prices(est, PRICED, run_id="7f3a")
    found = diagnose(est, prices, PRICED)
    return RunView(est=est, prices=prices, findings=found, predictions=predictions)


def test_every_verdict_stands_in_the_table_with_its_numbers_and_reason() -> None:
    """Kills: an effect without its interval, a test beside it that is dropped, a refusal without a reason."""
    rows = predictions_table(ALL).rows
    assert rows[0][:4] == (
        "More verification lowers risk.",
        "supported",
        "−90 per 1,000 [−120, −60] per verification",
        "< .001",
    )
    assert rows[1][0] == "also: gain on risky tasks"
    assert rows[1][2] == "+$1.50 [+$0.50, +$2.50]"
    assert rows[2][1:5] == ("contradicted", "+$0.01 [−$0.02, +$0.04] per doubling of V", "< .001", ".400")
    assert rows[3][1] == "not identified"
    assert rows[3][-2:] == ("N", "One replica <b>x</b> | `y`")


def test_a_curve_is_drawn_per_thousand_and_leaves_no_point_out_of_its_table() -> None:
    """Kills: a point drawn at 0 where there is no value; a scale that its axis does not state."""
    first, second = prediction_charts(ALL)
    assert first.title == "Risk falls, interval below 0, at 1 of 2 further verifications"
    assert "incidents per 1,000 tasks" in first.svg
    assert "−100" in first.svg or "-100" in first.svg
    assert second.title == "Regret is $0.02 a request worth $1, and $7.00 at $64"
    assert [row[0] for row in second.table.rows] == ["$1", "$2", "$64"]
    assert second.table.rows[1][1] == "–"
    assert ">$2<" not in second.svg


def test_the_report_holds_them_on_the_page_in_markdown_and_in_json() -> None:
    """Kills: a section that one of the three forgets, and text of a log that becomes markup."""
    made = build(view(predictions=ALL))
    assert "The paper&#39;s three predictions" in made.html
    assert "Risk falls, interval below 0, at 1 of 2 further verifications" in made.html
    assert "<b>x</b>" not in made.html
    assert "three predictions" in made.markdown
    assert "<b>" not in made.markdown
    told = json.loads(made.json)["predictions"]
    assert [p["verdict"] for p in told] == ["supported", "contradicted", "not_identified"]
    assert told[0]["curve"][0] == {
        "label": "0 to 1",
        "unit": "incidents",
        "value": -0.09,
        "lower": -0.12,
        "upper": -0.06,
        "p_value": None,
        "n": 4_000,
    }


def test_a_report_without_predictions_has_no_empty_section() -> None:
    """Kills: a heading with nothing below it."""
    made = build(view())
    assert "three predictions" not in made.html
    assert TITLE not in made.markdown
    assert prediction_charts(()) == ()


@pytest.mark.parametrize("p", ALL, ids=lambda p: p.name)
def test_a_terminal_line_holds_statement_verdict_and_reason(p: Prediction) -> None:
    """Kills: a verdict in a terminal that does not say of what."""
    (line,) = prediction_lines((p,))
    assert line == f"{p.statement} {p.verdict.replace('_', ' ')}: {p.reason}"
