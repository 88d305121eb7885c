"""The gates in front of every estimate: counts, clusters, events and overlap (METHODS A4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .scores import MIN_ARM

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MIN_CLUSTERS: Final = 10.0
"""Effective clusters per arm; with fewer a t interval has no meaning."""
MIN_EVENTS: Final = 5
"""Events, and non-events, per arm for an interval around a rate."""
MIN_ESS: Final = 30.0
"""Effective sample size per arm below which the decisions are trimmed."""
ATE_ESS: Final = 100.0
ATE_SHARE: Final = 0.05
"""The ATE is shown beside the ATO only above this size and below this largest weight share."""
MIN_RETAINED: Final = 0.10
"""Trimming that keeps less than this share says nothing about the whole."""
MIN_UNDECIDED: Final = 0.08
"""With fewer than MIN_ESS undecided decisions, they must be at least this share of the rarer arm."""
_ESTIMATED_MARGIN: Final = 1.5
"""Estimated propensities are smoother than the true ones, so more undecided decisions are asked of them."""
_DEFAULT_TRIM: Final = 0.1
"""Trimming threshold when Crump's rule has no solution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Smaller effective sample size of the two arms, and the largest share that one row has in its arm."""

    ess: float
    max_share: float


def overlap(w: Array, took_a: Mask, took_b: Mask) -> Overlap:
    """ESS = (sum w)^2 / sum w^2 per arm, the smaller one, with the larger weight share (Kish 1965)."""
    sizes, shares = [], []
    for took in (took_a, took_b):
        x = w[took]
        if x.size == 0:
            return Overlap(ess=0.0, max_share=1.0)
        sizes.append(float(x.sum() ** 2 / (x**2).sum()))
        shares.append(float(x.max() / x.sum()))
    return Overlap(ess=min(sizes), max_share=max(shares))


def effective_clusters(cluster: Ints, took: Mask) -> float:
    """G* = (sum m)^2 / sum m^2 with m the arm's rows per cluster (Carter, Schnepel & Steigerwald 2017)."""
    m = np.bincount(cluster[took]).astype(float)
    return float(m.sum() ** 2 / (m**2).sum()) if m.sum() else 0.0


def count_fault(cluster: Ints, took_a: Mask, took_b: Mask, names: tuple[str, str]) -> str | None:
    """Why there are too few rows or clusters for any claim, or None."""
    for took, name in zip((took_a, took_b), names, strict=True):
        n = int(took.sum())
        if n < MIN_ARM:
            return f"{n} decisions took {name} where the other was possible; {MIN_ARM} are needed"
        g = effective_clusters(cluster, took)
        if g < MIN_CLUSTERS:
            return f"{g:.1f} effective clusters took {name}; {MIN_CLUSTERS:.0f} are needed"
    return None


def undecided(e_a: Array, e_b: Array, *, estimated: bool) -> float:
    """How many decisions could have gone either way; it adds over partitions. e: (n,), both possible.

    Overlap weights are at most 1, and in each arm they are expected to add up to sum e_a e_b / (e_a + e_b):
    the decisions that carry the ATO. The sum knows large weights that were possible but not drawn, which the
    effective sample size of the drawn ones does not. Estimated propensities near their floor of 0.5 / sqrt(n)
    may be any smaller number, so such rows do not count.
    """
    h = e_a * e_b / (e_a + e_b)
    if estimated:
        h = np.where(np.minimum(e_a, e_b) > 1.0 / np.sqrt(max(h.size, 1)), h, 0.0)
    return float(h.sum())


def undecided_fault(size: float, rarer: int, *, estimated: bool) -> str | None:
    """Why `size` undecided decisions are too few, or None. rarer: decisions of the rarer action."""
    needed = MIN_ESS * (_ESTIMATED_MARGIN if estimated else 1.0)
    if size >= needed or size >= MIN_UNDECIDED * rarer:
        return None
    return f"no overlap: of {rarer} decisions of the rarer action about {size:.0f} could have gone either way"


def event_fault(y: Array, took_a: Mask, took_b: Mask, names: tuple[str, str]) -> str | None:
    """Why a rate or a loss has too few events or non-events for an interval, or None. y: (n,)."""
    for took, name in zip((took_a, took_b), names, strict=True):
        seen = y[took & ~np.isnan(y)]
        events, rest = int((seen > 0).sum()), int((seen == 0).sum())
        if min(events, rest) < MIN_EVENTS:
            return f"{name} has {events} events and {rest} non-events; {MIN_EVENTS} of each are needed"
    return None


def trim_threshold(e_a: Array, e_b: Array) -> float:
    """Crump's threshold alpha: keep rows with both propensities of the pair at least alpha.

    alpha solves 1 / (alpha (1 - alpha)) = 2 E[g | g <= 1 / (alpha (1 - alpha))], g = 1 / (e (1 - e)) with
    e = e_a / (e_a + e_b). Source: Crump, Hotz, Imbens & Mitnik 2009, Biometrika 96.
    """
    e = e_a / (e_a + e_b)
    g = np.sort(1.0 / (e * (1.0 - e)))
    bound = 2.0 * np.cumsum(g) / np.arange(1, g.size + 1)
    if g[-1] <= bound[-1]:
        return 0.0
    inside = np.flatnonzero(g <= bound)
    if inside.size == 0:
        return _DEFAULT_TRIM
    gamma = bound[inside[-1]]
    return float(0.5 - np.sqrt(max(0.25 - 1.0 / gamma, 0.0)))
