"""A segment's finding under hidden causes, as one record and as the rows of two frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.records import QUANTITIES
from .confidence import LEVEL
from .omitted import Robustness, robustness_value
from .pairs import Pair
from .propensity import Source
from .sensitivity import Bounds, Critical, HiddenContrast, critical_strength, sensitivity_bounds
from .sensitivity_arm import ArmModel
from .sensitivity_observed import ObservedStrength

Mask = NDArray[np.bool_]

STRENGTHS: Final = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Odds ratios at which the bounds are shown."""
_NAMES: Final = (*QUANTITIES, "net")
_WHERE: Final = ("layer", "decision_point", "segment", "action", "baseline", "quantity")
_KEYS: Final = dict.fromkeys(_WHERE, pl.String)
BOUNDS: Final = pl.DataFrame(
    schema={
        **_KEYS,
        "reading": pl.String,
        **dict.fromkeys(("strength", "lower", "upper", "lower_ci", "upper_ci", "level"), pl.Float64),
        "reason": pl.String,
    }
)
SUMMARY: Final = pl.DataFrame(
    schema={
        **_KEYS,
        "reading": pl.String,
        **dict.fromkeys(("margin", "lambda_star", "lambda_star_point"), pl.Float64),
        **dict.fromkeys(("robustness_value", "robustness_value_ci"), pl.Float64),
        "strongest_feature": pl.String,
        "strongest_lambda": pl.Float64,
        "reason": pl.String,
    }
)

Reading = Literal["hidden confounding", "log integrity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """One quantity of a contrast in a segment, its ATO under hidden causes.

    reading: 'log integrity' where the probabilities were logged or replayed, so that a hidden cause means a
    wrong log; else 'hidden confounding'. margin: materiality that the effect must exceed, in its unit.
    critical: Lambda* of the interval, critical_point of the bounds alone. observed: the strongest feature.
    """

    layer: str
    decision_point: str
    segment: str
    action: str
    baseline: str
    quantity: str
    reading: Reading
    margin: float
    bounds: tuple[Bounds, ...]
    critical: Critical
    critical_point: Critical
    robustness: Robustness
    observed: ObservedStrength | None


def sensitivities(
    models: Mapping[int, tuple[ArmModel, ArmModel]],
    pair: Pair,
    segment: str,
    rows: Mask,
    margins: dict[int, float],
    *,
    source: Source,
    observed: Sequence[ObservedStrength],
    strengths: Sequence[float] = STRENGTHS,
    level: float = LEVEL,
) -> tuple[Sensitivity, ...]:
    """The sensitivity of each column of the pair that `margins` names (0 to 3 a quantity, NET the net value).

    models: of `arm_models`, which serve every segment of the pair. rows: the decisions behind the headline
    estimate. margins: column -> materiality, 0 for the sign alone. source: of the propensities.
    """
    logged = source in ("logged", "reconstructed")
    out: list[Sensitivity] = []
    for column, margin in margins.items():
        action, baseline = models[column]
        c = HiddenContrast(pair=pair, column=column, action=action, baseline=baseline)
        out.append(
            Sensitivity(
                layer=pair.problem.layer,
                decision_point=pair.problem.decision_point,
                segment=segment,
                action=pair.action,
                baseline=pair.baseline,
                quantity=_NAMES[column],
                reading="log integrity" if logged else "hidden confounding",
                margin=margin,
                bounds=tuple(sensitivity_bounds(c, strength=s, rows=rows, level=level) for s in strengths),
                critical=critical_strength(c, rows=rows, margin=margin, level=level),
                critical_point=critical_strength(c, rows=rows, margin=margin, interval=False, level=level),
                robustness=robustness_value(c, rows=rows, null=_null(c, rows, margin), level=level),
                observed=observed[0] if observed else None,
            )
        )
    return tuple(out)


def _null(contrast: HiddenContrast, rows: Mask, margin: float) -> float:
    """The end of the immaterial range on the side of the effect."""
    h, d = contrast.pair.h[rows], contrast.pair.d[rows, contrast.column]
    return margin if float((h * d).sum()) > 0 else -margin


def bounds_frame(results: Iterable[Sensitivity]) -> pl.DataFrame:
    """One row per result and strength, in the layout of BOUNDS."""
    rows: list[dict[str, Any]] = []
    for r in results:
        for b in r.bounds:
            rows.append({**_keys(r), **{f: getattr(b, f) for f in BOUNDS.columns[len(_WHERE) + 1 :]}})
    return pl.DataFrame(rows, schema=BOUNDS.schema)


def summary_frame(results: Iterable[Sensitivity]) -> pl.DataFrame:
    """One row per result, in the layout of SUMMARY; a null lambda_star has its reason ("> 10: ...")."""
    rows = [
        {
            **_keys(r),
            "margin": r.margin,
            "lambda_star": r.critical.value,
            "lambda_star_point": r.critical_point.value,
            "robustness_value": r.robustness.value,
            "robustness_value_ci": r.robustness.interval,
            "strongest_feature": r.observed.feature if r.observed else None,
            "strongest_lambda": r.observed.strength if r.observed else None,
            "reason": r.critical.reason or r.critical_point.reason or r.robustness.reason,
        }
        for r in results
    ]
    return pl.DataFrame(rows, schema=SUMMARY.schema)


def _keys(r: Sensitivity) -> dict[str, str]:
    return {**{name: getattr(r, name) for name in _WHERE}, "reading": r.reading}
