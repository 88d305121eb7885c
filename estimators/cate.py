"""Effects predicted per decision, out of fold, and calibrated so that they mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from .design import Design, make_design
from .folds import cluster_folds
from .learners import boosted_mean, ridge
from .pairs import Pair

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_ESS: Final = 50.0
"""Effective decisions that a step of the calibrated effect rests on at least (METHODS A2)."""
_MAX_STEPS: Final = 8
"""Steps before pooling. Scores are mostly noise: with 20 or more steps both ends follow it, and the slope of
true effects on calibrated ones falls from .97 to .92 (5000 decisions)."""
_BOOST_ROWS: Final = 1000
"""Decisions below which boosting is not tried."""
_ROUNDS: Final = 40
"""Trees of a boosted effect; the rounds that a mean needs would learn the noise of the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Predicted effects of one contrast on the n decisions of its problem, in the unit of the score.

    rows: (n,) decisions learned from. fold: (n,) of each decision. held_out: (n,) prediction of the learner
    that did not see the decision's fold, its mean in the fold taken out. calibrated: (n,) f(held_out) with f
    fitted on the other folds. deployed: (n,) tau*(x), the median over folds of f*(tau_hat_-k(x)), for every
    decision. held_out and calibrated are NaN outside rows. learner: what was fitted.
    """

    rows: Mask
    fold: Ints
    held_out: Array
    calibrated: Array
    deployed: Array
    learner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A rising step function of a prediction. edges: (B - 1,) up to which a step holds. values: (B,)."""

    edges: Array
    values: Array

    def __call__(self, prediction: Array) -> Array:
        """The step's value at each prediction."""
        return self.values[np.searchsorted(self.edges, prediction, side="left")]


def predicted_effects(pair: Pair, rows: Mask, *, target: int, seed: int) -> Effects | None:
    """Cross-calibrated effects of column `target` of the scores; None where nothing can be learned.

    A DR-learner: scores d are regressed on the context with weights h, without the decision's own fold of
    clusters, by whichever of ridge on splines and boosted trees has the lower held-out squared error. Then
    causal isotonic cross-calibration: f* is fitted to all held-out pairs (tau_hat_-k(i)(x_i), d_i). A
    learner's level moves against the scores of the fold that it left out, so levels are taken out first.
    None without context, with fewer than two folds, or with a score missing in `rows`.

    Source: Kennedy 2023 (DR-learner); van der Laan, Ulloa-Perez, Carone & Luedtke 2023, ICML.
    """
    d, h = pair.d[:, target], pair.h
    used = rows & (h > 0)
    fold = cluster_folds(pair.problem.cluster_ids, seed=seed, repeat=0)[pair.problem.cluster]
    design = make_design(pair.problem.frame, pair.problem.features)
    seen = np.unique(fold[used])
    if design.linear.shape[1] == 0 or seen.size < 2 or np.isnan(d[used]).any():
        return None
    tables, learner = _fold_predictions(design, d, used, fold, h)
    held_out = np.full(d.size, np.nan)
    for k, table in zip(seen, tables, strict=True):
        own = used & (fold == k)
        held_out[own] = table[own] - np.average(table[own], weights=h[own])
    calibrated = np.full(d.size, np.nan)
    calibrated[used] = cross_calibrated(held_out[used], d[used], h[used], fold[used])
    final = isotonic_steps(held_out[used], d[used], h[used])
    level = np.average(tables[:, used], axis=1, weights=h[used])
    return Effects(
        rows=used,
        fold=fold,
        held_out=held_out,
        calibrated=calibrated,
        deployed=np.median(final(tables - level[:, None]), axis=0),
        learner=learner,
    )


def cross_calibrated(prediction: Array, d: Array, h: Array, fold: Ints) -> Array:
    """Each held-out prediction (n,) through the isotonic steps that the other folds fit to theirs."""
    out = np.empty(d.size)
    for k in np.unique(fold):
        own = fold == k
        out[own] = isotonic_steps(prediction[~own], d[~own], h[~own])(prediction[own])
    return out


