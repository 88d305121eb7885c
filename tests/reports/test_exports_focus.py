"""FOCUS: billed facts equal the log to the cent, estimates stay in x_ columns, no cell runs anything."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shadowprice.exporting import offer_of
from shadowprice.reports.exports.export import made_for
from shadowprice.reports.exports.focus import COST_COLUMNS, NAME, read_focus
from shadowprice.reports.exports.losses import LOSSES
from shadowprice.reports.exports.usage import usage_rows
from shadowprice.schemas.store import open_store

from tests.reports.exports_supply import HIDDEN, HOSTILE, supplied

FORMULA = "=cmd|' /C calc'!A0"
STANDARD = re.compile(r"[A-Z][A-Za-z]+")
NOT_NULL = (
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "ServiceCategory",
    "ServiceName",
)
"""Columns that FOCUS 1.2 never lets be null and that a log can know."""


def decisions(*rows: dict[str, Any]) -> pl.LazyFrame:
    """Decisions in the columns that usage reads."""
    blank: dict[str, Any] = {
        "layer": "router",
        "decision_point": "model",
        "action": "cheap",
        "action_executed": None,
        "cost_source": "logged",
        "cost_usd": 0.1,
        "ts": datetime(2026, 11, 3, 12, tzinfo=UTC),
        "tok_input_uncached": 10,
        "tok_cache_read": None,
        "tok_cache_write": None,
        "tok_output": 5,
    }
    kinds = {"action_executed": pl.String, "tok_cache_read": pl.Int64, "tok_cache_write": pl.Int64}
    made = [blank | {"decision_id": f"d{k}"} | row for k, row in enumerate(rows)]
    return pl.DataFrame(made, schema_overrides=kinds).lazy()


def ledger(**segments: str) -> pl.LazyFrame:
    """decision_id -> segment."""
    return pl.LazyFrame({"decision_id": list(segments), "segment": list(segments.values())},
                        schema={"decision_id": pl.String, "segment": pl.String})  # fmt: skip


def loss(decision: str, usd: float, mode: str = "over_routing", grade: str = "A") -> dict[str, Any]:
    ends = {"loss_usd": usd, "lower_usd": usd / 2, "upper_usd": 2 * usd}
    return dict.fromkeys(LOSSES) | {"decision_id": decision, "mode": mode, "grade": grade, **ends}


def losses(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=LOSSES)


def lines(usage: pl.DataFrame) -> list[dict[str, str]]:
    text = made_for(supplied(usage=usage), "focus").files[NAME]
    return list(csv.DictReader(io.StringIO(str(text))))


def test_the_billed_sum_is_the_sum_of_the_logged_costs(audited: Path) -> None:
    """Kills: a cost lost in a join, counted twice by a contrast, or rounded away row by row."""
    _, made = offer_of(audited, target="focus", max_rows=2000)
    rows = list(csv.DictReader(io.StringIO(str(made.files[NAME]))))
    logged = open_store(audited).decisions().filter(pl.col("cost_source") == "logged").collect()
    for column in COST_COLUMNS:
        billed = sum(Decimal(row[column]) for row in rows)
        assert abs(billed - Decimal(repr(logged["cost_usd"].sum()))) < Decimal("0.0001")
    assert sum(int(row["ConsumedQuantity"]) for row in rows) == logged["cost_usd"].drop_nulls().len()


def test_estimates_stand_in_x_columns_and_change_no_billed_one() -> None:
    """Kills: a saving posted as a credit, or taken off a cost."""
    rows = decisions({}, {"cost_usd": 0.25}, {"action": "frontier"})
    plain, _ = usage_rows(rows, ledger(), losses())
    lossy, _ = usage_rows(rows, ledger(), losses(loss("d0", 0.04), loss("d1", 0.02)))
    without, with_loss = lines(plain), lines(lossy)
    changed = {k for a, b in zip(without, with_loss, strict=True) for k in a if a[k] != b[k]}
    assert changed
    assert all(name.startswith("x_Shadow") for name in changed)
    cheap = with_loss[0]
    assert Decimal(cheap["x_ShadowMisallocationUSD"]) == Decimal("0.06")
    assert Decimal(cheap["x_ShadowMisallocationLowerUSD"]) == Decimal("0.03")
    assert cheap["x_ShadowFailureMode"] == "over_routing"
    assert with_loss[1]["x_ShadowMisallocationUSD"] == ""
    assert {row["ChargeCategory"] for row in with_loss} == {"Usage"}


def test_column_rules_of_focus_hold() -> None:
    """Kills: a null where FOCUS forbids one, a custom column without x_, a period without its day."""
    usage, _ = usage_rows(decisions({}, {"ts": datetime(2026, 12, 31, 23, tzinfo=UTC)}), ledger(), losses())
    made = lines(usage)
    for row in made:
        assert all(row[name] for name in NOT_NULL)
        assert all(name.startswith("x_") or STANDARD.fullmatch(name) for name in row)
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        for column in COST_COLUMNS:
            assert re.fullmatch(r"\d+\.\d{9}", row[column])
    assert made[1]["BillingPeriodEnd"] == "2027-01-01T00:00:00Z"
    assert made[0]["x_ConsumedTokens"] == "15"


def test_the_columns_and_types_are_those_that_litellm_emits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a standard column in another spelling, a cost that its decimals cannot hold."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    schema = pytest.importorskip("litellm.integrations.focus.schema").FOCUS_NORMALIZED_SCHEMA
    usage, _ = usage_rows(decisions({"cost_usd": 0.123457}, {"action": "frontier"}), ledger(), losses())
    made = pl.DataFrame(lines(usage))
    standard = [name for name in made.columns if not name.startswith("x_")]
    assert set(standard) <= set(schema)
    decimals = [
        name for name in standard if schema[name] == pl.Decimal(18, 6) and made[name].str.len_bytes().sum()
    ]
    loaded = made.select(pl.col(decimals).cast(pl.Decimal(18, 6)))
    assert loaded["BilledCost"].sum() == Decimal("0.223457")
    assert {*COST_COLUMNS, "ConsumedQuantity", "PricingQuantity"} == set(decimals)


def test_a_model_day_and_segment_have_one_row_each() -> None:
    """Kills: days of another time zone, segments mixed up, a decision with two contrasts counted twice."""
    rows = decisions({}, {}, {"ts": datetime(2026, 11, 4, tzinfo=UTC)}, {"action_executed": "frontier"})
    both = pl.concat([ledger(d0="x_task_class=a", d1="x_task_class=b"), ledger(d0="x_task_class=a")])
    made = lines(usage_rows(rows, both, losses())[0])
    seen = {(r["ChargePeriodStart"][:10], r["ResourceId"], r["Tags"].split('"segment": ')[1]) for r in made}
    assert len(made) == len(seen) == 4
    assert ("2026-11-03", "frontier", '"all"}') in seen
    assert all(row["BilledCost"] == "0.100000000" for row in made)


def test_what_was_never_billed_is_listed_and_not_billed() -> None:
    """Kills: a list price times tokens that becomes an invoice, a decision without a day dropped unseen."""
    rows = decisions({"cost_source": "priced"}, {"ts": None, "cost_usd": 0.5}, {"cost_usd": None}, {})
    usage, left = usage_rows(rows, ledger(), losses())
    assert usage["billed"].sum() == 100_000_000
    assert {one.about: one.reason.partition(",")[0] for one in left} == {
        "1 decisions, 0.10 USD": "priced from a list by ingest",
        "1 decisions, 0.50 USD": "no time",
    }
    nothing = made_for(supplied(usage=usage.clear()), "focus")
    assert not nothing.files
    assert nothing.skipped


def test_slices_of_one_tenant_are_not_named() -> None:
    """Kills: a tenant's name and spend in a file that goes to everybody."""
    usage, _ = usage_rows(decisions({}, {}), ledger(d0="tenant_id=acme", d1="session_id=9"), losses())
    assert usage["segment"].to_list() == ["all"]


