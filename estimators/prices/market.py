"""A decision point as a market: what each open action would bring and use, predicted and as scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade
from ..choices import valuation
from ..cutoff_rule import find_rule
from ..design import make_design
from ..gates import MIN_CLUSTERS, MIN_ESS, effective_clusters, overlap
from ..identification import no_contrast, repeats_contexts
from ..pairs import Valuation
from ..problem import Problem
from ..scores import Scores, Split, fitted, split_of

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)

CAPPED: Final = ("cost", "latency", "risk")
"""What caps limit, in the order of the last axis of loads; their position among the outcomes is one more."""
_NO_VALUE: Final = "no task value is set, so what an action brings is not known in dollars"
_ALONE: Final = (
    f"fewer than two actions carry {MIN_ESS:.0f} effective decisions in {MIN_CLUSTERS:.0f} effective clusters"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The n decisions of one point, or of several stacked, with K actions that have scores.

    points: (layer, decision point) of each, with its actions in the order of axis 1.
    predicted: (n, K, 4) cross-fitted quality, cost (USD), latency (s), risk. score: (n, K, 4) doubly robust
    scores with those means. share: (n, K) probability of each action, the rows adding up to 1. open: (n, K).
    task_value: (n,) V. risk_usd: what one unit of risk costs. known: (4,) which outcomes have predictions.
    weight: (n,). cluster: (n,) codes into cluster_ids. point: (n,) which of `points` a decision belongs to.
    """

    points: tuple[tuple[str, str], ...]
    actions: tuple[tuple[str, ...], ...]
    predicted: Array
    score: Array
    share: Array
    open: Mask
    task_value: Array
    risk_usd: float
    known: Mask
    weight: Array
    cluster: Ints
    cluster_ids: tuple[str, ...]
    point: Ints
    grade: Grade
    notes: tuple[str, ...]

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return len(self.cluster_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointMarket:
    """The market of one decision point, with the split from which its means can be fitted again."""

    split: Split
    market: Market


def market(scores: Scores, config: Config) -> Market | str:
    """The market of one decision point, or in words why it has none.

    An action is offered where it was possible and where its scores carry at least MIN_ESS effective
    decisions and MIN_CLUSTERS clusters; decisions that took another one are left out, and the notes say so.
    """
    problem, value = scores.problem, valuation(scores.problem, config)
    if scores.propensities.grade == "N":
        return "not identified: " + "; ".join(scores.propensities.notes)
    if np.isnan(value.task_value).all():
        return _NO_VALUE
    offered = [k for k in sorted(scores.psi) if _carries(scores, k)]
    if len(offered) < 2:
        return _ALONE
    known = np.array([all(np.isfinite(scores.psi[k][:, j]).all() for k in offered) for j in range(4)])
    if not known[:2].all():
        lacking = "quality" if not known[0] else "cost"
        return f"{lacking} is not known for every action, so what an action brings is not known in dollars"
    used = np.isin(problem.arm, offered) & np.isfinite(value.task_value)
    return _of_rows(scores, value, offered, used, known)


def point_market(scores: Scores, config: Config, *, seed: int) -> PointMarket | str:
    """The market of a decision point with what refits it, or in words why it has none."""
    problem = scores.problem
    refused = no_contrast(problem) or _unscorable(problem)
    if refused is not None:
        return refused
    split = split_of(problem, make_design(problem.frame, problem.features), seed=seed, repeat=0)
    found = market(scores, config)
    return found if isinstance(found, str) else PointMarket(split=split, market=found)


def redrawn(point: PointMarket, config: Config, draw: Array) -> Market:
    """The market with its means fitted again under weights `draw` (G,) per cluster of the problem."""
    again = market(fitted(point.split, draw[point.split.problem.cluster]), config)
    assert isinstance(again, Market)  # what is offered does not depend on the fitted means
    return again


def _unscorable(problem: Problem) -> str | None:
    if find_rule(problem) is not None:
        return "a rule makes the choice, so only decisions at its border could have gone otherwise"
    if repeats_contexts(problem):
        return "actions are compared within repeated contexts, so there is no prediction per decision"
    return None


def stacked(markets: list[Market]) -> Market:
    """Several points as one market, so that one budget and one price of a second can serve them all.

    Only outcomes known at every point stay known. Clusters with one id are one cluster.
    """
    if len(markets) == 1:
        return markets[0]
    width = max(m.open.shape[1] for m in markets)
    names = np.concatenate([np.array(m.cluster_ids)[m.cluster] for m in markets])
    ids, cluster = np.unique(names, return_inverse=True)
    return Market(
        points=tuple(p for m in markets for p in m.points),
        actions=tuple(a for m in markets for a in m.actions),
        predicted=np.concatenate([_padded(m.predicted, width) for m in markets]),
        score=np.concatenate([_padded(m.score, width) for m in markets]),
        share=np.concatenate([_padded(m.share, width) for m in markets]),
        open=np.concatenate([_padded(m.open, width) for m in markets]),
        task_value=np.concatenate([m.task_value for m in markets]),
        risk_usd=markets[0].risk_usd,
        known=np.logical_and.reduce([m.known for m in markets]),
        weight=np.concatenate([m.weight for m in markets]),
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(ids.tolist()),
        point=np.concatenate([np.full(len(m.weight), i) for i, m in enumerate(markets)]),
        grade=max(m.grade for m in markets),
        notes=tuple(dict.fromkeys(n for m in markets for n in m.notes)),
    )


def worth_of(market: Market, outcomes: Array) -> Array:
    """(n, K) USD of outcomes (n, K, 4): V Q - C - loss, the objective before any cap (METHODS 0.1b)."""
    loss = market.risk_usd * outcomes[:, :, 3] if market.risk_usd else 0.0
    return market.task_value[:, None] * outcomes[:, :, 0] - outcomes[:, :, 1] - loss


def _carries(scores: Scores, k: int) -> bool:
    took = scores.problem.arm == k
    weights = scores.problem.weight / scores.propensities.chosen
    enough = overlap(weights, took, took).ess >= MIN_ESS
    return enough and effective_clusters(scores.problem.cluster, took) >= MIN_CLUSTERS


def _of_rows(scores: Scores, value: Valuation, offered: list[int], used: Mask, known: Mask) -> Market:
    problem = scores.problem
    share = scores.propensities.matrix[used][:, offered]
    took = problem.arm[used][:, None] == np.array(offered)[None, :]
    share = np.where(share.sum(axis=1, keepdims=True) > 0, share, took)
    codes, cluster = np.unique(problem.cluster[used], return_inverse=True)
    return Market(
        points=((problem.layer, problem.decision_point),),
        actions=(tuple(problem.arms[k] for k in offered),),
        predicted=np.stack([scores.mu[k][used] for k in offered], axis=1),
        score=np.stack([scores.psi[k][used] for k in offered], axis=1),
        share=share / share.sum(axis=1, keepdims=True),
        open=(share > 0) | took,
        task_value=value.task_value[used],
        risk_usd=_risk_usd(problem, value, known),
        known=known,
        weight=problem.weight[used],
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(problem.cluster_ids[c] for c in codes),
        point=np.zeros(int(used.sum()), dtype=np.int64),
        grade=scores.propensities.grade,
        notes=_left_out(problem, offered, used),
    )


def _risk_usd(problem: Problem, value: Valuation, known: Mask) -> float:
    """What one unit of risk is worth in the objective: the user's price, else 1 for losses in dollars."""
    if not known[3]:
        return 0.0
    return value.risk_price or (1.0 if problem.risk_in_dollars else 0.0)


def _left_out(problem: Problem, offered: list[int], used: Mask) -> tuple[str, ...]:
    absent = [name for k, name in enumerate(problem.arms) if k not in offered]
    notes = [f"too few decisions took {', '.join(absent)} to offer them"] if absent else []
    if (share := 1.0 - float(used.mean())) > 0:
        notes.append(f"{share:.0%} of the decisions are left out")
    return tuple(notes)


def overlap_weight(a: Array, b: Array) -> Array:
    """e_a e_b / (e_a + e_b), 0 where one of the actions was impossible."""
    both = (a > 0) & (b > 0)
    return np.where(both, a * b / np.where(both, a + b, 1.0), 0.0)


def _padded(a: NDArray[Kind], width: int) -> NDArray[Kind]:
    """`a` with closed actions added on axis 1 up to `width`."""
    missing = [(0, 0)] * a.ndim
    missing[1] = (0, width - a.shape[1])
    return np.pad(a, missing)
