"""Estimates beside the known truth of a simulated world."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from . import numbers as fmt
from .names import mode_name, place_name
from .tables import Table, effect, money, table
from .view import RunView

_KEYS: Final = ("layer", "decision_point", "segment", "action", "baseline", "quantity")
_COLUMN: Final = {"ATO": "ato", "ATE": "ate_overlap"}
"""Estimand -> its column in the truth of the simulator."""
_GAIN: Final = {"over": "over_usd", "under": "under_usd"}


def truth_tables(view: RunView) -> tuple[Table, ...]:
    """Estimates and gains beside the truth; empty without one."""
    if view.truth is None:
        return ()
    known = {tuple(row[k] for k in _KEYS): row for row in view.truth.iter_rows(named=True)}
    return tuple(t for t in (_gains(view, known), _effects(view, known)) if t.rows)


def _effects(view: RunView, known: dict[tuple[Any, ...], dict[str, Any]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for r in view.est.contrasts.iter_rows(named=True):
        truth = known.get(tuple(r[k] for k in _KEYS), {})
        true = truth.get(_COLUMN.get(r["estimand"], "ate"))
        if true is None:
            continue
        rows.append(
            (
                f"{r['layer']} · {r['segment']} · {r['action']} vs {r['baseline']}",
                r["quantity"],
                r["estimand"].replace("_", " "),
                effect(r),
                fmt.quantity(r["quantity"], true),
                _inside(r["lower"], true, r["upper"]),
            )
        )
    heads = "contrast|quantity|estimand|#estimate|#simulated truth|interval holds it"
    held = [row[-1] for row in rows if row[-1]]
    title = f"Estimate beside simulated truth: {held.count('yes')} of {len(held)} intervals hold it"
    return table(title, heads, rows, limit=250)


def _gains(view: RunView, known: dict[tuple[Any, ...], dict[str, Any]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for f in view.findings:
        if f.usd is None or f.direction is None or f.status not in ("found", "inconclusive"):
            continue
        key = (f.layer, f.decision_point, f.segment, f.action, f.baseline, "net")
        true = known.get(key, {}).get(_GAIN[f.direction])
        if true is not None:
            rows.append(
                (
                    mode_name(f.mode),
                    place_name(f),
                    money(f),
                    fmt.usd(true),
                    _inside(f.usd_lower, true, f.usd_upper),
                )
            )
    return table(
        "Findings beside simulated truth", "check|where|#found|#simulated truth|interval holds it", rows
    )


def _inside(lower: float | None, true: float, upper: float | None) -> str:
    if lower is None or upper is None:
        return ""
    return "yes" if lower <= true <= upper else "no"


def truth_rows(truth: pl.DataFrame | None) -> list[dict[str, Any]]:
    """The truth as rows for report.json."""
    return [] if truth is None else truth.to_dicts()
