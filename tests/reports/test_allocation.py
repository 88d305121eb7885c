"""What was taken beside what was best, and how much of the log an estimate rests on."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
from shadowprice.reports.allocation import allocation_charts, best_action, realised
from shadowprice.reports.page import build
from shadowprice.reports.samples import sample_chart
from shadowprice.schemas.config import Config, parse_config

from tests.reports.factory import Case, estimates
from tests.reports.test_page import view

WINS = Case(segment="x_task_class=a", theta=(0.05, 0.01, 0.0, 0.0))
OPEN = Case(segment="x_task_class=b", theta=(0.001, 0.011, 0.5, 0.0), sd=(0.01, 0.01, 0.05, 0.0001))


def taken(**counts: tuple[float, float]) -> pl.DataFrame:
    rows = [
        ("router", "model", f"x_task_class={name}", action, count)
        for name, pair in counts.items()
        for action, count in zip(("frontier", "cheap"), pair, strict=True)
    ]
    return pl.DataFrame(
        rows, schema=["layer", "decision_point", "segment", "action", "decisions"], orient="row"
    )


def test_only_slices_where_an_action_stands_out_are_judged() -> None:
    """Kills a winner named where the interval covers 0, and a share of the wrong action."""
    (chart,) = allocation_charts(estimates(WINS, OPEN), taken(a=(30.0, 70.0), b=(50.0, 50.0)))
    assert chart.title == (
        "router · model: 30 % of decisions took the best action of their slice, "
        "in the 1 of 2 slices where one stands out"
    )
    marked = [row[:4] for row in chart.table.rows if row[-1] == "best"]
    assert marked == [("x_task_class=a", "frontier", "30", "30 %")]


def test_a_best_action_must_beat_every_other_one_in_both_directions_of_a_contrast() -> None:
    """Kills a best against the baseline alone, and a contrast that is read only one way."""
    won, lost = {"lower": 0.1, "upper": 0.9}, {"lower": -0.9, "upper": -0.1}
    assert best_action({("b", "a"): won, ("c", "a"): won}) is None
    assert best_action({("b", "a"): won, ("c", "a"): won, ("c", "b"): lost}) == "b"
    assert best_action({("b", "a"): lost, ("c", "a"): lost}) == "a"
    assert best_action({("b", "a"): {"lower": None, "upper": None}}) is None


def test_counts_stand_for_what_the_log_did_not_keep() -> None:
    """Kills counts of rows where the log was sampled, and slices by a column that was not asked for."""
    frame = pl.DataFrame(
        {
            "layer": ["router"] * 3,
            "decision_point": ["model"] * 3,
            "action": ["a", "a", "b"],
            "keep_prob": [0.5, None, 0.25],
            "x_kind": ["k", "k", None],
            "x_other": ["o"] * 3,
        }
    )
    counted = realised(frame.lazy(), parse_config({"segments": ["x_kind"]}))
    assert counted.rows() == [("router", "model", "x_kind=k", "a", 3.0)]
    assert realised(frame.lazy(), Config()).is_empty()


def test_small_slices_are_not_counted_on_the_page() -> None:
    """Kills a tenant's counts that stay where its estimates were taken out, or were never made."""
    cases = [
        Case(segment=f"tenant_id={n}", clusters=c) for n, c in (("smallco", 3), ("midco", 20), ("bigco", 40))
    ]
    names = [*(c.segment for c in cases), "tenant_id=unseen"]
    rows = [("router", "model", name, "cheap", 5.0) for name in names]
    counts = pl.DataFrame(rows, schema=list(taken().columns), orient="row")
    made = build(replace(view(Case(), *cases), allocation=counts))
    for name in ("smallco", "midco", "unseen"):
        assert name not in made.html + made.json
    assert [row["segment"] for row in json.loads(made.json)["allocation"]] == ["tenant_id=bigco"]


def test_the_effective_size_stands_beside_n() -> None:
    """Kills n passing for the size of the evidence."""
    chart = sample_chart(estimates(Case(n=4000)))
    assert chart is not None
    assert "50 %" in chart.title
    assert chart.table.rows[0][1:] == ("4,000", "40", "2,000", "50 %")
    assert sample_chart(estimates(Case(grade="N"))) is None


def test_nothing_is_drawn_without_counts() -> None:
    """Kills an empty chart for a report made by hand."""
    assert allocation_charts(estimates(WINS), taken()) == ()
