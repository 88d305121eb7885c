"""One contrast as arrays: score differences, overlap weights and what the gates need to know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.columns import REPEATED_CONTEXT
from ..schemas.records import Grade
from .problem import Problem
from .scores import Scores

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NET: Final = 4
"""Column of the net marginal value beside the four quantities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Valuation:
    """What turns a vector of effects into dollars: V per row (n,), NaN where unset; lambda; rho."""

    task_value: Array
    latency_price: float
    risk_price: float

    def weights(self, rows: Mask | Ints | slice = slice(None)) -> Array:
        """Weights (m, 4) of (dQ, dC, dL, dR) in the net marginal value (paper Eq. 1)."""
        v = self.task_value[rows]
        fixed = np.broadcast_to([-1.0, -self.latency_price, -self.risk_price], (v.size, 3))
        return np.column_stack([v, fixed])

    def net(self, effects: Array) -> Array:
        """Net marginal value (n,) of effects (n, 4); a term priced at 0 may be unknown."""
        return (np.where(self.weights() == 0.0, 0.0, effects * self.weights())).sum(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Action a against baseline b on the n decisions of a problem.

    d: (n, 5) score of a minus score of b in quality, cost, latency, risk, net; NaN where unknown.
    h: (n,) overlap weight e_a e_b / (e_a + e_b) times 1 / keep_prob; 0 where a or b was impossible.
    e_a, e_b: (n,) propensities. w: (n,) 1 / probability of the taken action (rows of a and b).
    took_a, took_b: (n,). noise: (n, 5) model variance of d given context. tau: (n, 5) fitted effect.
    grades: of the four quantities and of net.
    """

    problem: Problem
    action: str
    baseline: str
    d: Array
    h: Array
    e_a: Array
    e_b: Array
    w: Array
    took_a: Mask
    took_b: Mask
    noise: Array
    tau: Array
    grades: tuple[Grade, ...]
    method: str
    notes: tuple[str, ...]
    value: Valuation

    @property
    def feasible(self) -> Mask:
        """Rows where both actions could have been taken."""
        return (self.e_a > 0) & (self.e_b > 0)


def pair(scores: Scores, action: str, baseline: str, value: Valuation) -> Pair:
    """The contrast of two arms that both have scores."""
    problem, p = scores.problem, scores.propensities
    a, b = problem.arm_index(action), problem.arm_index(baseline)
    e_a, e_b = (np.where(p.usable, p.matrix[:, k], 0.0) for k in (a, b))
    both = (e_a > 0) & (e_b > 0)
    h = np.where(both, e_a * e_b / np.where(both, e_a + e_b, 1.0), 0.0) * problem.weight
    weights4 = value.weights()
    noise = scores.noise[a] + scores.noise[b]
    return Pair(
        problem=problem,
        action=action,
        baseline=baseline,
        d=_with_net(scores.psi[a] - scores.psi[b], value),
        h=h,
        e_a=e_a,
        e_b=e_b,
        w=problem.weight / p.chosen,
        took_a=problem.arm == a,
        took_b=problem.arm == b,
        noise=np.column_stack([noise, np.where(weights4 == 0, 0.0, weights4**2 * noise).sum(axis=1)]),
        tau=_with_net(scores.mu[a] - scores.mu[b], value),
        grades=_grades(scores, value),
        method=_method(problem, p.source),
        notes=scores.notes,
        value=value,
    )


def _method(problem: Problem, source: str) -> str:
    base = f"AIPW, {source} propensities, cross-fitted by {problem.cluster_key}"
    return f"{base}, one-step departures with what followed from there on" if problem.stepwise else base


def within_contexts(problem: Problem, action: str, baseline: str, value: Valuation) -> Pair:
    """The contrast of two arms within repeated contexts: trials of one task are compared with each other.

    Context s has d_s = mean(Y | a, s) - mean(Y | b, s) and total weight n_a n_b / (n_a + n_b), so that the
    weighted mean is the coefficient of a regression with one intercept per context. Counts honour
    keep_prob. Trials of a context share d_s, so a context that spans clusters is itself the cluster.

    Source: Angrist & Pischke 2009, section 3.3 (regression weights of a saturated model).
    """
    took_a = problem.arm == problem.arm_index(action)
    took_b = problem.arm == problem.arm_index(baseline)
    ids = problem.frame[REPEATED_CONTEXT].cast(pl.String).fill_null("").to_numpy()
    names, context = np.unique(ids, return_inverse=True)
    problem = _clustered_by_context(problem, names, context)
    known = ids != ""
    weight = problem.weight
    observed = ~np.isnan(problem.outcomes)
    usable_quantity = observed[took_a | took_b].all(axis=0)
    n_a = np.bincount(context, weights=weight * (took_a & known))
    n_b = np.bincount(context, weights=weight * (took_b & known))
    total, both = n_a + n_b, (n_a > 0) & (n_b > 0)
    share = np.divide(n_a, total, out=np.zeros_like(n_a), where=both)
    d = np.full((problem.n, 4), np.nan)
    for j in np.flatnonzero(usable_quantity):
        y = weight * np.nan_to_num(problem.outcomes[:, j])
        mean_a = np.bincount(context, weights=y * took_a) / np.maximum(n_a, 1)
        mean_b = np.bincount(context, weights=y * took_b) / np.maximum(n_b, 1)
        d[:, j] = (mean_a - mean_b)[context]
    e_a = np.where(both, share, 0.0)[context]
    e_b = np.where(both, 1.0 - share, 0.0)[context]
    member = took_a | took_b
    with_net = _with_net(d, value)
    return Pair(
        problem=problem,
        action=action,
        baseline=baseline,
        d=with_net,
        h=np.where(member, e_a * e_b, 0.0) * weight,
        e_a=np.where(member, e_a, 0.0),
        e_b=np.where(member, e_b, 0.0),
        w=weight,
        took_a=took_a,
        took_b=took_b,
        noise=np.zeros_like(with_net),
        tau=with_net,
        grades=("C",) * 5,
        method=f"within repeated contexts, clusters by {problem.cluster_key}",
        notes=("trials of the same context are compared; what else moved the choice is not seen",),
        value=value,
    )


def _clustered_by_context(problem: Problem, names: NDArray[np.str_], context: Ints) -> Problem:
    """`problem` with its own clusters where every context lies in one, else with the contexts as clusters."""
    known = names[context] != ""
    pairs = np.unique(np.column_stack([context, problem.cluster])[known], axis=0)
    if pairs.shape[0] == np.unique(context[known]).size:
        return problem
    return replace(
        problem,
        cluster=context.astype(np.int64),
        cluster_ids=tuple(names.tolist()),
        cluster_key=REPEATED_CONTEXT,
    )


def _grades(scores: Scores, value: Valuation) -> tuple[Grade, ...]:
    """Grades of the quantities and of net: no better than C where a priced outcome is partly missing."""
    base = scores.propensities.grade
    four: list[Grade] = [
        "C" if 0 < share < 1 and base in ("A", "B") else base for share in scores.labelled.tolist()
    ]
    priced = (True, True, value.latency_price != 0.0, value.risk_price != 0.0)
    return (*four, max(grade for grade, counts in zip(four, priced, strict=True) if counts))


def _with_net(effects: Array, value: Valuation) -> Array:
    return np.column_stack([effects, value.net(effects)])
