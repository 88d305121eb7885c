"""`shadowprice plan-exploration`: what to randomise next."""

from __future__ import annotations

from pathlib import Path

import pytest
from door import copy_of, knock

Capture = pytest.CaptureFixture[str]


def test_a_plan_keeps_to_its_budget_and_says_what_it_will_show(audited: Path, capfd: Capture) -> None:
    """Kills: a plan without a cost, a width, or the contrasts that it leaves open."""
    said = knock(capfd, "plan-exploration", audited, "--budget", "100", "--days", "90", "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    data = said.json["data"]
    assert 0 < data["cost_usd"] <= 100
    assert data["lines"]
    assert all(line["half_width"] > 0 and 0 < line["rate"] <= 0.2 for line in data["lines"])
    assert all(left["reason"] for left in data["left_out"])
    told = knock(capfd, "plan-exploration", audited, "--budget", "100", "--days", "90")
    assert told.code == 0
    assert "let a fair coin decide" in told.out.replace("\n", " ")
    assert "stay open" in told.out


@pytest.mark.parametrize(
    "wrong", [["--budget", "0"], ["--budget", "x"], [], ["--budget", "9", "--days", "-1"]]
)
def test_a_plan_without_a_budget_ends_with_two(wrong: list[str], audited: Path, capfd: Capture) -> None:
    """Kills: a default budget that nobody chose."""
    said = knock(capfd, "plan-exploration", audited, *wrong)
    assert (said.code, said.out) == (2, "")
    assert "days" in said.err if "--days" in wrong else "budget" in said.err


def test_a_plan_that_settles_nothing_ends_with_three(audited: Path, capfd: Capture) -> None:
    """Kills: an empty plan that looks like success."""
    said = knock(capfd, "plan-exploration", audited, "--budget", "0.000001", "--json")
    assert (said.code, said.json["status"]) == (3, "not_identified")


def test_a_run_without_estimates_names_the_verb_to_run(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a traceback for a run that was killed half-way."""
    copy = copy_of(audited, tmp_path)
    (copy / "states" / "meta.json").unlink()
    said = knock(capfd, "plan-exploration", copy, "--budget", "9")
    assert said.code == 2
    assert "shadowprice estimate" in said.err
