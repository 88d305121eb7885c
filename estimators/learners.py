"""Nuisance learners: spline ridge for means, logit for probabilities, boosting where it predicts better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from .design import Design

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_PENALTIES: Final = 10.0 ** np.arange(-2.0, 5.0)
"""Ridge penalties tried, in units of one standardised row."""
_BOOST_ROWS: Final = 1000
"""Training rows per arm below which boosting is not tried (METHODS A1)."""
_BOOST_CLASSES: Final = 12
"""Actions up to which boosting is tried: it grows one tree per action and round."""
_NEWTON_SIZE: Final = 600
"""Parameters up to which Newton's method, with its dense Hessian, is faster than L-BFGS."""
ROUNDS: Final = 100
"""Trees of a boosted mean or probability."""
_BOOST_GAIN: Final = 0.99
"""Boosting must cut the held-out loss by one per cent to replace the simpler learner."""


def _trees(design: Design, n: int, rounds: int = ROUNDS) -> dict[str, Any]:
    return {
        "max_iter": rounds,
        "learning_rate": 0.1,
        "max_leaf_nodes": 15,
        "min_samples_leaf": max(30, int(np.sqrt(n))),
        "early_stopping": False,
        "random_state": 0,
        "categorical_features": list(design.categorical),
    }


def ridge(X: Array, Y: Array, X_new: Array, weight: Array | None = None) -> Array:
    """Predictions (m, q) at X_new of ridge regressions of each column of Y on X with an intercept.

    weight: (n,) relative weights of the rows, equal if None. The penalty of each column minimises
    generalised cross-validation (Golub, Heath & Wahba 1979).
    """
    n = X.shape[0]
    w = np.ones(n) if weight is None else weight / weight.mean()
    mean = np.average(Y, axis=0, weights=w)
    if X.shape[1] == 0 or n < 2:
        return np.broadcast_to(mean, (X_new.shape[0], Y.shape[1])).copy()
    centre = np.average(X, axis=0, weights=w)
    root = np.sqrt(w)[:, None]
    inner, rest = root * (X - centre), root * (Y - mean)
    values, vectors = np.linalg.eigh(inner.T @ inner)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (inner.T @ rest)
    total = (rest**2).sum(axis=0)
    best, chosen = np.full(Y.shape[1], np.inf), np.zeros_like(projected)
    for penalty in _PENALTIES:
        shrunk = projected / (values + penalty)[:, None]
        rss = total - 2 * (projected * shrunk).sum(axis=0) + (values[:, None] * shrunk**2).sum(axis=0)
        dof = 1.0 + float((values / (values + penalty)).sum())
        gcv = rss / max(n - dof, 1e-9) ** 2 if dof < n else np.full(Y.shape[1], np.inf)
        better = gcv < best
        best = np.where(better, gcv, best)
        chosen = np.where(better[None, :], shrunk, chosen)
    return mean + (X_new - centre) @ (vectors @ chosen)


def boosted_mean(
    design: Design, y: Array, train: Mask, test: Mask, weight: Array, *, rounds: int = ROUNDS
) -> Array:
    """Predictions at the test rows of boosted trees fitted on the train rows."""
    model: Any = HistGradientBoostingRegressor(**_trees(design, int(train.sum()), rounds))
    raw = _known_in(design.raw, train)
    own = weight[train]
    model.fit(raw[train], y[train], sample_weight=own if np.ptp(own) > 0 else None)
    return np.asarray(model.predict(raw[test]), dtype=float)


def _known_in(raw: Array, train: Mask) -> Array:
    """`raw` with each column that has no value at all on the train rows made constant.

    Such a column can tell the model nothing there, and scikit-learn 1.9 fails to bin it.
    """
    empty = np.isnan(raw[train]).all(axis=0)
    return np.where(empty, 0.0, raw) if empty.any() else raw


def cross_fit_means(
    design: Design,
    Y: Array,
    rows: Mask,
    folds: Ints,
    weight: Array | None = None,
    *,
    boost: bool = True,
) -> Array:
    """Out-of-fold predictions (n, q) of each column of Y for all n rows, trained on `rows` only.

    weight: (n,) what each row stands for, 1 if None. The first fold decides, column by column, between
    ridge and boosting by its held-out squared error; without `boost` ridge is all that is tried.
    """
    weight = np.ones(len(Y)) if weight is None else weight
    predictions = np.empty_like(Y)
    boosted: list[int] = []
    for turn, fold in enumerate(np.unique(folds)):
        train, test = rows & (folds != fold), folds == fold
        if not train.any():
            train = rows
        predictions[test] = ridge(design.linear[train], Y[train], design.linear[test], weight[train])
        if turn == 0 and boost:
            boosted = _boosted_columns(design, Y, train, test, test & rows, predictions, weight)
            continue
        for column in boosted:
            predictions[test, column] = boosted_mean(design, Y[:, column], train, test, weight)
    return predictions


