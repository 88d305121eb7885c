"""Many rows are judged exactly as each of them alone: the fast way round must not let a bad row through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shadowprice.errors import SchemaError
from shadowprice.ingest.batch_checks import problems
from shadowprice.ingest.checks import COLUMNS, problem
from shadowprice.ingest.seam import Table

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD: list[Any] = [
    *(None, "", "a", "\ud800", "\udc00", "é", "x" * 65_537, "router", "logged", b"bytes"),
    *(0, 1, -1, 2**63 - 1, 2**63, -(2**63), 10**400, True, False, 0.0, 0.5, 1.0, 1.5, -0.1),
    *(
        float("nan"),
        float("inf"),
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=2))),
    ),
    *(
        [],
        ["a"],
        ["a", "b"],
        ("a", "b"),
        ["a", "a"],
        ["a", 3],
        [0.5, 0.5],
        [0.2, 0.2],
        [1, 0],
        [True, False],
        [["a"]],
    ),
    *([0.0, 1.0], {"a": 1}),
]
GOOD: dict[Table, dict[str, Any]] = {
    "decisions": {"decision_id": "d", "layer": "router", "decision_point": "model", "action": "a"},
    "outcomes": {"request_id": "r", "name": "resolved", "value": 1.0},
    "contexts": {"request_id": "r"},
    "engine_steps": {"replica": "e", "ts": NOON, "step_s": 0.1},
}


@st.composite
def batches(draw: st.DrawFn) -> tuple[Table, list[dict[str, Any]]]:
    """Good rows of one table, some with odd values in any column."""
    table = draw(st.sampled_from(list(GOOD)))
    names = [*COLUMNS[table], *(["x_a", "x_b", "x_BAD"] if table in ("decisions", "contexts") else [])]
    change = st.dictionaries(st.sampled_from(names), st.sampled_from(ODD), max_size=3)
    return table, [{**GOOD[table], **changed} for changed in draw(st.lists(change, min_size=1, max_size=6))]


@settings(max_examples=1500, deadline=None)
@given(batches())
def test_many_rows_are_judged_as_each_alone(batch: tuple[Table, list[dict[str, Any]]]) -> None:
    """Kills every column test that is laxer than the test of one cell, or hides the reason of a row."""
    table, rows = batch
    alone = {i: reason for i, row in enumerate(rows) if (reason := problem(table, row)) is not None}
    assert problems(table, rows) == alone


def test_a_surrogate_pair_split_over_two_rows_is_found() -> None:
    """Kills judging texts only by what they are when joined, where two halves make a whole."""
    rows = [{**GOOD["decisions"], "action": text} for text in ("a\ud83d", "\ude00b")]
    assert len(problems("decisions", rows)) == 2


def test_many_features_over_few_rows_are_counted_by_row() -> None:
    """Kills refusing rows for the number of columns that the batch has together."""
    rows = [{**GOOD["decisions"], **{f"x_{i}_{j}": 1 for j in range(300)}} for i in range(3)]
    assert problems("decisions", rows) == {}


def test_a_column_that_no_table_has_is_a_mistake_of_the_reader() -> None:
    """Kills storing, or quarantining, what a reader invents."""
    with pytest.raises(SchemaError, match="'invented'"):
        problems("decisions", [GOOD["decisions"], {**GOOD["decisions"], "invented": 1}])
