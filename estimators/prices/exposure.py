"""What the incidents of an action class amount to: how often, how dear, and how little none at all proves.

Classes are as logged: they say what was done in their name, not what another policy would have caused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..confidence import LEVEL, exact_rate, upper_rate
from ..gates import MIN_CLUSTERS, MIN_ESS, MIN_EVENTS, effective_clusters
from ..losses import ArmLosses, Losses, arm_losses, read_losses
from ..problem import Problem
from ..propensity import Propensities
from ..risk_mean import Interval, difference, excess_loss

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALL: Final = "all"
_MIN_COMMON: Final = 10
"""Incidents in all classes from which their clustering is read off the log; with fewer, the decisions of a
cluster count as one trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The incidents of one class: segment is 'all' or 'action_class=...'.

    events, n, clusters: as logged, of the decisions whose incident is known. trials: independent decisions
    that they are worth. rate: incidents per decision; lower and upper of an exact interval, one-sided without
    events. severity: USD per incident, or why it is not known. fault: why nothing can be said, or None.
    """

    segment: str
    n: int
    events: int
    clusters: int
    trials: float
    rate: float
    lower: float
    upper: float
    severity: Interval | str
    severity_method: str
    fault: str | None


def exposures(
    problem: Problem, *, cap_usd: float | None, seed: int, among: Mask | None = None
) -> tuple[Exposure, ...] | str:
    """All decisions of a point, then each action class, or why their incidents are not known.

    among: (n,) the decisions that count, all if None.
    """
    losses = read_losses(problem.frame)
    if isinstance(losses, str):
        return losses
    logged = logged_losses(problem, losses, seed=seed)
    classes = list(_classes(problem))
    icc = _intra_cluster(problem, losses, classes)
    whole = np.ones(problem.n, dtype=bool) if among is None else among
    return tuple(
        _exposure(problem, logged, name, member & whole, icc, cap_usd)
        for name, member in ((ALL, whole), *classes)
    )


def as_logged(problem: Problem) -> Propensities:
    """Propensities under which every choice was fixed: what happened, with no counterfactual."""
    matrix = np.zeros((problem.n, len(problem.arms)))
    matrix[np.arange(problem.n), problem.arm] = 1.0
    return Propensities(
        matrix=matrix,
        chosen=np.ones(problem.n),
        usable=np.zeros(problem.n, dtype=bool),
        source="deterministic",
        grade="N",
    )


def logged_losses(problem: Problem, losses: Losses, *, seed: int) -> ArmLosses:
    """The losses under the logged choices."""
    return arm_losses(problem, as_logged(problem), losses, (), seed=seed)[0]


def trials_of(weight: Array, cluster: NDArray[np.int64], icc: float) -> float:
    """Independent decisions that weighted and clustered ones are worth.

    Kish's size over the design effect 1 + (m - 1) icc, m = sum m_g^2 / sum m_g over cluster sizes; at icc 1
    a cluster is one decision.

    >>> float(trials_of(np.ones(100), np.arange(100) // 10, 1.0))
    10.0
    """
    if weight.size == 0:
        return 0.0
    sizes = np.bincount(cluster).astype(float)
    mean_size = float((sizes**2).sum() / sizes.sum())
    return float(weight.sum() ** 2 / (weight**2).sum()) / (1.0 + (mean_size - 1.0) * icc)


def _classes(problem: Problem) -> Iterator[tuple[str, Mask]]:
    names = problem.frame["action_class"].cast(pl.String)
    for name in names.drop_nulls().unique().sort().to_list():
        yield f"action_class={name}", (names == name).fill_null(value=False).to_numpy()


def _intra_cluster(problem: Problem, losses: Losses, classes: list[tuple[str, Mask]]) -> float:
    """Intra-cluster correlation of incidents around the rate of their class, by moments, kept in [0, 1].

    E[(sum_g e)^2] = sum p (1 - p) (m + m (m - 1) icc). 1 where there are too few incidents to tell.
    """
    seen = ~np.isnan(losses.incident)
    hurt = np.nan_to_num(losses.incident)
    if hurt.sum() < _MIN_COMMON:
        return 1.0
    rate = np.full(problem.n, hurt[seen].mean())
    for _, member in classes:
        if (member & seen).any():
            rate[member] = hurt[member & seen].mean()
    away = np.bincount(problem.cluster, weights=(hurt - rate) * seen)
    spread = np.bincount(problem.cluster, weights=rate * (1.0 - rate) * seen)
    size = np.bincount(problem.cluster, weights=seen.astype(float))
    room = float((spread * (size - 1.0)).sum())
    if room <= 0.0:
        return 0.0
    return float(np.clip((float(away @ away) - float(spread.sum())) / room, 0.0, 1.0))


def _exposure(
    problem: Problem, logged: ArmLosses, segment: str, member: Mask, icc: float, cap_usd: float | None
) -> Exposure:
    incident = logged.losses.incident
    seen = member & ~np.isnan(incident)
    hurt = seen & (incident == 1.0)
    weight = problem.weight[seen]
    trials = trials_of(weight, problem.cluster[seen], icc)
    rate = float(weight @ hurt[seen] / weight.sum()) if weight.size else 0.0
    if hurt.any():
        lower, upper = exact_rate(rate * trials, trials)
    else:
        lower, upper = 0.0, upper_rate(0.0, trials) if trials > 0.0 else 1.0
    severity, method = _severity(logged, seen & hurt, cap_usd)
    return Exposure(
        segment=segment,
        n=int(seen.sum()),
        events=int(hurt.sum()),
        clusters=int(np.unique(problem.cluster[seen]).size),
        trials=trials,
        rate=rate,
        lower=min(lower, rate),
        upper=max(upper, rate),
        severity=severity,
        severity_method=method,
        fault=_fault(problem, seen, trials),
    )


def _fault(problem: Problem, seen: Mask, trials: float) -> str | None:
    groups = effective_clusters(problem.cluster, seen)
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters with known incidents; {MIN_CLUSTERS:.0f} are needed"
    if trials < MIN_ESS:
        return f"known incidents worth {trials:.0f} independent decisions; {MIN_ESS:.0f} are needed"
    return None


def _severity(logged: ArmLosses, hurt: Mask, cap_usd: float | None) -> tuple[Interval | str, str]:
    """Mean loss of one incident, with a fitted tail and an interval on the log scale, as `excess_loss` has it
    for all decisions: here the population are the incidents."""
    known = int((hurt & logged.hits).sum())
    if known < MIN_EVENTS:
        what = "no incident" if not hurt.any() else f"{known} incidents with a known loss"
        return f"{what} among its decisions; {MIN_EVENTS} with a known loss are needed", "none"
    among = replace(
        logged,
        rows=hurt,
        took=hurt,
        own=logged.own * hurt,
        w=logged.w * hurt,
        w_incident=logged.w_incident * hurt,
        h=logged.h * hurt,
        p=np.ones_like(logged.p),
    )
    found = excess_loss(among, above=0.0, cap_usd=cap_usd)
    if isinstance(found, str):
        return found, "none"
    return difference(found, None, level=LEVEL), found.method
