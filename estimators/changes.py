"""The change of an estimate between two logs, with an interval on the change itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from .confidence import LEVEL, critical_t, interval, two_sided_p
from .gains import GAIN_KEYS

SEPARATE: Final = "intervals of both runs recovered (MOVER)"
PAIRED: Final = "paired by cluster, jackknife over the clusters of both runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """before, after and their difference with its interval at `level` and two-sided p-value.

    shared: clusters that both runs have, None where they are not known.
    """

    before: float
    after: float
    value: float
    lower: float
    upper: float
    level: float
    p_value: float
    method: str
    shared: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A value with its interval and the degrees of freedom behind it (inf where they are not known)."""

    value: float
    lower: float
    upper: float
    df: float = math.inf


def separate_shift(a: Reported, b: Reported, *, level: float = LEVEL, shared: int | None = None) -> Shift:
    """What changed from `a` to `b`, from their intervals alone.

    With intervals [l, u], the lower end is b - a - sqrt((b - l_b)^2 + (u_a - a)^2) and the upper one
    b - a + sqrt((u_b - b)^2 + (a - l_a)^2), which for symmetric ones adds variances. Right for independent
    estimates, skewed ones too; too wide, so on the safe side, where both share clusters or rows that move
    them together.

    Source: Zou & Donner 2008, Statistics in Medicine 27 (MOVER).
    """
    value = b.value - a.value
    down = math.hypot(b.value - b.lower, a.upper - a.value)
    up = math.hypot(b.upper - b.value, a.value - a.lower)
    df = min(a.df, b.df)
    facing_zero = (down if value > 0 else up) / critical_t(df, level=level)
    return Shift(
        before=a.value,
        after=b.value,
        value=value,
        lower=value - down,
        upper=value + up,
        level=level,
        p_value=two_sided_p(value, facing_zero, df),
        method=SEPARATE,
        shared=shared,
    )


def paired_shift(a: pl.DataFrame, b: pl.DataFrame, *, level: float = LEVEL) -> Shift | None:
    """The change in dollars per moved decision between two sets of rows of Estimates.gains.

    Each side is a ratio of sums over clusters. Leaving a cluster out moves both sides where both runs have
    it, so that what they share cancels; with no shared cluster the variances add. None with fewer than two
    clusters on a side. V = (G - 1) / G sum_g (pull_b,g - pull_a,g)^2 over the G clusters of either run.

    Source: Cameron & Miller 2015, section VI; Hansen 2022 on the jackknife.
    """
    sides = [_pulls(side) for side in (a, b)]
    if any(side is None for side in sides):
        return None
    (before, first), (after, second) = (side for side in sides if side is not None)
    both = first.join(second, on="cluster", how="full", coalesce=True, suffix="_b")
    joined = both.fill_null(0.0)
    g = joined.height
    pulls = joined["pull_b"] - joined["pull"]
    se = math.sqrt((g - 1) / g * float((pulls**2).sum()))
    weight = (joined["share"] + joined["share_b"]) / 2
    df = 1.0 / float((weight**2).sum()) - 1.0
    value = after - before
    lower, upper = interval(value, se, df, level=level)
    return Shift(
        before=before,
        after=after,
        value=value,
        lower=lower,
        upper=upper,
        level=level,
        p_value=two_sided_p(value, se, df),
        method=PAIRED,
        shared=both.drop_nulls().height,
    )


def _pulls(gains: pl.DataFrame) -> tuple[float, pl.DataFrame] | None:
    """The ratio of `gains`, and by cluster how far leaving it out pulls the ratio, with its share."""
    sums = gains.group_by("cluster", maintain_order=True).agg(pl.col("usd", "decisions").sum())
    if sums.height < 2:
        return None
    assert gains.select(GAIN_KEYS).n_unique() == 1
    total = float(sums["decisions"].sum())
    ratio = float(sums["usd"].sum()) / total
    share = pl.col("decisions") / total
    pull = (pl.col("usd") - ratio * pl.col("decisions")) / total / (1 - share)
    return ratio, sums.select("cluster", share=share, pull=pull)
