"""Threshold and calibration of LiteLLM's capability router, from Eq. 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .candidates import LOG_CHOICES, Refused, extra_costs, price_of, task_values
from .made import Evidence
from .offer import Row, Skipped
from .platt import Platt, platt
from .supply import FORECAST, Supply, in_segment

STEP: Final = 0.0
"""LiteLLM's own default of threshold_step; the calibration carries what a step would guess."""
_DIGITS: Final = 6
_NAME: Final = "base_threshold"
_LOG_FORECAST: Final = "classifier_p_solve in LiteLLM's routing_decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Fragments by what they are about, the evidence behind each, and what could not be one."""

    fragments: dict[str, dict[str, Any]]
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Two models in one segment. success: of the capable one, and usd: what it costs more, in USD with delay
    at lambda and risk at rho; each with value, lower and upper end."""

    capable: str
    efficient: str
    segment: str
    success: tuple[float, float, float]
    usd: tuple[float, float, float]
    grade: str

    @property
    def about(self) -> str:
        """The case as the key of its fragment."""
        pair = f"{self.capable} over {self.efficient}"
        return pair if self.segment == "all" else f"{self.segment}: {pair}"


def threshold(capable_success: float, extra_usd: float, value: float, *, step: float = STEP) -> float:
    """The success of the efficient model from which it is worth taking, before clipping to the bounds.

    p_cap - [c_cap - c_eff + lambda (l_cap - l_eff) + rho (r_cap - r_eff)] / V, the extra in USD, V in USD
    per task.

    Source: the paper's Eq. 4; bounds [0, 1 - 2 step] of LiteLLM 1.110, CapabilityClassifierConfig.
    """
    return min(max(capable_success - extra_usd / value, 0.0), 1.0 - 2 * step)


def capability_thresholds(supply: Supply) -> Thresholds:
    """One fragment per task value and pair of models; without a task value, the threshold as a formula."""
    values = {row.segment: row.value for row in task_values(supply)}
    fragments: dict[str, dict[str, Any]] = {}
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for segment in values or {"all": 0.0}:
        for row in extra_costs(supply, segment):
            case = _case(supply, row)
            if isinstance(case, Refused):
                skipped.append(_skipped(row, case))
            elif not values.get(segment):
                skipped.append(_skipped(row, _formula(case)))
            else:
                fragments[case.about], held, warnings = _fragment(supply, case, values[segment])
                evidence += held
                notes += warnings
    return Thresholds(
        fragments=fragments,
        evidence=tuple(evidence),
        skipped=tuple(skipped),
        notes=tuple(dict.fromkeys(notes)),
    )


def _case(supply: Supply, cost: Row) -> _Case | Refused:
    """The dearer model of the two as the capable one, with its success and what it costs more."""
    capable, efficient = (cost.action, cost.baseline) if cost.value > 0 else (cost.baseline, cost.action)
    assert capable is not None
    assert efficient is not None
    if cost.lower is None or cost.upper is None or cost.lower <= 0 <= cost.upper:
        return Refused(reason="which of the two costs more is within the noise", log_next=LOG_CHOICES)
    extra = _extra(supply, cost)
    if isinstance(extra, Refused):
        return extra
    level = supply.level(capable, cost.segment)
    if level is None or level.value is None or level.lower is None or level.upper is None:
        why = (level.reason if level else None) or "it was not asked for"
        return Refused(reason=f"the success of {capable} is not known: {why}", log_next=LOG_CHOICES)
    usd, grade = extra
    return _Case(
        capable=capable,
        efficient=efficient,
        segment=cost.segment,
        success=(level.value, level.lower, level.upper),
        usd=usd,
        grade=grade,
    )


def _formula(case: _Case) -> Refused:
    """The threshold as a function of V, for whoever knows V."""
    formula = f"base_threshold = {case.success[0]:.3f} - {case.usd[0]:.4g} USD / V"
    return Refused(
        reason=f"no task value V is set: {formula}", log_next="prices.task_value in the configuration"
    )


def _fragment(supply: Supply, case: _Case, value: float) -> tuple[dict[str, Any], list[Evidence], list[str]]:
    """The fragment, its evidence and its warnings; ends add up, so the interval is wide."""
    success, usd = case.success, case.usd
    ends = [(success[0], usd[0]), (success[1], usd[2]), (success[2], usd[1])]
    base, lower, upper = (round(threshold(p, extra, value), _DIGITS) for p, extra in ends)
    why = f"{case.capable} succeeds in {success[0]:.3f} and costs {usd[0]:.4g} USD more, V = {value:g}"
    held = [_held(case, _NAME, base, why, lower=lower, upper=upper, grade=case.grade)]
    notes = [f"{case.about}: base_threshold is clipped to {base}"] if not 0 < base < 1 - 2 * STEP else []
    fragment: dict[str, Any] = {_NAME: base, "threshold_step": STEP}
    fitted = _calibration(supply, case)
    if isinstance(fitted, str):
        notes.append(f"{case.efficient} has no calibration, so thresholds meet raw forecasts: {fitted}")
        return fragment, held, notes
    fit = {name: round(getattr(fitted, name), _DIGITS) for name in ("slope", "intercept")}
    fragment["calibration"] = {"version": f"shadowprice-{supply.offer.run_id}", **fit}
    held += [_held(case, name, number, f"fitted to {fitted.n} forecasts") for name, number in fit.items()]
    return fragment, held, notes


def _held(case: _Case, name: str, value: float, why: str, **interval: Any) -> Evidence:
    key, against = f"capability/{case.about}/{name}", f"capability/{name}"
    return Evidence(key=key, against=against, value=value, why=why, **interval)


def _calibration(supply: Supply, case: _Case) -> Platt | str:
    if supply.forecasts is None:
        return f"the logs hold no forecast ({_LOG_FORECAST})"
    own = in_segment(supply.forecasts, case.segment)
    own = own.filter(own["action"] == case.efficient)
    return platt(*(own[name].cast(float).to_numpy() for name in (FORECAST, "quality")))


def _extra(supply: Supply, cost: Row) -> tuple[tuple[float, float, float], str] | Refused:
    """The extra USD of the dearer model, with delay and risk at their prices, and the weakest grade."""
    used, parts = [cost], [_oriented(cost, cost, 1.0)]
    for name, price in (("delta_latency", "latency_price"), ("delta_risk", "risk_price")):
        weight = price_of(supply, price)
        if weight == 0:
            continue
        row = next((r for r in supply.offer.rows if r.name == name and _about(r) == _about(cost)), None)
        if row is None:
            reason = f"a {price.replace('_', ' ')} is set, but the extra {name[6:]} is not identified"
            return Refused(reason=reason, log_next=LOG_CHOICES)
        used.append(row)
        parts.append(_oriented(row, cost, weight))
    value, lower, upper = (sum(column) for column in zip(*parts, strict=True))
    return (value, lower, upper), max(row.grade or "C" for row in used)


def _oriented(row: Row, cost: Row, weight: float) -> tuple[float, float, float]:
    """Value, lower and upper of `row`, in USD, for the dearer model over the cheaper one."""
    sign = weight if cost.value > 0 else -weight
    ends = [sign * (row.value if end is None else end) for end in (row.lower, row.upper)]
    return sign * row.value, min(ends), max(ends)


def _about(row: Row) -> tuple[str | None, ...]:
    return row.layer, row.decision_point, row.action, row.baseline, row.segment


def _skipped(cost: Row, why: Refused) -> Skipped:
    about = f"{cost.action} and {cost.baseline}"
    return Skipped.of(name=_NAME, segment=cost.segment, about=about, reason=why.reason, log_next=why.log_next)
