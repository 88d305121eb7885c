"""Every number of report.json leads back to its estimates, its rows and the code that made it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shadowprice.estimators.gains import total_gain

CONTRAST = ("layer", "decision_point", "segment", "action", "baseline")


@pytest.fixture(scope="module")
def said(audited: Path) -> dict[str, Any]:
    return json.loads((audited / "report.json").read_text(encoding="utf-8"))


def test_it_names_the_code_the_store_and_every_input(said: dict[str, Any], audited: Path) -> None:
    """Kills a number that nobody can make again: no version, seed or input hash beside it."""
    run = json.loads((audited / "run.json").read_text(encoding="utf-8"))
    code = said["code"]
    assert code["version"] == version("shadowprice")
    assert (code["run_id"], code["seed"], code["store"]) == (run["run_id"], run["seed"], run["store"])
    assert len(code["inputs"]) == len(run["inputs"]) > 0
    assert all(len(source["digest"]) == 64 and source["rows"] for source in code["inputs"])
    assert all((audited / place).exists() for place in code["files"].values())


def test_the_headline_is_the_sum_of_the_rows_that_it_names(said: dict[str, Any], audited: Path) -> None:
    """Kills a trace that points at other findings than those added up."""
    head, gains = said["headline"], pl.read_parquet(audited / "states" / "gains.parquet")
    named = [said["findings"][i]["trace"]["estimate"] for i in head["trace"]["findings"]]
    parts = [gains.filter(*(pl.col(k) == v for k, v in keys.items())) for keys in named]
    rows = pl.concat(parts)
    total = total_gain(rows)
    assert total is not None
    assert rows.height == head["trace"]["gains_rows"] > 0
    assert total.usd == pytest.approx(head["total"]["usd"])
    assert total.clusters == head["trace"]["clusters"]


def test_every_finding_names_its_estimate_and_counts_its_rows(said: dict[str, Any], audited: Path) -> None:
    """Kills positions that are off by one, and a finding without rows, clusters or estimate."""
    ledger = pl.read_parquet(audited / "ledger.parquet")
    for finding in said["findings"]:
        trace = finding["trace"]
        for position in trace["estimates"]:
            assert [said["estimates"][position][k] for k in CONTRAST] == [finding[k] for k in CONTRAST]
        if finding["usd"] is None:
            continue
        assert len(trace["estimates"]) >= 5
        assert min(trace["n"], trace["clusters"], trace["gains_rows"]) > 0
        mine = ledger.filter(*(pl.col(k) == finding[k] for k in CONTRAST if finding[k] != "all"))
        assert trace["ledger_rows"] == (mine.height or None)
    assert any(finding["trace"]["ledger_rows"] for finding in said["findings"])


def test_every_price_says_where_it_was_set_or_what_it_was_fitted_to(said: dict[str, Any]) -> None:
    """Kills a fitted price without rows, and a set one that passes for fitted."""
    fitted = [p for p in said["prices"] if p["source"] != "user"]
    assert len(fitted) > 20
    for price in said["prices"]:
        trace = price["trace"]
        if price["source"] == "user":
            assert trace["setting"] == f"prices.{price['name']}"
            continue
        for position in trace["estimates"]:
            estimate = said["estimates"][position]
            assert all(estimate[k] == v for k, v in trace["place"].items())
        if price["value"] is not None and price["name"] != "cost_price":
            assert trace["n"] is not None
    assert any(p["trace"]["estimates"] for p in fitted)
