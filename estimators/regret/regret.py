"""Regret of the logged policy in dollars, per decision point and in total: at least, about, at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.records import REGRET, Grade
from ..confidence import LEVEL, interval, one_sided
from ..gates import MIN_CLUSTERS
from ..jackknife import cluster_sums, weighted_mean
from ..simultaneous import sup_t
from .choice import Choice
from .forward import MIN_BLOCKS, Forward, blocks_of, forward_chain, ranks
from .groups import Group, Learned, ceiling, groups_of, learned

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

ALL: Final = "all"
_SEED: Final = 20_261_126


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A decision point without a value: n rows standing for `decisions`, and the reason."""

    layer: str
    decision_point: str
    n: int
    decisions: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One decision point with everything that its row and the total are read from."""

    choice: Choice
    timed: bool
    blocks: int
    chain: Forward
    policy: Learned
    groups: list[Group]

    @property
    def decisions(self) -> float:
        """Decisions that the rows stand for."""
        return float(self.choice.weight.sum())


def regret_frame(found: Sequence[Choice | Refused]) -> pl.DataFrame:
    """Rows of REGRET: one per decision point in the order given, and their total where one is known.

    Clusters are in one order at all points, by their first decision, so that the points' bounds are joint:
    what one cluster adds at several points is summed before it is squared. Points whose clusters are of
    another kind may move together in any way: their standard errors are added. The upper limits of the total
    hold for all groups of all points at once.

    Source: METHODS H; Luedtke & van der Laan 2016; Chernozhukov, Chetverikov & Kato 2013.
    """
    points: list[_Point] = []
    rows: list[dict[str, Any]] = []
    order = ranks([c for c in found if isinstance(c, Choice)])
    for each in found:
        made = each if isinstance(each, Refused) else _point(each, *order[each.cluster_key])
        if isinstance(made, Refused):
            rows.append(_refusal(made))
        else:
            points.append(made)
            rows.append(_row(made))
    if points:
        rows.append(_total(points, rows))
    return pl.DataFrame(rows, schema=REGRET, orient="row")


def _point(choice: Choice, rank: dict[str, int], timed: bool) -> _Point | Refused:
    block = blocks_of(choice, np.array([rank[i] for i in choice.cluster_ids], dtype=np.int64))
    blocks = int(block.max()) + 1
    size = np.bincount(choice.cluster[block > 0], weights=choice.weight[block > 0])
    effective = float(size.sum() ** 2 / max((size**2).sum(), 1e-300)) if size.size else 0.0
    fault = (
        f"{blocks} blocks of clusters; {MIN_BLOCKS} are needed"
        if blocks < MIN_BLOCKS
        else f"{effective:.1f} effective clusters of {choice.cluster_key}; {MIN_CLUSTERS:.0f} are needed"
        if effective < MIN_CLUSTERS
        else None
    )
    if fault is not None:
        total = float(choice.weight.sum()) + choice.left_out
        return Refused(
            layer=choice.layer,
            decision_point=choice.decision_point,
            n=choice.n,
            decisions=total,
            reason=f"too few to learn from earlier decisions and judge on later ones: {fault}",
        )
    policy = learned(choice)
    return _Point(
        choice=choice,
        timed=timed,
        blocks=blocks,
        chain=forward_chain(choice, block),
        policy=policy,
        groups=groups_of(choice, policy.predicted),
    )


def _row(p: _Point) -> dict[str, Any]:
    c = p.choice
    value = _dollars(p, p.policy.gain)
    lower, upper = _lower([p]), _upper([p])
    spend = weighted_mean(cluster_sums(p.policy.spend[:, None], c.weight, c.cluster, c.clusters))
    se = float(np.sqrt(spend.cov[0, 0])) * p.decisions
    ends = interval(float(spend.theta[0]) * p.decisions, se, spend.df)
    return {
        "layer": c.layer,
        "decision_point": c.decision_point,
        **_bounded(value, lower, upper),
        "spend_usd": float(spend.theta[0]) * p.decisions,
        "spend_lower": ends[0],
        "spend_upper": ends[1],
        "decisions": p.decisions,
        "left_out": c.left_out,
        "n": c.n,
        "clusters": c.clusters,
        "blocks": p.blocks,
        "order": "time" if p.timed else "hash",
        "grade": c.grade,
        "method": _method(p),
        "reason": None,
    }


def _total(points: list[_Point], rows: list[dict[str, Any]]) -> dict[str, Any]:
    known = [r for r in rows if r["value_usd"] is not None]
    kinds = {p.choice.cluster_key for p in points}
    lone = known[0] if len(points) == 1 else None  # one point is the total: nothing to draw again
    ends = (lone["lower_usd"], lone["upper_usd"]) if lone else (_lower(points), _upper(points))
    grades: list[Grade] = [p.choice.grade for p in points]
    return {
        "layer": ALL,
        "decision_point": ALL,
        **_bounded(sum(r["value_usd"] for r in known), *ends),
        **_spends(points),
        "decisions": sum(p.decisions for p in points),
        "left_out": sum(p.choice.left_out for p in points)
        + sum(r["left_out"] for r in rows if r["value_usd"] is None),
        "n": sum(p.choice.n for p in points),
        "clusters": len({(p.choice.cluster_key, i) for p in points for i in p.choice.cluster_ids}),
        "blocks": min(p.blocks for p in points),
        "order": "time" if all(p.timed for p in points) else "hash",
        "grade": max(grades),
        "method": f"sum over {len(points)} decision points, each changed on its own; "
        + ("clusters shared between them" if len(kinds) == 1 else "standard errors of cluster kinds added"),
        "reason": None,
    }


def _bounded(value: float, lower: float, upper: float) -> dict[str, float]:
    """Bounds are loosened to hold the value, which keeps them valid; they come from different splits."""
    return {
        "value_usd": value,
        "lower_usd": min(lower, value),
        "upper_usd": max(upper, value),
        "level": LEVEL,
    }


def _dollars(p: _Point, per_decision: Array) -> float:
    return float((p.choice.weight * per_decision).sum())


def _lower(points: list[_Point]) -> float:
    """One-sided lower limit of the summed forward-chained gains, scaled to the decisions of each point."""
    usd, errors, df = 0.0, [], np.inf
    for kind in sorted({p.choice.cluster_key for p in points}):
        mine = [p for p in points if p.choice.cluster_key == kind and p.chain.stake.any()]
        if not mine:
            continue
        ids = {i: g for g, i in enumerate(sorted({i for p in mine for i in p.choice.cluster_ids}))}
        pulls, shares = np.zeros(len(ids)), np.zeros(len(ids))
        for p in mine:
            c, h = p.choice, p.choice.weight * p.chain.stake
            sums = cluster_sums(p.chain.gain[:, None], h, c.cluster, c.clusters)
            whole = float(sums.weight.sum())
            theta = float(sums.weighted.sum()) / whole
            at = np.array([ids[i] for i in c.cluster_ids])
            pulls[at] += (
                p.decisions
                * (sums.weighted[:, 0] - theta * sums.weight)
                / np.maximum(whole - sums.weight, 1e-300)
            )
            shares[at] += p.decisions * sums.weight / whole
            usd += p.decisions * theta
        carried = shares > 0
        g, share = int(carried.sum()), shares / shares.sum()
        errors.append(float(np.sqrt((g - 1) / g * (pulls**2).sum())))
        df = min(df, 1.0 / float((share**2).sum()) - 1.0)
    return interval(usd, sum(errors), df, level=one_sided(LEVEL))[0] if errors else 0.0


def _upper(points: list[_Point]) -> float:
    """One-sided upper limit: every group's limit at once, the largest of the offered actions per decision."""
    columns: list[Array] = []
    ids = {
        key: g
        for g, key in enumerate(
            sorted({(p.choice.cluster_key, i) for p in points for i in p.choice.cluster_ids})
        )
    }
    df = np.inf
    for p in points:
        at = np.array([ids[p.choice.cluster_key, i] for i in p.choice.cluster_ids])
        for group in p.groups:
            column = np.zeros(len(ids))
            column[at] = group.influence
            columns.append(column)
            df = min(df, group.df)
    critical = sup_t(np.column_stack(columns), df, rng=np.random.default_rng(_SEED), level=one_sided(LEVEL))
    return sum(_dollars(p, ceiling(p.choice, p.groups, critical)) for p in points)


def _spends(points: list[_Point]) -> dict[str, float]:
    """What the learned policies would spend more at all points; standard errors are added."""
    usd, error, df = 0.0, 0.0, np.inf
    for p in points:
        c = p.choice
        found = weighted_mean(cluster_sums(p.policy.spend[:, None], c.weight, c.cluster, c.clusters))
        usd += float(found.theta[0]) * p.decisions
        error += float(np.sqrt(found.cov[0, 0])) * p.decisions
        df = min(df, found.df)
    lower, upper = interval(usd, error, df)
    return {"spend_usd": usd, "spend_lower": lower, "spend_upper": upper}


def _method(p: _Point) -> str:
    how = "first decision" if p.timed else "a hash of their id, for want of timestamps"
    return (
        f"forward chaining over {p.blocks} blocks of {p.choice.cluster_key} by {how}; {p.choice.source} "
        f"propensities; upper limit over {len(p.groups)} groups of {len(p.choice.actions)} actions at once"
    )


def _refusal(r: Refused) -> dict[str, Any]:
    return {
        **dict.fromkeys(REGRET),
        "layer": r.layer,
        "decision_point": r.decision_point,
        "left_out": r.decisions,
        "n": r.n,
        "grade": "N",
        "reason": r.reason,
    }
