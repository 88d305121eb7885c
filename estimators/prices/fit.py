"""The prices of a run: those the user set, the break-even task values, and what the caps imply."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import polars as pl

from ...schemas.config import Config
from ...schemas.records import Estimates, Price, Prices
from ...schemas.trends import VALUE_TREND
from ...schemas.units import LATENCY_PRICE, ROLLOUT_PRICE, SIGNAL_PRICE, TASK_VALUE, Amount
from ..confidence import LEVEL
from .break_even import Ratio, break_even_value
from .from_decisions import NOTHING, Decisions, prices_from
from .implied import CAP_SYMBOLS, CAP_UNITS

_BREAK_EVEN: Final = "break_even_task_value"
_UNSET_TERM: Final = "not set in the config, so this term is left out of the sum"
_UNSET_VALUE: Final = "not set in the config; no default is assumed, see the break-even values"
_CAP_PRICE: Final = "cap_price_"


def fit_prices(
    est: Estimates, config: Config | None = None, *, decisions: Decisions | None = None, run_id: str = ""
) -> Prices:
    """All prices of a run: V, p_C, lambda, rho as set, V* per identified contrast, caps judged.

    A price that nobody set is there with value None and a reason, never with a default; p_C is 1 by
    the convention of the net objective (METHODS 0.1). decisions: those that `est` was made from; with them
    come the prices that today's spend implies, choices reveal, and logs of risk, serving and training show.
    """
    config = config or Config()
    stamp: dict[str, Any] = {"run_id": run_id, "window_from": est.window[0], "window_to": est.window[1]}
    found = NOTHING if decisions is None else prices_from(decisions, est, config, seed=est.seed)
    fitted = found.prices
    prices = (
        *_task_values(config, stamp),
        Price(
            name="cost_price",
            symbol="p_C",
            unit="USD/USD",
            source="implied",
            value=1.0,
            method="convention of the net objective",
            **stamp,
        ),
        _term(config.prices.latency, "latency_price", "λ", LATENCY_PRICE, stamp),
        _term(config.prices.risk, "risk_price", "ρ", "USD/event", stamp),
        *_of_training(config, stamp),
        *_break_evens(est, config, stamp),
        *_caps(est, config, fitted, stamp),
        *(replace(p, **stamp) for p in fitted if not p.name.startswith(_CAP_PRICE)),
    )
    return Prices(
        prices=prices,
        value_curve=found.value_curve,
        savings=found.savings,
        trend=_trend(est, config),
        **stamp,
    )


def _task_values(config: Config, stamp: dict[str, Any]) -> list[Price]:
    table = config.prices
    whole = _set_price(table.task_value, "task_value", "V", TASK_VALUE, _UNSET_VALUE, stamp)
    by_class = [
        _set_price(amount, "task_value", "V", TASK_VALUE, "", stamp, segment=f"{config.task_class}={name}")
        for name, amount in sorted(table.task_value_by_class.items())
    ]
    return [whole, *by_class]


def _of_training(config: Config, stamp: dict[str, Any]) -> list[Price]:
    """What the user said of training, where anything was said."""
    stated = (
        (config.prices.learning_signal, "learning_signal_price", "V_s", SIGNAL_PRICE),
        (config.prices.rollout, "rollout_price", "κ_U", ROLLOUT_PRICE),
    )
    return [_term(amount, name, symbol, unit, stamp) for amount, name, symbol, unit in stated if amount]


def _term(amount: Amount | None, name: str, symbol: str, unit: str, stamp: dict[str, Any]) -> Price:
    return _set_price(amount, name, symbol, unit, _UNSET_TERM, stamp)


def _set_price(
    amount: Amount | None,
    name: str,
    symbol: str,
    unit: str,
    unset: str,
    stamp: dict[str, Any],
    segment: str = "all",
) -> Price:
    return Price(
        name=name,
        symbol=symbol,
        unit=amount.unit if amount else unit,
        source="user",
        segment=segment,
        value=amount.value if amount else None,
        reason=None if amount else unset,
        **stamp,
    )


def _weights(config: Config) -> dict[str, float]:
    latency, risk = config.prices.latency, config.prices.risk
    return {"latency_price": latency.value if latency else 0.0, "risk_price": risk.value if risk else 0.0}


def _break_evens(est: Estimates, config: Config, stamp: dict[str, Any]) -> list[Price]:
    rows = est.joint.filter(pl.col("estimand") != "not_identified")
    order = ["layer", "decision_point", "action", "baseline", "segment", "estimand"]
    weights = _weights(config)
    return [_break_even(row, est.level, weights, stamp) for row in rows.sort(order).iter_rows(named=True)]


def _break_even(row: dict[str, Any], level: float, weights: dict[str, float], stamp: dict[str, Any]) -> Price:
    ratio = _ratio(row, level, weights)
    return Price(
        name=_BREAK_EVEN,
        symbol="V*",
        unit=TASK_VALUE,
        source="break_even",
        segment=row["segment"],
        value=ratio.value,
        lower=ratio.lower,
        upper=ratio.upper,
        level=ratio.level,
        layer=row["layer"],
        decision_point=row["decision_point"],
        action=row["action"],
        baseline=row["baseline"],
        grade=row["grade"],
        n=row["n"],
        clusters=row["clusters"],
        ess=row["ess"],
        method=f"{row['estimand']}, Fieller interval",
        reason=ratio.reason,
        **stamp,
    )


def _ratio(row: dict[str, Any], level: float, weights: dict[str, float]) -> Ratio:
    """V* of a row of `joint` or `trend`; its reason says why there is none, or what it means."""
    theta = np.array(row["theta"], dtype=float)
    cov = np.array(row["cov"], dtype=float).reshape(4, 4)
    ratio = break_even_value(theta, cov, float(row["df"]), level=level or LEVEL, **weights)
    return replace(ratio, reason=ratio.reason or _reading(theta[0], ratio.value, row))


def _trend(est: Estimates, config: Config) -> pl.DataFrame:
    """V* of each contrast by period; a period that was refused keeps its reason."""
    weights = _weights(config)
    rows = [
        row | (asdict(_ratio(row, est.level, weights)) if row["theta"] is not None else {"level": est.level})
        for row in est.trend.iter_rows(named=True)
    ]
    return pl.DataFrame([{name: row.get(name) for name in VALUE_TREND} for row in rows], schema=VALUE_TREND)


def _reading(dq: float, value: float | None, row: dict[str, Any]) -> str | None:
    """What V* means when it is not simply 'pays above'."""
    if value is None:
        return None
    if dq > 0:
        return f"{row['action']} pays at any task value" if value < 0 else None
    if value > 0:
        return f"{row['action']} is worse in quality and pays only below this task value"
    return f"{row['action']} pays at no task value"


def _caps(est: Estimates, config: Config, fitted: tuple[Price, ...], stamp: dict[str, Any]) -> list[Price]:
    duals = {p.name: p for p in fitted}
    caps = {"cost": config.caps.cost, "latency": config.caps.latency, "risk": config.caps.risk}
    return [
        _cap(est, name, cap, duals.get(_CAP_PRICE + name), stamp)
        for name, cap in caps.items()
        if cap is not None
    ]


def _cap(est: Estimates, quantity: str, cap: Amount, dual: Price | None, stamp: dict[str, Any]) -> Price:
    """The price a cap implies: 0 when the logged use is clearly below it (complementary slackness), else its
    dual, or the reason why there is none."""
    row = est.consumption.filter(pl.col("quantity") == quantity)
    unit = "USD/USD" if cap.unit == "USD/decision" else CAP_UNITS[quantity]
    value: float | None = None
    if row.is_empty():
        reason = f"the mean {quantity} per decision is not in the estimates, so the cap cannot be judged"
    elif row["upper"][0] is not None and row["upper"][0] < cap.value:
        value, reason = 0.0, f"slack: at most {row['upper'][0]:.4g} of {cap} is used"
    elif dual is not None:
        return replace(dual, unit=unit, **stamp)
    else:
        reason = f"may bind: mean {row['mean'][0]:.4g} against {cap}; its dual needs decisions with a market"
    return Price(
        name=_CAP_PRICE + quantity,
        symbol=CAP_SYMBOLS[quantity],
        unit=unit,
        source="implied",
        value=value,
        n=None if row.is_empty() else row["n"][0],
        method="complementary slackness",
        reason=reason,
        **stamp,
    )
