"""Estimates read off the merged states of a contrast: the gates and numbers of `contrasts` without rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from scipy import stats

from ..schemas.records import QUANTITIES, Estimand, Estimate, Grade, Quantity
from . import gates
from .confidence import LEVEL, interval
from .frames import JOINT, Question
from .jackknife import WeightedMean
from .pairs import NET, Pair
from .problem import RISK
from .states import (
    ContrastState,
    state_count_fault,
    state_event_fault,
    state_mean,
    state_overlap,
    unknown_quantities,
)

_ALL: Final[tuple[Quantity, ...]] = (*QUANTITIES, "net")
Ends = tuple[float | None, float | None, float | None]
_NONE: Final[Ends] = (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What all rows of a contrast share.

    grades: of the quantities and of net, the worst of any partition. notes: of the first partition.
    events: which outcomes are events. priced: which quantities count in net.
    """

    method: str
    grades: tuple[Grade, ...]
    notes: tuple[str, ...]
    events: tuple[bool, ...]
    in_dollars: bool
    priced: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """estimates: one per quantity and estimand, the headline first. joint: a row of Estimates.joint."""

    estimates: tuple[Estimate, ...]
    joint: pl.DataFrame | None

    @property
    def net_known(self) -> bool:
        """Whether the net marginal value has a number."""
        return any(e.quantity == "net" and e.value is not None for e in self.estimates)


def about(pair: Pair, before: About | None) -> About:
    """What is known after another partition."""
    value = pair.value
    own = About(
        method=pair.method,
        grades=pair.grades,
        notes=pair.notes,
        events=pair.problem.events,
        in_dollars=pair.problem.risk_in_dollars,
        priced=(True, True, value.latency_price != 0.0, value.risk_price != 0.0),
    )
    if before is None:
        return own
    return replace(
        before,
        method=before.method if own.method in before.method else f"{before.method}; {own.method}",
        grades=tuple(max(pair) for pair in zip(before.grades, own.grades, strict=True)),
        events=tuple(all(pair) for pair in zip(before.events, own.events, strict=True)),
    )


def read(key: tuple[str, str, str, str, str], state: ContrastState, known: About) -> Read:
    """The estimates of one contrast in one segment, or their refusals."""
    names = (key[3], key[4])
    size = state_overlap(state)
    row = _Rows(key=key, state=state, known=known, ess=size.ess)
    fault = state_count_fault(state, names) if state.rows else "no decision could have gone either way"
    if fault is None:
        rarer = int(state.taken.sum(axis=0).min())
        guessed = "estimated" in known.method
        fault = gates.undecided_fault(state.undecided, rarer, estimated=guessed)
    if fault is None and size.ess < gates.MIN_ESS:
        fault = f"no overlap: effective sample size {size.ess:.0f}; {gates.MIN_ESS:.0f} are needed"
    if fault is not None:
        clusters = int((state.taken.sum(axis=1) > 0).sum())
        return Read(
            estimates=tuple(row.make(q, "not_identified", _NONE, "N", clusters, fault) for q in _ALL),
            joint=None,
        )
    return _identified(row, size)


