"""Prices that the caps, or today's spend, imply: rows for each decision point and for all of them as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import VALUE_CURVE, Estimates, Grade, Price
from ...schemas.units import LATENCY_PRICE, Amount
from ..problem import Problem
from .break_even import Ratio
from .duals import Dual, Duals, Programme, fit_duals, logged_loads
from .equimarginal import Equimarginal, equimarginal
from .market import CAPPED, Market, PointMarket, stacked
from .value_curve import value_curve

Array = NDArray[np.float64]

DRAWS: Final = 100
"""Bootstrap draws per programme: a standard error from 100 is known to 7 %."""
_PRICES: Final = (
    ("implied_cost_price", "p_C", "USD/USD"),
    ("implied_latency_price", "λ", LATENCY_PRICE),
    ("implied_risk_price", "ρ", "USD/event"),
)
CAP_SYMBOLS: Final = {"cost": "μ_C", "latency": "μ_L", "risk": "μ_R"}
CAP_UNITS: Final = {"cost": "USD/USD", "latency": LATENCY_PRICE, "risk": "USD/event"}
_GAIN_UNIT: Final = "USD/decision"
_LOGGED: Final = "dual of the spend as logged"
_CAPPED: Final = "dual of the caps of the config"
_HOW: Final = "calibrated cross-fitted predictions, cluster bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Implied:
    """prices: rows as `implied_prices` says. value_curve: of all points as one market."""

    prices: tuple[Price, ...]
    value_curve: pl.DataFrame


def implied_prices(points: Sequence[PointMarket], est: Estimates, config: Config, *, seed: int) -> Implied:
    """What an ideal allocation would pay: p_C, lambda and rho per decision point and for all together, what
    it would gain at equal spend, the value of the marginal dollar, and the multipliers of the config's caps.

    A point is judged against its own logged means: same spend, better use. All points together share one
    budget, the logged one or that of the config's caps. USD per second and event are in dollars of net value.

    Source: METHODS E1, E2; paper Eq. 2 and 3.
    """
    if not points:
        return Implied(prices=(), value_curve=pl.DataFrame(schema=VALUE_CURVE))
    latency, risk = config.prices.latency, config.prices.risk
    asked, whole = caps_of(config), stacked([p.market for p in points])
    capped = bool(np.isfinite(asked).any())
    together = Programme(
        points=tuple(range(len(points))), caps=_room(asked, est, whole) if capped else _as_logged(whole)
    )
    alone = [Programme(points=(i,), caps=_as_logged(p.market)) for i, p in enumerate(points)]
    *each, joint = fit_duals(points, [*alone, together], config, seed=seed, draws=DRAWS)
    out: list[Price] = []
    for point, found in zip(points, each, strict=True):
        out += _rows(found, _LOGGED, point.market.points[0], point.market.grade, point.market.notes, latency)
    if capped or len(points) > 1:
        out += _rows(joint, _CAPPED if capped else _LOGGED, (None, None), whole.grade, (), latency)
    out += _cap_rows(joint, asked, whole.grade)
    margins = equimarginal(
        [p.market for p in points],
        latency_price=latency.value if latency else 0.0,
        risk_price=risk.value if risk else 0.0,
    )
    out += _margin_rows(margins, {p.market.points[0]: p.market.grade for p in points})
    return Implied(prices=tuple(out), value_curve=value_curve(whole, together.caps))


def no_market(problem: Problem, reason: str) -> Price:
    """The row of a decision point that has no market, with the reason."""
    return Price(
        name="reallocation_value",
        symbol="ΔW",
        unit=_GAIN_UNIT,
        source="implied",
        layer=problem.layer,
        decision_point=problem.decision_point,
        grade="N",
        n=problem.n,
        method=_LOGGED,
        reason=reason,
    )


def caps_of(config: Config) -> Array:
    """(3,) the caps of the config, infinite where there is none."""
    caps = (config.caps.cost, config.caps.latency, config.caps.risk)
    return np.array([np.inf if cap is None else cap.value for cap in caps])


def _as_logged(market: Market) -> Array:
    """(3,) caps that stand for the logged means, where they are known."""
    return np.where(market.known[1:], np.nan, np.inf)


def _room(asked: Array, est: Estimates, whole: Market) -> Array:
    """(3,) the caps as means over the decisions of the market, NaN where the consumption is not known.

    A cap is a mean over all decisions; what they may use more or less than they do is shared by those that
    have a choice.
    """
    used, held = logged_loads(whole), float(whole.weight.sum())
    out = np.full(len(CAPPED), np.inf)
    for j in np.flatnonzero(np.isfinite(asked)):
        row = est.consumption.filter(pl.col("quantity") == CAPPED[j])
        if not row.is_empty():
            mean, decisions = float(row["mean"][0]), float(row["decisions"][0])
            out[j] = used[j] + (asked[j] - mean) * decisions / held
    return out


def _rows(
    found: Duals,
    method: str,
    about: tuple[str | None, str | None],
    grade: Grade,
    notes: tuple[str, ...],
    set_latency: Amount | None,
) -> Iterator[Price]:
    """The prices of one programme, and what it gains per decision at equal spend."""
    layer, point = about
    common: dict[str, Any] = {
        "source": "implied",
        "layer": layer,
        "decision_point": point,
        "grade": grade,
        "n": found.n,
        "clusters": found.clusters,
        "method": "; ".join((f"{method}, {_HOW}", *notes)),
    }
    for dual, (name, symbol, unit) in zip(found.prices, _PRICES, strict=True):
        told = _beside(dual, set_latency) if unit == LATENCY_PRICE else dual
        yield _price(told, found.level, name=name, symbol=symbol, unit=unit, **common)
    yield _price(found.gain, found.level, name="reallocation_value", symbol="ΔW", unit=_GAIN_UNIT, **common)


def _beside(dual: Dual, set_latency: Amount | None) -> Dual:
    """The dual with a word on the price that the user set, where the interval does not hold it."""
    if set_latency is None or dual.lower is None or dual.upper is None:
        return dual
    if dual.lower <= set_latency.value <= dual.upper:
        return dual
    word = f"the price set, {set_latency}, lies outside the interval"
    return replace(dual, reason=f"{dual.reason}; {word}" if dual.reason else word)


def _cap_rows(found: Duals, asked: Array, grade: Grade) -> Iterator[Price]:
    """The multiplier of each cap of the config: what one more unit of it would bring."""
    for quantity, dual, cap in zip(CAPPED, found.mu, asked, strict=True):
        if np.isfinite(cap):
            yield _price(
                dual,
                found.level,
                name=f"cap_price_{quantity}",
                symbol=CAP_SYMBOLS[quantity],
                unit=CAP_UNITS[quantity],
                source="implied",
                grade=grade,
                n=found.n,
                clusters=found.clusters,
                method=f"{_CAPPED}, {_HOW}",
            )


def _price(dual: Dual, level: float, **about: Any) -> Price:
    known = dual.value is not None
    facts: dict[str, Any] = about if known else about | {"grade": "N"}
    return Price(
        value=dual.value,
        lower=dual.lower,
        upper=dual.upper,
        level=level if known else None,
        reason=dual.reason,
        **facts,
    )


def _margin_rows(found: Equimarginal, grades: dict[tuple[str, str], Grade]) -> Iterator[Price]:
    """The value of the marginal dollar at each margin, and the one that would fit all."""
    for m in found.margins:
        grade = grades[m.layer, m.decision_point]
        yield _ratio(
            m.ratio,
            name="marginal_value_per_usd",
            layer=m.layer,
            decision_point=m.decision_point,
            action=m.action,
            baseline=m.baseline,
            grade=grade if m.ratio.value is not None else "N",
            n=m.n,
            clusters=m.clusters,
            method="overlap-weighted ratio of effects, Fieller interval",
        )
    at = "" if found.p_value is None else f", p = {found.p_value:.2g} for one value at all margins"
    yield _ratio(
        found.common,
        name="common_marginal_value",
        grade=max(grades.values()) if found.common.value is not None else "N",
        n=sum(m.n for m in found.margins),
        method=f"equimarginal test over {len(found.margins)} margins{at}",
    )


def _ratio(ratio: Ratio, **about: Any) -> Price:
    return Price(
        symbol="θ",
        unit="USD/USD",
        source="implied",
        value=ratio.value,
        lower=ratio.lower,
        upper=ratio.upper,
        level=ratio.level if ratio.value is not None else None,
        reason=ratio.reason,
        **about,
    )
