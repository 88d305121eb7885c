"""The measures of risk of one cell: an arm, an action class or all logged decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..schemas.records import Grade
from .confidence import exact_rate, upper_rate
from .cvar import Cvar, cvar, excess_over
from .gates import MIN_CLUSTERS, MIN_ESS, MIN_EVENTS, effective_clusters
from .irreversible import irreversible_load
from .losses import ArmLosses
from .rates import credibility
from .risk_mean import Excess, Interval, difference, excess_loss, incident_rate
from .risk_records import Measure, RiskSettings
from .worst_case import ambiguous_mean, knightian_mean, worst_rate

_CURE = "State the largest loss that one incident can cause (cap_usd)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One arm, class or all decisions, with what its evidence is worth."""

    arm: ArmLosses
    action_class: str | None
    grade: Grade

    @property
    def n(self) -> int:
        """Decisions that took it."""
        return int(self.arm.took.sum())

    @property
    def events(self) -> int:
        """Its incidents, whether their loss is known or not."""
        return int((self.arm.losses.incident[self.arm.took] == 1.0).sum())

    @property
    def clusters(self) -> int:
        """Clusters that took it."""
        return int(np.unique(self.arm.cluster[self.arm.took]).size)

    @property
    def ess(self) -> float:
        """Effective number of its decisions whose incident is known (Kish 1965)."""
        w = self.arm.h * self.arm.w_incident
        return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measure: a value with interval, a bound without value, or neither, with a reason."""

    measure: Measure
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    method: str = "none"
    reason: str | None = None


def arm_measures(
    cell: Cell,
    undone: ArmLosses | str,
    peers: Sequence[Cell],
    settings: RiskSettings,
    *,
    seed: int,
    level: float,
) -> Iterator[Measured]:
    """Every measure of a cell. undone: the same arm with irreversible losses only, or why there are none.
    peers: the arms of its class, which lend a rare arm their rate."""
    fault = _fault(cell)
    if fault is not None:
        yield Measured(measure="incident", reason=fault)
        yield Measured(measure="expected", reason=fault)
        return
    rate = _incident(cell, peers, level)
    yield rate
    expected = _expected(cell.arm, rate, settings, level)
    yield expected
    yield _cvar(cell, rate, settings, level)
    yield _knightian(cell, rate, expected, settings, level)
    if settings.radius is not None:
        yield _ambiguity(cell, settings, settings.radius, level)
    yield from _irreversible(cell, undone, settings, seed, level)


def contrast_measures(
    a: Cell, b: Cell, whole: ArmLosses, settings: RiskSettings, *, level: float
) -> Iterator[Measured]:
    """Differences of arm a over arm b: expected loss, and additive share of the CVaR of all decisions."""
    for cell in (a, b):
        fault = _fault(cell)
        if fault is not None:
            yield Measured(measure="expected", reason=f"{cell.arm.arm}: {fault}")
            yield Measured(measure="cvar", reason=f"{cell.arm.arm}: {fault}")
            return
    portfolio = cvar(whole, beta=settings.beta, cap_usd=settings.cap_usd, level=level)
    yield _contrast("expected", a, b, 0.0, 1.0, settings, level)
    if isinstance(portfolio, str):
        yield Measured(measure="cvar", reason=portfolio)
        return
    yield _contrast("cvar", a, b, portfolio.value_at_risk, 1.0 / (1.0 - settings.beta), settings, level)


def _contrast(
    measure: Measure, a: Cell, b: Cell, eta: float, scale: float, settings: RiskSettings, level: float
) -> Measured:
    """scale * (E[(L(a) - eta)+] - E[(L(b) - eta)+])."""
    parts: list[Excess] = []
    for cell in (a, b):
        found = excess_over(cell.arm, eta, cap_usd=settings.cap_usd, level=level)
        few = None if cell.arm.hits.sum() >= MIN_EVENTS else _few(cell.arm)
        reason = few or (found if isinstance(found, str) else None)
        if reason is not None or isinstance(found, str):
            return Measured(measure=measure, reason=f"{cell.arm.arm}: {reason}")
        parts.append(found)
    method = parts[0].method if measure == "expected" else f"additive share above {eta:.4g} USD"
    return _of(measure, difference(parts[0], parts[1], scale=scale, level=level), method)


def _fault(cell: Cell) -> str | None:
    """Why nothing can be said of the cell, or None."""
    g = effective_clusters(cell.arm.cluster, cell.arm.took)
    if g < MIN_CLUSTERS:
        return f"{g:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    if cell.ess < MIN_ESS:
        return f"effective sample size {cell.ess:.0f}; {MIN_ESS:.0f} are needed"
    return None


def _few(arm: ArmLosses) -> str:
    return f"{int(arm.hits.sum())} known losses; {MIN_EVENTS} are needed"


def _of(measure: Measure, found: Interval, method: str) -> Measured:
    return Measured(measure=measure, value=found.value, lower=found.lower, upper=found.upper, method=method)


def _incident(cell: Cell, peers: Sequence[Cell], level: float) -> Measured:
    if cell.events == 0:
        upper = upper_rate(0.0, cell.ess, level=level)
        reason = f"no incident in {cell.ess:.0f} effective decisions: the rate is below the bound, not 0"
        method = "one-sided exact bound"
        return Measured(measure="incident", lower=0.0, upper=upper, method=method, reason=reason)
    found = incident_rate(cell.arm, level=level)
    if cell.events >= MIN_EVENTS:
        return _of("incident", found, "doubly robust rate, CR3 t interval")
    lower, upper = exact_rate(found.value * cell.ess, cell.ess, level=level)
    value, method = found.value, "exact interval of effective counts"
    group = [p for p in peers if p.ess > 0.0]
    if cell.arm.arm is not None and len(group) > 1:
        trials = np.array([p.ess for p in group])
        rates = np.array([incident_rate(p.arm, level=level).value for p in group])
        pooled, k = credibility(rates * trials, trials)
        value = float(pooled[[p.arm.arm for p in group].index(cell.arm.arm)])
        method = f"credibility with {len(group)} arms of its class (k = {k:.4g}), {method}"
    return Measured(
        measure="incident", value=value, lower=min(lower, value), upper=max(upper, value), method=method
    )


def _expected(arm: ArmLosses, rate: Measured, settings: RiskSettings, level: float) -> Measured:
    """The expected loss; with too few losses for a tail every incident may cost the cap."""
    assert rate.upper is not None
    found = excess_loss(arm, above=0.0, cap_usd=settings.cap_usd, level=level)
    if not isinstance(found, str) and arm.hits.sum() >= MIN_EVENTS:
        return _of("expected", difference(found, None, level=level), found.method)
    reason = found if isinstance(found, str) else _few(arm)
    if settings.cap_usd is None:
        return Measured(measure="expected", reason=f"{reason}; incidents are below {rate.upper:.2g}. {_CURE}")
    method = f"bound: incident probability at most {rate.upper:.4g}, {settings.cap_usd:g} USD each"
    return Measured(
        measure="expected", lower=0.0, upper=rate.upper * settings.cap_usd, method=method, reason=reason
    )


def _cvar(cell: Cell, rate: Measured, settings: RiskSettings, level: float) -> Measured:
    assert rate.upper is not None
    found = cvar(cell.arm, beta=settings.beta, cap_usd=settings.cap_usd, level=level)
    if isinstance(found, Cvar) and cell.arm.hits.sum() >= MIN_EVENTS:
        where = (
            f"incidents are rarer than {1.0 - settings.beta:.4g}, so CVaR is the expected loss divided by it"
            if found.value_at_risk == 0.0
            else f"value at risk {found.value_at_risk:.4g} USD"
        )
        return _of("cvar", found.interval, f"beta {settings.beta:g}: {where}; {found.excess.method}")
    reason = found if isinstance(found, str) else _few(cell.arm)
    if settings.cap_usd is None:
        return Measured(measure="cvar", reason=f"{reason}. {_CURE}, or a smaller beta")
    upper = settings.cap_usd * min(1.0, rate.upper / (1.0 - settings.beta))
    method = f"bound: the cap for {rate.upper / (1.0 - settings.beta):.3g} of the tail"
    return Measured(measure="cvar", lower=0.0, upper=upper, method=method, reason=reason)


def _knightian(
    cell: Cell, rate: Measured, expected: Measured, settings: RiskSettings, level: float
) -> Measured:
    """R_kn as the upper end, the expected loss as the lower: their quotient is the Knightian index K."""
    assert rate.upper is not None
    upper = knightian_mean(cell.arm, strength=settings.strength, cap_usd=settings.cap_usd, level=level)
    method = f"worst case: one-sided {level:.0%} limit, hidden cause of strength {settings.strength:g}"
    few = cell.arm.hits.sum() < MIN_EVENTS
    if isinstance(upper, str) or few:
        if settings.cap_usd is None:
            reason = upper if isinstance(upper, str) else _few(cell.arm)
            return Measured(measure="knightian", reason=f"{reason}. {_CURE}")
        top = upper_rate((rate.value or 0.0) * cell.ess, cell.ess, level=level)
        upper = worst_rate(top, settings.strength) * settings.cap_usd
        method = f"{method}, every incident at {settings.cap_usd:g} USD"
    mean = expected.value if expected.value is not None else 0.0
    reason = "a worst case is a bound: no value within it is claimed"
    return Measured(measure="knightian", lower=mean, upper=max(upper, mean), method=method, reason=reason)


def _ambiguity(cell: Cell, settings: RiskSettings, radius: float, level: float) -> Measured:
    ceiling = cell.arm.ceiling()
    largest = settings.cap_usd if settings.cap_usd is not None else ceiling
    if largest is None:
        return Measured(measure="ambiguity", reason=f"losses have no known bound. {_CURE}")
    if cell.arm.hits.sum() < MIN_EVENTS:
        reason = _few(cell.arm)
        return Measured(measure="ambiguity", reason=reason)
    found = ambiguous_mean(cell.arm, largest, radius=radius, level=level)
    return _of(
        "ambiguity", found, f"worst law within Kullback-Leibler distance {radius:g}, weighted by 1 / e"
    )


def _irreversible(
    cell: Cell, undone: ArmLosses | str, settings: RiskSettings, seed: int, level: float
) -> Iterator[Measured]:
    if isinstance(undone, str):
        yield Measured(measure="irreversible", reason=undone)
        return
    own = Cell(arm=undone, action_class=cell.action_class, grade=cell.grade)
    if own.ess < MIN_ESS:
        reason = f"{own.ess:.0f} effective decisions of known reversibility; {MIN_ESS:.0f} are needed"
        yield Measured(measure="irreversible", reason=reason)
        return
    rate = _incident(own, (), level)
    loss = _expected(undone, rate, settings, level)
    yield Measured(
        measure="irreversible",
        value=loss.value,
        lower=loss.lower,
        upper=loss.upper,
        method=loss.method,
        reason=loss.reason,
    )
    if settings.reviews is None:
        return
    if loss.value is None or rate.value is None:
        yield Measured(measure="irreversible_load", reason=f"no expected irreversible loss: {loss.reason}")
        return
    load = irreversible_load(_interval(loss), _interval(rate), settings.reviews, seed=seed, level=level)
    if isinstance(load, str):
        yield Measured(measure="irreversible_load", reason=load)
        return
    yield _of("irreversible_load", load, "option value of asking first, Beta posteriors of the reviewer")


def _interval(m: Measured) -> Interval:
    assert m.value is not None
    assert m.lower is not None
    assert m.upper is not None
    return Interval(value=m.value, lower=m.lower, upper=m.upper, clusters=0)
