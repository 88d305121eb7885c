"""The contrast of two actions at the border of a deterministic rule, in the form of any other contrast."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.records import Grade
from .cutoff import Discontinuity, regression_discontinuity
from .cutoff_border import border_fault, distance_to_border
from .cutoff_rule import Rule
from .pairs import Pair, Valuation
from .problem import Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def at_cutoff(
    problem: Problem, rule: Rule, action: str, baseline: str, value: Valuation, members: Mask | None = None
) -> Pair | str:
    """The contrast of two arms of `rule` at their border, or why it cannot be had.

    The effect is that on decisions at the cut-off. Each quantity is a robust bias-corrected regression
    discontinuity on the signed distance to the border; d is its value plus each row's influence, scaled so
    that the weighted mean of d with weights h is the estimate and its leave-one-cluster-out variance the
    cluster-robust one. The window of quality (of the first known quantity without it) holds the others.
    e_a, e_b: approximate propensities, the share of [x - h, x + h] on each side of the border. members:
    decisions of one segment, all by default; a segment needs its own pair, since d is local to the window.

    This is the default at a cut-off. AIPW scores with approximate propensities are narrower, but their
    outcome models must bridge the window from one side only, which their variance does not know: in
    simulation (n = 1000) they cover .81 to .98 depending on the radius, this interval .95 to .97.

    Source: Calonico, Cattaneo & Titiunik 2014; Narita & Yata, arXiv 2104.12909 (propensities).
    """
    fault = border_fault(problem, rule, action, baseline, members)
    if fault is not None:
        return fault
    a, b = problem.arm_index(action), problem.arm_index(baseline)
    x = distance_to_border(problem, rule, a, b, members)
    jumps = _jumps(problem, x)
    head = next((j for j in jumps if j.bandwidth is not None), None)
    if head is None or head.bandwidth is None:
        return next((j.reason for j in jumps if j.reason is not None), "no outcome is known near the cut-off")
    h = head.bandwidth
    kernel = np.nan_to_num(np.maximum(1.0 - np.abs(x) / h, 0.0)) * problem.weight
    d = np.column_stack([_scores(j, kernel) for j in jumps])
    with_net = np.column_stack([d, value.net(d)])
    inside = kernel > 0
    share = np.clip((np.nan_to_num(x) + h) / (2.0 * h), 0.0, 1.0)
    return Pair(
        problem=problem,
        action=action,
        baseline=baseline,
        d=with_net,
        h=kernel,
        e_a=np.where(inside, share, 0.0),
        e_b=np.where(inside, 1.0 - share, 0.0),
        w=problem.weight,
        took_a=(problem.arm == a) & inside,
        took_b=(problem.arm == b) & inside,
        noise=np.zeros_like(with_net),
        tau=with_net,
        grades=_grades(problem, inside, value),
        method=f"within a window of the cut-off: discontinuity, clusters by {problem.cluster_key}",
        notes=(
            f"effect on decisions at the cut-off ({rule}), from {int(inside.sum())} of {problem.n} decisions "
            f"within {h:.2g} sd of it",
        ),
        value=value,
    )


def _jumps(problem: Problem, x: Array) -> list[Discontinuity]:
    """One discontinuity per quantity; the first known one sets the widest window."""
    weight = problem.weight
    labels = problem.frame["label_prob"].cast(pl.Float64).fill_null(1.0).to_numpy()
    jumps: list[Discontinuity] = []
    widest: float | None = None
    for j in range(problem.outcomes.shape[1]):
        sampled = weight / labels if j == 0 else weight
        jump = regression_discontinuity(x, 0.0, problem.outcomes[:, j], problem.cluster, sampled)
        if widest is not None and jump.bandwidth is not None and jump.bandwidth > widest:
            jump = regression_discontinuity(
                x, 0.0, problem.outcomes[:, j], problem.cluster, sampled, bandwidth=widest
            )
        widest = jump.bandwidth if widest is None else widest
        jumps.append(jump)
    return jumps


def _grades(problem: Problem, inside: Mask, value: Valuation) -> tuple[Grade, ...]:
    """B, but C for a quantity that is missing in part for reasons that no one logged, and net with it."""
    share = (~np.isnan(problem.outcomes[inside])).mean(axis=0)
    partly = (share > 0) & (share < 1)
    partly[0] &= problem.frame["label_prob"].null_count() > 0
    four: list[Grade] = ["C" if p else "B" for p in partly]
    priced = (True, True, value.latency_price != 0.0, value.risk_price != 0.0)
    return (*four, max(grade for grade, counts in zip(four, priced, strict=True) if counts))


def _scores(jump: Discontinuity, kernel: Array) -> Array:
    """Pseudo-scores (n,) with weighted mean `value`: value + total weight * influence / own weight."""
    if jump.value is None:
        return np.full(kernel.size, np.nan)
    total = kernel.sum()
    pull = jump.influence - kernel / total * jump.influence.sum()
    return jump.value + np.divide(total * pull, kernel, out=np.zeros_like(kernel), where=kernel > 0)
