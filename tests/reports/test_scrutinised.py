"""What could overturn a finding, on its page: drawn when asked for, said in a line when not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import shadowprice as sp
from door import copy_of, knock
from shadowprice import rundir
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.ingest.simulator.regime import Regime, draw
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.page import build
from shadowprice.reports.scrutinised import scrutinised
from shadowprice.reports.view import RunView

from tests.reports.factory import PRICED, Case, estimates

KEY = ("router", "model", "frontier", "cheap")


@pytest.fixture(scope="module")
def tested() -> sp.Scrutiny:
    """The scrutiny of an observational log."""
    return sp.scrutiny(draw(Regime(identification="O", n=2000, spread=2.0), seed=8).frame, "a1", "a0")


def view() -> RunView:
    est = estimates(Case())
    prices = fit_prices(est, PRICED)
    return RunView(est=est, prices=prices, findings=diagnose(est, prices, PRICED))


def test_each_test_is_a_chart_with_the_numbers_in_its_title(tested: sp.Scrutiny) -> None:
    """Kills a chart of another quantity or contrast, and a title that leaves the reader to guess."""
    shown = replace(view(), scrutinies={KEY: tested})
    made = scrutinised(shown, shown.findings, 1)
    titles = " | ".join(chart.title for chart in made.charts)
    known = tested.placebos.filter(pl.col("value").is_not_null())
    off = known.filter((pl.col("lower") > 0) | (pl.col("upper") < 0)).height
    assert f"{off} of {known.height} features" in titles
    assert "hidden cause the sign holds" in titles
    assert f"slope {tested.calibration['slope'][0]:.2f}" in titles + " ".join(made.notes)
    assert any("exploration" in note for note in made.notes)


def test_findings_of_one_contrast_share_its_charts(tested: sp.Scrutiny) -> None:
    """Kills a page that draws the same three charts for every slice, and grows past its limit."""
    shown = replace(view(), scrutinies={KEY: tested})
    twice = (*shown.findings[:1], *shown.findings[:1])
    assert scrutinised(shown, twice, 1).charts
    again = scrutinised(shown, twice, 2)
    assert again.charts == ()
    assert "finding 1" in again.notes[0]


def test_another_contrast_is_not_vouched_for(tested: sp.Scrutiny) -> None:
    """Kills the scrutiny of one pair of actions under the finding of another."""
    shown = replace(view(), scrutinies={(*KEY[:3], "other"): tested})
    made = scrutinised(shown, shown.findings, 1)
    assert made.charts == ()
    assert "--scrutiny" in made.notes[0]


def test_a_refused_scrutiny_gives_its_reason(tested: sp.Scrutiny) -> None:
    """Kills an empty chart where nothing could be tested."""
    shown = replace(view(), scrutinies={KEY: replace(tested, reason="a rule fixed every choice")})
    page = build(shown).html
    assert "a rule fixed every choice" in page
    assert "--scrutiny" not in page


@pytest.mark.slow
def test_the_command_adds_it_and_nothing_else_changes(
    audited: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kills an option that is not passed on, one that changes a finding, and bytes that differ twice."""
    run = copy_of(audited, tmp_path)
    meta = rundir.read_meta(run)
    first = next(f for f in rundir.read_findings(run) if f.status == "found" and f.counted)
    rundir.write_findings(run, [first], (), run_id=meta.run_id)
    assert knock(capfd, "report", run, "--quiet").code == 0
    plain = json.loads((run / "report.json").read_text())
    assert plain["scrutiny"] == []
    texts = []
    for _ in range(2):
        assert knock(capfd, "report", run, "--scrutiny", "--quiet").code == 0
        texts.append((run / "report.html").read_bytes() + (run / "report.json").read_bytes())
    assert texts[0] == texts[1]
    full = json.loads((run / "report.json").read_text())
    assert [s["action"] for s in full["scrutiny"]] == [first.action]
    assert full["scrutiny"][0]["placebos"]
    assert full["findings"] == plain["findings"]
    assert b"the sign holds" in texts[0]