def refusals(question: Question, action: str, base: str, n: int, reason: str) -> Iterator[Estimate]:
    """One estimate per quantity that says why a whole decision point of `n` decisions has no value."""
    for quantity in _ALL:
        yield Estimate(
            layer=question.layer,
            decision_point=question.decision_point,
            segment="all",
            action=action,
            baseline=base,
            quantity=quantity,
            estimand="not_identified",
            value=None,
            lower=None,
            upper=None,
            level=LEVEL,
            n=n,
            clusters=0,
            ess=0.0,
            grade="N",
            method="none",
            reason=reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    key: tuple[str, str, str, str, str]
    state: ContrastState
    known: About
    ess: float

    def make(
        self,
        quantity: Quantity,
        estimand: Estimand,
        ends: Ends,
        grade: Grade,
        clusters: int,
        reason: str | None,
    ) -> Estimate:
        layer, point, segment, action, base = self.key
        return Estimate(
            layer=layer,
            decision_point=point,
            segment=segment,
            action=action,
            baseline=base,
            quantity=quantity,
            estimand=estimand,
            value=ends[0],
            lower=ends[1],
            upper=ends[2],
            level=LEVEL,
            n=self.state.rows if estimand != "not_identified" else self.state.members,
            clusters=clusters,
            ess=self.ess,
            grade=grade,
            method=self.known.method,
            reason=reason,
        )


def _identified(row: _Rows, size: gates.Overlap) -> Read:
    state, known = row.state, row.known
    faults = _faults(row)
    share = state.rows / max(state.members, 1)
    left_out = () if share == 1.0 else (f"{1 - share:.1%} of decisions left out: an action was impossible",)
    limits = "; ".join((*known.notes, *left_out)) or None
    headline = state_mean(state, overlap_weighted=True)
    out = [_estimate(row, "ATO", headline, j, faults[j], limits) for j in range(len(_ALL))]
    if size.ess >= gates.ATE_ESS and size.max_share <= gates.ATE_SHARE:
        plain = state_mean(state, overlap_weighted=False)
        kind: Estimand = "ATE" if share == 1.0 else "ATE-trimmed"
        out += [_estimate(row, kind, plain, j, None, limits) for j in range(len(_ALL)) if faults[j] is None]
    return Read(estimates=tuple(out), joint=_joint(row, headline, faults, limits))


def _estimate(
    row: _Rows, estimand: Estimand, mean: WeightedMean, j: int, fault: str | None, limits: str | None
) -> Estimate:
    grade = row.known.grades[j]
    if fault is None:
        value, se = float(mean.theta[j]), float(np.sqrt(mean.cov[j, j]))
        ends = (value, *interval(value, se, mean.df))
        return row.make(_ALL[j], estimand, ends, grade, mean.clusters, limits)
    bound = _rate_bound(row, j) if j < NET and grade != "N" else None
    if bound is not None:
        return row.make(_ALL[j], "bound", (None, *bound), "D", mean.clusters, fault)
    return row.make(_ALL[j], "not_identified", _NONE, "N", mean.clusters, fault)


def _faults(row: _Rows) -> list[str | None]:
    names = (row.key[3], row.key[4])
    unknown = unknown_quantities(row.state)
    faults: list[str | None] = []
    for j, quantity in enumerate(QUANTITIES):
        if unknown[j]:
            faults.append(f"a partition has no {quantity} for one of these actions")
        elif row.known.events[j]:
            faults.append(state_event_fault(row.state, j, names))
        else:
            faults.append(None)
    net = next((j for j in range(NET) if row.known.priced[j] and faults[j] is not None), None)
    if net is not None:
        faults.append(f"{QUANTITIES[net]} is not identified: {faults[net]}")
    else:
        faults.append("no task value V is set for these decisions" if unknown[NET] else None)
    return faults


def _rate_bound(row: _Rows, j: int) -> tuple[float, float] | None:
    """[-U_b, U_a]: one-sided Clopper-Pearson limits of each arm's rate at its effective sample size."""
    if not row.known.events[j] or (j == RISK and row.known.in_dollars):
        return None
    limits: list[float] = []
    for weighted, total, squares in row.state.rates[j]:
        if squares <= 0:
            return None
        size = float(total**2 / squares)
        events = float(weighted / total) * size
        limits.append(float(stats.beta.ppf(LEVEL, events + 1.0, max(size - events, 1e-9))))
    return -limits[1], limits[0]


def _joint(row: _Rows, mean: WeightedMean, faults: list[str | None], limits: str | None) -> pl.DataFrame:
    masked = np.array([fault is not None for fault in faults])[:NET]
    layer, point, segment, action, base = row.key
    record = {
        "layer": layer,
        "decision_point": point,
        "segment": segment,
        "action": action,
        "baseline": base,
        "estimand": "ATO",
        "grade": row.known.grades[NET if faults[NET] is None else 0],
        "theta": np.where(masked, np.nan, mean.theta[:NET]).tolist(),
        "cov": mean.cov[:NET, :NET].ravel().tolist(),
        "df": mean.df,
        "n": row.state.rows,
        "clusters": mean.clusters,
        "ess": row.ess,
        "reason": limits,
    }
    return pl.DataFrame([record], schema=JOINT.schema)
