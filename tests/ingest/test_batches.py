"""Rows as Arrow tables: the schema's types, and one type per feature."""

from __future__ import annotations

import pyarrow as pa
import pytest
from shadowprice.ingest.batches import feature_kinds, number_as_text, staged_table
from shadowprice.schemas.tables import arrow_schema


def test_a_batch_has_the_columns_that_have_a_value_in_the_type_of_the_schema() -> None:
    """Kills types guessed from the first rows, another order, and columns that are empty in most logs."""
    rows = [{"decision_id": "d", "layer": "agent", "tok_output": 3, "_seq": 1}]
    table = staged_table("decisions", rows)
    schema = arrow_schema("decisions")
    assert table.schema.names == ["decision_id", "layer", "tok_output", "_seq"]
    names = table.schema.names[:-1]
    assert [table.schema.field(name).type for name in names] == [schema.field(name).type for name in names]


def test_numbers_and_flags_are_real_and_one_text_makes_the_feature_text() -> None:
    """Kills losing a text among numbers, or numbers among texts."""
    rows = [
        {"x_a": 1, "x_b": True, "_seq": 1},
        {"x_a": "high", "x_b": 0.5, "_seq": 2},
        {"x_c": None, "_seq": 3},
    ]
    assert feature_kinds(rows) == {"x_a": "text", "x_b": "real"}
    table = staged_table("contexts", [{"request_id": "r", **row} for row in rows])
    assert table.column("x_a").to_pylist() == ["1", "high", None]
    assert table.column("x_b").to_pylist() == [1.0, 0.5, None]
    assert table.schema.field("x_b").type == pa.float64()
    assert "x_c" not in table.schema.names


@pytest.mark.parametrize(("value", "text"), [(3, "3"), (3.0, "3"), (True, "1"), (0.5, "0.5"), (-2.0, "-2")])
def test_a_number_that_becomes_a_category_has_one_spelling(value: float, text: str) -> None:
    """Kills categories 3 and 3.0 beside each other."""
    assert number_as_text(value) == text
