"""Outcomes that are known for some rows only: who was labelled, and what a cheap judge says of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from .design import Design, make_design
from .learners import cross_fit_means, cross_fit_probabilities
from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

QUALITY: Final = 0
"""Position of quality among the outcomes: the only one that a judge scores."""
_JUDGE: Final = "judge_score"
_LABEL_FLOOR: Final = 0.01
"""Estimated probabilities of being labelled are kept above this."""
_MIN_LABELS: Final = 30
"""Labelled rows of an arm that the judge's scores must be checked against before they are used."""
_BIAS_LEVEL: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """observed: (n, 4) which outcomes are known. probability[k]: (n, 4) chance of being known given context,
    judge's score and arm k. judge: (n,) scores where every row of the decision point has one, else None.
    logged: the chance for quality comes from the log. floored: share of rows at the floor."""

    observed: Mask
    probability: dict[int, Array]
    judge: Array | None
    logged: bool
    floored: float


def find_labels(problem: Problem, design: Design, folds: Ints) -> Labels:
    """Who was labelled: the sampler's logged probabilities for quality, else estimated ones."""
    observed = ~np.isnan(problem.outcomes)
    judge = _judge_scores(problem, observed)
    logged = _logged_probability(problem, observed)
    seen = design if judge is None else _with_judge(design, judge)
    probability = {k: np.ones(problem.outcomes.shape) for k in range(len(problem.arms))}
    for j in np.flatnonzero(~observed.all(axis=0) & observed.any(axis=0)):
        for k in probability:
            rows = problem.arm == k
            if observed[rows, j].all():
                continue
            if j == QUALITY and logged is not None:
                probability[k][:, j] = logged
            else:
                given = seen if j == QUALITY else design
                probability[k][:, j] = _estimated(problem, given, folds, observed[:, j], rows)
    taken = np.stack([probability[k] for k in sorted(probability)])[problem.arm, np.arange(problem.n)]
    return Labels(
        observed=observed,
        probability=probability,
        judge=judge,
        logged=logged is not None,
        floored=float((taken.min(axis=1) == _LABEL_FLOOR).mean()),
    )


def judged_mean(problem: Problem, design: Design, folds: Ints, taken: Mask, labels: Labels) -> Array | None:
    """m(x, a, S) = E[Y | x, a, S, labelled] for all rows (n,), cross-fitted on the labelled rows of one arm.

    None without judge scores, without missing labels, or with too few labels to check the judge against.
    """
    rows = taken & labels.observed[:, QUALITY]
    if labels.judge is None or rows.sum() < _MIN_LABELS or rows.sum() == taken.sum():
        return None
    y = np.where(rows, problem.outcomes[:, QUALITY], 0.0)[:, None]
    share = np.where(rows, problem.weight, 0.0)
    return cross_fit_means(_with_judge(design, labels.judge), y, rows, folds, share)[:, 0]


def label_notes(problem: Problem, labels: Labels) -> tuple[str, ...]:
    """What to know of the labels: chances at their floor, how the judge was used, and whom it favours.

    A judge that is equally wrong about all arms cancels in a contrast; one whose error differs by arm does
    not, and raw differences of judge scores are then biased by that difference.
    """
    floored = (
        (f"{labels.floored:.1%} of rows have an estimated chance of a label at the floor {_LABEL_FLOOR}",)
        if labels.floored
        else ()
    )
    return (*floored, *_judge_notes(problem, labels))


def _judge_notes(problem: Problem, labels: Labels) -> tuple[str, ...]:
    if labels.judge is None:
        return ()
    error = labels.judge - problem.outcomes[:, QUALITY]
    means: list[tuple[float, float, str]] = []
    for k, name in enumerate(problem.arms):
        rows = (problem.arm == k) & labels.observed[:, QUALITY]
        if rows.sum() < _MIN_LABELS:
            continue
        w = problem.weight[rows] / labels.probability[k][rows, QUALITY]
        mean = float(np.average(error[rows], weights=w))
        means.append((mean, float((w**2 * (error[rows] - mean) ** 2).sum() / w.sum() ** 2), name))
    used = "judge scores stand in for missing labels and are corrected by the labelled rows"
    if len(means) < 2:
        return (used,)
    (low, v_low, least), (high, v_high, most) = min(means), max(means)
    z = (high - low) / np.sqrt(v_low + v_high) if v_low + v_high > 0 else 0.0
    pairs = len(means) * (len(means) - 1) / 2
    if 2 * pairs * stats.norm.sf(z) >= _BIAS_LEVEL:
        return (used,)
    return (f"{used}; the judge favours {most} over {least} by {high - low:.2f} against the labels",)


def _judge_scores(problem: Problem, observed: Mask) -> Array | None:
    """Judge scores, if all rows have one and some have no label."""
    column = problem.frame[_JUDGE].cast(pl.Float64)
    if column.null_count() or observed[:, QUALITY].all() or not observed[:, QUALITY].any():
        return None
    return column.to_numpy()


def _logged_probability(problem: Problem, observed: Mask) -> Array | None:
    column = problem.frame["label_prob"].cast(pl.Float64)
    if column.null_count() or observed[:, QUALITY].all():
        return None
    return column.to_numpy()


def _with_judge(design: Design, judge: Array) -> Design:
    own = make_design(pl.DataFrame({_JUDGE: judge}), (_JUDGE,))
    return Design(
        linear=np.hstack([design.linear, own.linear]),
        raw=np.hstack([design.raw, own.raw]),
        categorical=(*design.categorical, *own.categorical),
        dropped=design.dropped,
    )


def _estimated(problem: Problem, design: Design, folds: Ints, observed: Mask, rows: Mask) -> Array:
    own = Design(linear=design.linear[rows], raw=design.raw[rows], categorical=design.categorical, dropped=())
    fitted = cross_fit_probabilities(
        own, observed[rows].astype(np.int64), 2, folds[rows], problem.weight[rows]
    )[:, 1]
    out = np.full(problem.n, float(observed[rows].mean()))
    out[rows] = np.maximum(fitted, _LABEL_FLOOR)
    return out
