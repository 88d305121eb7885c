"""One decision explained: its terms add up, and what may not be said is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from shadowprice import rundir
from shadowprice.looking import config_of
from shadowprice.reports.explain import Explanation, explain, task_value, terms
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.records import Finding
from shadowprice.schemas.store import open_store
from shadowprice.schemas.tables import arrow_schema

from tests.reports.factory import PRICED, Case, estimates

ENTRY = {
    "action": "frontier",
    "baseline": "cheap",
    **{f"{name}{end}": None for name in ("dq", "dc", "dl", "dr") for end in ("", "_lower", "_upper")},
    "reason": None,
}


def frame(table: str, *rows: dict[str, object]) -> pl.DataFrame:
    """Rows of a shared table, with x_tier beside the fixed columns of decisions."""
    empty = pl.from_arrow(arrow_schema(table).empty_table())
    assert isinstance(empty, pl.DataFrame)
    schema = {**empty.schema, **({"x_tier": pl.String()} if table == "decisions" else {})}
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


def one_decision(
    *cases: Case, segment: str = "all", findings: tuple[Finding, ...] = (), **columns: object
) -> Explanation:
    """The explanation of one router decision that took the cheap model."""
    row = {"decision_id": "d1", "layer": "router", "decision_point": "model", "action": "cheap", **columns}
    entry = {
        **row,
        "action": "frontier",
        "baseline": "cheap",
        "dq": 0.02,
        "dq_lower": 0.01,
        "dq_upper": 0.03,
        "dc": 0.08,
        "dc_lower": 0.07,
        "dc_upper": 0.09,
        "dl": 1.0,
        "dl_lower": 0.5,
        "dl_upper": 1.5,
        "dr": 0.001,
        "dr_lower": 0.0,
        "dr_upper": 0.002,
        "nmv": 0.24 - 0.08 - 0.002 - 0.04,
        "nmv_lower": 0.0,
        "nmv_upper": 0.2,
        "grade": "A",
        "segment": segment,
    }
    ledger = frame("ledger", {k: v for k, v in entry.items() if k in arrow_schema("ledger").names})
    est = estimates(*cases)
    decisions = frame("decisions", row)
    return explain("d1", decisions, ledger, est.contrasts, est.coverage, config=PRICED, findings=findings)


def test_the_terms_of_every_ledger_row_add_up_to_its_net_value(audited: Path) -> None:
    """Kills: a sign of one term, the V of another class, a price that the estimates did not use."""
    config = config_of(rundir.read_meta(audited))
    rows = open_store(audited).decisions().select("decision_id", config.task_class).collect()
    ledger = pl.read_parquet(audited / rundir.LEDGER).join(rows, on="decision_id")
    known = 0
    for entry in ledger.iter_rows(named=True):
        found = terms(entry, task_value(entry, config), config, {})
        parts = [t.usd for t in found]
        if entry["nmv"] is None:
            assert None in parts
            assert all(t.reason for t in found if t.usd is None)
            continue
        known += 1
        assert sum(p for p in parts if p is not None) == pytest.approx(entry["nmv"], rel=1e-9, abs=1e-12)
        assert None not in parts
        assert all(t.usd_lower <= t.usd <= t.usd_upper for t in found)  # pyright: ignore[reportOptionalOperand]
    assert known > 1000


def test_a_term_without_a_price_counts_zero_and_one_without_a_value_counts_nothing() -> None:
    """Kills: an unpriced latency that makes the sum unknown, and a missing V that passes for 0."""
    entry = {
        **ENTRY,
        "dq": 0.1,
        "dq_lower": 0.0,
        "dq_upper": 0.2,
        "dc": 0.5,
        "dc_lower": 0.4,
        "dc_upper": 0.6,
    }
    quality, cost, latency, risk = terms(entry, None, parse_config({}), {})
    assert (quality.usd, quality.reason) == (None, "no task value V is set")
    assert (cost.usd, cost.usd_lower, cost.usd_upper) == (-0.5, -0.6, -0.4)
    assert (latency.usd, risk.usd) == (0.0, 0.0)
    missing = terms(ENTRY, 3.0, parse_config({}), {"quality": "no label"})[0]
    assert (missing.usd, missing.reason) == (None, "no label")


def test_the_value_of_a_task_is_that_of_its_class_else_the_default() -> None:
    """Kills: the default that hides a class, and a class that another column names."""
    config = parse_config(
        {"prices": {"task_value": "3 USD/task", "task_value_by_class": {"a": "7 USD/task"}}}
    )
    assert task_value({"x_task_class": "a"}, config) == 7.0
    assert task_value({"x_task_class": "b"}, config) == 3.0
    assert task_value({}, parse_config({})) is None


def test_a_small_slice_of_a_tenant_is_not_told() -> None:
    """Kills: the segment, the volume or the findings of a handful of users in an explanation."""
    small = Case(segment="tenant_id=acme", clusters=3, n=40)
    finding = Finding(
        mode="under_routing",
        status="found",
        layer="router",
        decision_point="model",
        segment="tenant_id=acme",
        grade="A",
        action="frontier",
        baseline="cheap",
        direction="under",
    )
    told = one_decision(
        Case(), small, segment="tenant_id=acme", tenant_id="acme", findings=(finding,)
    ).decisions[0]
    assert "acme" not in str(told)
    assert (told.worths[0].comparable, told.worths[0].clusters, told.findings) == (None, None, ())
    large = replace(small, clusters=30)
    shown = one_decision(Case(), large, segment="tenant_id=acme", tenant_id="acme", findings=(finding,))
    assert shown.decisions[0].worths[0].comparable == 40
    assert shown.decisions[0].findings == (finding,)


def test_only_findings_that_move_this_decision_are_named() -> None:
    """Kills: a finding about another segment, another arm, or the reverse move."""
    base = Finding(
        mode="under_routing",
        status="found",
        layer="router",
        decision_point="model",
        segment="x_tier=gold",
        grade="A",
        action="frontier",
        baseline="cheap",
        direction="under",
    )
    others = (
        replace(base, segment="x_tier=free"),
        replace(base, direction="over"),
        replace(base, decision_point="verify"),
        replace(base, status="none_found"),
    )
    told = one_decision(Case(), x_tier="gold", findings=(base, *others)).decisions[0]
    assert told.findings == (base,)
