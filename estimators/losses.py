"""What incidents cost, as arrays: which losses are known, and what each arm's score needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from .design import Design, make_design
from .folds import cluster_folds
from .problem import Problem
from .propensity import Propensities

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MODEL_EVENTS: Final = 20
"""Incidents of an arm below which its incident probability is taken as constant."""
_CEILING: Final = 5
"""Times that the largest loss must have been seen to be taken as the largest possible one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """incident: (n,) 0 or 1, NaN where not logged. loss: (n,) USD, 0 without one, NaN where unknown."""

    incident: Array
    loss: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLosses:
    """The losses under one arm, or under the logged choices when `arm` is None.

    rows: (n,) where the arm could be taken. took: (n,). own: (n,) 1 / P(known) on its rows with a known
    loss. w: (n,) own / propensity; w_incident: the same where it suffices to know whether there was an
    incident. h: (n,) 1 / keep_prob. p: (n,) incident probability given the context, from other folds.
    """

    arm: str | None
    losses: Losses
    rows: Mask
    took: Mask
    own: Array
    w: Array
    w_incident: Array
    h: Array
    p: Array
    folds: Ints
    cluster: Ints
    clusters: int

    @property
    def hits(self) -> Mask:
        """Its incidents with a known loss."""
        return self.took & (self.losses.incident == 1.0) & ~np.isnan(self.losses.loss)

    @property
    def weight(self) -> Array:
        """(n,) how many decisions of the population a row stands for."""
        return self.h * self.w

    def ceiling(self) -> float | None:
        """The largest loss, USD, if it was seen so often that it can be taken as the largest possible one."""
        seen = self.losses.loss[self.hits]
        if seen.size == 0:
            return None
        top = float(seen.max())
        return top if int((seen == top).sum()) >= _CEILING else None


def read_losses(frame: pl.DataFrame, *, irreversible: bool = False) -> Losses | str:
    """The losses of a frame in the decisions layout, or why there are none.

    A positive loss is an incident whatever the flag says; an incident without a loss has an unknown one.
    irreversible: only what cannot be undone counts; an incident of unknown reversibility is unknown.
    """
    incident = frame["incident"].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    loss = frame["loss_usd"].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    incident[loss > 0.0] = 1.0
    incident[np.isnan(incident) & (loss == 0.0)] = 0.0
    loss[incident == 0.0] = 0.0
    if np.isnan(incident).all():
        return "neither incident nor loss_usd is logged"
    if irreversible:
        kind = frame["reversible"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if np.isnan(kind).all():
            return "no decision says whether it is reversible"
        hurt = incident == 1.0
        incident = np.where(hurt, 1.0 - kind, incident)
        loss = np.where(hurt & (kind == 1.0), 0.0, np.where(hurt & np.isnan(kind), np.nan, loss))
    return Losses(incident=incident, loss=loss)


def arm_losses(
    problem: Problem, propensities: Propensities, losses: Losses, arms: tuple[str, ...], *, seed: int
) -> tuple[ArmLosses, ...]:
    """The losses under the logged choices, then under each of `arms`, with cross-fitted probabilities."""
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=seed, repeat=0)[problem.cluster]
    p = np.column_stack([_incident_probability(problem, losses, design, folds, k) for k in _codes(problem)])
    everything = np.ones(problem.n, dtype=bool)
    own_p = p[np.arange(problem.n), problem.arm]
    parts = [_part(problem, losses, folds, None, everything, everything, np.ones(problem.n), own_p)]
    for name in arms:
        k = problem.arm_index(name)
        rows = propensities.usable & (propensities.matrix[:, k] > 0.0)
        took = rows & (problem.arm == k)
        chosen = np.where(took, propensities.chosen, 1.0)
        parts.append(_part(problem, losses, folds, name, rows, took, chosen, p[:, k]))
    return tuple(parts)


