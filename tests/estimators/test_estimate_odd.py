"""Odd logs: whatever is missing, constant, nested or misplaced, an estimate or a reason comes out."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
import shadowprice as sp
from asking import PRICED
from hypothesis import given, settings
from hypothesis import strategies as st
from shadowprice.schemas.columns import REPEATED_CONTEXT
from shadowprice.schemas.records import GRADES
from worlds import decisions, router_world

ROW = pl.int_range(pl.len())
Change = Callable[[pl.DataFrame], pl.DataFrame]


def with_column(name: str, value: pl.Expr) -> Change:
    """The change that sets one column."""
    return lambda frame: frame.with_columns(value.alias(name))


def as_agent(frame: pl.DataFrame) -> pl.DataFrame:
    """The same log as optional agent steps, two to a request."""
    return frame.with_columns(
        layer=pl.lit("agent"),
        decision_point=pl.lit("verify"),
        request_id=pl.format("r{}", ROW // 2),
        action=pl.when(ROW % 2 == 0).then(pl.lit("skip")).otherwise(pl.lit("verify")),
    )


CHANGES: dict[str, Change] = {
    "no quality": with_column("quality", pl.lit(None, dtype=pl.Float64)),
    "every quality is 1": with_column("quality", pl.lit(1.0)),
    "no cost": with_column("cost_usd", pl.lit(None, dtype=pl.Float64)),
    "no incident": with_column("incident", pl.lit(value=False)),
    "constant latency": with_column("latency_s", pl.lit(5.0)),
    "a third, rare action": with_column(
        "action", pl.when(ROW < 20).then(pl.lit("huge")).otherwise(pl.col("action"))
    ),
    "an all-null feature": with_column("x_null", pl.lit(None, dtype=pl.String)),
    "a feature of ids": with_column("x_id", pl.format("id{}", ROW)),
    "a feature of NaN": with_column("x_nan", pl.when(ROW % 2 == 0).then(float("nan")).otherwise(1.0 * ROW)),
    "a flag": with_column("x_flag", ROW % 5 == 0),
    "contexts of four": with_column(REPEATED_CONTEXT, pl.format("c{}", ROW // 4)),
    "one in a million kept": with_column("keep_prob", pl.lit(1e-6)),
    "a third fixed by a rule": with_column(
        "propensity_source", pl.when(ROW % 3 == 0).then(pl.lit("deterministic"))
    ),
    "estimated elsewhere": with_column("propensity_source", pl.lit("estimated")),
    "one session": with_column("session_id", pl.lit("s")),
    "many tenants": with_column("tenant_id", pl.format("t{}", ROW % 33)),
    "task classes": with_column("x_task_class", pl.format("k{}", ROW % 2)),
    "agent steps": as_agent,
}


@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=4, unique=True),
    n=st.sampled_from([31, 65, 130, 260]),
    logged=st.booleans(),
    priced=st.booleans(),
)
def test_an_odd_log_gives_estimates_or_reasons_and_never_an_accident(
    changes: list[str], n: int, logged: bool, priced: bool
) -> None:
    """Kills an error, a warning, a NaN or a value without interval on any mixture of odd columns."""
    frame = router_world(n, n=n, logged=logged).frame
    for name in changes:
        frame = CHANGES[name](frame)
    est = sp.estimate(frame, config=PRICED if priced else None)
    for e in est.where():  # every record checks its interval and reason at birth
        assert e.grade in GRADES
    assert est.coverage["decisions"].sum() == n
    numbers = est.ledger.select(pl.col(pl.Float64))
    assert not numbers.select(pl.any_horizontal(pl.all().is_nan().any())).item()
    assert est.ledger.filter(pl.col("dq").is_null() & pl.col("dc").is_null())["reason"].null_count() == 0


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_decisions_is_refused_quietly(n: int) -> None:
    """Kills a division by zero in tiny logs."""
    est = sp.estimate(decisions(n, quality=[1.0] * n))
    assert set(est.coverage["grade"]) == {"N"}
    assert est.ledger.is_empty()
