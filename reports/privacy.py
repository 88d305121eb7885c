"""Small cells: slices by tenant or session with few units are taken out before anything is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from ..schemas.records import Prices
from .view import RunView

MIN_UNITS: Final = 10
"""Distinct units below which a slice by person or tenant could point at somebody (REPORT section 7)."""
_PERSONAL: Final = ("tenant_id", "session_id")


def without_small_cells(view: RunView) -> tuple[RunView, str]:
    """The view without small slices, and a sentence that says how many were taken out.

    Where a single slice of a column is small, the next smallest goes too: the total less the rest would
    give it away.
    """
    estimated = view.est.contrasts.select("layer", "decision_point", "segment")
    counted = view.allocation.join(estimated, on=estimated.columns, how="semi", maintain_order="left")
    view = replace(view, allocation=counted)  # a slice too small to be estimated is too small to be counted
    hidden = small_cells(view.est.contrasts)
    if not hidden:
        return view, ""
    view = without_small_segments(view, hidden)
    return (
        view,
        f"{len(hidden)} slices hidden: fewer than {MIN_UNITS} units, or the complement of such a slice",
    )


def without_small_segments(view: RunView, hidden: set[str]) -> RunView:
    """The view without every row about the segments `hidden`."""
    if not hidden:
        return view
    est = view.est
    kept = ~pl.col("segment").is_in(sorted(hidden))
    return replace(
        view,
        est=replace(
            est,
            contrasts=est.contrasts.filter(kept),
            joint=est.joint.filter(kept),
            gains=est.gains.filter(kept),
            ledger=est.ledger.filter(kept.fill_null(value=True)),
        ),
        prices=_without(view.prices, hidden),
        findings=tuple(f for f in view.findings if f.segment not in hidden),
        allocation=view.allocation.filter(kept),
        truth=None if view.truth is None else view.truth.filter(kept),
    )


def small_cells(contrasts: pl.DataFrame) -> set[str]:
    """The segments that may not be shown, from rows of estimates.parquet."""
    hidden: set[str] = set()
    for key in _PERSONAL:
        hidden |= _small(contrasts.filter(pl.col("segment").str.starts_with(f"{key}=")))
    return hidden


def _small(rows: pl.DataFrame) -> set[str]:
    units = rows.group_by("segment").agg(pl.col("clusters").max()).sort("clusters", "segment")
    small = units.filter(pl.col("clusters") < MIN_UNITS)
    if small.height == 1:
        small = units.head(2)
    return set(small["segment"])


def _without(prices: Prices, hidden: set[str]) -> Prices:
    return replace(
        prices,
        prices=tuple(p for p in prices.prices if p.segment not in hidden),
        savings=prices.savings.filter(~pl.col("segment").is_in(sorted(hidden))),
    )
