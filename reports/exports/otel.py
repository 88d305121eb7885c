"""Gauges in OTLP/JSON: any OpenTelemetry collector takes the file in and sends it where metrics go."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

from ...errors import ExportError
from .offer import Offer, Row

NAME: Final = "shadowprice.otlp.json"
_PRICES: Final = {"latency_price": "latency", "risk_price": "risk", "cost_price": "cost"}
"""Names of prices whose OpenTelemetry name is not their own."""
_PLAIN_UNITS: Final = {"USD/USD": "1", "quality": "1"}
_PART: Final = re.compile(r"[A-Za-z]+")
_UCUM: Final = ("s", "h")
_ATTRIBUTES: Final = (
    "layer",
    "decision_point",
    "action",
    "baseline",
    "segment",
    "source",
    "grade",
    "reading",
)
_NANOSECONDS: Final = 1_000_000_000


def otel(offer: Offer) -> dict[str, str]:
    """The one file of this target: a gauge per price and per effect, named shadowprice.*, none gen_ai.*.

    Points are dated at the end of the data window; bound: point, lower, upper. Estimates never touch an
    attribute that a biller could read.

    Raises: ExportError where the logs have no timestamps: a point of a metric must be dated.
    Source: OTLP 1.x, JSON encoding of ExportMetricsServiceRequest.
    """
    if offer.window[1] is None:
        raise ExportError(
            "logs without timestamps",
            where="--to otel",
            expected="a time for every point of a metric",
            cure="Export to json or parquet, which need none.",
        )
    at = str(int(datetime.fromisoformat(offer.window[1]).timestamp()) * _NANOSECONDS)
    metrics: dict[str, dict[str, Any]] = {}
    for row in offer.rows:
        name, unit = _name(row), _ucum(row.unit)
        metric = metrics.setdefault(name, {"name": name, "unit": unit, "gauge": {"dataPoints": []}})
        points = metric["gauge"]["dataPoints"]
        bounds = {"point": row.value, "lower": row.lower, "upper": row.upper}
        points += [_point(offer, row, bound, v, at) for bound, v in bounds.items() if v is not None]
    skipped = {
        "asInt": str(len(offer.skipped)),
        "timeUnixNano": at,
        "attributes": [_text("run_id", offer.run_id)],
    }
    counted = {"name": "shadowprice.skipped_rows", "unit": "1", "gauge": {"dataPoints": [skipped]}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shadowprice"}}]}
    scope = {"scope": {"name": "shadowprice"}, "metrics": [*metrics.values(), counted]}
    content = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}
    return {NAME: json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}


def _name(row: Row) -> str:
    if row.kind == "price":
        return f"shadowprice.price.{_PRICES.get(row.name, row.name)}"
    return f"shadowprice.effect.{row.name.removeprefix('delta_')}"


def _ucum(unit: str) -> str:
    """`unit` in UCUM, where what is no unit of measure stands in braces; prose is none at all."""
    if unit in _PLAIN_UNITS or " " in unit:
        return _PLAIN_UNITS.get(unit, "1")
    spelled = _PART.sub(lambda part: part[0] if part[0] in _UCUM else f"{{{part[0]}}}", unit)
    return spelled.replace("*", ".")


def _point(offer: Offer, row: Row, bound: str, value: float, at: str) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in _ATTRIBUTES} | {"bound": bound, "run_id": offer.run_id}
    attributes = [_text(name, str(of)) for name, of in told.items() if of is not None]
    return {"asDouble": value, "timeUnixNano": at, "attributes": attributes}


def _text(name: str, value: str) -> dict[str, Any]:
    return {"key": f"shadowprice.{name}", "value": {"stringValue": value}}
