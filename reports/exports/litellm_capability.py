"""Threshold and calibration of LiteLLM's capability router, from Eq. 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from .made import Evidence
from .offer import Offer, Row, Skipped
from .platt import Platt, platt
from .supply import FORECAST, Supply, in_segment

STEP: Final = 0.0
"""LiteLLM's own default of threshold_step; the calibration carries what a step would guess."""
_DIGITS: Final = 6
_NAME: Final = "base_threshold"
_LOG_FORECAST: Final = "classifier_p_solve in LiteLLM's routing_decision"
_LOG_CHOICES: Final = "a randomised share of the choices, with candidates and propensity"
_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Fragments by what they are about, the evidence behind each, and what could not be one."""

    fragments: dict[str, dict[str, Any]]
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extra:
    """What the capable model costs more, in USD: cost, delay at lambda and risk at rho."""

    usd: float
    lower: float
    upper: float
    grade: str


def threshold(capable_success: float, extra_usd: float, value: float, *, step: float = STEP) -> float:
    """The success of the efficient model from which it is worth taking, before clipping to the bounds.

    p_cap - [c_cap - c_eff + lambda (l_cap - l_eff) + rho (r_cap - r_eff)] / V, the extra in USD, V in USD
    per task.

    Source: the paper's Eq. 4; bounds [0, 1 - 2 step] of LiteLLM 1.110, CapabilityClassifierConfig.
    """
    return min(max(capable_success - extra_usd / value, 0.0), 1.0 - 2 * step)


def capability_thresholds(supply: Supply) -> Thresholds:
    """One fragment per task value and pair of models; without a task value, the threshold as a formula."""
    values = {row.segment: row.value for row in supply.offer.rows if row.name == "task_value"}
    fragments: dict[str, dict[str, Any]] = {}
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for segment in values or {"all": None}:
        for row in _costs(supply.offer, segment):
            found = _fragment(supply, row, values.get(segment))
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            about, fragment, own, warnings = found
            fragments[about] = fragment
            evidence += own
            notes += warnings
    if not fragments and not skipped:
        skipped.append(
            _skipped("all", "no extra cost between two models is identified", _LOG_CHOICES, "router.model")
        )
    return Thresholds(
        fragments=fragments,
        evidence=tuple(evidence),
        skipped=tuple(skipped),
        notes=tuple(dict.fromkeys(notes)),
    )


def _fragment(
    supply: Supply, cost: Row, value: float | None
) -> tuple[str, dict[str, Any], list[Evidence], list[str]] | Skipped:
    capable, efficient = (cost.action, cost.baseline) if cost.value > 0 else (cost.baseline, cost.action)
    assert capable is not None
    assert efficient is not None
    segment, about = cost.segment, f"{capable} over {efficient}"
    key = about if cost.segment == "all" else f"{cost.segment}: {about}"
    if cost.lower is None or cost.upper is None or cost.lower <= 0 <= cost.upper:
        return _skipped(segment, "which of the two costs more is within the noise", _LOG_CHOICES, about)
    extra = _extra(supply.offer, cost)
    if isinstance(extra, str):
        return _skipped(segment, extra, _LOG_CHOICES, about)
    level = supply.level(capable, segment)
    if level is None or level.value is None or level.lower is None or level.upper is None:
        why = (level.reason if level else None) or "it was not asked for"
        return _skipped(segment, f"the success of {capable} is not known: {why}", _LOG_CHOICES, about)
    if not value:
        formula = f"base_threshold = {level.value:.3f} - {extra.usd:.4g} USD / V"
        return _skipped(
            segment, f"no task value V is set: {formula}", "prices.task_value in the configuration", about
        )
    ends = [(level.value, extra.usd), (level.lower, extra.upper), (level.upper, extra.lower)]
    base, lower, upper = (round(threshold(p, usd, value), _DIGITS) for p, usd in ends)
    notes = [f"{key}: base_threshold was clipped to {base}"] if not 0 < base < 1 - 2 * STEP else []
    evidence = [
        Evidence(
            key=f"capability/{key}/{_NAME}",
            against=f"capability/{_NAME}",
            value=base,
            lower=lower,
            upper=upper,
            grade=max(extra.grade, "A"),
            why=f"{capable} succeeds in {level.value:.3f} and costs {extra.usd:.4g} USD more, V = {value:g}",
        )
    ]
    fragment: dict[str, Any] = {_NAME: base, "threshold_step": STEP}
    fitted = _calibration(supply, efficient, segment)
    if isinstance(fitted, str):
        notes.append(f"{about}: no calibration, the threshold meets raw forecasts: {fitted}")
    else:
        version = f"shadowprice-{supply.offer.run_id}"
        slope, intercept = round(fitted.slope, _DIGITS), round(fitted.intercept, _DIGITS)
        fragment["calibration"] = {"version": version, "slope": slope, "intercept": intercept}
        evidence += [
            Evidence(
                key=f"capability/{key}/{name}",
                against=f"capability/{name}",
                value=v,
                why=f"{fitted.n} forecasts",
            )
            for name, v in (("slope", slope), ("intercept", intercept))
        ]
    return key, fragment, evidence, notes


def _calibration(supply: Supply, efficient: str, segment: str) -> Platt | str:
    rows = supply.forecasts
    if rows is None:
        return f"the logs hold no forecast ({_LOG_FORECAST})"
    own = in_segment(rows, segment)
    own = own.filter(own["action"] == efficient)
    return platt(own[FORECAST].cast(float).to_numpy(), own["quality"].cast(float).to_numpy())


def _extra(offer: Offer, cost: Row) -> _Extra | str:
    """The extra cost of the capable model with delay and risk at their prices; ends add up, so it is wide."""
    parts = [_oriented(cost, cost, 1.0)]
    for name, price in (("delta_latency", "latency_price"), ("delta_risk", "risk_price")):
        weight = next((row.value for row in offer.rows if row.name == price), 0.0)
        if weight == 0:
            continue
        row = next((r for r in offer.rows if r.name == name and _same(r, cost)), None)
        if row is None:
            return f"a {price.replace('_', ' ')} is set, but the extra {name[6:]} is not identified"
        parts.append(_oriented(row, cost, weight))
    usd, lower, upper = (sum(column) for column in zip(*parts, strict=True))
    return _Extra(usd=usd, lower=lower, upper=upper, grade=cost.grade or "C")


def _oriented(row: Row, cost: Row, weight: float) -> tuple[float, float, float]:
    """Value, lower and upper of `row`, in USD, for the dearer model over the cheaper one."""
    sign = weight if cost.value > 0 else -weight
    ends: Sequence[float] = [sign * end for end in (row.lower, row.upper) if end is not None] or [
        sign * row.value
    ]
    return sign * row.value, min(ends), max(ends)


def _same(a: Row, b: Row) -> bool:
    return (a.decision_point, a.action, a.baseline, a.segment) == (
        b.decision_point,
        b.action,
        b.baseline,
        b.segment,
    )


def _costs(offer: Offer, segment: str) -> list[Row]:
    return [
        row
        for row in offer.rows
        if row.name == "delta_cost"
        and row.segment == segment
        and row.layer == "router"
        and row.decision_point == "model"
    ]


def _skipped(segment: str, reason: str, log_next: str, about: str) -> Skipped:
    return Skipped.of(name=_NAME, segment=segment, about=about, reason=reason, log_next=log_next)
