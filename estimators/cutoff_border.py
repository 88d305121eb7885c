"""Whether a deterministic rule leaves a border at which its actions can be compared."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .cutoff import MIN_SIDE
from .cutoff_density import density_fault
from .cutoff_rule import Rule, border_distance, replay, values
from .problem import Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEAR: Final = 0.5
"""Standard deviations of the features within which a decision counts as near the border."""
_MAX_AGAINST: Final = 0.02
"""Share of decisions near the border that may go against the rule; they shrink the effect by as much."""
_GAP: Final = 4.0
"""The 30th score must lie further than this many times the nearest one: else the border has a hole."""


def border_fault(
    problem: Problem, rule: Rule, action: str, baseline: str, members: Mask | None = None
) -> str | None:
    """Why two arms cannot be compared at their border under `rule`, or None."""
    if not rule.numeric:
        return "the rule uses categories only, so it has no cut-off to compare at"
    a, b = problem.arm_index(action), problem.arm_index(baseline)
    x = distance_to_border(problem, rule, a, b, members)
    near = np.abs(np.nan_to_num(x, nan=np.inf)) <= _NEAR
    for side, name in ((x > 0, action), (x <= 0, baseline)):
        count = int((side & near).sum())
        if count < MIN_SIDE:
            return f"{count} decisions took {name} near the cut-off; {MIN_SIDE} are needed"
        if _hole(np.abs(x[side])):
            return f"no decision took {name} right at a border with the other action"
    against = float((replay(rule, values(problem, rule)) != problem.arm)[near].mean())
    if against > _MAX_AGAINST:
        return f"{against:.1%} of decisions near the cut-off went against the rule"
    return density_fault(x, problem.cluster, problem.weight)


def usable_border(problem: Problem, rule: Rule) -> str | None:
    """None when some two arms can be compared at a border of `rule`, else why the commonest two cannot."""
    counts = np.bincount(problem.arm, minlength=len(problem.arms))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k] >= MIN_SIDE]
    first: str | None = "fewer than two actions have enough decisions"
    for i, a in enumerate(order):
        for b in order[:i]:
            fault = border_fault(problem, rule, problem.arms[a], problem.arms[b])
            if fault is None:
                return None
            first = fault if (i, b) == (1, order[0]) else first
    return first


def distance_to_border(problem: Problem, rule: Rule, a: int, b: int, members: Mask | None = None) -> Array:
    """Signed distance (n,) of the decisions to the border of two arms, NaN outside `members`."""
    x = border_distance(rule, values(problem, rule), a, b)
    return x if members is None else np.where(members, x, np.nan)


def _hole(distance: Array) -> bool:
    distinct = np.unique(distance)[:MIN_SIDE]
    return bool(distinct[-1] < _GAP * distinct[0])
