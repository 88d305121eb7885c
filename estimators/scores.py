"""Doubly robust scores: one row per decision, jointly for quality, cost, latency and risk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..schemas.records import QUANTITIES
from .design import Design, make_design
from .folds import cluster_folds
from .labels import QUALITY, Labels, find_labels, judged_mean, label_notes
from .learners import cross_fit_means
from .problem import RISK, Problem
from .propensity import Propensities, find_propensities

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_ARM: Final = 30
"""Rows that an arm needs before anything is said about it (METHODS A4, step 2)."""
_REPEATS: Final = 3
_REPEAT_ROWS: Final = 20_000
"""Above this many rows one split is enough: the noise of splitting falls with n."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of every arm with at least MIN_ARM rows, averaged over repeated cross-fitting.

    psi[k]: (n, 4) score of arm k, whose mean is the arm's mean outcome. mu[k]: (n, 4) fitted mean.
    noise[k]: (n, 4) model variance of one score given the context, label probability included.
    labelled: share of rows with each quantity observed. labels_logged: whether the log holds the probability
    with which quality was labelled.
    """

    problem: Problem
    propensities: Propensities
    psi: dict[int, Array]
    mu: dict[int, Array]
    noise: dict[int, Array]
    labelled: Array
    labels_logged: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one cross-fitting of a problem rests on: folds (n,), propensities, and who was labelled."""

    problem: Problem
    design: Design
    folds: Ints
    propensities: Propensities
    labels: Labels


def score(problem: Problem, *, seed: int) -> Scores:
    """The scores of `problem`.

    psi_ia = mu_a(x_i) + 1{A_i = a} R_i / (e_a(x_i) pi_R(x_i, a)) (Y_i - mu_a(x_i)), where R_i says that the
    outcome was observed; with a judge, see `_arm_scores`. Averaging over repeats keeps the four quantities
    jointly distributed.

    Source: Robins, Rotnitzky & Zhao 1994; Chernozhukov et al. 2018 (cross-fitting); Kallus & Mao 2020
    (surrogates).
    """
    design = make_design(problem.frame, problem.features)
    repeats = _REPEATS if problem.n <= _REPEAT_ROWS else 1
    runs = [fitted(split_of(problem, design, seed=seed, repeat=r)) for r in range(repeats)]
    first = runs[0]
    labelled = (~np.isnan(problem.outcomes)).mean(axis=0)
    notes = list(first.notes)
    for quantity, share in zip(QUANTITIES, labelled, strict=True):
        if 0 < share < 1:
            known = quantity == "quality" and first.labels_logged
            how = "drawn with logged probabilities" if known else "the others are taken as missing at random"
            notes.append(f"{share:.0%} of rows have {quantity}; {how}")
    if design.dropped:
        notes.append(f"features with a level per row are ids and are left out: {', '.join(design.dropped)}")
    return Scores(
        problem=problem,
        propensities=_mean_propensities([r.propensities for r in runs]),
        psi={k: np.mean([r.psi[k] for r in runs], axis=0) for k in first.psi},
        mu={k: np.mean([r.mu[k] for r in runs], axis=0) for k in first.psi},
        noise={k: np.mean([r.noise[k] for r in runs], axis=0) for k in first.psi},
        labelled=labelled,
        labels_logged=first.labels_logged,
        notes=tuple(notes),
    )


def split_of(problem: Problem, design: Design, *, seed: int, repeat: int) -> Split:
    """The folds of one repeat, with the propensities and label probabilities fitted across them."""
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=repeat)[problem.cluster]
    return Split(
        problem=problem,
        design=design,
        folds=folds,
        propensities=find_propensities(problem, design, folds),
        labels=find_labels(problem, design, folds),
    )


def fitted(split: Split, draw: Array | None = None) -> Scores:
    """The scores of one split. draw: (n,) bootstrap weights with which the means are fitted again, by ridge
    alone; the propensities stay."""
    problem, propensities, labels = split.problem, split.propensities, split.labels
    if draw is not None:
        split = replace(split, problem=replace(problem, weight=problem.weight * draw))
    psi: dict[int, Array] = {}
    mu: dict[int, Array] = {}
    noise: dict[int, Array] = {}
    for k in range(len(problem.arms)):
        taken = problem.arm == k
        if taken.sum() < MIN_ARM:
            continue
        judged = judged_mean(split.problem, split.design, split.folds, taken, labels)
        mu[k] = _fitted_means(split, taken, judged, boost=draw is None)
        share = np.where(taken, propensities.chosen, propensities.matrix[:, k])
        psi[k], noise[k] = _arm_scores(problem, taken, share, mu[k], judged, labels, labels.probability[k])
    return Scores(
        problem=problem,
        propensities=propensities,
        psi=psi,
        mu=mu,
        noise=noise,
        labelled=labels.observed.mean(axis=0),
        labels_logged=labels.logged,
        notes=(*propensities.notes, *label_notes(problem, labels)),
    )


