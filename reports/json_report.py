"""report.json: the same content as the page, as numbers, each with the estimate, rows and code behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..schemas.tables import SCHEMA_VERSION
from . import trace
from .content import Content
from .decomposition import decomposition, spend_split
from .truth import truth_rows
from .view import RunView


def render(view: RunView, content: Content) -> str:
    """The text of report.json; every number that the page rounds is here in full."""
    head, est = content.headline, view.est
    data = {
        "schema_version": SCHEMA_VERSION,
        "scope": list(content.scope),
        "simulated": content.simulated,
        "window": {"from": est.window[0], "to": est.window[1]},
        "code": trace.code(view),
        "headline": {**asdict(head), "sentence": head.sentence(), "trace": trace.of_headline(view)},
        "allocation": view.allocation.to_dicts(),
        "evidence": est.coverage.to_dicts(),
        "findings": [
            {**f.to_dict(), "trace": rows}
            for f, rows in zip(view.findings, trace.of_findings(view), strict=True)
        ],
        "examples": {s.title: list(s.examples) for s in content.sections},
        "estimates": est.contrasts.to_dicts(),
        "overlap": est.overlap.to_dicts(),
        "prices": [{**p.to_dict(), "trace": trace.of_price(view, p)} for p in view.prices.prices],
        "regret": est.regret.to_dicts(),
        "decomposition": _parts(view),
        "spend_split": spend_split(est, view.prices).to_dicts(),
        "value_curve": view.prices.value_curve.to_dicts(),
        "savings": view.prices.savings.to_dicts(),
        "trend": trace.of_trend(view),
        "drift": trace.of_drift(view),
        "predictions": [p.to_dict() for p in view.predictions],
        "scrutiny": trace.of_scrutinies(view),
        "truth": truth_rows(view.truth),
        "ingest": view.manifest,
        "notes": list(est.notes),
        "hidden": content.hidden,
        "provenance": view.provenance,
    }
    text = json.dumps(_plain(data), indent=1, ensure_ascii=True, sort_keys=True, allow_nan=False)
    return text.replace("</", "<\\/") + "\n"


def _parts(view: RunView) -> list[dict[str, Any]]:
    """The parts of what is recoverable, the total last; none where nothing has a value."""
    found = decomposition(view.est, view.prices, view.findings)
    return [] if found is None else found.frame().to_dicts()


def _plain(value: Any) -> Any:
    """JSON values only; a number that is not finite becomes null, its reason stands beside it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
