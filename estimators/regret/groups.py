"""An upper bound on regret from groups of decisions with like predicted gains, and the cross-fitted gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..cate import blocks_within_folds
from ..gates import MIN_CLUSTERS, MIN_ESS
from ..jackknife import cluster_sums, weighted_mean
from ..learners import ridge
from .choice import COST, Choice, in_dollars

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MOST: Final = 8
"""Groups per action, as many as the calibrated effects have steps."""
_TAKEN: Final = 2.0 * MIN_ESS
"""Effective decisions of an action per group to start from; halves of groups still carry MIN_ESS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Mean gain of one action in one group of decisions, with its standard error and degrees of freedom.

    rows: (m,) decisions. influence: (G,) each cluster's sum of weighted deviations.
    """

    rows: Ints
    action: int
    mean: float
    se: float
    df: float
    influence: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The policy that the other folds teach. gain: (n,) dollars above what was done. spend: (n,) USD more.
    predicted: (n, K) gain of each action, -inf where it was not offered."""

    gain: Array
    spend: Array
    predicted: Array


def learned(choice: Choice) -> Learned:
    """The cross-fitted policy: the action with the largest predicted gain, as logged where none gains.

    Its mean is unbiased for what such policies gain, but not its naive interval, for folds share their data
    (METHODS H): the bound is that of `forward_chain`.
    """
    scores = _scores(choice)
    predicted = np.full(scores.shape, -np.inf)
    for fold in np.unique(choice.fold):
        now = choice.fold == fold
        for k in range(scores.shape[1]):
            train, at = ~now & choice.offered[:, k], now & choice.offered[:, k]
            if train.any() and at.any():
                fit = ridge(
                    choice.basis[train], scores[train, k, None], choice.basis[at], choice.weight[train]
                )
                predicted[at, k] = fit[:, 0]
    rows, best = np.arange(choice.n), predicted.argmax(axis=1)
    moves = predicted[rows, best] > 0
    spend = choice.psi[rows, best, COST] - choice.done[:, COST]
    return Learned(
        gain=np.where(moves, scores[rows, best], 0.0),
        spend=np.where(moves, spend, 0.0),
        predicted=predicted,
    )


def groups_of(choice: Choice, predicted: Array) -> list[Group]:
    """The groups of every action: decisions that offered it, in order of its predicted gain within folds."""
    scores = _scores(choice)
    out: list[Group] = []
    for k in range(len(choice.actions)):
        rows = np.flatnonzero(choice.offered[:, k])
        code = _codes(choice, k, rows, predicted[rows, k])
        for b in np.unique(code):
            out.append(_group(choice, k, rows[code == b], scores[:, k]))
    return out


def ceiling(choice: Choice, groups: list[Group], critical: float) -> Array:
    """(n,) the largest upper limit among the actions offered to each decision, at least 0.

    critical: the multiple of the standard error at which all groups hold together.
    """
    top = np.zeros(choice.n)
    for g in groups:
        top[g.rows] = np.maximum(top[g.rows], g.mean + critical * g.se)
    return top


def _scores(choice: Choice) -> Array:
    """(n, K) dollars by which each action's score exceeds what was done."""
    return in_dollars(choice.psi - choice.done[:, None, :], choice.price[:, None, :])


def _codes(choice: Choice, k: int, rows: Ints, predicted: Array) -> Ints:
    """(m,) groups, in each of which the action carries MIN_ESS decisions and MIN_CLUSTERS clusters."""
    weight, took = choice.weight[rows], choice.took[rows, k]
    w = weight * took / choice.chosen[rows]
    size = w.sum() ** 2 / max((w**2).sum(), 1e-300)
    for count in range(int(np.clip(size / _TAKEN, 1, _MOST)), 0, -1):
        code = np.unique(
            blocks_within_folds(predicted, weight, choice.fold[rows], count), return_inverse=True
        )[1]
        if all(_carries(w[code == b], choice.cluster[rows][code == b]) for b in range(int(code.max()) + 1)):
            return code.astype(np.int64)
    return np.zeros(rows.size, dtype=np.int64)


def _carries(w: Array, cluster: Ints) -> bool:
    square = float((w**2).sum())
    return square > 0 and w.sum() ** 2 / square >= MIN_ESS and np.unique(cluster[w > 0]).size >= MIN_CLUSTERS


def _group(choice: Choice, k: int, rows: Ints, scores: Array) -> Group:
    d, h, cluster = scores[rows], choice.weight[rows], choice.cluster[rows]
    found = weighted_mean(cluster_sums(d[:, None], h, cluster, choice.clusters))
    mean = float(found.theta[0])
    return Group(
        rows=rows,
        action=k,
        mean=mean,
        se=float(np.sqrt(found.cov[0, 0])),
        df=found.df,
        influence=np.bincount(cluster, weights=h * (d - mean), minlength=choice.clusters).astype(float),
    )
