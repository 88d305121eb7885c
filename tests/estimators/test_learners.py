"""Nuisance learners against their closed forms and scikit-learn, and on the edges of the data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.design import Design, make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.learners import cross_fit_means, cross_fit_probabilities, ridge
from sklearn.linear_model import Ridge

PENALTIES = 10.0 ** np.arange(-2.0, 5.0)


def data(seed: int = 0, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Five features; one outcome follows them, the other is noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)) + 3.0
    signal = X @ np.array([1.0, -1.0, 0.5, 0.0, 0.0]) + 0.1 * rng.normal(size=n)
    return X, np.column_stack([signal, rng.normal(size=n)])


def gcv(X: np.ndarray, y: np.ndarray, penalty: float) -> float:
    """n RSS / (n - trace of the hat matrix)^2, by building the hat matrix."""
    n = X.shape[0]
    Z = X - X.mean(axis=0)
    hat = Z @ np.linalg.solve(Z.T @ Z + penalty * np.eye(Z.shape[1]), Z.T) + np.full((n, n), 1 / n)
    residual = y - hat @ y
    return float(n * (residual**2).sum() / (n - np.trace(hat)) ** 2)


def test_ridge_equals_scikit_learn_at_the_penalty_that_minimises_gcv() -> None:
    """Kills a penalised intercept, a wrong trace, or one penalty shared by both outcomes."""
    X, Y = data()
    X_new = data(seed=1)[0]
    got = ridge(X, Y, X_new)
    for j in range(2):
        best = min(PENALTIES, key=lambda p, j=j: gcv(X, Y[:, j], p))
        want = Ridge(alpha=best).fit(X, Y[:, j]).predict(X_new)
        assert got[:, j] == pytest.approx(want, abs=1e-8)
    chosen = [min(PENALTIES, key=lambda p, j=j: gcv(X, Y[:, j], p)) for j in range(2)]
    assert chosen[0] < chosen[1]


def test_ridge_without_features_is_the_mean() -> None:
    """Kills a failure, or a zero, where there is nothing to regress on."""
    Y = np.array([[1.0], [2.0], [6.0]])
    assert ridge(np.empty((3, 0)), Y, np.empty((2, 0))) == pytest.approx(np.full((2, 1), 3.0))


def test_ridge_survives_more_features_than_rows() -> None:
    """Kills a penalty chosen by dividing by a negative number of degrees of freedom."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 30)), rng.normal(size=(6, 1))
    assert np.abs(ridge(X, Y, X)).max() < 2 * np.abs(Y).max()


def numbers(n: int = 400, seed: int = 0) -> tuple[Design, np.ndarray]:
    """A design on one number and its folds."""
    x = np.random.default_rng(seed).normal(size=n)
    design = make_design(pl.DataFrame({"x_a": x}), ("x_a",))
    return design, cluster_folds(tuple(f"c{i}" for i in range(n)), seed=0, repeat=0)


def test_predictions_of_a_fold_never_saw_that_fold() -> None:
    """Kills training on the rows that are predicted: moving a fold's outcomes must not move its fit."""
    design, folds = numbers()
    y = design.raw[:, 0] ** 2
    every = np.ones(y.size, dtype=bool)
    before = cross_fit_means(design, y[:, None], every, folds)
    moved = np.where(folds == 2, y + 100.0, y)
    after = cross_fit_means(design, moved[:, None], every, folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])


def test_means_are_trained_on_the_given_rows_only() -> None:
    """Kills an outcome model of one arm that learns from the other arm."""
    design, folds = numbers()
    rows = np.arange(400) % 2 == 0
    y = np.where(rows, 1.0, 1000.0)[:, None]
    assert cross_fit_means(design, y, rows, folds) == pytest.approx(np.ones((400, 1)), abs=1e-9)


def test_boosting_takes_over_where_a_step_is_far_from_the_basis() -> None:
    """Kills the comparison of learners: a square wave is beyond four knots, not beyond trees."""
    design, folds = numbers(n=1600)
    y = (np.floor(design.raw[:, 0] * 4) % 2)[:, None]
    fit = cross_fit_means(design, y, np.ones(1600, dtype=bool), folds)
    assert ((fit - y) ** 2).mean() < 0.1  # the variance of y is 0.25 and ridge explains none of it


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_add_up_to_one_and_follow_the_context(classes: int) -> None:
    """Kills a class column in the wrong place."""
    design, folds = numbers()
    labels = np.clip(np.digitize(design.raw[:, 0], np.linspace(-0.5, 0.5, classes - 1)), 0, classes - 1)
    fitted = cross_fit_probabilities(design, labels, classes, folds, np.ones(400))
    assert fitted.sum(axis=1) == pytest.approx(np.ones(400))
    assert (fitted.argmax(axis=1) == labels).mean() > 0.9


def test_a_class_that_never_occurs_has_probability_zero() -> None:
    """Kills shifting the columns when a class is absent from the labels."""
    design, folds = numbers()
    labels = np.where(design.raw[:, 0] > 0, 2, 0)
    fitted = cross_fit_probabilities(design, labels, 3, folds, np.ones(400))
    assert not fitted[:, 1].any()
    assert (fitted[:, 2] > fitted[:, 0])[design.raw[:, 0] > 0.5].all()


def test_training_on_one_class_predicts_that_class() -> None:
    """Kills the error of a classifier that sees a single class."""
    design, folds = numbers()
    fitted = cross_fit_probabilities(design, np.ones(400, dtype=np.int64), 2, folds, np.ones(400))
    assert fitted.tolist() == [[0.0, 1.0]] * 400


def test_a_single_fold_falls_back_to_the_shares() -> None:
    """Kills an empty training set when all rows are one cluster."""
    design, _ = numbers()
    labels = (np.arange(400) % 4 == 0).astype(np.int64)
    fitted = cross_fit_probabilities(design, labels, 2, np.zeros(400, dtype=np.int64), np.ones(400))
    assert fitted == pytest.approx(np.tile([0.75, 0.25], (400, 1)))


def test_weights_move_the_probabilities() -> None:
    """Kills dropping the log sampling weights: tripling one class triples its odds."""
    design, folds = numbers()
    labels = (np.arange(400) % 2).astype(np.int64)
    fitted = cross_fit_probabilities(design, labels, 2, folds, np.where(labels == 1, 3.0, 1.0))
    assert fitted[:, 1].mean() == pytest.approx(0.75, abs=0.03)
