"""The deterministic rule behind a log: found by replay, with the border between its actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from .design import Design, make_design
from .folds import cluster_folds
from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_REPLAY: Final = 0.995
"""A rule that replays this share of held-out choices is the policy (METHODS C, class U)."""
_ERROR_CUT: Final = 0.1
"""... provided that always guessing the commonest action errs at least ten times as often."""
_DEPTH: Final = 4
_MIN_LEAF: Final = 5
_MIN_GAIN: Final = 0.002
"""Gini gain, over all rows, of a split: a box around a handful of overrides is no part of the rule."""
_BLOCK: Final = 20_000
"""Rows whose distances are worked out at once, so that memory stays bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A deterministic rule found in the log: features it uses, and the cut-off when it uses one number.

    low, high: (B, q) boxes of the rule in its features, open below and closed above; arm: (B,) what it
    takes there. scale: (q,) standard deviation of each feature, infinite for a category, which no small
    step can cross.
    """

    features: tuple[str, ...]
    cutoff: float | None
    replayed: float
    low: Array
    high: Array
    arm: Ints
    scale: Array

    def __str__(self) -> str:
        if self.cutoff is not None:
            what = f"a threshold on {self.features[0]} near {self.cutoff:.3g}"
        else:
            what = f"a rule on {', '.join(self.features)}"
        return f"{what} replays {self.replayed:.1%} of choices"

    @property
    def numeric(self) -> bool:
        """Whether any of its features is a number, so that a border can be approached."""
        return bool(np.isfinite(self.scale).any())


def find_rule(problem: Problem) -> Rule | None:
    """The shallow tree that replays held-out choices, or None when the choices are not a rule of x_*."""
    if (
        not problem.features
        or problem.frame["propensity"].cast(pl.Float64).is_between(0, 1, closed="none").any()
    ):
        return None
    design = make_design(problem.frame, problem.features)
    if design.raw.shape[1] == 0:
        return None
    whole = _tree().fit(design.raw, problem.arm)
    if float((whole.predict(design.raw) == problem.arm).mean()) < _REPLAY:
        return None  # a tree that cannot replay the rows it has seen replays no others
    replayed = _replayed(problem, design)
    common = float(np.bincount(problem.arm).max() / problem.n)
    if replayed < _REPLAY or (1 - replayed) > _ERROR_CUT * (1 - common):
        return None
    return _described(problem, design, whole, replayed)


def values(problem: Problem, rule: Rule) -> Array:
    """The features of `rule` (n, q) as it reads them: numbers, codes for categories, NaN for missing."""
    design = make_design(problem.frame, rule.features)
    return design.raw


def replay(rule: Rule, x: Array) -> Ints:
    """The arm (m,) that the rule takes at x (m, q); -1 where a feature is missing."""
    out = np.full(x.shape[0], -1, dtype=np.int64)
    for low, high, arm in zip(rule.low, rule.high, rule.arm, strict=True):
        out[((x > low) & (x <= high)).all(axis=1)] = arm
    return out


def border_distance(rule: Rule, x: Array, a: int, b: int) -> Array:
    """Signed distance (n,) to the border between arms a and b in standard deviations of the features.

    Positive where the rule takes a: how far to the nearest point where it takes b; negative the other way
    round. NaN where the rule takes neither, or b cannot be reached by moving numbers alone.
    """
    took = replay(rule, x)
    out = np.full(x.shape[0], np.nan)
    for own, other, sign in ((a, b, 1.0), (b, a, -1.0)):
        for rows in np.array_split(np.flatnonzero(took == own), max(1, (took == own).sum() // _BLOCK)):
            gap = _distance(rule, x[rows], other)
            out[rows] = np.where(np.isfinite(gap), sign * gap, np.nan)
    return out


def _distance(rule: Rule, x: Array, arm: int) -> Array:
    """Distance (m,) to the nearest box of `arm`; infinite when a category stands between."""
    boxes = rule.arm == arm
    if x.shape[0] == 0 or not boxes.any():
        return np.full(x.shape[0], np.inf)
    low, high = rule.low[boxes][None], rule.high[boxes][None]
    gap = np.maximum(np.maximum(low - x[:, None], x[:, None] - high), 0.0)
    outside = (x[:, None] <= low) | (x[:, None] > high)
    fixed = ~np.isfinite(rule.scale)
    steps = np.where(fixed, 0.0, gap / np.where(fixed, 1.0, rule.scale))
    barred = (outside & fixed).any(axis=2)
    return np.where(barred, np.inf, np.sqrt((steps**2).sum(axis=2))).min(axis=1)


def _tree() -> Any:
    return DecisionTreeClassifier(
        max_depth=_DEPTH, min_samples_leaf=_MIN_LEAF, min_impurity_decrease=_MIN_GAIN, random_state=0
    )


def _replayed(problem: Problem, design: Design) -> float:
    """Share of choices that trees fitted on other clusters replay."""
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    hits = np.zeros(problem.n, dtype=bool)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        if not train.any():
            return 0.0
        model = _tree().fit(design.raw[train], problem.arm[train])
        hits[test] = model.predict(design.raw[test]) == problem.arm[test]
    return float(hits.mean())


def _described(problem: Problem, design: Design, tree: Any, replayed: float) -> Rule:
    names = [f for f in problem.features if f not in design.dropped]
    used = sorted({int(i) for i in tree.tree_.feature if i >= 0}, key=lambda i: names[i])
    low, high, arm = _boxes(tree.tree_, used, tree.classes_)
    categorical = np.array([design.categorical[i] for i in used], dtype=bool)
    spread = np.nanstd(design.raw[:, used], axis=0)
    one_cut = len(used) == 1 and len(arm) == 2 and not categorical[0]
    return Rule(
        features=tuple(names[i] for i in used),
        cutoff=float(high[np.isfinite(high)][0]) if one_cut else None,
        replayed=replayed,
        low=low,
        high=high,
        arm=arm,
        scale=np.where(categorical | (spread == 0), np.inf, spread),
    )


def _boxes(tree: Any, used: list[int], classes: Ints) -> tuple[Array, Array, Ints]:
    """The leaves of a fitted tree as boxes in the used features; sister leaves of one arm are joined."""
    column = {feature: j for j, feature in enumerate(used)}
    lows: list[Array] = []
    highs: list[Array] = []
    arms: list[int] = []
    stack = [(0, np.full(len(used), -np.inf), np.full(len(used), np.inf))]
    while stack:
        node, low, high = stack.pop()
        reached = _arms_below(tree, node)
        if len(reached) == 1:
            lows.append(low)
            highs.append(high)
            arms.append(int(classes[reached.pop()]))
            continue
        j, cut = column[int(tree.feature[node])], float(tree.threshold[node])
        left, right = high.copy(), low.copy()
        left[j], right[j] = min(high[j], cut), max(low[j], cut)
        stack += [(int(tree.children_right[node]), right, high), (int(tree.children_left[node]), low, left)]
    return np.array(lows), np.array(highs), np.array(arms, dtype=np.int64)


def _arms_below(tree: Any, node: int) -> set[int]:
    if tree.children_left[node] < 0:
        return {int(np.argmax(tree.value[node]))}
    return _arms_below(tree, int(tree.children_left[node])) | _arms_below(
        tree, int(tree.children_right[node])
    )
