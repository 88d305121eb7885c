"""The one number: recoverable dollars over everything found, with what it rests on in the same breath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ..estimators.gains import GAIN_KEYS, Total, total_gain
from ..schemas.records import Estimates, Finding, Prices
from .diagnose import DETECTORS
from .diagnostics import serving_congestion, stale_rollouts
from .numbers import count, date_range, share, usd, window_days

TRAINING_PRICES: Final = ("learning_signal_price", "rollout_price")
"""Prices that are there only when they are set: few logs hold a training."""
_MEASURED: Final = (serving_congestion.QUESTION.mode, stale_rollouts.QUESTION.mode)
"""Failures whose dollars compare no two choices, so that no cause of the choice can be hidden."""
_MONTH_DAYS: Final = 30.0
_INFORMED: Final = "By choosing on what the logs knew at the time"
_MIN_DAYS: Final = 7.0
"""A shorter window holds no full week, so scaling it to a month would scale its weekdays too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """title: the number, or that there is none. given: prices, each with its slice. at: the same in a few
    words. basis: what it assumes. per_month: scaled.

    bounds: what any use of the logged context could have recovered. excluded: what is not in the number
    (inconclusive rows, unpriced tokens).
    """

    total: Total | None
    title: str
    interval: str
    given: str
    at: str
    basis: str
    bounds: str
    per_month: str
    excluded: str
    checks: str

    def sentence(self) -> str:
        """All of it in one paragraph, for a terminal or a ticket."""
        first = ", ".join(p for p in (f"{self.title} {self.interval}".strip(), self.given) if p)
        parts = (first, self.basis, self.per_month, self.bounds, self.excluded, self.checks)
        return " ".join(f"{p}." for p in parts if p)


def counted_gains(
    est: Estimates, prices: Prices, findings: Sequence[Finding]
) -> tuple[pl.DataFrame, tuple[pl.DataFrame, ...]]:
    """The rows of counted findings in Estimates.gains, and those of Prices.savings place by place.

    Gains of moves share clusters (tenants or sessions); the savings of each place have clusters of their own.
    """
    keys = [
        (f.layer, f.decision_point, f.segment, f.action, f.baseline, f.direction)
        for f in findings
        if f.status == "found" and f.counted
    ]
    chosen = pl.DataFrame(keys, schema=dict.fromkeys(GAIN_KEYS, pl.String), orient="row")
    moved, saved = (
        rows.join(chosen, on=list(GAIN_KEYS), how="semi", maintain_order="left").drop_nulls("usd")
        for rows in (est.gains, prices.savings)
    )
    return moved, tuple(saved.partition_by("layer", "decision_point", maintain_order=True))