def score(arm: ArmLosses, f: Array, *, strength: float = 1.0) -> Array:
    """(n,) scores whose mean over `arm.rows` is E[f(L(a))], f vanishing where there is no loss.

    psi = mu + w (f - mu) with mu = p(x) E[f | incident], the latter from other folds. strength Lambda: the
    mean is then the largest one under a hidden cause that moves the odds of the choice by up to Lambda,
    o f + Lambda [(1 - o) mu + (w - o)(f - mu)] with o = own. It is sharp where p(x) <= 1 / (1 + Lambda),
    because the worst 1 / (1 + Lambda) of the outcomes then hold all losses, and too large elsewhere.

    Source: Robins, Rotnitzky & Zhao 1994; Dorn & Guo 2023.
    """
    known = arm.took & ~np.isnan(arm.losses.loss)
    return _augmented(arm, np.where(known, f, 0.0), arm.hits, arm.own, arm.w, strength)


def incident_score(arm: ArmLosses) -> Array:
    """(n,) scores whose mean over `arm.rows` is the probability of an incident."""
    known = arm.took & ~np.isnan(arm.losses.incident)
    f = np.where(known, np.nan_to_num(arm.losses.incident), 0.0)
    return _augmented(arm, f, known & (f == 1.0), arm.own, arm.w_incident, 1.0)


def _augmented(arm: ArmLosses, f: Array, hits: Mask, own: Array, w: Array, strength: float) -> Array:
    mu = arm.p * _mean_by_fold(f, arm.h * w * hits, arm.folds)
    if strength == 1.0:
        return mu + w * (f - mu)
    return own * f + strength * ((1.0 - own) * mu + (w - own) * (f - mu))


def _mean_by_fold(f: Array, weight: Array, folds: Ints) -> Array:
    """(n,) weighted mean of f outside the fold of each row; over all rows where the others have none."""
    size = int(folds.max()) + 1
    total = np.bincount(folds, weights=weight * f, minlength=size)
    count = np.bincount(folds, weights=weight, minlength=size)
    rest, left = total.sum() - total, count.sum() - count
    whole = float(total.sum() / count.sum()) if count.sum() > 0 else 0.0
    return np.divide(rest, left, out=np.full(size, whole), where=left > 0)[folds]


def _part(
    problem: Problem,
    losses: Losses,
    folds: Ints,
    arm: str | None,
    rows: Mask,
    took: Mask,
    chosen: Array,
    p: Array,
) -> ArmLosses:
    seen = took & ~np.isnan(losses.incident)
    priced = seen & ~np.isnan(losses.loss)
    flagged = _inverse_share(seen, took, problem.weight)
    hurt = losses.incident == 1.0
    own = np.where(hurt, _inverse_share(priced, seen & hurt, problem.weight), 1.0)
    own = np.where(priced, own * flagged, 0.0)
    return ArmLosses(
        arm=arm,
        losses=losses,
        rows=rows,
        took=took,
        own=own,
        w=own / chosen,
        w_incident=np.where(seen, flagged / chosen, 0.0),
        h=problem.weight * rows,
        p=p,
        folds=folds,
        cluster=problem.cluster,
        clusters=len(problem.cluster_ids),
    )


def _inverse_share(known: Mask, of: Mask, weight: Array) -> float:
    """1 / share of rows `of` that are `known`: the others are taken as missing at random."""
    have = float(weight[known & of].sum())
    return float(weight[of].sum()) / have if have > 0.0 else 0.0


def _codes(problem: Problem) -> range:
    return range(len(problem.arms))


def _incident_probability(problem: Problem, losses: Losses, design: Design, folds: Ints, k: int) -> Array:
    """(n,) P(incident | x, arm k) by a ridge logit on the other folds; constant with few incidents."""
    known = (problem.arm == k) & ~np.isnan(losses.incident)
    event = np.nan_to_num(losses.incident) == 1.0
    fallback = float(np.average(event[known], weights=problem.weight[known])) if known.any() else 0.0
    out = np.full(problem.n, fallback)
    for fold in np.unique(folds):
        train, test = known & (folds != fold), folds == fold
        events, rest = int(event[train].sum()), int((~event[train]).sum())
        if min(events, rest) < _MODEL_EVENTS or design.linear.shape[1] == 0:
            if train.any():
                out[test] = np.average(event[train], weights=problem.weight[train])
            continue
        model: Any = LogisticRegression(solver="newton-cholesky", max_iter=100)
        model.fit(design.linear[train], event[train], sample_weight=problem.weight[train])
        out[test] = model.predict_proba(design.linear[test])[:, 1]
    return out
