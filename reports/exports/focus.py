"""FOCUS usage rows as CSV: billed facts in the standard columns, estimates in x_ columns and nowhere else."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ...errors import ExportError
from .made import Evidence, Made
from .offer import Offer, Skipped
from .supply import Supply
from .usage import NANO

NAME: Final = "shadowprice.focus.csv"
COST_COLUMNS: Final = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
"""The log knows one cost per call: without discounts or commitments FOCUS wants it in all four."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet run a cell (CWE-1236)."""
_UNKNOWN: Final = ("BillingAccountId", "ProviderName", "PublisherName", "InvoiceIssuerName")
_LARGEST_ROWS: Final = 100_000


def focus(supply: Supply) -> Made:
    """The one file of this target: a usage row per day, layer, decision point, model and segment.

    The billed sum equals the costs that the logs state, to a billionth of a dollar. Losses are sums over the
    decisions that lost for certain, in x_Shadow columns, null where none did; never a credit, which would
    invent a billing fact. Texts that a spreadsheet would run get a leading apostrophe.

    Raises: ExportError for more rows than one file should hold.
    Source: FOCUS 1.2, with the columns of LiteLLM 1.110, integrations/focus/transformer.py.
    """
    usage = supply.usage
    if usage.height > _LARGEST_ROWS:
        raise ExportError(f"{usage.height} rows", where="focus", expected=f"at most {_LARGEST_ROWS}")
    if usage.is_empty():
        none = Skipped.of(
            name="billed_cost",
            about="every decision",
            reason="the logs state no cost of any dated decision",
            log_next="the cost of every call",
        )
        return Made(files={}, skipped=(none,))
    rows = list(usage.iter_rows(named=True))
    lines = [_line(supply.offer, row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    evidence = tuple(one for row in rows for one in _evidence(row))
    billed = _usd(sum(row["billed"] for row in rows))
    notes = (
        f"billed in all, as the logs state it: {billed} USD",
        f"not in the logs, so empty until you fill them: {', '.join(_UNKNOWN)}",
    )
    return Made(files={NAME: out.getvalue()}, evidence=evidence, notes=notes)


def read_focus(text: str, where: str) -> dict[str, float]:
    """Key -> USD of a FOCUS file that is in use; rows that carry other tags than ours are passed over.

    Raises: ExportError for what is no CSV with a BilledCost.
    """
    reader = csv.DictReader(io.StringIO(text))
    if "BilledCost" not in (reader.fieldnames or ()):
        raise ExportError("no column BilledCost", where=where, expected="a FOCUS file as CSV")
    found: dict[str, float] = {}
    for line in reader:
        try:
            tags = json.loads(line.get("Tags") or "{}")
            point = f"{tags['layer']}.{tags['decision_point']}"
            model = (line.get("ResourceId") or "").removeprefix("'")
            about = f"{(line.get('ChargePeriodStart') or '')[:10]}/{point}/{model}/{tags['segment']}"
            found[f"billed/{about}"] = float(Decimal(line["BilledCost"]))
            if loss := line.get("x_ShadowMisallocationUSD"):
                found[f"misallocation/{about}"] = float(Decimal(loss))
        except (ValueError, KeyError, TypeError, InvalidOperation):
            continue  # a row of somebody else
    return found


def _line(offer: Offer, row: dict[str, Any]) -> dict[str, str | None]:
    day: date = row["day"]
    month = day.replace(day=1)
    cost = _usd(row["billed"])
    point = f"{row['layer']}.{row['decision_point']}"
    tags = {name: row[name] for name in ("layer", "decision_point", "segment")}
    requests = str(row["requests"])
    return {
        "BilledCost": cost,
        "BillingAccountId": None,
        "BillingCurrency": "USD",
        "BillingPeriodStart": _midnight(month),
        "BillingPeriodEnd": _midnight((month + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{row['model']} at {point}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _midnight(day),
        "ChargePeriodEnd": _midnight(day + timedelta(days=1)),
        "ConsumedQuantity": requests,
        "ConsumedUnit": "Requests",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": None,
        "ListCost": cost,
        "ListUnitPrice": None,
        "PricingQuantity": requests,
        "PricingUnit": "Requests",
        "ProviderName": None,
        "PublisherName": None,
        "ResourceId": row["model"],
        "ResourceName": row["model"],
        "ResourceType": point,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": row["model"],
        "SubAccountId": None,
        "Tags": json.dumps(tags, ensure_ascii=False, sort_keys=True),
        "x_ConsumedTokens": str(row["tokens"]),
        **_shadow(offer, row),
    }


def _shadow(offer: Offer, row: dict[str, Any]) -> dict[str, str | None]:
    loss = {"": row["loss_usd"], "Lower": row["lower_usd"], "Upper": row["upper_usd"]}
    return {
        **{f"x_ShadowMisallocation{end}USD": None if x is None else f"{x:.9f}" for end, x in loss.items()},
        "x_ShadowFailureMode": row["mode"],
        "x_ShadowGrade": row["grade"],
        "x_ShadowRunId": offer.run_id,
        "x_ShadowValidUntil": offer.valid_until,
    }


def _evidence(row: dict[str, Any]) -> list[Evidence]:
    about = f"{row['day']}/{row['layer']}.{row['decision_point']}/{row['model']}/{row['segment']}"
    billed = f"billed/{about}"
    held = [Evidence(key=billed, against=billed, value=row["billed"] / NANO, why="as the logs state it")]
    if row["loss_usd"] is not None:
        lost = f"misallocation/{about}"
        held.append(
            Evidence(
                key=lost,
                against=lost,
                value=row["loss_usd"],
                lower=row["lower_usd"],
                upper=row["upper_usd"],
                grade=row["grade"],
                why=f"{row['mode']}, over the decisions that lost for certain",
            )
        )
    return held


def _usd(nano: int) -> str:
    return f"{Decimal(nano) / NANO:.9f}"


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _cell(value: str | None) -> str:
    """`value` for a spreadsheet; numbers are written by us and never start with what runs."""
    if value is None:
        return ""
    return f"'{value}" if value.startswith(_FORMULA) else value