def recoverable(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> Total | None:
    """Dollars over the union of the gains of counted findings, with a joint interval; None without any."""
    moved, saved = counted_gains(est, prices, findings)
    return total_gain(moved, *saved, level=est.level)


def headline(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> Headline:
    """The headline of a run; honest when nothing was found or no task value is set."""
    total = recoverable(est, prices, findings)
    counted = [f for f in findings if f.status == "found" and f.counted]
    return Headline(
        total=total,
        title=_title(total, findings, prices),
        interval=_interval(total, est),
        given=_given(prices, total),
        at=_at(prices, total),
        basis=_basis(counted, findings),
        bounds=_bounds(est),
        per_month=_per_month(total, est),
        excluded=_excluded(est, findings),
        checks=_checks(findings),
    )


def _title(total: Total | None, findings: Sequence[Finding], prices: Prices) -> str:
    if total is not None:
        return f"Recoverable: {usd(total.usd)}"
    if all(p.value is None for p in prices.named("task_value")):
        return "No dollar figure, because no task value V is set"
    if any(f.status in ("none_found", "inconclusive") for f in findings):
        return "No recoverable dollars found at these prices"
    return "No dollar figure: none of the checks is identified from these logs"


def _interval(total: Total | None, est: Estimates) -> str:
    if total is None:
        return ""
    when = f"over {date_range(*est.window)}" if est.window[0] else "over these logs"
    return f"[{usd(total.lower)}, {usd(total.upper)}], {100 * total.level:.0f} % interval, {when}"


def _given(prices: Prices, total: Total | None) -> str:
    """The prices that the number was computed at; a price that is not set is named as such."""
    values = [
        f"V = {p.value:g} {p.unit}" + ("" if p.segment == "all" else f" in {p.segment}")
        for p in prices.named("task_value")
        if p.value is not None
    ]
    if not values and total is None:
        return ""
    return f"at {', '.join((*(values or ['V not set']), *_of_harm(prices)))}"


def _at(prices: Prices, total: Total | None) -> str:
    """The prices in a few words: a range where V differs from slice to slice."""
    known = [p for p in prices.named("task_value") if p.value is not None]
    if len(known) < 2:
        return _given(prices, total)
    values = [p.value for p in known if p.value is not None]
    lowest, highest = min(values), max(values)
    size = f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"
    return f"at {', '.join((f'V = {size} {known[0].unit} in {len(known)} slices', *_of_harm(prices)))}"


def _of_harm(prices: Prices) -> list[str]:
    """The prices of waiting and of harm, or that they are not set, and those of training where they are."""
    told = [
        f"{p.symbol} = {p.value:g} {p.unit}" if p.value is not None else f"{term} not priced"
        for name, term in (("latency_price", "latency"), ("risk_price", "risk"))
        for p in prices.named(name)
    ]
    training = [p for name in TRAINING_PRICES for p in prices.named(name)]
    return [*told, *(f"{p.symbol} = {p.value:g} {p.unit}" for p in training)]


def _basis(counted: Sequence[Finding], findings: Sequence[Finding]) -> str:
    if not counted:
        known = any(f.usd is None and f.break_even_usd is not None for f in findings)
        return "The break-even values say from which task value on each change pays" if known else ""
    grades = sorted({f.grade for f in counted})
    chosen = [f.grade for f in counted if f.mode not in _MEASURED]
    hidden = "; no hidden cause drives both choice and outcome (grade C)" if "C" in chosen else ""
    waits = any(f.mode == serving_congestion.QUESTION.mode for f in counted)
    alone = "; waiting is counted as if each request alone were gone" if waits else ""
    return (
        f"The sum of {len(counted)} {'finding' if len(counted) == 1 else 'findings'}, "
        f"evidence grade {', '.join(grades)}; each change made on its own, "
        f"everything else as logged{hidden}{alone}"
    )


def _per_month(total: Total | None, est: Estimates) -> str:
    days = window_days(*est.window)
    if total is None or days is None or days < _MIN_DAYS:
        return ""
    k = _MONTH_DAYS / days
    ends = f"[{usd(k * total.lower)}, {usd(k * total.upper)}]"
    return f"{usd(k * total.usd)} {ends} per 30 days (these {days:.0f} days times {k:.2f})"


def _bounds(est: Estimates) -> str:
    """How much the best use of the logged context would have recovered: at least, at most; raw ends."""
    row = next((r for r in est.regret.to_dicts() if r["layer"] == "all"), None)
    if row is None:
        return ""
    sure = f"{100 * row['level']:.0f} % sure"
    upper = f"at most {usd(row['upper_usd'])}"
    if row["lower_usd"] > 0:
        ends = f"at least {usd(row['lower_usd'])} and {upper} (each end {sure})"
        return f"{_INFORMED}, {ends} could have been recovered over the window"
    return (
        f"{_INFORMED}, {upper} could have been recovered over the window, and perhaps nothing: "
        f"the lower end is {usd(row['lower_usd'])}, so 0 is not excluded (each end {sure})"
    )


def _excluded(est: Estimates, findings: Sequence[Finding]) -> str:
    open_ = sum(f.status == "inconclusive" for f in findings)
    unknown = sum(f.status == "not_identified" for f in findings)
    parts = [f"{open_} inconclusive"] if open_ else []
    parts += [f"{unknown} not identified"] if unknown else []
    tokens, rows = int(est.coverage["unpriced_tokens"].sum()), int(est.coverage["unpriced_decisions"].sum())
    if rows:
        total = int(est.coverage["decisions"].sum())
        parts.append(f"{count(tokens)} unpriced tokens ({share(rows / total)} of decisions)")
    return f"Not in the number: {', '.join(parts)}" if parts else ""


def _checks(findings: Sequence[Finding]) -> str:
    tested = sum(f.p_value is not None for f in findings)
    modes = {f.mode for f in findings if f.status == "found"}
    if not tested:
        return f"None of the {len(DETECTORS)} checks could be decided"
    head = f"{len(modes)} of {len(DETECTORS)} checks found misallocation"
    places = "place" if tested == 1 else "places"
    return f"{head}; {tested} {places} tested, at most 10 % of findings expected to be false"
