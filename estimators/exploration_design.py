"""What randomising a share of the choices between two actions would show, and what it would cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..schemas.config import Config
from ..schemas.records import QUANTITIES
from .choices import segment_members, valuation
from .confidence import critical_t, detectable_effect
from .design import Design, make_design
from .folds import cluster_folds
from .gates import MIN_CLUSTERS, MIN_ESS
from .learners import cross_fit_means
from .problem import Problem
from .propensity import find_propensities, logged_fault
from .scores import MIN_ARM

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

QUALITY: Final = 0
_EXPECTED_EVENTS: Final = 10.0
"""Events to expect per arm, so that the five which an interval needs come with odds of 97 % (Poisson)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two actions of a contrast in one segment.

    pick: (n,) probability that the policy picks it: the logged one, else 1 where it was taken. sd: standard
    deviation of the outcome around its fitted mean. known: share with a known outcome. means: (4,) logged
    means in the order of QUANTITIES. rarest: smallest rate of a counted event, and its quantity.
    """

    name: str
    pick: Array
    sd: float
    known: float
    means: Array
    rarest: tuple[float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a plan for one contrast in one segment of n logged rows rests on.

    decisions: those that would pick either action, unlogged ones included. picked: share of them that picks
    the action. difference: mean fitted outcome of action less baseline; spread: its standard deviation over
    contexts. value: mean V, NaN without one. extra: mean extra cost, waiting and risk of the action, USD.
    df, jackknife: degrees of freedom of the interval, and what its jackknife multiplies the variance by.
    clusters: effective ones.
    """

    action: Arm
    baseline: Arm
    decisions: float
    picked: float
    difference: float
    spread: float
    value: float
    extra: float
    df: float
    jackknife: float
    clusters: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What randomising at `rate` is expected to give: standard error, half-width of the interval, and the
    smallest effect found with 80 % power, per decision."""

    rate: float
    se: float
    half_width: float
    detectable: float


def ground(
    problem: Problem, segment: str, action: str, baseline: str, config: Config, *, net: bool, seed: int = 0
) -> Ground | str:
    """What is known of both actions in `segment`, or why it is too little to plan on.

    net: plan for dollars, else for quality. Outcomes are fitted to the context out of fold, arm by arm, as
    the estimate will do; an arm with few rows in the segment lends its spread from the whole decision point.
    """
    for name in (action, baseline):
        if name not in problem.arms:
            return f"no decision took {name}, so neither its cost nor its spread is known"
    members = _members(problem, segment)
    value = valuation(problem, config)
    y = value.net(problem.outcomes) if net else problem.outcomes[:, QUALITY]
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    picks = _picks(problem, design, folds)
    fitted: dict[str, Array] = {}
    arms: list[Arm] = []
    for name in (action, baseline):
        taken = problem.arm == problem.arm_index(name)
        seen = taken & np.isfinite(y)
        if seen.sum() < MIN_ARM:
            what = "net value" if net else "quality"
            return (
                f"{seen.sum()} decisions that took {name} have a known {what}; {MIN_ARM} are needed to plan"
            )
        target = np.where(seen, y, 0.0)[:, None]
        fitted[name] = cross_fit_means(design, target, seen, folds, problem.weight)[:, 0]
        pick = picks[members, problem.arm_index(name)]
        arms.append(_arm(problem, name, members, taken, seen, y - fitted[name], pick, _priced(config, net)))
    either = arms[0].pick + arms[1].pick
    share = np.bincount(problem.cluster[members], weights=either)
    share = share[share > 0] / either.sum() if either.sum() > 0 else np.empty(0)
    if share.size < 2:
        return f"the decisions in {segment} that pick {action} or {baseline} are of fewer than two clusters"
    tau = (fitted[action] - fitted[baseline])[members][either > 0]
    stands = problem.weight[members] * either
    weights = value.weights(members)
    extra = float(-weights[0, 1:] @ np.nan_to_num(arms[0].means[1:] - arms[1].means[1:]))
    concentration = float((share**2).sum())
    return Ground(
        action=arms[0],
        baseline=arms[1],
        decisions=float(stands.sum()),
        picked=float((problem.weight[members] * arms[0].pick).sum() / stands.sum()),
        difference=float(tau.mean()),
        spread=float(tau.std()),
        value=float(weights[either > 0, 0].mean()),
        extra=extra,
        df=1.0 / concentration - 1.0,
        jackknife=(share.size - 1) / share.size * float((share / (1 - share) ** 2).sum()),
        clusters=1.0 / concentration,
    )


def promise(found: Ground, rate: float, *, scale: float = 1.0) -> Promise | str:
    """What the logged volume times `scale` shows when a share `rate` is drawn by a coin, or why nothing.

    A decision that would take either action keeps what the policy picked with probability 1 - rate, else a
    fair coin decides: with p the policy's own probabilities e_a = (1 - rate) p_a + rate (p_a + p_b) / 2.
    Under overlap weights h = e_a e_b / (e_a + e_b), with s the spread around the fit and l the shares
    labelled, the variance is sum h^2 (s_a^2 / (e_a l_a) + s_b^2 / (e_b l_b) + Var(tau)) / (sum h)^2, times
    what the jackknife adds. What a cluster adds to both actions alike cancels.

    Source: Hahn 1998, Econometrica 66 (the efficiency bound); Li, Morgan & Zaslavsky 2018 (weights).
    """
    arms, either = (found.action, found.baseline), found.action.pick + found.baseline.pick
    e_a, e_b = ((1.0 - rate) * arm.pick + rate * either / 2.0 for arm in arms)
    for arm, e in zip(arms, (e_a, e_b), strict=True):
        seen = float(e.sum()) * scale * arm.known
        frequency, event = arm.rarest
        if seen < MIN_ARM:
            return f"about {seen:.0f} decisions would show {arm.name}; {MIN_ARM} are needed"
        if seen * frequency < _EXPECTED_EVENTS:
            needed = f"{_EXPECTED_EVENTS:.0f} are needed for an interval"
            return f"{arm.name} would show about {seen * frequency:.1f} events of {event}; {needed}"
    both = (e_a > 0) & (e_b > 0)
    h = np.divide(e_a * e_b, e_a + e_b, out=np.zeros_like(e_a), where=both)
    if h.sum() * scale < MIN_ESS:
        return f"about {h.sum() * scale:.0f} decisions could go either way; {MIN_ESS:.0f} are needed"
    if found.clusters < MIN_CLUSTERS:
        return f"{found.clusters:.1f} effective clusters; {MIN_CLUSTERS:.0f} are needed"
    noise = sum(
        arm.sd**2 / arm.known * np.divide(1.0, e, out=np.zeros_like(e), where=both)
        for arm, e in zip(arms, (e_a, e_b), strict=True)
    )
    variance = float((h**2 * (noise + found.spread**2)).sum() / h.sum() ** 2 / scale * found.jackknife)
    se = math.sqrt(variance)
    return Promise(
        rate=rate,
        se=se,
        half_width=critical_t(found.df) * se,
        detectable=detectable_effect(se, found.df),
    )


def swap_cost(found: Ground, net: tuple[float, float] | None = None) -> float:
    """Expected dollars that taking the other action loses, per swapped decision; hoped-for gains count 0.

    net: (lowest, highest) net value of the action over the baseline to reckon with; by default the difference
    of the fitted means. With a range, each direction is charged at its worse end.
    """
    low, high = net if net is not None else (found.difference, found.difference)
    return (1.0 - found.picked) * max(0.0, -low) + found.picked * max(0.0, high)


def _members(problem: Problem, segment: str) -> Mask:
    column, _, level = segment.partition("=")
    named = segment_members(problem, [(column, level)]) if segment != "all" else ()
    return next((mask for _, mask in named), np.ones(problem.n, dtype=bool))


def _priced(config: Config, net: bool) -> tuple[bool, ...]:
    """The quantities that the planned number is made of, in the order of QUANTITIES."""
    prices = config.prices
    return (True, net, net and prices.latency is not None, net and prices.risk is not None)


def _picks(problem: Problem, design: Design, folds: Ints) -> Array:
    """What the policy picks by itself (n, K): the logged probabilities, else 1 for the action taken."""
    taken = (problem.arm[:, None] == np.arange(len(problem.arms))).astype(float)
    if logged_fault(problem) is not None:
        return taken
    found = find_propensities(problem, design, folds)
    return np.where(found.usable[:, None], found.matrix, taken)


def _arm(
    problem: Problem,
    name: str,
    members: Mask,
    taken: Mask,
    seen: Mask,
    residual: Array,
    pick: Array,
    priced: tuple[bool, ...],
) -> Arm:
    spread = seen & members if (seen & members).sum() >= MIN_ARM else seen
    mine = taken & members if (taken & members).sum() >= MIN_ARM else taken
    y = problem.outcomes[mine]
    counted = [j for j, event in enumerate(problem.events) if event and priced[j]]
    rates = [(_rarer(y[:, j]), QUANTITIES[j]) for j in counted if np.isfinite(y[:, j]).any()]
    return Arm(
        name=name,
        pick=pick,
        sd=float(np.sqrt((residual[spread] ** 2).mean())),
        known=float(seen[taken].mean()),
        means=np.array([x[np.isfinite(x)].mean() if np.isfinite(x).any() else np.nan for x in y.T]),
        rarest=min(rates, default=(1.0, "")),
    )


def _rarer(y: Array) -> float:
    """The smaller of the shares of events and of non-events."""
    events = float((y[np.isfinite(y)] > 0).mean())
    return min(events, 1.0 - events)
