"""The report in a real browser: quiet, accessible, readable on a phone, in print and without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.browser.opened import DESKTOP, PHONE, SCHEMES, opened, unfold
from tests.browser.screenshots import MAX_BYTES, SIZES, take

RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS: Final = [(size, scheme) for size in (DESKTOP, PHONE) for scheme in SCHEMES]
AUDIT: Final = "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})"
WIDER: Final = """() => [...document.querySelectorAll('body *')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .drawing'))
  .map(e => e.outerHTML.slice(0, 120))"""
PLACE: Final = """e => {
  const beside = e.closest('.wide > *, .small > *') ?? e;
  return [beside, e].flatMap(x => (b => [b.top + scrollY, b.left])(x.getBoundingClientRect()));
}"""
"""Where a stop is read: charts that stand side by side are read one after the other."""
SEEN: Final = "e => (b => b.width > 0 && b.height > 0 && b.top >= 0)(e.getBoundingClientRect())"


@pytest.fixture(scope="module")
def report(audited: Path) -> Path:
    """The page of a complete run over four layers."""
    return audited / "report.html"


def complaints(page: Page) -> list[str]:
    """What axe-core finds wrong, one line per rule, with the first element it is about."""
    page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate(AUDIT, RULES)["violations"]
    return [f"{v['id']} ({len(v['nodes'])}): {v['nodes'][0]['html'][:200]}" for v in found]


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_opens_from_disk_and_asks_for_nothing(
    browser: Browser, report: Path, size: tuple[int, int], scheme: str
) -> None:
    """Kills: a console error, a policy that blocks the page's own style, a font or script from elsewhere."""
    with opened(browser, report, size=size, scheme=scheme) as (page, heard):
        unfold(page)
        assert page.title() == "shadowprice report"
        assert heard.everything() == []


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_it_is_accessible(browser: Browser, report: Path, size: tuple[int, int], scheme: str) -> None:
    """Kills: text too faint in one of the schemes, a table without headings, a drawing without a name."""
    with opened(browser, report, size=size, scheme=scheme, bypass_csp=True) as (page, _):
        unfold(page)
        assert complaints(page) == []


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_nothing_is_wider_than_the_window(
    browser: Browser, report: Path, size: tuple[int, int], scheme: str
) -> None:
    """Kills: a page that a reader on a phone must push sideways."""
    with opened(browser, report, size=size, scheme=scheme) as (page, _):
        unfold(page)
        assert page.evaluate(WIDER) == []
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def test_five_questions_are_answered_without_scrolling(browser: Browser, report: Path) -> None:
    """Kills: a first screen on which one of how much, how sure, where and what to do is below the fold."""
    with opened(browser, report) as (page, _):
        answers = {
            "how much can you speak about": ".evidence figcaption",
            "how much is recoverable": "h1",
            "how sure": "h1 strong",
            "at which prices": "h1 span",
            "where": ".findings tbody tr:first-child td:nth-child(3)",
            "graded": ".findings tbody tr:first-child .chip",
            "what do I change": ".findings tbody tr:first-child td:last-child",
            "and the next": ".findings tbody tr:nth-child(3) td:last-child",
        }
        for question, where in answers.items():
            box = page.locator(where).first.bounding_box()
            assert box is not None, question
            assert box["y"] + box["height"] <= DESKTOP[1], question


def test_all_of_it_is_there_without_scripts(browser: Browser, report: Path) -> None:
    """Kills: content that a script fills in, or a fold that needs one to open."""
    with opened(browser, report) as (page, _):
        whole = page.locator("body").inner_text()
        folds = page.locator("details:not([open]) > summary").count()
    with opened(browser, report, java_script_enabled=False) as (page, _):
        assert page.locator("body").inner_text() == whole
        page.locator("details:not([open]) > summary").last.click()
        assert page.locator("details:not([open]) > summary").count() == folds - 1
        assert page.locator("details[open] table").last.bounding_box() is not None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_prints_with_every_fold_open_in_black_on_white(
    browser: Browser, report: Path, scheme: str
) -> None:
    """Kills: a PDF without the folded tables, or a dark page that empties a cartridge."""
    with opened(browser, report, scheme=scheme) as (page, _):
        page.emulate_media(media="print")
        hidden = page.locator("details:not([open]) table")
        assert hidden.count() > 0
        assert all(hidden.nth(i).evaluate(SEEN) for i in range(hidden.count()))
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        paper = page.pdf(format="A4")
        assert paper.startswith(b"%PDF")
        assert paper.count(b"/Type /Page\n") > 5


def test_the_keyboard_reaches_everything_in_reading_order(browser: Browser, report: Path) -> None:
    """Kills: a skip link that goes nowhere, a fold that Tab passes over, a focus that cannot be seen."""
    with opened(browser, report) as (page, _):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert focused.inner_text() == "Skip to the report"
        assert focused.evaluate(SEEN)
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "report"
        stops = page.locator("main summary, main .scroll").filter(visible=True).count()
        places: list[tuple[float, ...]] = []
        for _ in range(min(stops, 25)):
            page.keyboard.press("Tab")
            focused = page.locator(":focus")
            assert focused.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
            places.append(tuple(focused.evaluate(PLACE)))
        assert places == sorted(places)
        page.locator("summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("details").first.get_attribute("open") is not None


def test_every_drawing_and_table_can_be_heard(browser: Browser, report: Path) -> None:
    """Kills: an SVG without role or label, a table without caption or scopes."""
    with opened(browser, report) as (page, _):
        unlabelled = "svg:not([role=img]), svg:not([aria-label]), svg[aria-label='']"
        assert page.locator("svg").count() >= 6
        assert page.locator(unlabelled).count() == 0
        assert page.locator("table:not(:has(> caption))").count() == 0
        assert page.locator("th:not([scope])").count() == 0
        assert page.locator("html").get_attribute("lang") == "en"
        assert (
            page.locator("main").count() == page.locator("header").count() == page.locator("h1").count() == 1
        )


def test_it_is_small(report: Path) -> None:
    """Kills: a page that carries its data."""
    assert report.stat().st_size < 1_000_000


def test_pictures_of_it_are_small_and_differ_by_scheme(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    """Kills a screenshot of a blank page, and a dark scheme that looks like the light one."""
    made = [file.read_bytes() for file in take(browser, report, tmp_path)]
    assert len(set(made)) == len(SIZES) * len(SCHEMES)
    assert all(10_000 < len(picture) < MAX_BYTES for picture in made)
