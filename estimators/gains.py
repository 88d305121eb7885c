"""Dollars gained by switching, added up over clusters; findings and their total share one arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import polars as pl

from .confidence import LEVEL, interval, upper_tail_p

TERMS: Final = ("quality_usd", "cost_usd", "latency_usd", "risk_usd")
"""Columns of Estimates.gains that hold its dollars by term of Eq. 1; they add up to `usd`."""
SUMMED: Final = ("usd", "decisions", *TERMS)
GAIN_KEYS: Final = ("layer", "decision_point", "segment", "action", "baseline", "direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Dollars over the window of the logs, for the decisions that were made (their number is fixed)."""

    usd: float
    se: float
    df: float
    lower: float
    upper: float
    level: float
    decisions: float
    clusters: int

    def p_value(self, materiality_usd: float = 0.0) -> float:
        """One-sided p-value against a gain of at most `materiality_usd`."""
        return upper_tail_p(self.usd, self.se, self.df, null=materiality_usd)


@dataclass(frozen=True, slots=True)
class _Part:
    """The dollars of rows whose clusters are of one kind, with their variance and its degrees of freedom."""

    usd: float
    variance: float
    df: float
    decisions: float
    clusters: int


def total_gain(*gains: pl.DataFrame, level: float = LEVEL) -> Total | None:
    """The sum of `gains` (rows of Estimates.gains or Prices.savings) with a cluster-jackknife t interval.

    Each contrast's gain is a ratio (dollars per moved decision) times a fixed number of decisions;
    leave-one-cluster-out ratios (CR3) are added over contrasts before squaring, so that findings which
    share clusters are not taken for independent. The clusters of different frames are of different kinds
    (tenants, updates, hours) and taken to be independent: their variances add up, with the degrees of
    freedom of Welch and Satterthwaite. None when a frame that has rows has fewer than two clusters.

    Source: Cameron & Miller 2015, section VI; Hansen 2022 on the jackknife; Satterthwaite 1946.
    """
    parts = [_part(frame) for frame in gains if not frame.is_empty()]
    known = [p for p in parts if p is not None]
    if not known or len(known) < len(parts):
        return None
    usd, variance = sum(p.usd for p in known), sum(p.variance for p in known)
    df = known[0].df if len(known) == 1 else _satterthwaite(known)
    se = math.sqrt(variance)
    lower, upper = interval(usd, se, df, level=level)
    return Total(
        usd=usd,
        se=se,
        df=df,
        lower=lower,
        upper=upper,
        level=level,
        decisions=sum(p.decisions for p in known),
        clusters=sum(p.clusters for p in known),
    )


def _part(gains: pl.DataFrame) -> _Part | None:
    if gains["cluster"].n_unique() < 2:
        return None
    sums = gains.group_by(*GAIN_KEYS, "cluster", maintain_order=True).agg(pl.col("usd", "decisions").sum())
    whole = pl.col("decisions").sum().over(*GAIN_KEYS)
    ratio = pl.col("usd").sum().over(*GAIN_KEYS) / whole
    share = pl.col("decisions") / whole
    pulls = sums.with_columns(pull=(pl.col("usd") - ratio * pl.col("decisions")) / (1 - share))
    by_cluster = pulls.group_by("cluster", maintain_order=True).agg(pl.col("pull", "decisions").sum())
    g = by_cluster.height
    usd, decisions = float(gains["usd"].sum()), float(gains["decisions"].sum())
    variance = (g - 1) / g * float((by_cluster["pull"] ** 2).sum())
    if not math.isfinite(variance):
        return None
    weights = by_cluster["decisions"] / decisions
    df = 1.0 / float((weights**2).sum()) - 1.0
    return _Part(usd, variance, df, decisions, g)


def _satterthwaite(parts: list[_Part]) -> float:
    variance = sum(p.variance for p in parts)
    if variance == 0.0:
        return sum(p.df for p in parts)
    return variance**2 / sum(p.variance**2 / p.df for p in parts)
