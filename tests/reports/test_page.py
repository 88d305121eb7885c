"""The report: safe with hostile logs, small, the same bytes twice, complete without scripts."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.diagnose import DETECTORS, diagnose
from shadowprice.reports.markdown import MAX_BYTES
from shadowprice.reports.names import mode_name
from shadowprice.reports.page import build
from shadowprice.reports.view import ALLOCATION, Report, RunView
from shadowprice.schemas.config import Config

from tests.reports.factory import PRICED, UNPRICED, Case, estimates

SCRIPT = "<script>alert(1)</script>"
BREAK = '"><img src=x onerror=alert(1)>'
ANSI = "\x1b[2J\x1b]8;;evil\x07"
BIDI = "safe\u202egnp.exe\u2066"
MARKUP = "| https://x.test www.x.test `x` [a](javascript:alert(1)) @everyone <b>"
HOSTILE = (SCRIPT, BREAK, ANSI, BIDI, MARKUP)
MANIFEST: dict[str, Any] = {
    "sources": [
        {
            "name": "logs.jsonl",
            "digest": "ab" * 32,
            "format": "litellm",
            "rows": {"decisions": 10, "outcomes": 4},
            "quarantined": 2,
            "ignored": {"overhead call": 3},
        }
    ],
    "refused": [{"name": "core.jsonl", "error": "not text"}],
    "counts": {"decisions": 10, "outcomes": 4, "engine_steps": 0, "quarantined": 2, "duplicates": 1},
    "links": {"quality_name": "resolved", "outcomes": 4, "linked": 3, "unlinked": 1},
    "unpriced": {"decisions": 1, "tokens": 21_000},
    "price_book": "2026-11-19",
}
VERIFY = Case(layer="agent", decision_point="verify", action="verify", baseline="skip", grade="A")


def view(*cases: Case, config: Config = PRICED, **more: Any) -> RunView:
    est = estimates(*(cases or (Case(), VERIFY)), config=config)
    prices = fit_prices(est, config, run_id="7f3a")
    found = diagnose(est, prices, config)
    provenance = {"run_id": "7f3a", "seed": 7, "versions": {"polars": "2"}}
    whole = RunView(est=est, prices=prices, findings=found, manifest=MANIFEST, provenance=provenance)
    return replace(whole, **more)


def hostile_view() -> RunView:
    cases = [
        Case(segment=f"x_task_class={name}", action=name + "A", baseline=name + "B", reason=name)
        for name in HOSTILE
    ]
    base = view(*cases, replace(cases[0], grade="N", segment="x_task_class=" + SCRIPT + "2"))
    bad = " ".join(HOSTILE)
    ledger = base.est.ledger.with_columns(decision_id=pl.lit(bad) + pl.col("decision_id"))
    manifest = {
        **MANIFEST,
        "sources": [{"name": bad, "format": bad, "rows": {bad: 1}, "ignored": {bad: 2}, "digest": bad}],
        "refused": [{"name": bad, "error": bad}],
        "price_book": bad,
        "links": {**MANIFEST["links"], "quality_name": bad},
    }
    est = replace(base.est, ledger=ledger, notes=(bad,))
    return replace(base, est=est, manifest=manifest, provenance={"run_id": bad, "config": {bad: bad}})


class Tags(html.parser.HTMLParser):
    """Every tag of a page with its attributes, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def report() -> Report:
    return build(view())


@pytest.fixture(scope="module")
def hostile() -> Report:
    return build(hostile_view())


def test_no_name_from_the_logs_becomes_a_tag_or_an_attribute(hostile: Report) -> None:
    """Kills autoescape off, in HTML, attributes and SVG alike."""
    tags = Tags(hostile.html).tags
    names = {tag for tag, _ in tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "form", "b"}
    for tag, attributes in tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert key not in ("href", "src", "xlink:href") or (tag, key, value) == ("a", "href", "#report")
            assert "javascript:" not in (value or "") or key in ("aria-label", "title", "data-label")


def test_invisible_characters_are_spelled_out(hostile: Report) -> None:
    """Kills a bidi override that reorders the page and an escape code that reaches a terminal."""
    for text in (hostile.html, hostile.markdown, hostile.json):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f]", text)
    assert "⟨U+202E⟩" in hostile.html
    assert "⟨U+001B⟩" in hostile.markdown