def _arm_scores(
    problem: Problem,
    taken: Mask,
    share: Array,
    mu: Array,
    judged: Array | None,
    labels: Labels,
    label_prob: Array,
) -> tuple[Array, Array]:
    """Scores psi (n, 4) of one arm and their model variance given the context.

    Where a judge scores every row, its calibrated score m(x, a, S) stands between the mean and the label:
    psi = mu + 1{A = a} / e_a [m - mu + R / pi_R (Y - m)]; elsewhere m = mu.
    """
    seen = taken[:, None] & labels.observed
    middle = mu if judged is None else np.column_stack([judged, mu[:, 1:]])
    chosen = np.divide(1.0, share, out=np.zeros_like(share), where=share > 0)[:, None]
    residual = np.where(seen, problem.outcomes - middle, 0.0)
    step = np.where(taken[:, None], middle - mu, 0.0)
    unknown = np.full_like(residual, np.nan)  # a quantity that no row has
    psi = mu + chosen * (step + np.divide(residual, label_prob, out=unknown, where=label_prob > 0))
    # Around the judge's score the outcome is no coin with that probability: its mean square is the variance.
    rates = [j for j in _rates(problem) if judged is None or j != QUALITY]
    noise = _variance(middle, residual, seen, rates) * chosen / label_prob
    if judged is not None:
        noise[:, QUALITY] += chosen[:, 0] * float((step[taken, QUALITY] ** 2).mean())
    return psi, noise


def _fitted_means(split: Split, taken: Mask, judged: Array | None, *, boost: bool) -> Array:
    """Cross-fitted means (n, 4) of one arm; NaN for a quantity that this arm never shows."""
    problem, observed = split.problem, split.labels.observed

    def means(target: Array, rows: Mask) -> Array:
        return cross_fit_means(split.design, target, rows, split.folds, problem.weight, boost=boost)

    out = np.full(problem.outcomes.shape, np.nan)
    complete = observed[taken].all(axis=0)
    if complete.any():
        filled = np.where(np.isnan(problem.outcomes[:, complete]), 0.0, problem.outcomes[:, complete])
        out[:, complete] = means(filled, taken)
    for j in np.flatnonzero(~complete):
        rows = taken & observed[:, j]
        target = problem.outcomes[:, j]
        if j == QUALITY and judged is not None:  # the judge's calibrated score is known for every row
            rows, target = taken, judged
        if rows.sum() >= MIN_ARM:
            out[:, [j]] = means(np.where(rows, target, 0.0)[:, None], rows)
    for j in _rates(problem):
        out[:, j] = np.clip(out[:, j], 0.0, 1.0)
    return out


def _variance(mu: Array, residual: Array, rows: Mask, rates: list[int]) -> Array:
    """Model variance of the outcome given the context: mu (1 - mu) if binary, else its mean square."""
    out = np.empty_like(mu)
    for j in range(mu.shape[1]):
        seen = rows[:, j]
        square = float((residual[seen, j] ** 2).mean()) if seen.any() else np.nan
        if j in rates:
            model = mu[:, j] * (1 - mu[:, j])
            mean = float(model[seen].mean()) if seen.any() else np.nan
            out[:, j] = model * max(1.0, square / mean if mean > 0 else 1.0)
        else:
            out[:, j] = square
    return out


def _rates(problem: Problem) -> list[int]:
    """The outcomes that are 0 or 1, so that their means are probabilities."""
    return [j for j, e in enumerate(problem.events) if e and not (j == RISK and problem.risk_in_dollars)]


def _mean_propensities(runs: list[Propensities]) -> Propensities:
    first = runs[0]
    return Propensities(
        matrix=np.mean([r.matrix for r in runs], axis=0),
        chosen=np.mean([r.chosen for r in runs], axis=0),
        usable=first.usable,
        source=first.source,
        grade=first.grade,
        notes=first.notes,
    )
