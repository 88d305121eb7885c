"""The exploration slice as an anchor: does an observational effect agree with the randomised decisions?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .contrasts import floored_mean
from .controls import ANCHOR_LEVEL, Anchor, exploration_anchor
from .gates import MIN_ESS, count_fault, overlap
from .pairs import Valuation, pair
from .problem import Problem
from .scores import score

Mask = NDArray[np.bool_]


def anchor_of(
    problem: Problem,
    action: str,
    baseline: str,
    value: Valuation,
    *,
    column: int,
    seed: int,
    level: float = ANCHOR_LEVEL,
) -> Anchor:
    """The test of one quantity (or NET) between the decisions flagged `exploration` and all others.

    Both slices are scored apart, each with its own propensities, and both effects are means over all their
    decisions (ATE), since overlap weights would differ between them. It takes for granted that exploration
    was drawn without looking at the context. No test, with the reason, when either slice fails its gates.
    """
    flagged = problem.frame["exploration"].fill_null(value=False).cast(pl.Boolean).to_numpy()
    found: list[tuple[float, float]] = []
    for name, rows in (("other", ~flagged), ("exploration", flagged)):
        effect = _effect(problem, rows, action, baseline, value, column, seed)
        if isinstance(effect, str):
            return Anchor(z=None, p=None, agrees=None, reason=f"{name} decisions: {effect}")
        found.append(effect)
    return exploration_anchor(*found[0], *found[1], level=level)


def _effect(
    problem: Problem, rows: Mask, action: str, baseline: str, value: Valuation, column: int, seed: int
) -> tuple[float, float] | str:
    """The ATE of the rows with its standard error, or why there is none."""
    own = _only(problem, rows)
    names = (action, baseline)
    took = tuple(own.arm == own.arm_index(name) for name in names)
    fault = count_fault(own.cluster, took[0], took[1], names)
    if fault is not None:
        return fault
    if not own.features and own.frame["propensity"].null_count():
        return "no feature and no propensity is logged"
    contrast = pair(
        score(own, seed=seed), action, baseline, replace(value, task_value=value.task_value[rows])
    )
    used = contrast.feasible
    size = overlap(contrast.w, contrast.took_a & used, contrast.took_b & used)
    if size.ess < MIN_ESS:
        return f"effective sample size {size.ess:.0f}; {MIN_ESS:.0f} are needed"
    if np.isnan(contrast.d[used, column]).any():
        return "the quantity is not known for both actions"
    mean = floored_mean(contrast, used, own.weight)
    return float(mean.theta[column]), float(np.sqrt(mean.cov[column, column]))


def _only(problem: Problem, rows: Mask) -> Problem:
    return replace(
        problem,
        frame=problem.frame.filter(pl.Series(rows)),
        arm=problem.arm[rows],
        outcomes=problem.outcomes[rows],
        cluster=problem.cluster[rows],
        weight=problem.weight[rows],
    )