def test_markdown_is_inert(hostile: Report) -> None:
    """Kills a name that opens a column, a link, a code span, HTML or a mention."""
    text = hostile.markdown
    assert "<" not in text
    assert "@everyone" not in text
    assert not re.search(r"(?<!\\)\[a", text)
    assert "://" not in text
    assert "www." not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    breaks = [i for i, line in enumerate(rows) if set(line) <= set("|-: ")]
    for i in breaks:
        assert widths[i - 1] == widths[i]
        later = next((j for j in breaks if j > i), len(rows) + 1) - 1
        assert set(widths[i:later]) == {widths[i]}


def test_json_holds_no_closing_tag_and_no_line_separators(hostile: Report) -> None:
    """Kills a JSON that ends a script element when someone embeds it."""
    assert "</" not in hostile.json
    assert hostile.json.isascii()
    assert json.loads(hostile.json)["schema_version"] == "1"


def test_the_same_view_gives_the_same_bytes(report: Report) -> None:
    """Kills a clock, a random id or a set order on the page."""
    assert build(view()) == report


def test_the_policy_stands_before_anything_it_should_govern(report: Report) -> None:
    """Kills a CSP after the style, or one that allows scripts."""
    tags = Tags(report.html).tags
    place = next(i for i, (t, a) in enumerate(tags) if a.get("http-equiv") == "Content-Security-Policy")
    assert place <= 4
    policy = tags[place][1]["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_nothing_is_fetched(report: Report) -> None:
    """Kills a CDN, a font and a namespace URL."""
    assert not re.search(r"https?:|@import|url\((?!#)|//[a-z]+\.", report.html)


def test_the_evidence_comes_first_and_the_number_has_its_interval(report: Report) -> None:
    """Kills a headline above the evidence bar, or a bare number."""
    page = report.html
    order = [
        page.index(s) for s in ('class="scope"', 'class="evidence"', "<h1>", "<h2>Findings", "Looked for")
    ]
    assert order == sorted(order)
    heading = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert heading is not None
    assert "Recoverable: $148" in heading.group(1)
    assert "95 % interval" in heading.group(1)
    assert "V = 12 USD/task" in heading.group(1)


def test_every_drawing_has_a_title_and_a_table(report: Report) -> None:
    """Kills a chart that only eyes can read."""
    figures = re.findall(r"<figure.*?</figure>", report.html, re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        assert re.search(r"<figcaption>.+</figcaption>", figure)
        assert "<svg" in figure
        assert 'role="img"' in figure
        assert "<table>" in figure


def test_each_of_the_seven_failures_is_found_or_stands_with_what_could_be_seen(report: Report) -> None:
    """Kills a failure mode that the page does not mention, which would pass as a clean bill."""
    assert len(DETECTORS) == 7
    for detector in DETECTORS:
        assert mode_name(detector.QUESTION.mode) in report.html
    assert "could have seen" in report.html
    assert "80 % power" in report.html


def test_refused_contrasts_stand_on_the_page_with_reason_and_advice() -> None:
    """Kills a page that shows only what worked."""
    page = build(view(Case(grade="N", reason="no overlap: effective sample size 3"))).html
    assert page.count("no overlap: effective sample size 3") >= 2
    assert "log the propensity of every candidate" in page
    assert "none of the checks is identified" in page
    assert "Nothing could be decided" in page
    assert "Nothing was found" not in page


def test_without_a_task_value_the_page_gives_break_even_values() -> None:
    """Kills dollars at an invented V."""
    made = build(view(Case(theta=(0.05, 0.085, 0.5, 0.0)), config=UNPRICED))
    assert "no task value V is set" in made.html
    assert "pays if a solved task is worth more than this" in made.html
    assert "$1.70" in made.html
    assert "Break-even task values" in made.markdown
    assert "Recoverable" not in made.html


def test_unknown_cost_is_never_shown_as_no_dollars() -> None:
    """Kills '$0' for spend that no log states."""
    base = view(Case(grade="N"))
    coverage = base.est.coverage.with_columns(
        spend_usd=pl.lit(0.0), unpriced_decisions=pl.lit(0), unpriced_tokens=pl.lit(0)
    )
    page = build(replace(base, est=replace(base.est, coverage=coverage))).html
    assert "No cost is known" in page
    assert "$0" not in page
    assert "of decisions have an estimate" in page


def test_what_ingest_counted_is_on_the_page(report: Report) -> None:
    """Kills silent loss: quarantined rows, refused files and unlinked outcomes."""
    for text in ("core.jsonl", "not text", "overhead call", "3 of 4 (75 %)", "21,000"):
        assert text in report.html


def test_an_empty_run_still_has_a_page() -> None:
    """Kills a crash where nothing is known."""
    empty = view()
    est = replace(
        empty.est,
        contrasts=empty.est.contrasts.clear(),
        ledger=empty.est.ledger.clear(),
        joint=empty.est.joint.clear(),
        gains=empty.est.gains.clear(),
        coverage=empty.est.coverage.clear(),
        overlap=empty.est.overlap.clear(),
        window=(None, None),
    )
    prices = fit_prices(est, PRICED)
    made = build(RunView(est=est, prices=prices, findings=diagnose(est, prices, PRICED)))
    assert "no data" in made.html
    assert "No dollar figure" in made.markdown


def test_a_million_decisions_in_two_hundred_segments_fit_in_a_megabyte() -> None:
    """Kills a page that carries its data, and a comment that GitHub refuses."""
    cases = [
        Case(
            segment=f"x_task_class=a long class name with number {i:03d}",
            clusters=12,
            theta=(0.05, 0.085, 0.5, 0.0),
            n=1_000_000,
            moved=500_000.0,
        )
        for i in range(200)
    ]
    rows = [("router", "model", c.segment, arm, 1e6 / 200) for c in cases for arm in (c.action, c.baseline)]
    taken = pl.DataFrame(rows, schema=ALLOCATION, orient="row")
    made = build(view(Case(n=1_000_000), *cases, allocation=taken))
    assert len(made.html.encode()) < 1_000_000
    assert len(made.markdown.encode()) < MAX_BYTES
    assert "more rows in report.json" in made.markdown
    assert len(json.loads(made.json)["estimates"]) == 201 * 5


def test_names_of_any_length_do_not_grow_the_page() -> None:
    """Kills a 1 MB model name."""
    made = build(view(Case(action="m" * 1_000_000)))
    assert len(made.html.encode()) < 1_000_000
    assert "more characters" in made.html


def test_the_truth_of_a_simulated_world_stands_beside_the_estimate_and_is_called_simulated() -> None:
    """Kills passing a simulation off as a log, and a truth of another estimand."""
    truth = pl.DataFrame(
        [
            {
                "layer": "router",
                "decision_point": "model",
                "segment": "all",
                "action": "frontier",
                "baseline": "cheap",
                "quantity": q,
                "ate": 9.0,
                "ate_overlap": 9.0,
                "ato": ato,
                "over_usd": 150.0 if q == "net" else None,
                "under_usd": -150.0 if q == "net" else None,
            }
            for q, ato in (("quality", 0.0012), ("cost", 5.0), ("net", -0.07))
        ]
    )
    made = build(view(Case(), truth=truth))
    assert "simulated logs, truth known" in made.html
    assert "+0.12 pt" in made.html
    assert "2 of 3 intervals hold it" in made.html
    assert "$150" in made.html
    assert "Simulated logs" in made.markdown


def test_slices_of_few_tenants_are_hidden_with_their_complement() -> None:
    """Kills pointing at one tenant, directly or by subtraction."""
    cases = [
        Case(segment=f"tenant_id={name}", clusters=size)
        for name, size in (("smallco", 4), ("midco", 20), ("bigco", 40))
    ]
    made = build(view(Case(), *cases))
    for text in (made.html, made.markdown, made.json):
        assert "smallco" not in text
        assert "midco" not in text
        assert "bigco" in text
    assert "2 slices hidden" in made.html


def test_grades_have_their_own_colours_in_both_themes() -> None:
    """Kills a lower grade that borrows the colour of a higher one."""
    from shadowprice.reports.numbers import GRADE_DARK, GRADE_LIGHT

    assert len(set(GRADE_LIGHT.values())) == 5
    assert len(set(GRADE_DARK.values())) == 5


def test_a_browser_opens_the_page_without_a_complaint(tmp_path: Path, hostile: Report) -> None:
    """Kills a page that its own policy blocks, or whose names run as code."""
    browser = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
    if browser is None:
        pytest.skip("no chromium or chrome on this machine")
    page = tmp_path / "report.html"
    page.write_text(hostile.html, encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in run.stderr
    assert "Looked for and not found" in run.stdout
    assert "<script" not in run.stdout
