"""Everything that a report is made of, in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from ..estimators.scrutiny import Key, Scrutiny
from ..schemas.records import Estimates, Finding, Prediction, Prices

ALLOCATION: Final = {
    "layer": pl.String,
    "decision_point": pl.String,
    "segment": pl.String,
    "action": pl.String,
    "decisions": pl.Float64,
}
"""Columns of RunView.allocation: how often each action was taken in each slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as the report sees it.

    manifest: what ingest counted. provenance: run_id, seed, config, versions, input hashes,
    schema_version. predictions: the paper's, tested on the store. truth: contrasts of a simulated world
    (quantity, ate, ato, ...), or None for real logs.
    scrutinies: by (layer, decision point, action, baseline); those that were asked for.
    allocation: rows of ALLOCATION; empty where the decisions were not at hand.
    """

    est: Estimates
    prices: Prices
    findings: tuple[Finding, ...]
    predictions: tuple[Prediction, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    truth: pl.DataFrame | None = None
    allocation: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ALLOCATION))
    scrutinies: Mapping[Key, Scrutiny] = field(default_factory=dict[Key, Scrutiny])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The three texts of a report; the same view gives the same bytes."""

    html: str
    markdown: str
    json: str