def isotonic_steps(prediction: Array, d: Array, h: Array) -> Steps:
    """Isotonic fit of d on the prediction with weights h, each step on at least MIN_ESS effective decisions.

    The decisions are first cut, in order of the prediction, into at most 8 bins of equal weight; isotonic
    regression then pools neighbours that break the order.
    """
    size = float(h.sum()) ** 2 / float((h**2).sum())
    bins = int(np.clip(size / MIN_ESS, 1, _MAX_STEPS))
    code = merged(equal_blocks(prediction, h, bins), h, np.arange(h.size), MIN_ESS)
    last = np.full(code.max() + 1, -np.inf)
    np.maximum.at(last, code, prediction)
    means = rising_means(code, d, h)
    rises = np.diff(means) > 0
    return Steps(edges=last[:-1][rises], values=means[np.append(True, rises)])


def rising_means(code: Ints, d: Array, h: Array) -> Array:
    """The isotonic regression (B,) of the blocks' weighted means of d on their order."""
    weight = np.bincount(code, weights=h)
    mean = np.bincount(code, weights=h * d) / weight
    order = np.arange(mean.size, dtype=float)
    return np.asarray(IsotonicRegression().fit_transform(order, mean, sample_weight=weight), dtype=float)


def blocks_within_folds(prediction: Array, h: Array, fold: Ints, count: int) -> Ints:
    """The block (n,), 0 to count - 1, of each prediction among those of its own fold.

    Ranks within a fold do not depend on the fold's scores. Ranks across folds do: a fold with high scores
    leaves lower ones to the learner of its own predictions, so that its decisions would sink.
    """
    block = np.zeros(fold.size, dtype=np.int64)
    for k in np.unique(fold):
        own = fold == k
        block[own] = equal_blocks(prediction[own], h[own], count)
    return block


def equal_blocks(prediction: Array, h: Array, count: int) -> Ints:
    """Blocks (n,) of equal weight in order of the prediction; equal ones share a block, so codes may skip."""
    _, group = np.unique(prediction, return_inverse=True)
    mass = np.bincount(group, weights=h)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.minimum((middle * count).astype(np.int64), count - 1)[group]


def merged(code: Ints, h: Array, unit: Ints, least: float) -> Ints:
    """Codes without gaps, blocks of fewer than `least` effective units joined to a neighbour.

    unit: (n,) codes of what is counted, decisions or clusters: (sum m)^2 / sum m^2, m the weight of a unit.
    """
    code = np.unique(code, return_inverse=True)[1].astype(np.int64)
    while code.max() > 0:
        keys, at = np.unique(code * (unit.max() + 1) + unit, return_inverse=True)
        mass = np.bincount(at, weights=h)
        block = keys // (unit.max() + 1)
        total, squares = np.bincount(block, weights=mass), np.bincount(block, weights=mass**2)
        small = np.flatnonzero(total**2 < least * squares)
        if small.size == 0:
            break
        code = np.where(code >= max(int(small[0]), 1), code - 1, code)
    return code


def _fold_predictions(design: Design, d: Array, rows: Mask, fold: Ints, h: Array) -> tuple[Array, str]:
    """(folds, n) predictions for all decisions by the learner that left each fold out, and its name."""
    everyone, seen = np.ones(d.size, dtype=bool), np.unique(fold[rows])
    splits = [rows & (fold != k) for k in seen]
    fits = {"ridge": [ridge(design.linear[t], d[t, None], design.linear, h[t])[:, 0] for t in splits]}
    if rows.sum() >= _BOOST_ROWS:
        fits["trees"] = [boosted_mean(design, d, t, everyone, h, rounds=_ROUNDS) for t in splits]
    tables = {name: np.stack(fit) for name, fit in fits.items()}
    position = np.searchsorted(seen, fold[rows])
    loss = {
        name: float((h[rows] * (d[rows] - table[position, np.flatnonzero(rows)]) ** 2).sum())
        for name, table in tables.items()
    }
    best = min(loss, key=lambda name: loss[name])
    return tables[best], best
