"""A contrast in one segment as sums that add over partitions; every summary is read off the merged sums."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..schemas.records import QUANTITIES
from . import gates
from .jackknife import ClusterSums, WeightedMean, cluster_sums, merge, weighted_mean
from .pairs import NET, Pair
from .scores import MIN_ARM

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BUCKETS: Final = 4096
"""Cluster buckets: clusters are merged by a hash of their id, which only makes the jackknife coarser."""
_TERMS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastState:
    """Sums over the rows of one contrast in one segment. G = BUCKETS, 5 = four quantities and net.

    members, rows: decisions of the segment, and those where both actions were possible. undecided: those that
    could have gone either way (`gates.undecided`). ato, ate: sums by bucket under overlap and plain weights.
    taken: (G, 2) rows of action and baseline. weights: (2, 2) sum of w and of w^2 per arm; largest: (2,) the
    largest w. events: (4, 2, 2) events and non-events per quantity and arm; rates: (4, 2, 3) sums of w y, w,
    w^2 over the rows with y. spread: (2, 6, 5) under the two weightings h the sums of h^2 d^2, h^2 d, h^2,
    h^2 noise, h^2 tau^2, h^2 tau.
    """

    members: int
    rows: int
    undecided: float
    ato: ClusterSums
    ate: ClusterSums
    taken: Array
    weights: Array
    largest: Array
    events: Array
    rates: Array
    spread: Array


def contrast_state(pair: Pair, members: Mask) -> ContrastState:
    """The state of `pair` over the decisions `members`."""
    rows = members & pair.feasible
    used = np.flatnonzero(rows)
    bucket = bucket_codes(pair.problem.cluster_ids)[pair.problem.cluster[used]]
    d, w = pair.d[used], pair.w[used]
    arms = (pair.took_a[used], pair.took_b[used])
    both = [pair.h[used], pair.problem.weight[used]]
    y = pair.problem.outcomes[used]
    seen = ~np.isnan(y)
    return ContrastState(
        members=int(members.sum()),
        rows=used.size,
        undecided=gates.undecided(pair.e_a[used], pair.e_b[used], estimated="estimated" in pair.method),
        ato=cluster_sums(d, both[0], bucket, BUCKETS),
        ate=cluster_sums(d, both[1], bucket, BUCKETS),
        taken=np.column_stack([np.bincount(bucket[t], minlength=BUCKETS) for t in arms]).astype(float),
        weights=np.array([[w[t].sum(), (w[t] ** 2).sum()] for t in arms]),
        largest=np.array([w[t].max(initial=0.0) for t in arms]),
        events=np.array(
            [[[(seen[t, j] & (y[t, j] > 0)).sum(), (y[t, j] == 0).sum()] for t in arms] for j in range(NET)],
            dtype=float,
        ),
        rates=np.array([[_rate_sums(w[t], y[t, j], seen[t, j]) for t in arms] for j in range(NET)]),
        spread=np.stack([_spread(pair, used, h) for h in both]),
    )


def add(a: ContrastState, b: ContrastState) -> ContrastState:
    """The state of both partitions together."""
    summed = {
        f.name: getattr(a, f.name) + getattr(b, f.name)
        for f in fields(ContrastState)
        if f.name not in ("ato", "ate", "largest")
    }
    return ContrastState(
        **summed,
        ato=merge(a.ato, b.ato),
        ate=merge(a.ate, b.ate),
        largest=np.maximum(a.largest, b.largest),
    )


def state_mean(state: ContrastState, *, overlap_weighted: bool) -> WeightedMean:
    """The mean under one weighting, its covariance raised to the model-based floor V3 max(1, Vmod / Viid)."""
    mean = weighted_mean(state.ato if overlap_weighted else state.ate)
    square, cross, weight, noise, tau_square, tau = state.spread[0 if overlap_weighted else 1]
    theta = mean.theta
    empirical = square - 2 * theta * cross + theta**2 * weight
    model = noise + tau_square - 2 * theta * tau + theta**2 * weight
    ratio = np.divide(model, empirical, out=np.ones_like(model), where=empirical > 0)
    scale = np.sqrt(np.maximum(1.0, np.nan_to_num(ratio, nan=1.0)))
    return replace(mean, cov=mean.cov * np.outer(scale, scale))


def state_overlap(state: ContrastState) -> gates.Overlap:
    """Effective sample size and largest weight share, from the sums of weights."""
    total, squares = state.weights[:, 0], state.weights[:, 1]
    if (total <= 0).any():
        return gates.Overlap(ess=0.0, max_share=1.0)
    return gates.Overlap(
        ess=float((total**2 / squares).min()), max_share=float((state.largest / total).max())
    )


def state_count_fault(state: ContrastState, names: tuple[str, str]) -> str | None:
    """Why there are too few rows or clusters for any claim, or None."""
    for k, name in enumerate(names):
        m = state.taken[:, k]
        if m.sum() < MIN_ARM:
            return f"{m.sum():.0f} decisions took {name} where the other was possible; {MIN_ARM} are needed"
        g = float(m.sum() ** 2 / (m**2).sum())
        if g < gates.MIN_CLUSTERS:
            return f"{g:.1f} effective clusters took {name}; {gates.MIN_CLUSTERS:.0f} are needed"
    return None


def state_event_fault(state: ContrastState, j: int, names: tuple[str, str]) -> str | None:
    """Why quantity `j` has too few events or non-events for an interval, or None."""
    for k, name in enumerate(names):
        events, rest = (int(v) for v in state.events[j, k])
        if min(events, rest) < gates.MIN_EVENTS:
            return f"{name} has {events} events and {rest} non-events; {gates.MIN_EVENTS} of each are needed"
    return None


@lru_cache(maxsize=8)
def bucket_codes(cluster_ids: tuple[str, ...]) -> Ints:
    """The bucket, 0 to BUCKETS - 1, of each cluster: a hash of its id and of nothing else."""
    digests = (blake2b(name.encode(), digest_size=4).digest() for name in cluster_ids)
    return np.array([int.from_bytes(d, "big") % BUCKETS for d in digests], dtype=np.int64)


def _rate_sums(w: Array, y: Array, seen: Mask) -> list[float]:
    return [float((w[seen] * y[seen]).sum()), float(w[seen].sum()), float((w[seen] ** 2).sum())]


def _spread(pair: Pair, used: Ints, h: Array) -> Array:
    d, tau, square = pair.d[used], pair.tau[used], (h**2)[:, None]
    terms = (d**2, d, np.ones_like(d), pair.noise[used], tau**2, tau)
    assert len(terms) == _TERMS
    return np.stack([(square * term).sum(axis=0) for term in terms])


def unknown_quantities(state: ContrastState) -> tuple[bool, ...]:
    """For each quantity and net, whether a row had no score, so that its sums are not a number."""
    return tuple(bool(v) for v in np.isnan(state.ato.weighted.sum(axis=0)))[: len(QUANTITIES) + 1]