def _boosted_columns(
    design: Design, Y: Array, train: Mask, test: Mask, held_out: Mask, predictions: Array, weight: Array
) -> list[int]:
    """The columns that boosting predicts better than the ridge; their predictions at `test` are replaced."""
    if train.sum() < _BOOST_ROWS or held_out.sum() < 2 or design.raw.shape[1] == 0:
        return []
    chosen: list[int] = []
    for column in range(Y.shape[1]):
        trees = predictions[:, column].copy()
        trees[test] = boosted_mean(design, Y[:, column], train, test, weight)
        loss, rival = (
            (weight[held_out] * (Y[held_out, column] - p[held_out]) ** 2).sum()
            for p in (trees, predictions[:, column])
        )
        if loss < _BOOST_GAIN * rival:
            predictions[test, column] = trees[test]
            chosen.append(column)
    return chosen


Fit = Callable[[Mask, Mask], Array]


def cross_fit_probabilities(design: Design, labels: Ints, classes: int, folds: Ints, weight: Array) -> Array:
    """Out-of-fold class probabilities (n, classes): logit, or boosting where the first fold prefers it."""

    def logit(train: Mask, test: Mask) -> Array:
        if design.linear.shape[1] == 0:  # nothing to tell rows apart by: everyone has the shares
            shares = np.bincount(labels[train], weights=weight[train], minlength=classes)
            return np.broadcast_to(shares / shares.sum(), (int(test.sum()), classes))
        small = classes * (design.linear.shape[1] + 1) <= _NEWTON_SIZE
        model: Any = LogisticRegression(max_iter=500, solver="newton-cholesky" if small else "lbfgs")
        model.fit(design.linear[train], labels[train], sample_weight=weight[train])
        return _spread(model.classes_, model.predict_proba(design.linear[test]), classes)

    def trees(train: Mask, test: Mask) -> Array:
        settings = _trees(design, int(train.sum()))
        model: Any = HistGradientBoostingClassifier(**settings)
        raw, own = _known_in(design.raw, train), weight[train]
        # Equal weights are left out: scikit-learn's bins of weighted rows take as long as the trees.
        model.fit(raw[train], labels[train], sample_weight=own if np.ptp(own) > 0 else None)
        return _spread(model.classes_, model.predict_proba(raw[test]), classes)

    order = np.unique(folds)
    fit, first = logit, None
    if labels.size / classes >= _BOOST_ROWS and classes <= _BOOST_CLASSES and design.raw.shape[1] > 0:
        train, test = folds != order[0], folds == order[0]
        if np.unique(labels[train]).size == classes:
            found = [f(train, test) for f in (logit, trees)]
            losses = [_log_loss(p, labels[test]) for p in found]
            better = losses[1] < _BOOST_GAIN * losses[0]
            fit, first = (trees, found[1]) if better else (logit, found[0])
    return _out_of_fold(fit, first, labels, classes, folds)


def _out_of_fold(fit: Fit, first: Array | None, labels: Ints, classes: int, folds: Ints) -> Array:
    """Probabilities (n, classes) of `fit` on the other folds; `first`: those of the first fold, if known."""
    out = np.zeros((labels.size, classes))
    for turn, fold in enumerate(np.unique(folds)):
        train, test = folds != fold, folds == fold
        present = np.unique(labels[train])
        if turn == 0 and first is not None:
            out[test] = first
        elif present.size == 1:
            out[np.ix_(test, present)] = 1.0
        elif present.size > 1:
            out[test] = fit(train, test)
        else:
            out[test] = np.bincount(labels, minlength=classes) / labels.size
    return out


def _spread(present: Ints, probabilities: Array, classes: int) -> Array:
    out = np.zeros((probabilities.shape[0], classes))
    out[:, present] = probabilities
    return out


def _log_loss(probabilities: Array, labels: Ints) -> float:
    chosen = probabilities[np.arange(labels.size), labels]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())
