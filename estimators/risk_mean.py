"""The mean excess loss of an arm over a level: a doubly robust body with a fitted tail, and its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .confidence import LEVEL, critical_t
from .jackknife import cluster_sums, weighted_mean
from .losses import ArmLosses, incident_score, score
from .tail import MIN_ESS, MIN_EXCEEDANCES, MeanExcess, mean_excess, tail_threshold

Array = NDArray[np.float64]

TAIL_SHARE: Final = 0.2
"""Share of the losses above the level that the fitted tail describes, or more if they are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """E[(L(a) - level)+] of one arm as scores (n,). slope: its derivative in the mean excess of the tail,
    P(L > u); tail None: no tail was fitted, the losses have a ceiling."""

    arm: ArmLosses
    score: Array
    slope: float
    tail: MeanExcess | None

    @property
    def method(self) -> str:
        """How the number was made."""
        if self.tail is None:
            return "doubly robust mean of bounded losses"
        return (
            f"doubly robust mean, generalised Pareto tail above {self.tail.threshold:.4g} USD "
            f"(shape {self.tail.shape:.2f}, {self.tail.count} losses)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value in USD with the ends of its interval, and the standard error without the tail's."""

    value: float
    lower: float
    upper: float
    clusters: int


def excess_loss(
    arm: ArmLosses,
    *,
    above: float,
    tail_share: float = TAIL_SHARE,
    cap_usd: float | None = None,
    strength: float = 1.0,
    level: float = LEVEL,
) -> Excess | str:
    """E[(L(a) - above)+], USD, or why the logs cannot give it.

    E[(L - c)+] = E[(min(L, u) - c)+] + P(L > u) E[L - u | L > u] with c = `above`: in the score every loss
    beyond u is replaced by u plus the fitted mean excess, so that no single loss decides. Losses whose
    largest value was seen at least five times need no tail. `cap_usd` bounds the mean excess. strength: as
    in `score`. Below u the losses count as observed: a law fitted to the body could only add bias.

    Source: McNeil & Frey 2000 (peaks over a threshold); METHODS D1, D2.
    """
    loss = np.where(arm.hits, arm.losses.loss, 0.0)
    if arm.ceiling() is not None:
        plain = score(arm, np.maximum(loss - above, 0.0), strength=strength)
        return Excess(arm=arm, score=plain, slope=0.0, tail=None)
    weight = arm.weight
    u = tail_threshold(loss, weight, above=above, share=tail_share)
    member = loss > (above if u is None else u)
    if u is None:
        return _too_few(int(member.sum()), above)
    tail = mean_excess(loss[member] - u, weight[member], arm.cluster[member], threshold=u, level=level)
    if tail.ess < MIN_ESS:
        return _too_few(int(member.sum()), above, f" worth {tail.ess:.0f} independent ones")
    tail = _capped(tail, cap_usd)
    f = (np.maximum(np.minimum(loss, u) - above, 0.0) + tail.value * member).astype(np.float64)
    beyond = score(arm, member.astype(float), strength=strength)
    return Excess(
        arm=arm,
        score=score(arm, f, strength=strength),
        slope=max(float(np.average(beyond, weights=arm.h)), 0.0),
        tail=tail,
    )


def difference(a: Excess, b: Excess | None, *, scale: float = 1.0, level: float = LEVEL) -> Interval:
    """scale * (E of a - E of b), or of a alone, with an interval that is skewed as the tails are.

    The scores have a CR3 t interval, on the log scale for a single arm; the distance to each end of a tail's
    interval is added in squares. The shapes of the tails are nearly independent of how often they are
    reached, and of each other.

    Source: Zou & Donner 2008 (variance estimates recovery from separate intervals).
    """
    rows = a.arm.rows if b is None else a.arm.rows & b.arm.rows
    d = a.score if b is None else a.score - b.score
    h = np.where(rows, a.arm.h, 0.0)
    mean = weighted_mean(cluster_sums(d[:, None], h, a.arm.cluster, a.arm.clusters))
    half = critical_t(mean.df, level=level) * float(np.sqrt(mean.cov[0, 0]))
    down, up = _reach(a)
    other_down, other_up = (0.0, 0.0) if b is None else _reach(b)
    value = float(mean.theta[0])
    half_down = half_up = half
    if b is None and value > 0.0:  # a positive mean of few losses is skewed: its logarithm is nearer normal
        half_down, half_up = value * -np.expm1(-half / value), value * np.expm1(half / value)
    lower = value - float(np.sqrt(half_down**2 + down**2 + other_up**2))
    upper = value + float(np.sqrt(half_up**2 + up**2 + other_down**2))
    if b is None:  # losses are not negative
        value, lower, upper = max(value, 0.0), max(lower, 0.0), max(upper, 0.0)
    return Interval(value=scale * value, lower=scale * lower, upper=scale * upper, clusters=mean.clusters)


def incident_rate(arm: ArmLosses, *, level: float = LEVEL) -> Interval:
    """The probability of an incident under the arm, with a CR3 t interval kept in [0, 1]."""
    mean = weighted_mean(cluster_sums(incident_score(arm)[:, None], arm.h, arm.cluster, arm.clusters))
    half = critical_t(mean.df, level=level) * float(np.sqrt(mean.cov[0, 0]))
    value = float(np.clip(mean.theta[0], 0.0, 1.0))
    return Interval(
        value=value, lower=max(value - half, 0.0), upper=min(value + half, 1.0), clusters=mean.clusters
    )


def _reach(part: Excess) -> tuple[float, float]:
    """How far the tail's interval reaches below and above, in USD of the mean."""
    if part.tail is None:
        return 0.0, 0.0
    t = part.tail
    return part.slope * (t.value - t.lower), part.slope * (t.upper - t.value)


def _capped(tail: MeanExcess, cap_usd: float | None) -> MeanExcess:
    if cap_usd is None:
        return tail
    room = cap_usd - tail.threshold
    return MeanExcess(
        value=min(tail.value, room),
        lower=min(tail.lower, room),
        upper=min(tail.upper, room),
        threshold=tail.threshold,
        shape=tail.shape,
        count=tail.count,
        ess=tail.ess,
    )


def _too_few(count: int, above: float, more: str = "") -> str:
    place = f" above {above:.4g} USD" if above > 0.0 else ""
    return (
        f"{count} losses{place}{more}; {MIN_EXCEEDANCES}, worth {MIN_ESS:.0f} independent ones, are needed "
        "to say how heavy the tail is"
    )
