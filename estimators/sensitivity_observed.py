"""How strongly each logged feature moves the choice: the yardstick for the strength of a hidden one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .confidence import LEVEL
from .design import Design, make_design
from .folds import FOLDS, cluster_folds
from .learners import cross_fit_probabilities
from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MAX_ROWS: Final = 20_000
"""More decisions do not sharpen a percentile; whole clusters are drawn down to about this many."""
_EPS: Final = 1e-9
_SAMPLE_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedStrength:
    """The odds ratio by which leaving `feature` out of the propensity model moves most decisions."""

    feature: str
    strength: float


def observed_strengths(
    problem: Problem, action: str, baseline: str, *, seed: int, rows: Mask | None = None
) -> tuple[ObservedStrength, ...]:
    """The strength of every feature of the problem, strongest first; empty without features.

    For each feature the odds of `action` (and of `baseline`) against all other actions are fitted with and
    without it; its strength is the 95th percentile of the change, as an odds ratio of at least 1, for the arm
    that moves more. Lambda is read against it: is a hidden cause as strong as the strongest feature likely?
    A feature that others stand in for looks weaker than it is.
    """
    kept = _sample(problem, np.ones(problem.n, dtype=bool) if rows is None else rows, seed)
    if kept.size == 0:
        return ()
    parts = {name: make_design(problem.frame[kept], (name,)).linear for name in problem.features}
    parts = {name: columns for name, columns in parts.items() if columns.shape[1]}
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0, folds=FOLDS)[problem.cluster[kept]]
    arms = [problem.arm_index(action), problem.arm_index(baseline)]
    labels, weight = problem.arm[kept], problem.weight[kept]

    def log_odds(names: list[str]) -> Array:
        constant = np.zeros((kept.size, 1))  # stands in where no feature is left
        linear = np.hstack([constant, *(parts[n] for n in names)])
        design = Design(linear=linear, raw=np.empty((kept.size, 0)), categorical=(), dropped=())
        fitted = cross_fit_probabilities(design, labels, len(problem.arms), folds, weight)
        e = np.clip(fitted[:, arms], _EPS, 1 - _EPS)
        return np.log(e / (1 - e))

    whole = log_odds(list(parts))
    found = [
        ObservedStrength(
            feature=name,
            strength=_percentile(np.abs(whole - log_odds([n for n in parts if n != name])), weight),
        )
        for name in parts
    ]
    return tuple(sorted(found, key=lambda o: (-o.strength, o.feature)))


def _sample(problem: Problem, rows: Mask, seed: int) -> Ints:
    """Positions of the rows used, whole clusters chosen by the hash of their ids."""
    used = np.flatnonzero(rows)
    if used.size <= _MAX_ROWS:
        return used
    part = cluster_folds(problem.cluster_ids, seed=seed, repeat=-1, folds=_SAMPLE_PARTS)[problem.cluster]
    return used[part[used] < _SAMPLE_PARTS * _MAX_ROWS / used.size]


def _percentile(change: Array, weight: Array) -> float:
    """exp of the weighted 95th percentile of each column's changes in log-odds, the larger one."""
    ends: list[float] = []
    for column in change.T:
        order = np.argsort(column, kind="stable")
        share = weight[order].cumsum() / weight.sum()
        ends.append(float(column[order][min(int(np.searchsorted(share, LEVEL)), order.size - 1)]))
    return float(np.exp(max(ends)))
