"""A log that attacks in every string field, through the front door, opened in a real browser."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser
from shadowprice.cli import run

from tests.browser.opened import opened, unfold

BREAKS: Final = (
    "<script>window.hit=1;alert(1)</script>",
    "\"><img src=x onerror='window.hit=2;alert(2)'>",
    "'><svg onload=window.hit=3><style>*{display:none}</style>",
    "</title></style></table></svg><iframe srcdoc='<script>parent.hit=4</script>'>",
    "javascript:window.hit=5//{{7*7}}${7*7}<a href='javascript:window.hit=5' autofocus onfocus=window.hit=5>",
    "\u202e\u2066gnp.exe\x1b]8;;http://x.test\x07\x00\u2028",
)
CONFIG: Final = """
task_class = "x_kind"
segments = ["x_kind", "tenant_id"]
[prices]
task_value = "12 USD/task"
"""
MAPPING: Final = """
format = "jsonl"
layer = "router"
decision_point = "model"

[columns]
decision_id = "id"
request_id = "request"
session_id = "session"
tenant_id = "tenant"
policy_version = "policy"
action = "model"
quality = "score"
cost_usd = {from = "cost", unit = "USD"}
latency_s = {from = "took", unit = "s"}
x_kind = "kind"
x_note = "note"
"""
KNOWN: Final = frozenset(
    (
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "a",
            "header",
            "main",
            "section",
            "h1",
            "h2",
            "h3",
        ),
        *(
            "figure",
            "figcaption",
            "div",
            "p",
            "span",
            "strong",
            "small",
            "code",
            "ul",
            "li",
            "dl",
            "dt",
            "dd",
        ),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("svg", "g", "path", "line", "rect", "text", "tspan", "circle", "defs", "clippath"),
    )
)
"""Every element that a report is made of."""


def hostile_rows(count: int) -> list[dict[str, object]]:
    """Decisions of two models of which the dear one is worth it, so that the report has findings to show."""
    draw = random.Random(5)
    rows: list[dict[str, object]] = []
    for k in range(count):
        strong = draw.random() < 0.5
        attack = [BREAKS[(k + i) % len(BREAKS)] for i in range(6)]
        rows.append(
            {
                "id": f"{attack[0]}{k}",
                "request": f"{attack[1]}{k}",
                "session": f"{attack[2]}{k % 200}",
                "tenant": f"{attack[3]}{k % 40}",
                "policy": attack[4],
                "note": attack[5],
                "kind": BREAKS[k % 2] + "kind",
                "model": BREAKS[2] + "A" if strong else BREAKS[3] + "B",
                "score": float(draw.random() < (0.8 if strong else 0.5)),
                "cost": 0.03 + 0.005 * draw.random() if strong else 0.01,
                "took": 1.0 + draw.random(),
            }
        )
    return rows


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run over that log; its file name attacks too."""
    folder = tmp_path_factory.mktemp("attack")
    log = folder / "<img src=x onerror=alert(6)>.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in hostile_rows(1200)), encoding="utf-8")
    (folder / "m.toml").write_text(MAPPING)
    (folder / "c.toml").write_text(CONFIG)
    command = ["audit", str(log), "--mapping", str(folder / "m.toml"), "--config", str(folder / "c.toml")]
    assert run([*command, "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run" / "report.html"


@pytest.mark.parametrize("bypass_csp", [False, True], ids=["with its policy", "policy switched off"])
def test_a_hostile_log_executes_nothing(browser: Browser, attacked: Path, bypass_csp: bool) -> None:
    """Kills: one string field that is not escaped; without the policy, escaping alone must hold."""
    with opened(browser, attacked, bypass_csp=bypass_csp) as (page, heard):
        unfold(page)
        page.mouse.move(400, 400)
        page.wait_for_timeout(200)
        assert heard.everything() == []
        assert page.evaluate("window.hit") is None
        tags = set(page.evaluate("[...document.querySelectorAll('*')].map(e => e.localName.toLowerCase())"))
        assert tags <= KNOWN
        listeners = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).map(a => a.name)"
        assert not [name for name in page.evaluate(listeners) if name.startswith("on") or name == "style"]
        assert page.locator("style").count() == 1
        assert page.locator("[href]").count() == page.locator("[href='#report']").count() == 1


def test_the_attack_is_shown_as_text(browser: Browser, attacked: Path) -> None:
    """Kills: a test above that passes because the strings never reach the page, and a bidi mark that does."""
    with opened(browser, attacked) as (page, _):
        unfold(page)
        text = page.locator("body").inner_text()
        assert "Recoverable" in text
        for shown in (
            "<script>window.hit=1",
            "<svg onload=window.hit=3>",
            "<iframe srcdoc=",
            "onerror=alert(6)",
        ):
            assert shown in text
        assert not {c for c in text if c in "\u202e\u2066\u2028\x1b\x07\x00"}


def test_a_hostile_log_cannot_widen_the_page(browser: Browser, attacked: Path) -> None:
    """Kills: a name without spaces that pushes the page sideways on a phone."""
    with opened(browser, attacked, size=(360, 780)) as (page, _):
        unfold(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
