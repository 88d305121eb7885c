"""The value of a target policy from logs of another, by nine estimators and behind gates on the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from ..errors import ConfigError
from ..schemas.config import Config
from ..schemas.records import QUANTITIES
from . import policy_estimators as formulas
from .policy_estimators import Contribution, Terms
from .policy_intervals import KINDS, Kind, anytime, cluster_t, empirical_bernstein, span_of
from .policy_mips import mips_rows
from .policy_rows import PolicyRows, missing_outcomes, outcome_model, policy_rows, weight_refusal
from .policy_target import Target

Quantity: TypeAlias = Literal["quality", "cost", "latency", "risk"]

_COLUMNS: Final = {
    "estimator": pl.String,
    "quantity": pl.String,
    "value": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "ess": pl.Float64,
    "reason": pl.String,
}
_ESTIMATORS: Final = ("IPS", "SNIPS", "DR", "DM", "clipped IPS", "SNDR", "SWITCH-DR", "DRos")
_SHRUNK: Final = ("SWITCH-DR", "DRos")
_MODEL_ONLY: Final = "no interval: the error of the outcome model is unknown; for comparison only"

Row: TypeAlias = tuple[str, str, float | None, float | None, float | None, int, float, str | None]


def policy_value(
    decisions: pl.DataFrame,
    target: Target,
    quantity: Quantity = "quality",
    seed: int = 0,
    *,
    config: Config | None = None,
    interval: Kind = "cluster-t",
    action_features: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The mean outcome had `target` chosen: one row per estimator, value or reason.

    decisions: one decision point in the decisions layout. target: rows (decision_id, action, probability),
    absent pairs having probability 0; a polars expression of the action; a function of the decisions that
    gives either; "uniform" over the actions of the log, or "logged". w = pi(A) / e(A). IPS, SNIPS, DR, the
    direct method DM, IPS clipped at sqrt(n), self-normalised DR, SWITCH-DR and DR with optimistic shrinkage,
    see `policy_estimators`; MIPS when `action_features` (action, columns that describe it) is given.

    interval: "cluster-t", leave one cluster out; "empirical-bernstein", valid at every n where terms are
    bounded; "anytime", valid however often the log is read. Refused when the effective sample size of the
    weights is below 30, their mean is not 1, or the target takes actions that the log never took.

    SWITCH-DR and DRos have the interval of DR, for theirs would ignore the bias that they accept.
    A reason beside a value says what limits it: DM has no interval, and clipping tells what it cut.

    Raises: SchemaError when the frame holds several decision points or is not in the layout, or the target
    is no distribution; ConfigError for an unknown interval or quantity.
    """
    _check(quantity, interval)
    rows = policy_rows(decisions, target, config)
    y = rows.problem.outcomes[:, QUANTITIES.index(quantity)]
    reason = weight_refusal(rows) if rows.fault else missing_outcomes(y) or weight_refusal(rows)
    if reason is not None:
        out = [_row(rows, name, quantity, None, reason) for name in _ESTIMATORS]
    else:
        out = list(_estimates(rows, quantity, interval, seed))
    if action_features is not None:
        out.append(_mips(rows, target, quantity, action_features, interval))
    return pl.DataFrame(out, schema=_COLUMNS, orient="row")


def _check(quantity: str, interval: str) -> None:
    for found, allowed, name in ((quantity, QUANTITIES[:4], "quantity"), (interval, KINDS, "interval")):
        if found not in allowed:
            raise ConfigError(f"{name} is '{found}'", where="policy_value", expected=", ".join(allowed))


def _estimates(rows: PolicyRows, quantity: str, interval: Kind, seed: int) -> Iterator[Row]:
    y = rows.problem.outcomes[:, QUANTITIES.index(quantity)]
    own, direct = outcome_model(rows, y[:, None], seed=seed)
    terms = Terms(w=rows.w, y=y, own=own[:, 0], direct=direct[:, 0], weight=rows.problem.weight)
    cap = float(np.sqrt(rows.problem.n))
    parts = {
        "IPS": formulas.ips(terms),
        "SNIPS": formulas.snips(terms),
        "DR": formulas.doubly_robust(terms),
        "DM": formulas.direct_method(terms),
        "clipped IPS": formulas.clipped_ips(terms, cap),
        "SNDR": formulas.self_normalised_dr(terms),
        "SWITCH-DR": formulas.switch_dr(terms, formulas.choose_tau(terms)),
        "DRos": formulas.shrunk_dr(terms, formulas.choose_lambda(terms)),
    }
    for name in _ESTIMATORS:
        row = _estimate(rows, name, quantity, parts[name], interval, cap)
        yield _widened(row, rows, parts["DR"], interval) if name in _SHRUNK else row


def _widened(row: Row, rows: PolicyRows, unshrunk: Contribution, interval: Kind) -> Row:
    """`row` with the interval of the doubly robust value, which it may not leave.

    What shrinkage removes shows up as bias that the shrunk terms cannot see: their own interval is short
    and misses.
    """
    name, quantity, value, _, _, n, ess, reason = row
    if value is None:
        return row
    _, lower, upper = cluster_t(rows, unshrunk) if interval == "cluster-t" else anytime(rows, unshrunk)
    return (name, quantity, value, min(lower, value), max(upper, value), n, ess, reason)


def _estimate(
    rows: PolicyRows, name: str, quantity: str, part: Contribution, interval: Kind, cap: float
) -> Row:
    if name == "DM":
        value = cluster_t(rows, part)[0]
        return (name, quantity, value, None, None, rows.problem.n, rows.ess, _MODEL_ONLY)
    if interval == "empirical-bernstein":
        span = span_of(rows, name, quantity, cap)
        if isinstance(span, str):
            return _row(rows, name, quantity, None, span)
        ends = empirical_bernstein(rows, part, span)
    else:
        ends = cluster_t(rows, part) if interval == "cluster-t" else anytime(rows, part)
    largest = (
        1.0 if quantity == "quality" else float(rows.problem.outcomes[:, QUANTITIES.index(quantity)].max())
    )
    value, lower, upper = ends
    return _row(rows, name, quantity, (value, lower, upper + part.short * largest), part.note)


def _mips(rows: PolicyRows, target: Target, quantity: str, features: pl.DataFrame, interval: Kind) -> Row:
    y = rows.problem.outcomes[:, QUANTITIES.index(quantity)]
    marginal = mips_rows(rows, target, features)
    if isinstance(marginal, str):
        return _row(rows, "MIPS", quantity, None, marginal)
    reason = missing_outcomes(y) or weight_refusal(marginal)
    if reason is not None:
        return _row(marginal, "MIPS", quantity, None, reason)
    terms = Terms(w=marginal.w, y=y, own=0 * y, direct=0 * y, weight=rows.problem.weight)
    return _estimate(marginal, "MIPS", quantity, formulas.ips(terms), interval, np.inf)


def _row(
    rows: PolicyRows, name: str, quantity: str, ends: tuple[float, float, float] | None, reason: str | None
) -> Row:
    value, lower, upper = ends or (None, None, None)
    return (name, quantity, value, lower, upper, rows.problem.n, rows.ess, reason)
