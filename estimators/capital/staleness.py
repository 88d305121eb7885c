"""delta per version of lag, and the lag at which a rollout stops paying for its place in an update."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ...errors import SchemaError
from ...schemas.records import Price
from ..confidence import LEVEL, critical_t
from ..prices.break_even import fieller
from ..problem import check_frame
from .fading import fit_fading
from .leave_out import LeftOut, Span
from .records import STALE_LAG, STALENESS, fitted, refused
from .traces import Traces, read_traces

MIN_UPDATES: Final = 10
"""Updates with signals below which a t interval over them has no meaning."""
_NO_CONTROL: Final = (
    "no difficulty of the prompts is logged (x_* features, tok_output): hard prompts take longer and are "
    "staler, so decay and difficulty may be mixed"
)
_NO_VALUE: Final = (
    "what a unit of learning signal is worth is not set (prices.learning_signal), so no lag at which a "
    "rollout stops paying is known"
)
NO_COST: Final = (
    "what it costs to train on one rollout is not known: set prices.rollout, such as '0.3 USD/rollout', or "
    "log cost_usd of kept and dropped rollouts"
)


def staleness_prices(
    decisions: pl.DataFrame,
    *,
    seed: int,
    outcomes: pl.DataFrame | None = None,
    signal_usd: float | None = None,
    keep_usd: float | None = None,
) -> tuple[Price, ...]:
    """delta, the share of what a rollout teaches that each version of lag takes, and lag*, in versions.

    E[signal] = a_update (1 - delta)^lag exp(beta' features). lag* = log(V g0 / kappa) / -log(1 - delta) with
    g0 the mean signal of fresh rollouts, V = signal_usd (USD per unit of signal) and kappa = keep_usd (USD
    per rollout; else the logged cost of keeping one). decisions: training rows with version_lag and
    update_id. outcomes: the outcomes layout with learning_signal. delta belongs to the algorithm that was
    run: an interval that holds 0 is a finding, not a failure. Not identified without signals or with fewer
    than MIN_UPDATES updates; lag* neither where delta may be 0.

    Raises: SchemaError for a frame that is not in the layout, or a value or cost that is not positive.
    Source: METHODS G3. That some algorithms hardly lose: M2PO, arXiv 2510.01161.
    """
    check_frame(decisions)
    for name, usd in (("signal_usd", signal_usd), ("keep_usd", keep_usd)):
        if usd is not None and not 0.0 < usd < np.inf:
            raise SchemaError(f"{name} is {usd}", where="staleness", expected="positive USD")
    traces = read_traces(decisions, outcomes, seed=seed)
    if isinstance(traces, str):
        return refused(STALENESS, traces), refused(STALE_LAG, traces)
    updates = np.unique(traces.signals.update[traces.signals.seen]).size
    found = fit_fading(traces.signals) if updates >= MIN_UPDATES else _few(updates)
    if isinstance(found, str) or found.fault:
        reason = found if isinstance(found, str) else found.fault or ""
        return refused(STALENESS, reason), refused(STALE_LAG, reason)
    cost = keep_usd if keep_usd is not None else traces.cost_usd
    return _decay(found, traces), _lag(found, traces, signal_usd, cost)


def _few(updates: int) -> str:
    return f"{updates} updates have learning signals; {MIN_UPDATES} are needed"


def _method(traces: Traces) -> str:
    held = ", ".join(traces.controls) or "nothing else"
    return (
        "conditional mean a_update (1 - delta)^lag, update effects, leave-one-update-out t interval; "
        f"held constant: {held}{traces.note}"
    )


def _decay(found: LeftOut, traces: Traces) -> Price:
    span = found.span(0).mapped(lambda x: float(-np.expm1(-x)))
    readings = [] if traces.controls else [_NO_CONTROL]
    if span.lower <= 0.0 <= span.upper:
        readings.append(f"no decay can be told from 0; it is at most {span.upper:.2g} per version")
    elif span.upper < 0.0:
        readings.append("staler rollouts teach more here: something else than staleness moves with the lag")
    return fitted(
        STALENESS,
        span,
        n=int(traces.signals.seen.sum()),
        grade="C",
        method=_method(traces),
        reason="; ".join(readings) or None,
    )


def _lag(found: LeftOut, traces: Traces, signal_usd: float | None, keep_usd: float | None) -> Price:
    """lag* as the ratio of log(V g0 / kappa) and -log(1 - delta), with Fieller's interval."""
    if signal_usd is None:
        return refused(STALE_LAG, _NO_VALUE)
    if keep_usd is None or keep_usd <= 0.0:
        return refused(STALE_LAG, NO_COST)
    last = found.theta.size - 1
    worth = float(found.theta[last]) + float(np.log(signal_usd / keep_usd))
    eta, cov = float(found.theta[0]), found.cov
    critical = critical_t(found.df)
    if eta - critical * found.se(0) <= 0.0:
        return refused(STALE_LAG, "the interval of the decay is not above 0, so there may be no such lag")
    ratio = fieller(
        worth,
        eta,
        float(cov[last, last]),
        float(cov[0, last]),
        float(cov[0, 0]),
        critical,
        level=LEVEL,
    )
    assert ratio.value is not None
    assert ratio.lower is not None
    assert ratio.upper is not None
    span = Span(value=ratio.value, lower=ratio.lower, upper=ratio.upper, clusters=found.clusters)
    never = "even a fresh rollout costs more than it teaches" if ratio.value < 0.0 else None
    stated = f"V = {signal_usd:g} USD per unit of signal, {keep_usd:g} USD per rollout"
    return fitted(
        STALE_LAG,
        span,
        n=int(traces.signals.seen.sum()),
        grade="C",
        method=f"{_method(traces)}; {stated}; Fieller interval",
        reason=never,
    )
