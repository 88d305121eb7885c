"""Where each number of report.json comes from: estimates, rows, clusters, files and the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from ..schemas.records import Price
from .headline import counted_gains
from .view import RunView

_CONTRAST: Final = ("layer", "decision_point", "segment", "action", "baseline")
_MOVING: Final = ("layer", "decision_point", "action", "baseline")
Key = tuple[str | int | None, ...]
FILES: Final = {
    "estimates": "estimates.parquet",
    "ledger": "ledger.parquet",
    "gains": "states/gains.parquet",
    "joint": "states/joint.parquet",
    "savings": "prices.json",
    "trend": "states/trend.parquet",
    "drift": "states/drift.parquet",
    "decisions": "store/decisions",
}
"""Name in a trace -> the place in the run folder that holds its rows."""


def code(view: RunView) -> dict[str, Any]:
    """What made the numbers and from what: version, seed, the digests of the store and of every input.

    None for what the view does not say, as for a report built by hand.
    """
    known = view.provenance
    inputs: list[Mapping[str, Any]] = known.get("inputs") or []
    return {
        "package": "shadowprice",
        "version": known.get("versions", {}).get("shadowprice"),
        "run_id": known.get("run_id"),
        "seed": known.get("seed"),
        "store": known.get("store"),
        "inputs": [{"name": i.get("name"), "digest": i.get("digest"), "rows": i.get("rows")} for i in inputs],
        "files": FILES,
    }


def of_headline(view: RunView) -> dict[str, Any]:
    """The findings (positions in `findings`) that the headline adds up, and the rows of gains and savings
    behind them; clusters of different places are different ones."""
    moved, saved = counted_gains(view.est, view.prices, view.findings)
    counted = [i for i, f in enumerate(view.findings) if f.status == "found" and f.counted]
    return {
        "findings": counted,
        "gains_rows": moved.height,
        "savings_rows": sum(rows.height for rows in saved),
        "clusters": sum(rows["cluster"].n_unique() for rows in (moved, *saved)),
        "decisions_moved": float(sum(rows["decisions"].sum() for rows in (moved, *saved))),
    }


def of_findings(view: RunView) -> list[dict[str, Any]]:
    """The estimate of each finding: its keys, its positions in `estimates`, and how many rows are behind it.

    ledger_rows is None for a slice by a second column: the ledger names each decision's slice by the first.
    """
    estimates: dict[Key, list[int]] = {}
    for at, key in enumerate(view.est.contrasts.select(_CONTRAST).iter_rows()):
        estimates.setdefault(key, []).append(at)
    gains = _sizes(view.est.gains, (*_CONTRAST, "direction"))
    savings = _sizes(view.prices.savings, (*_CONTRAST, "direction"))
    sliced = _sizes(view.est.ledger, _CONTRAST)
    whole = _sizes(view.est.ledger, tuple(k for k in _CONTRAST if k != "segment"))
    made: list[dict[str, Any]] = []
    for f in view.findings:
        key = (f.layer, f.decision_point, f.segment, f.action, f.baseline)
        everywhere = (f.layer, f.decision_point, f.action, f.baseline)
        made.append(
            {
                "estimate": {**dict(zip(_CONTRAST, key, strict=True)), "direction": f.direction},
                "estimates": estimates.get(key, []),
                "n": f.n,
                "clusters": f.clusters,
                "gains_rows": gains.get((*key, f.direction), 0),
                "savings_rows": savings.get((*key, f.direction), 0),
                "ledger_rows": whole.get(everywhere) if f.segment == "all" else sliced.get(key),
            }
        )
    return made


def _sizes(frame: pl.DataFrame, keys: tuple[str, ...]) -> dict[Key, int]:
    """Rows per combination of `keys`, counted once for all findings: a ledger has millions."""
    return {tuple(row[:-1]): row[-1] for row in frame.group_by(keys).len().iter_rows()}


def of_price(view: RunView, price: Price) -> dict[str, Any]:
    """The setting of a price that was set, or the estimates whose decisions it was fitted to.

    A price of a whole layer or of all points rests on every contrast there; one without a contrast rests on
    the decisions of its place in the store alone.
    """
    if price.source == "user":
        return {"setting": f"prices.{price.name}", "segment": price.segment}
    keys = {key: getattr(price, key) for key in _CONTRAST if getattr(price, key) is not None}
    return {
        "place": keys,
        "estimates": _positions(view.est.contrasts, keys),
        "n": price.n,
        "clusters": price.clusters,
    }


def of_trend(view: RunView) -> list[dict[str, Any]]:
    """V* by period, each with the estimates of its contrast over the whole log and its row in `trend`."""
    keys = (*_MOVING, "period")
    at = {key: i for i, key in enumerate(view.est.trend.select(keys).iter_rows())}
    return [
        {**row, "trace": {**_of_contrast(view, row), "trend": at.get(tuple(row[k] for k in keys))}}
        for row in view.prices.trend.to_dicts()
    ]


def of_drift(view: RunView) -> list[dict[str, Any]]:
    """The tests of a change, each with the rows in `trend` that it compares and its own in `drift`."""
    return [
        {
            **row,
            "trace": {
                **_of_contrast(view, row),
                "trend": _positions(view.est.trend, {k: row[k] for k in _MOVING}),
                "drift": i,
            },
        }
        for i, row in enumerate(view.est.drift.to_dicts())
    ]


def _of_contrast(view: RunView, row: Mapping[str, Any]) -> dict[str, Any]:
    keys = {**{k: row[k] for k in _MOVING}, "segment": "all"}
    return {"estimates": _positions(view.est.contrasts, keys)}


def of_scrutinies(view: RunView) -> list[dict[str, Any]]:
    """What was tested about each scrutinised contrast, in full; empty where it was not asked for."""
    names = ("layer", "decision_point", "action", "baseline")
    return [
        {
            **dict(zip(names, key, strict=True)),
            "summary": found.summary.to_dicts(),
            "bounds": found.bounds.to_dicts(),
            "placebos": found.placebos.to_dicts(),
            "calibration": found.calibration.to_dicts(),
            "anchor": found.anchor,
            "reason": found.reason,
        }
        for key, found in view.scrutinies.items()
    ]


def _positions(frame: pl.DataFrame, keys: Mapping[str, Any]) -> list[int]:
    return frame.with_row_index("at").filter(_same(keys))["at"].to_list()


def _same(keys: Mapping[str, Any]) -> pl.Expr:
    """Rows in which every key has its value; a key that is None is in no row."""
    return pl.all_horizontal(
        pl.lit(value=True), *(pl.col(k) == pl.lit(v, dtype=pl.String) for k, v in keys.items())
    )
