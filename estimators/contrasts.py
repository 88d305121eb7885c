"""A contrast in one segment: through the gates to ATO and ATE estimates, or to a refusal with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..schemas.records import QUANTITIES, Estimand, Estimate, Grade, Quantity
from . import gates
from .confidence import LEVEL, interval
from .jackknife import WeightedMean, cluster_sums, weighted_mean
from .pairs import NET, Pair
from .plasmode import certificate, is_close
from .problem import RISK

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ALL: Final[tuple[Quantity, ...]] = (*QUANTITIES, "net")
_ABSENT: Final = {
    "quality": "no decision of these arms has a quality: link an outcome by request_id or decision_id",
    "cost": "no decision of these arms has a cost: cost_usd is absent or unpriced",
    "latency": "no decision of these arms has latency_s",
    "risk": "no decision of these arms has an incident or loss record",
    "net": "no task value V is set for these decisions; the break-even V* stands beside",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """estimates: one per quantity and estimand, the headline first. mean: joint mean of the headline
    (None when nothing is identified). rows: decisions behind the headline."""

    estimates: tuple[Estimate, ...]
    mean: WeightedMean | None
    estimand: Estimand
    grade: Grade
    rows: Mask
    ess: float
    reason: str | None


def estimate_segment(pair: Pair, segment: str, members: Mask, *, certify: int | None = None) -> SegmentResult:
    """All quantities of `pair` over the decisions `members` (METHODS A4, decision procedure).

    certify: seed of the refit plasmode certificate of the quality interval where the gates are passed
    narrowly; None leaves it out, as for the many segments of a log.
    """
    rows = members & pair.feasible
    share = float(rows.sum() / max(members.sum(), 1))
    if not rows.any():
        return _refuse(pair, segment, members, 0.0, _no_overlap_reason(pair, members))
    names = (pair.action, pair.baseline)
    fault = gates.count_fault(pair.problem.cluster, pair.took_a & rows, pair.took_b & rows, names)
    size = gates.overlap(pair.w, pair.took_a & rows, pair.took_b & rows)
    if fault is None:
        guessed = "estimated" in pair.method
        rarer = min(int((pair.took_a & rows).sum()), int((pair.took_b & rows).sum()))
        open_ = gates.undecided(pair.e_a[rows], pair.e_b[rows], estimated=guessed)
        fault = gates.undecided_fault(open_, rarer, estimated=guessed)
    if fault is not None:
        return _refuse(pair, segment, members, size.ess, fault)
    notes: list[str] = []
    if share < 1.0:
        notes.append(f"{1 - share:.1%} of decisions left out: one of the two actions was impossible")
    estimand: Estimand = "ATE" if share == 1.0 else "ATE-trimmed"
    if size.ess < gates.MIN_ESS:
        trimmed = _trim(pair, rows)
        size = gates.overlap(pair.w, pair.took_a & trimmed, pair.took_b & trimmed)
        kept = float(trimmed.sum() / rows.sum())
        if size.ess < gates.MIN_ESS or kept < gates.MIN_RETAINED:
            reason = (
                f"no overlap: effective sample size {size.ess:.0f} after trimming to {kept:.0%} of decisions"
            )
            return _refuse(pair, segment, members, size.ess, f"{reason}; {gates.MIN_ESS:.0f} are needed")
        fault = gates.count_fault(pair.problem.cluster, pair.took_a & trimmed, pair.took_b & trimmed, names)
        if fault is not None:
            return _refuse(pair, segment, members, size.ess, fault)
        notes.append(f"trimmed to the {kept:.0%} of decisions with overlap")
        rows, estimand = trimmed, "ATE-trimmed"
    return _identified(pair, segment, rows, size, estimand, tuple(notes), certify)


def _identified(
    pair: Pair,
    segment: str,
    rows: Mask,
    size: gates.Overlap,
    estimand: Estimand,
    notes: tuple[str, ...],
    certify: int | None,
) -> SegmentResult:
    headline = floored_mean(pair, rows, pair.h)
    reasons = _quantity_faults(pair, rows)
    if certify is not None and reasons[0] is None and is_close(pair, rows, size.ess):
        found = certificate(pair, rows, seed=certify)
        if found is not None:
            notes = (*notes, found.note)
            headline = _widened(headline, found.widen)
            reasons = [found.fault or reasons[0], *reasons[1:NET], reasons[NET] or found.fault]
    limits = (*pair.notes, *notes)
    common = _Common(pair=pair, segment=segment, rows=rows, ess=size.ess, limits=limits)
    rows_out = [_row(common, "ATO", headline, j, reasons[j]) for j in range(len(_ALL))]
    enough = size.ess >= gates.ATE_ESS and size.max_share <= gates.ATE_SHARE
    if enough and not pair.method.startswith("within"):
        plain = floored_mean(pair, rows, np.where(rows, pair.problem.weight, 0.0))
        rows_out += [_row(common, estimand, plain, j, None) for j in range(len(_ALL)) if reasons[j] is None]
    masked = np.array([reasons[j] is not None for j in range(len(_ALL))])
    theta = np.where(masked, np.nan, headline.theta)
    mean = replace(headline, theta=theta)
    return SegmentResult(
        estimates=tuple(rows_out),
        mean=mean,
        estimand="ATO",
        grade=pair.grades[NET if reasons[NET] is None else 0],
        rows=rows,
        ess=size.ess,
        reason="; ".join(limits) or None,
    )


def _widened(mean: WeightedMean, factor: float) -> WeightedMean:
    """`mean` with the standard errors of quality, and of net that rests on it, times `factor`."""
    scale = np.ones(len(_ALL))
    scale[[0, NET]] = factor
    return replace(mean, cov=mean.cov * np.outer(scale, scale))


def floored_mean(pair: Pair, rows: Mask, weight: Array) -> WeightedMean:
    """The weighted mean over `rows`, its covariance raised to the model-based floor.

    The floor knows the large weights that were possible but not drawn: V3 max(1, Vmod / Viid).
    """
    used = np.flatnonzero(rows & (weight > 0))
    h, d = weight[used], pair.d[used]
    mean = weighted_mean(cluster_sums(d, h, pair.problem.cluster[used], len(pair.problem.cluster_ids)))
    empirical = (h[:, None] ** 2 * (d - mean.theta) ** 2).sum(axis=0)
    model = (h[:, None] ** 2 * (pair.noise[used] + (pair.tau[used] - mean.theta) ** 2)).sum(axis=0)
    ratio = np.divide(model, empirical, out=np.ones_like(model), where=empirical > 0)
    scale = np.sqrt(np.maximum(1.0, np.nan_to_num(ratio, nan=1.0)))
    return replace(mean, cov=mean.cov * np.outer(scale, scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    pair: Pair
    segment: str
    rows: Mask
    ess: float
    limits: tuple[str, ...]

    def estimate(
        self,
        quantity: Quantity,
        estimand: Estimand,
        ends: tuple[float | None, float | None, float | None],
        grade: Grade,
        clusters: int,
        reason: str | None,
    ) -> Estimate:
        p = self.pair
        return Estimate(
            layer=p.problem.layer,
            decision_point=p.problem.decision_point,
            segment=self.segment,
            action=p.action,
            baseline=p.baseline,
            quantity=quantity,
            estimand=estimand,
            value=ends[0],
            lower=ends[1],
            upper=ends[2],
            level=LEVEL,
            n=int(self.rows.sum()),
            clusters=clusters,
            ess=self.ess,
            grade=grade,
            method=p.method,
            reason=reason,
        )


def _row(common: _Common, estimand: Estimand, mean: WeightedMean, j: int, fault: str | None) -> Estimate:
    limits = "; ".join(common.limits) or None
    if fault is None:
        value, se = float(mean.theta[j]), float(np.sqrt(mean.cov[j, j]))
        lower, upper = interval(value, se, mean.df)
        ends = (value, lower, upper)
        return common.estimate(_ALL[j], estimand, ends, common.pair.grades[j], mean.clusters, limits)
    bound = _rate_bound(common, j) if j < NET and common.pair.grades[j] != "N" else None
    if bound is not None:
        return common.estimate(_ALL[j], "bound", (None, *bound), "D", mean.clusters, fault)
    return common.estimate(_ALL[j], "not_identified", (None, None, None), "N", mean.clusters, fault)


def _quantity_faults(pair: Pair, rows: Mask) -> list[str | None]:
    """Per quantity and for net, why it has no interval, or None."""
    names = (pair.action, pair.baseline)
    faults: list[str | None] = []
    for j, quantity in enumerate(QUANTITIES):
        y = pair.problem.outcomes[:, j]
        if np.isnan(pair.d[rows, j]).any():
            faults.append(_ABSENT[quantity])
        elif pair.problem.events[j]:
            faults.append(gates.event_fault(y, pair.took_a & rows, pair.took_b & rows, names))
        else:
            faults.append(None)
    faults.append(_net_fault(pair, rows, faults))
    return faults


def _net_fault(pair: Pair, rows: Mask, faults: list[str | None]) -> str | None:
    """Net needs every term that has a price; an unpriced latency or risk may be unknown."""
    priced = (True, True, pair.value.latency_price != 0.0, pair.value.risk_price != 0.0)
    for j, quantity in enumerate(QUANTITIES):
        if priced[j] and faults[j] is not None:
            return f"{quantity} is not identified: {faults[j]}"
    return _ABSENT["net"] if np.isnan(pair.d[rows, NET]).any() else None


def _rate_bound(common: _Common, j: int) -> tuple[float, float] | None:
    """[-U_b, U_a]: one-sided Clopper-Pearson limits of each arm's rate at its effective sample size."""
    pair, rows = common.pair, common.rows
    y = pair.problem.outcomes[:, j]
    if not pair.problem.events[j] or (j == RISK and pair.problem.risk_in_dollars):
        return None
    limits: list[float] = []
    for took in (pair.took_a & rows, pair.took_b & rows):
        seen = took & ~np.isnan(y)
        w = pair.w[seen]
        if w.size == 0:
            return None
        size = float(w.sum() ** 2 / (w**2).sum())
        events = float((w * y[seen]).sum() / w.sum()) * size
        limits.append(float(stats.beta.ppf(LEVEL, events + 1.0, max(size - events, 1e-9))))
    return -limits[1], limits[0]


