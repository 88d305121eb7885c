"""List prices: solved from logged costs when they are exact, read from a file, and never guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.errors import ExportError
from shadowprice.reports.exports.list_prices import (
    FILE_KEYS,
    KINDS,
    TokenPrices,
    read_price_file,
    solved_prices,
)

PER_MILLION = st.decimals("0.01", "200", places=4)


def log(prices: dict[str, str], n: int = 30, *, seed: int = 1, noise: float = 0.0) -> pl.DataFrame:
    """Decisions whose cost is tokens times prices, in USD per million tokens, plus noise."""
    rng = np.random.default_rng(seed)
    columns = {"input": "tok_input_uncached", "output": "tok_output", "cache_read": "tok_cache_read",
               "cache_write": "tok_cache_write"}  # fmt: skip
    tokens = {k: rng.integers(1, 100_000, n) if k in prices else np.zeros(n, dtype=int) for k in KINDS}
    cost = sum(tokens[k] * float(usd) / 1e6 for k, usd in prices.items()) + noise * rng.standard_normal(n)
    return pl.DataFrame({columns[k]: v for k, v in tokens.items()} | {"cost_usd": cost})


@given(PER_MILLION, PER_MILLION, PER_MILLION)
def test_exact_costs_give_the_exact_prices(own: Decimal, out: Decimal, cached: Decimal) -> None:
    """Kills: a price off by a rounding, or one that mixes cached with uncached tokens."""
    found = solved_prices(log({"input": str(own), "output": str(out), "cache_read": str(cached)}))
    assert isinstance(found, TokenPrices)
    assert (found.input, found.output, found.cache_read) == (own / 10**6, out / 10**6, cached / 10**6)
    assert found.cache_write is None


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (log({"input": "3", "output": "15"}, noise=1e-5), "not one price per kind"),
        (
            pl.concat([log({"input": "3", "output": "15"}), log({"input": "6", "output": "15"})]),
            "not one price",
        ),
        (log({"input": "3", "output": "15"}, n=2), "too few different requests"),
        (
            log({"input": "3", "output": "15"}).with_columns(tok_output=pl.col("tok_input_uncached")),
            "too few",
        ),
        (
            log({"input": "3", "output": "15"}).with_columns(cost_usd=pl.lit(None, pl.Float64)),
            "no cost beside",
        ),
        (
            log({"input": "3", "output": "15"}).with_columns(tok_output=pl.lit(None, pl.Int64)),
            "no cost beside",
        ),
        (log({"input": "3"}), "no cost beside"),
    ],
    ids=["noisy", "two prices", "too few", "collinear", "unpriced", "no tokens", "no output"],
)
def test_costs_that_are_no_sum_of_prices_give_a_reason(frame: pl.DataFrame, reason: str) -> None:
    """Kills: the average of a tiered price, handed on as a list price."""
    found = solved_prices(frame)
    assert isinstance(found, str)
    assert reason in found


def test_a_price_file_is_read_to_the_last_digit(tmp_path: Path) -> None:
    """Kills: a float between the file and the integer nano-USD; an embedding without output price as free."""
    path = tmp_path / "prices.json"
    path.write_text(
        '{"m": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 0.000002, "max_tokens": 8192},'
        ' "embed": {"input_cost_per_token": 1e-08}}'
    )
    book = read_price_file(path)
    assert list(book) == ["m"]
    assert (book["m"].input, book["m"].output) == (Decimal("2.5e-7"), Decimal("0.000002"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing", "not JSON"),
        ("[1]", "no object"),
        ('{"m": 1}', "no object"),
        ('{"m": {"input_cost_per_token": -1, "output_cost_per_token": 0}}', "0 to 0.1"),
        ('{"m": {"input_cost_per_token": 0.25, "output_cost_per_token": 2}}', "0 to 0.1"),
        ('{"m": {"input_cost_per_token": "x", "output_cost_per_token": 0}}', "USD per token"),
        ('{"m": {"input_cost_per_token": NaN, "output_cost_per_token": 0}}', "USD per token"),
    ],
)
def test_a_price_file_in_another_unit_is_one_clear_error(text: str, found: str, tmp_path: Path) -> None:
    """Kills: a price per million taken for one per token, a million times too dear."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ExportError, match=found) as caught:
        read_price_file(path)
    assert "prices.json" in str(caught.value)
    with pytest.raises(ExportError, match="none"):
        read_price_file(tmp_path / "none.json")


@given(st.decimals("0.000001", "1000", places=6))
def test_units_of_every_target_round_trip(per_million: Decimal) -> None:
    """Kills: a price per token where a target wants one per million or in nano-USD."""
    per_token = per_million / 1_000_000
    assert float(per_token) * 1e6 == pytest.approx(float(per_million), rel=1e-12)
    assert per_token * 1_000_000_000 == per_million * 1000  # $1 per million is 1000 nano-USD per token
    entry = json.loads(json.dumps({FILE_KEYS["input"]: float(per_token)}))
    assert entry[FILE_KEYS["input"]] == pytest.approx(float(per_token), rel=1e-12)
