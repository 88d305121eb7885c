"""List prices: dated, from the named provider, and never 0 for what is not known."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from shadowprice.ingest.pricing import price, price_book, priced

ROW: dict[str, Any] = {
    "layer": "router",
    "action": "gpt-4o",
    "ts": datetime(2025, 1, 1, tzinfo=UTC),
    "tok_input_uncached": 800,
    "tok_cache_read": 200,
    "tok_output": 100,
}
LISTED = (800 * 2.50 + 200 * 1.25 + 100 * 10.00) / 1e6
"""gpt-4o in January 2025, USD per million tokens: input 2.50, cached input 1.25, output 10.00."""


def test_a_row_without_cost_is_priced_with_cached_tokens_at_their_own_price() -> None:
    """Kills pricing cached tokens in full, twice, or not at all; the number is made by hand."""
    found = price(ROW)
    assert found["cost_usd"] == pytest.approx(LISTED, rel=1e-12)
    assert found["cost_source"] == "priced"


def test_a_logged_zero_with_tokens_is_not_free() -> None:
    """Kills reporting unpriced calls as costing nothing."""
    assert price({**ROW, "cost_usd": 0.0})["cost_usd"] == pytest.approx(LISTED)


def test_a_positive_cost_stays_the_logs_own() -> None:
    """Kills overwriting what was billed by a list price."""
    kept = price({**ROW, "cost_usd": 0.5})
    assert (kept["cost_usd"], kept["cost_source"]) == (0.5, "logged")


@pytest.mark.parametrize("kind", ["response", "semantic"])
def test_a_cache_hit_may_be_free(kind: str) -> None:
    """Kills pricing answers that a response cache gave away."""
    free = price({**ROW, "cost_usd": 0.0, "cache_hit_kind": kind})
    assert (free["cost_usd"], free["cost_source"]) == (0.0, "logged")


def test_zero_beside_cache_hit_kind_none_is_priced() -> None:
    """Kills taking 'no hit' for a hit."""
    assert price({**ROW, "cost_usd": 0.0, "cache_hit_kind": "none"})["cost_source"] == "priced"


@pytest.mark.parametrize(
    "change",
    [
        {"action": "some-finetune"},
        {"action": "gpt-4o", "_provider": "hosted_vllm"},
        {"action": "hosted_vllm/gpt-4o"},
        {"ts": None},
        {"tok_output": None},
        {"tok_input_uncached": None},
        {"action": "x" * 100_000},
    ],
)
def test_what_the_book_cannot_price_is_unpriced_never_zero(change: dict[str, Any]) -> None:
    """Kills guessing a provider, a date or a token count; and $0 for unknown."""
    row = price({**ROW, "cost_usd": 0.0, **change})
    assert (row["cost_usd"], row["cost_source"]) == (None, "unpriced")


@pytest.mark.parametrize(
    "names",
    [
        {"action": "asked", "action_executed": "gpt-4o"},
        {"action": "openai/gpt-4o"},
        {"action": "openai/gpt-4o", "_provider": "openai"},
        {"action": "verify", "_model": "gpt-4o"},
    ],
)
def test_the_model_that_ran_is_priced_under_every_spelling(names: dict[str, Any]) -> None:
    """Kills pricing what was asked for, and gateway prefixes that hide a known model."""
    assert price({**ROW, **names})["cost_usd"] == pytest.approx(LISTED)


def test_the_price_is_that_of_the_rows_day() -> None:
    """Kills today's price for yesterday's tokens: o3 fell to a fifth in June 2025."""
    row = {**ROW, "action": "o3", "tok_cache_read": None}
    early = price({**row, "ts": datetime(2025, 5, 1, tzinfo=UTC)})
    late = price({**row, "ts": datetime(2025, 8, 1, tzinfo=UTC)})
    assert early["cost_usd"] == pytest.approx(5 * late["cost_usd"])


def test_rows_without_tokens_and_other_layers_are_left_alone() -> None:
    """Kills calling a tool call without tokens unpriced, and pricing the engine's view of the same call."""
    assert price({"layer": "agent", "action": "read"}) == {"layer": "agent", "action": "read"}
    assert price({**ROW, "layer": "serving"}) == {**ROW, "layer": "serving"}


def test_a_readers_hints_do_not_reach_the_table() -> None:
    """Kills hint columns in the store."""
    assert not [name for name in price({**ROW, "_provider": "openai", "_model": "gpt-4o"}) if name[0] == "_"]


def test_the_price_book_is_named_with_its_version() -> None:
    """Kills costs whose origin nobody can look up."""
    assert price_book().startswith("genai-prices ")


def test_a_column_of_costs_is_settled_as_each_of_them() -> None:
    """Kills a rule of one row that the rows of a block do not follow."""
    choices = {
        "layer": ["router", "serving"],
        "cost_usd": [None, 0.0, 0.5],
        "cost_source": [None, "logged"],
        "cache_hit_kind": [None, "none", "response"],
        "tok_input_uncached": [None, 0, 1000],
        "tok_output": [None, 10],
        "action": ["gpt-5-mini", "no such model"],
        "ts": [datetime(2026, 1, 5, tzinfo=UTC), None],
    }
    rows = [dict(zip(choices, row, strict=True)) for row in itertools.product(*choices.values())]
    types = {"cost_usd": pl.Float64, "tok_input_uncached": pl.Int64, "tok_output": pl.Int64}
    frame = priced(pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None))
    one_by_one = [price(row) for row in rows]
    for name in ("cost_usd", "cost_source"):
        assert frame[name].to_list() == [row.get(name) for row in one_by_one]