def _trim(pair: Pair, rows: Mask) -> Mask:
    used = np.flatnonzero(rows)
    alpha = gates.trim_threshold(pair.e_a[used], pair.e_b[used])
    share = pair.e_a[used] / (pair.e_a[used] + pair.e_b[used])
    out = np.zeros_like(rows)
    out[used] = (np.minimum(share, 1 - share) >= alpha) & (pair.h[used] > 0)
    return out


def _no_overlap_reason(pair: Pair, members: Mask) -> str:
    both = {pair.action: pair.took_a & members, pair.baseline: pair.took_b & members}
    for name, took in both.items():
        if not took.any():
            return f"{name} was never taken here: log some decisions that take it at random"
    return "a rule fixed every choice, so no decision could have gone either way: log a randomised share"


def _refuse(pair: Pair, segment: str, members: Mask, ess: float, reason: str) -> SegmentResult:
    return SegmentResult(
        estimates=refusals(pair, segment, members, ess, reason),
        mean=None,
        estimand="not_identified",
        grade="N",
        rows=np.zeros_like(members),
        ess=ess,
        reason=reason,
    )


def refusals(pair: Pair, segment: str, members: Mask, ess: float, reason: str) -> tuple[Estimate, ...]:
    """One estimate per quantity that says why there is no value."""
    clusters = int(np.unique(pair.problem.cluster[members]).size)
    common = _Common(pair=pair, segment=segment, rows=members, ess=ess, limits=())
    none = (None, None, None)
    return tuple(common.estimate(q, "not_identified", none, "N", clusters, reason) for q in _ALL)
