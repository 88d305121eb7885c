"""V, the value of a solved task: set by the user, else read off realised business value, else unknown.

Which of them a decision's V comes from stays visible; nothing is made up where neither is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Price
from ...schemas.units import TASK_VALUE
from ..choices import levels, segment_members, valuation
from ..confidence import LEVEL, critical_t
from ..design import make_design
from ..folds import cluster_folds
from ..gates import MIN_CLUSTERS, effective_clusters
from ..learners import cross_fit_means
from ..problem import Problem
from ..scores import MIN_ARM

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

Origin = Literal["user", "realised", "user and realised", "none"]

_METHOD: Final = (
    "realised value per unit of quality, log link, cross-fitted, smeared so that it adds up to what was "
    "realised; unsolved tasks as like solved ones"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskValues:
    """value: (n,) V in USD per task, NaN where unknown. from_user: (n,) rows that the user's table values.

    prices: 'realised_task_value' in USD/task, for all decisions and each segment, or why it is not known.
    """

    value: Array
    from_user: Mask
    origin: Origin
    prices: tuple[Price, ...]


def task_values(problem: Problem, config: Config, *, seed: int) -> TaskValues:
    """V of every decision in order of trust: the user's table, then realised business value (METHODS E4).

    Realised V is value_usd divided by quality where that is above 0, and V(x) = c exp(m(x)) elsewhere: m a
    cross-fitted regression of log V on the context, c the ratio of realised to predicted values, which also
    counts solved tasks that were worth nothing. Not identified where value_usd or quality is not logged, for
    values below 0, and with few solved tasks or clusters; assumes that unsolved tasks of the same context are
    worth as much.

    Source: Duan 1983 (smearing, here weighted as a ratio, which does not need equal variances).
    """
    stated = valuation(problem, config).task_value
    known = np.isfinite(stated)
    found = _realised(problem, seed)
    if isinstance(found, str):
        origin: Origin = "user" if known.any() else "none"
        return TaskValues(
            value=stated, from_user=known, origin=origin, prices=(_refused(problem, "all", 0, found),)
        )
    fitted, own, solved = found
    wanted = (("all", np.ones(problem.n, dtype=bool)), *segment_members(problem, levels(problem, config)))
    prices = tuple(_priced(problem, name, member, fitted, own, solved) for name, member in wanted)
    return TaskValues(
        value=np.where(known, stated, fitted),
        from_user=known,
        origin="user" if known.all() else "user and realised" if known.any() else "realised",
        prices=prices,
    )


def _realised(problem: Problem, seed: int) -> tuple[Array, Array, Mask] | str:
    """(n,) fitted V, (n,) own realised V, rows that have one; or why there is none."""
    paid = problem.frame["value_usd"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    quality = problem.outcomes[:, 0]
    if np.isnan(paid).all():
        return "value_usd is not logged"
    if np.isnan(quality).all():
        return "value_usd is logged but quality is not, so the value of one solved task is not known"
    solved = ~np.isnan(paid) & (np.nan_to_num(quality) > 0.0)
    own = np.divide(paid, quality, out=np.full(problem.n, np.nan), where=solved)
    below = int((own[solved] < 0.0).sum())
    if below:
        return (
            f"{below} of {int(solved.sum())} solved tasks have a negative value_usd, which no log link holds"
        )
    earning = solved & (np.nan_to_num(own) > 0.0)
    fault = _too_few(problem, earning)
    if fault is not None:
        return fault
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    logs = np.log(np.where(earning, own, 1.0))
    shape = np.exp(cross_fit_means(design, logs[:, None], earning, folds, problem.weight)[:, 0])
    factor = (problem.weight * np.where(solved, own, 0.0)).sum() / (problem.weight * shape)[solved].sum()
    return factor * shape, own, solved


def _too_few(problem: Problem, rows: Mask) -> str | None:
    if rows.sum() < MIN_ARM:
        return f"{int(rows.sum())} solved tasks have a value_usd; {MIN_ARM} are needed"
    groups = effective_clusters(problem.cluster, rows)
    if groups < MIN_CLUSTERS:
        return f"{groups:.1f} effective clusters have a value_usd; {MIN_CLUSTERS:.0f} are needed"
    return None


def _priced(problem: Problem, segment: str, member: Mask, fitted: Array, own: Array, solved: Mask) -> Price:
    """Mean V of the decisions of a segment: mean prediction plus mean residual.

    Its t interval is on the log scale, from cluster sums of both means' deviations.
    Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023 (prediction-powered means).
    """
    seen = member & solved
    fault = _too_few(problem, seen)
    if fault is not None:
        return _refused(problem, segment, int(seen.sum()), fault)
    h, r = np.where(member, problem.weight, 0.0), np.where(seen, problem.weight, 0.0)
    h, r = h / h.sum(), r / r.sum()
    rest = np.where(seen, own - fitted, 0.0)
    base, gap = float(h @ fitted), float(r @ rest)
    value = base + gap
    moved = np.bincount(problem.cluster, weights=h * (fitted - base) + r * (rest - gap))
    groups = int((np.bincount(problem.cluster, weights=h) > 0).sum())
    se = math.sqrt(float(moved @ moved) * groups / (groups - 1))
    df = effective_clusters(problem.cluster, seen) - 1.0
    half = critical_t(df) * se / value if value > 0.0 else math.inf
    if not half < math.log(1e3):  # an interval over six orders of magnitude says nothing
        return _refused(problem, segment, int(seen.sum()), "the values scatter too much for a mean")
    return Price(
        name="realised_task_value",
        symbol="V",
        unit=TASK_VALUE,
        source="fitted",
        segment=segment,
        value=value,
        lower=value * math.exp(-half),
        upper=value * math.exp(half),
        level=LEVEL,
        layer=problem.layer,
        decision_point=problem.decision_point,
        grade="C",
        n=int(seen.sum()),
        clusters=int(np.unique(problem.cluster[seen]).size),
        method=_METHOD,
    )


def _refused(problem: Problem, segment: str, n: int, reason: str) -> Price:
    return Price(
        name="realised_task_value",
        symbol="V",
        unit=TASK_VALUE,
        source="fitted",
        segment=segment,
        layer=problem.layer,
        decision_point=problem.decision_point,
        grade="N",
        n=n,
        method="none",
        reason=reason,
    )
