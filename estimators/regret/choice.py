"""A decision point as a choice between actions in dollars: what each would bring more than what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade
from ..choices import valuation
from ..design import make_design
from ..folds import cluster_folds
from ..gates import MIN_CLUSTERS, MIN_ESS, effective_clusters, overlap
from ..pairs import Valuation
from ..scores import Scores

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

COST: Final = 1
"""Position of cost among the four quantities."""
_FLOOR: Final = 0.01
"""An action is offered where its propensity is at least this, as in the dollar totals of `moves`."""
_NO_VALUE: Final = "no task value is set, so what an action brings is not known in dollars"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The n decisions of one point that could have gone otherwise, and K actions that could be taken.

    done: (n, 4) what was done led to: quality, cost (USD), latency (s), risk; where labels are missing, the
    unbiased stand-in of the scores. psi: (n, K, 4) doubly robust scores of the actions, cross-fitted.
    price: (n, 4) dollars per unit of each quantity, V and then minus what it costs; 0 where it is not priced.
    took: (n, K). chosen: (n,) probability of the taken action. offered: (n, K) the action was possible.
    basis: (n, p) context. weight: (n,) decisions that a row stands for. cluster: (n,) codes into cluster_ids.
    clock_us: (n,) time of each decision, None without timestamps. fold: (n,) of the cross-fitting.
    left_out: decisions at the point that are not among the n.
    """

    layer: str
    decision_point: str
    actions: tuple[str, ...]
    done: Array
    psi: Array
    price: Array
    took: Mask
    chosen: Array
    offered: Mask
    basis: Array
    weight: Array
    cluster: Ints
    cluster_ids: tuple[str, ...]
    cluster_key: str
    clock_us: Ints | None
    fold: Ints
    grade: Grade
    source: str
    left_out: float

    @property
    def n(self) -> int:
        """Number of decisions."""
        return self.weight.size

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return len(self.cluster_ids)


def choice_of(scores: Scores, config: Config, *, seed: int) -> Choice | str:
    """The choice at one decision point, or in words why it has none.

    Offered are actions whose scores carry at least MIN_ESS effective decisions and MIN_CLUSTERS clusters,
    at decisions where their propensity is at least one per cent. Decisions that a rule fixed, that have no
    task value, or that had no second action, are left out.
    """
    problem, value = scores.problem, valuation(scores.problem, config)
    if scores.propensities.grade == "N":
        return "not identified: " + "; ".join(scores.propensities.notes)
    if np.isnan(value.task_value).all():
        return _NO_VALUE
    kept = [k for k in sorted(scores.psi) if _carries(scores, k)]
    if len(kept) < 2:
        return (
            f"fewer than two actions carry {MIN_ESS:.0f} effective decisions in {MIN_CLUSTERS:.0f} clusters"
        )
    offered = (scores.propensities.matrix[:, kept] >= _FLOOR) & scores.propensities.usable[:, None]
    used = np.isfinite(value.task_value) & (offered.sum(axis=1) > 1) & np.isin(problem.arm, kept)
    price = _prices(value)
    done, psi = _done(scores), np.stack([scores.psi[k] for k in kept], axis=1)
    lacking = np.isnan(psi[used]).any(axis=(0, 1)) & (price[used] != 0).any(axis=0)
    if lacking.any():
        names = np.array(["quality", "cost", "latency", "risk"])[lacking]
        return f"{' and '.join(names)} is not known for every action, so the net value is not known"
    codes, cluster = np.unique(problem.cluster[used], return_inverse=True)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    left = float(problem.weight.sum() - problem.weight[used].sum())
    return Choice(
        layer=problem.layer,
        decision_point=problem.decision_point,
        actions=tuple(problem.arms[k] for k in kept),
        done=np.nan_to_num(done[used]),
        psi=np.nan_to_num(psi[used]),
        price=price[used],
        took=problem.arm[used][:, None] == np.array(kept)[None, :],
        chosen=scores.propensities.chosen[used],
        offered=offered[used],
        basis=make_design(problem.frame, problem.features).linear[used],
        weight=problem.weight[used],
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(problem.cluster_ids[c] for c in codes),
        cluster_key=problem.cluster_key,
        clock_us=_clock(problem.frame, used),
        fold=folds[used],
        grade=scores.propensities.grade,
        source=scores.propensities.source,
        left_out=left,
    )


def in_dollars(outcomes: Array, price: Array) -> Array:
    """(..., ) net value of outcomes (..., 4) at prices (..., 4)."""
    return (outcomes * price).sum(axis=-1)


def _prices(value: Valuation) -> Array:
    return np.nan_to_num(value.weights())


def _done(scores: Scores) -> Array:
    """(n, 4) what was done led to: psi_A = mu_A + (Y - mu_A) / e_A turned round, so Y where it was observed.

    Where a label is missing it is m + R / pi_R (Y - m), unbiased if the label probability is right.
    """
    rows = np.arange(scores.problem.n)
    out = np.full((rows.size, 4), np.nan)
    for k, psi in scores.psi.items():
        own = rows[scores.problem.arm == k]
        mu = scores.mu[k][own]
        out[own] = mu + scores.propensities.chosen[own, None] * (psi[own] - mu)
    return out


def _carries(scores: Scores, k: int) -> bool:
    took = scores.problem.arm == k
    weights = scores.problem.weight / scores.propensities.chosen
    enough = overlap(weights, took, took).ess >= MIN_ESS
    return enough and effective_clusters(scores.problem.cluster, took) >= MIN_CLUSTERS


def _clock(frame: pl.DataFrame, used: Mask) -> Ints | None:
    if "ts" not in frame.columns or frame["ts"].dtype == pl.Null:
        return None
    clock = frame["ts"].filter(pl.Series(used))
    if clock.null_count():
        return None
    return clock.dt.epoch("us").to_numpy().astype(np.int64)
