"""Prediction 3: short requests wait longer when other tenants send long contexts to their replica."""

from __future__ import annotations

from typing import Final

import polars as pl

from ...schemas.records import Prediction
from ..congestion.fingerprint import Fingerprint, congestion_fingerprint

NAME: Final = "congestion"
STATEMENT: Final = (
    "Long contexts of other tenants make short requests wait, on the replica that they are sent to."
)
METHOD: Final = (
    "OLS of the time to the first token with effects of tenant, hour and replica, two-way clusters"
)


def congestion_prediction(serving: pl.DataFrame) -> Prediction:
    """The test of prediction 3 on serving decisions, see `fingerprint`; effect in seconds per request.

    placebo_p: the smaller of its two placebos, long contexts elsewhere and those sent later.
    """
    return as_prediction(congestion_fingerprint(serving))


def as_prediction(found: Fingerprint) -> Prediction:
    """The fingerprint in the record that the three predictions share."""
    told = [p for p in (found.placebo_elsewhere_p, found.placebo_lead_p) if p is not None]
    known = found.effect_s is not None
    return Prediction(
        name=NAME,
        statement=STATEMENT,
        verdict=found.verdict,
        reason=found.reason,
        layer="serving",
        effect=found.effect_s,
        lower=found.lower_s,
        upper=found.upper_s,
        unit="s per request" if known else None,
        level=found.level if known else None,
        p_value=found.p_value,
        placebo_p=min(told, default=None),
        n=found.n,
        clusters=found.clusters,
        grade="C" if known else "N",
        method=METHOD if known else "none",
    )