@pytest.mark.parametrize("name", [FORMULA, "+1", "-1", "@SUM(1)", HOSTILE])
def test_a_name_cannot_run_in_a_spreadsheet(name: str) -> None:
    """Kills: a model called =cmd|... that a finance team opens."""
    usage, _ = usage_rows(decisions({"action": name}), ledger(), losses(loss("d0", 0.01)))
    (row,) = lines(usage)
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert row["ResourceId"].removeprefix("'") == name


@pytest.mark.parametrize("name", HIDDEN)
def test_a_name_that_hides_something_is_listed_with_its_cost(name: str) -> None:
    """Kills: a line break that starts a row of its own; its cost missing from the sum without a word."""
    usage, left = usage_rows(decisions({"action": name}, {}), ledger(), losses())
    assert usage["model"].to_list() == ["cheap"]
    assert "0.10 USD" in left[0].about


def test_a_file_in_use_is_compared_row_by_row() -> None:
    """Kills: a --diff that reads the leading apostrophe as part of a name, or fails on another's rows."""
    usage, _ = usage_rows(decisions({}, {"action": FORMULA}), ledger(), losses(loss("d0", 0.04)))
    made = made_for(supplied(usage=usage), "focus")
    text = str(made.files[NAME])
    assert read_focus(text, "f") == {e.key: e.value for e in made.evidence}
    assert read_focus("BilledCost,Tags\n1.0,{}\nx,\n", "f") == {}
