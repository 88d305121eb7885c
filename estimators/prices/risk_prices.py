"""What an incident costs, from the books: severity, loads for its tail and its unknowns, and bounds for none.

The accounting price stands beside the revealed and the implied one; they answer different questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...schemas.config import Config
from ...schemas.records import Price
from ..confidence import LEVEL
from ..cvar import Cvar, cvar, excess_over
from ..losses import ArmLosses, read_losses
from ..problem import Problem, check_frame, problems
from ..risk import restricted, risk_estimates
from ..risk_mean import difference
from ..risk_records import RiskEstimate, RiskSettings
from .exposure import ALL, Exposure, as_logged, exposures, logged_losses

Mask = NDArray[np.bool_]

_LOSS: Final = "USD/decision"
_EVENT: Final = "USD/event"
_FACTOR: Final = "USD/USD"
_WORST: Final = "a worst case is a bound: no value within it is claimed"
_REVIEWS: Final = "what asking first costs and catches is not stated (RiskSettings.reviews)"


def risk_prices(
    decisions: pl.DataFrame, *, config: Config, seed: int, settings: RiskSettings | None = None
) -> tuple[Price, ...]:
    """The accounting prices of risk at every decision point, for all decisions and each action class.

    'incident_rate' (event/decision); 'accounting_risk_price' (USD/event, mean loss of one incident);
    'risk_charge' (USD/decision, their product); its loads 'knightian_load' and 'cvar_load' (USD/USD) and the
    prices under them, 'accounting_risk_price_knightian', a bound, and 'accounting_risk_price_cvar'; and
    'irreversible_risk_load' with its option value of asking. Never averaged with the revealed or implied
    price. Classes are as logged, so the Knightian load is of sampling, tail and cap: a hidden cause of the
    choice cannot change what happened. Without an incident the rate has a one-sided bound that holds with
    95 %, the charge one where a loss per incident is known, and neither a value: no incident is not no risk.

    Raises: SchemaError for a frame not in the layout, ConfigError where a logged loss exceeds the cap.
    Source: METHODS D1 to D5.
    """
    check_frame(decisions)
    stated = settings or RiskSettings()
    out: list[Price] = []
    with threadpool_limits(limits=1):
        for problem in problems(decisions, config):
            out += _of_point(problem, stated, seed)
    return tuple(out)


def _of_point(problem: Problem, settings: RiskSettings, seed: int) -> Iterator[Price]:
    problem = replace(problem, features=())  # what happened needs no model of what else could have
    found = exposures(problem, cap_usd=settings.cap_usd, seed=seed)
    if isinstance(found, str):
        yield _price(problem, ALL, "accounting_risk_price", "ρ_acct", _EVENT, reason=found)
        return
    measures = risk_estimates(problem, as_logged(problem), settings=settings, seed=seed)
    losses = read_losses(problem.frame)
    assert not isinstance(losses, str)
    logged = logged_losses(problem, losses, seed=seed)
    portfolio = cvar(logged, beta=settings.beta, cap_usd=settings.cap_usd)
    for exposure in found:
        own = _measures(measures, exposure.segment)
        yield from _books(problem, exposure, found[0], settings, own)
        yield from _knightian(problem, exposure, own)
        yield from _cvar(problem, exposure, logged, portfolio, settings)
        yield _irreversible(problem, exposure, own, settings)


def _measures(found: tuple[RiskEstimate, ...], segment: str) -> dict[str, RiskEstimate]:
    wanted = None if segment == ALL else segment.removeprefix("action_class=")
    return {e.measure: e for e in found if e.action is None and e.action_class == wanted}


def _books(
    problem: Problem, e: Exposure, whole: Exposure, settings: RiskSettings, own: dict[str, RiskEstimate]
) -> Iterator[Price]:
    """Rate, severity and their product."""
    count: dict[str, Any] = {"n": e.n, "clusters": e.clusters, "ess": e.trials}
    rate: dict[str, Any] = {
        "name": "incident_rate",
        "symbol": "P(incident)",
        "unit": "event/decision",
        **count,
    }
    severity: dict[str, Any] = {"name": "accounting_risk_price", "symbol": "ρ_acct", "unit": _EVENT, **count}
    charge: dict[str, Any] = {"name": "risk_charge", "symbol": "R", "unit": _LOSS, **count}
    if e.fault is not None:
        for row in (rate, severity, charge):
            yield _price(problem, e.segment, **row, reason=e.fault)
        return
    none = f"no incident among {e.n} decisions worth {e.trials:.0f} independent ones: a bound, not 0"
    method = "exact interval, clustering of incidents counted"
    if e.events:
        ends: dict[str, Any] = {"value": e.rate, "lower": e.lower, "upper": e.upper}
        yield _price(problem, e.segment, **rate, **ends, method=method)
    else:
        one_sided = f"one-sided {LEVEL:.0%} {method}"
        yield _price(problem, e.segment, **rate, lower=0.0, upper=e.upper, method=one_sided, reason=none)
    if isinstance(e.severity, str):
        cap: dict[str, Any] = {}
        if settings.cap_usd is not None:
            cap = {"lower": 0.0, "upper": settings.cap_usd, "method": "the stated largest loss"}
        yield _price(problem, e.segment, **severity, **cap, reason=e.severity)
    else:
        s = e.severity
        ends: dict[str, Any] = {"value": s.value, "lower": s.lower, "upper": s.upper}
        yield _price(problem, e.segment, **severity, **ends, method=f"among incidents, {e.severity_method}")
    expected = own.get("expected")
    if expected is not None and expected.value is not None:
        ends: dict[str, Any] = {"value": expected.value, "lower": expected.lower, "upper": expected.upper}
        yield _price(problem, e.segment, **charge, **ends, method=expected.method)
        return
    yield _bounded_charge(problem, e, whole, settings, charge, none)


def _bounded_charge(
    problem: Problem,
    e: Exposure,
    whole: Exposure,
    settings: RiskSettings,
    charge: dict[str, Any],
    none: str,
) -> Price:
    """At most the bound of the rate times the most that one incident costs."""
    few = none if not e.events else f"{e.events} incidents: too few for an expected loss"
    if settings.cap_usd is not None:
        worst, how = settings.cap_usd, "the stated largest loss"
    elif not isinstance(whole.severity, str):
        worst, how = whole.severity.upper, "the upper end of the mean loss in all classes"
    else:
        reason = f"{few}; and what one would cost is not known: state the largest loss (cap_usd)"
        return _price(problem, e.segment, **charge, reason=reason)
    method = f"bound of the incident rate, {e.upper:.3g}, times {how}, {worst:.4g} USD"
    return _price(problem, e.segment, **charge, lower=0.0, upper=e.upper * worst, method=method, reason=few)


def _knightian(problem: Problem, e: Exposure, own: dict[str, RiskEstimate]) -> Iterator[Price]:
    """R_kn / R: how much of the worst case the expectation leaves out."""
    load: dict[str, Any] = {
        "name": "knightian_load",
        "symbol": "K",
        "unit": _FACTOR,
        "n": e.n,
        "clusters": e.clusters,
    }
    price: dict[str, Any] = {
        **load,
        "name": "accounting_risk_price_knightian",
        "symbol": "ρ_acct K",
        "unit": _EVENT,
    }
    mean, worst = own.get("expected"), own.get("knightian")
    lacking = next((m.reason for m in (mean, worst) if m is not None and m.upper is None), None)
    if mean is None or worst is None or not mean.value or worst.upper is None or isinstance(e.severity, str):
        reason = e.fault or lacking or "no expected loss above 0 to put a load on"
        yield _price(problem, e.segment, **load, reason=reason)
        yield _price(problem, e.segment, **price, reason=reason)
        return
    k = max(worst.upper / mean.value, 1.0)
    yield _price(problem, e.segment, **load, lower=1.0, upper=k, method=worst.method, reason=_WORST)
    ends: dict[str, Any] = {"lower": e.severity.value, "upper": k * e.severity.value}
    yield _price(problem, e.segment, **price, **ends, method=f"mean loss, {worst.method}", reason=_WORST)


def _cvar(
    problem: Problem, e: Exposure, logged: ArmLosses, portfolio: Cvar | str, settings: RiskSettings
) -> Iterator[Price]:
    """E[(L - eta*)+] / (1 - beta) of the class over its E[L], eta* of all decisions (an Euler share)."""
    load: dict[str, Any] = {
        "name": "cvar_load",
        "symbol": "CVaR/E",
        "unit": _FACTOR,
        "n": e.n,
        "clusters": e.clusters,
    }
    price: dict[str, Any] = {
        **load,
        "name": "accounting_risk_price_cvar",
        "symbol": "ρ_acct CVaR/E",
        "unit": _EVENT,
    }
    found = _tail_price(problem, e, logged, portfolio, settings)
    if isinstance(found, str):
        yield _price(problem, e.segment, **load, reason=found)
        yield _price(problem, e.segment, **price, reason=found)
        return
    value, lower, upper, method = found
    assert not isinstance(e.severity, str)
    mean = e.severity.value
    only: dict[str, Any] = {"value": value / mean, "lower": lower / mean, "upper": upper / mean}
    given = f"{method}; its interval takes the mean loss as known"
    yield _price(problem, e.segment, **load, **only, method=given)
    yield _price(problem, e.segment, **price, value=value, lower=lower, upper=upper, method=method)


def _tail_price(
    problem: Problem, e: Exposure, logged: ArmLosses, portfolio: Cvar | str, settings: RiskSettings
) -> tuple[float, float, float, str] | str:
    """USD of tail share per incident with its interval, given the rate of incidents: (value, ends, how)."""
    if e.fault is not None or isinstance(e.severity, str) or isinstance(portfolio, str):
        return e.fault or (e.severity if isinstance(e.severity, str) else str(portfolio))
    if e.segment == ALL:
        member = np.ones(problem.n, dtype=bool)
    else:
        classes = problem.frame["action_class"].cast(pl.String)
        name = e.segment.removeprefix("action_class=")
        member = (classes == name).fill_null(value=False).to_numpy()
    part = excess_over(
        _only(logged, member & (logged.losses.incident == 1.0)),
        portfolio.value_at_risk,
        cap_usd=settings.cap_usd,
    )
    if isinstance(part, str):
        return part
    share = difference(part, None, scale=1.0 / (1.0 - settings.beta))
    method = (
        f"loss above the {settings.beta:.0%} quantile of all decisions, {portfolio.value_at_risk:.4g} USD, "
        f"over {1.0 - settings.beta:.3g}; {part.method}"
    )
    return share.value, share.lower, share.upper, method


def _only(logged: ArmLosses, member: Mask) -> ArmLosses:
    """The logged losses of some incidents, as a population of their own."""
    return replace(restricted(logged, member), p=np.ones_like(logged.p))


def _irreversible(
    problem: Problem, e: Exposure, own: dict[str, RiskEstimate], settings: RiskSettings
) -> Price:
    row: dict[str, Any] = {"name": "irreversible_risk_load", "symbol": "ρ_irr", "unit": _FACTOR}
    row |= {"n": e.n, "clusters": e.clusters}
    found = own.get("irreversible_load")
    if found is None or found.value is None:
        undone = own.get("irreversible")
        lacking = None if undone is None or undone.value is not None else undone.reason
        reason = found.reason if found is not None else e.fault or lacking
        return _price(
            problem, e.segment, **row, reason=reason or (_REVIEWS if settings.reviews is None else "unknown")
        )
    ends: dict[str, Any] = {"value": found.value, "lower": found.lower, "upper": found.upper}
    return _price(problem, e.segment, **row, **ends, method=found.method)


def _price(
    problem: Problem,
    segment: str,
    name: str,
    symbol: str,
    unit: str,
    *,
    value: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    n: int | None = None,
    clusters: int | None = None,
    ess: float | None = None,
    method: str = "none",
    reason: str | None = None,
) -> Price:
    return Price(
        name=name,
        symbol=symbol,
        unit=unit,
        source="fitted",
        segment=segment,
        value=value,
        lower=lower,
        upper=upper,
        level=LEVEL if upper is not None else None,
        layer=problem.layer,
        decision_point=problem.decision_point,
        grade="C" if value is not None else "D" if upper is not None else "N",
        n=n,
        clusters=clusters,
        ess=ess,
        method=method,
        reason=reason,
    )
