"""One feature flag that holds the prices: a home-grown router reloads it while it runs."""

from __future__ import annotations

import json
from typing import Any, Final

from .offer import Offer, Row

NAME: Final = "shadowprice.flagd.json"
FLAG: Final = "shadowprice.prices"
SCHEMA: Final = "https://flagd.dev/schema/v0/flags.json"


def flagd(offer: Offer) -> dict[str, str]:
    """The one file of this target: an object flag with a single variant, named after the run.

    The variant is {'prices': {name: {about: entry}}, 'effects': likewise}, with value, lower, upper, unit,
    grade and reading in each entry; about is the segment, with point, action and baseline before it where the
    number belongs to a contrast.

    Source: flagd flag definitions, schema v0.
    """
    variant: dict[str, dict[str, dict[str, Any]]] = {"prices": {}, "effects": {}}
    for row in offer.rows:
        variant[f"{row.kind}s"].setdefault(row.name, {})[_about(row)] = {
            "value": row.value,
            "lower": row.lower,
            "upper": row.upper,
            "unit": row.unit,
            "grade": row.grade or row.source,
            **({"reading": row.reading} if row.reading else {}),
        }
    stamp = offer.stamp()
    start, end = (str(at or "") for at in stamp["data_window"])
    content = {
        "$schema": SCHEMA,
        "flags": {
            FLAG: {
                "state": "ENABLED",
                "variants": {offer.run_id: variant},
                "defaultVariant": offer.run_id,
                "targeting": {},
                "metadata": {
                    "run_id": offer.run_id,
                    "data_from": start,
                    "data_to": end,
                    "valid_until": stamp["valid_until"] or "",
                    "skipped_rows": len(offer.skipped),
                },
            }
        },
        "metadata": {"flagSetId": "shadowprice", "version": offer.run_id},
    }
    return {NAME: json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}


def _about(row: Row) -> str:
    contrast = f"{row.layer}.{row.decision_point}: {row.action} vs {row.baseline}, " if row.layer else ""
    return f"{contrast}{row.segment}"
